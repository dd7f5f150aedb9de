import Glibc

/// SIGTERM and SIGINT, taken by a waiting thread instead of a handler.
///
/// Why before any thread starts: the mask is inherited, so no other thread is ever interrupted by them.
struct StopSignals {
  private var set = sigset_t()

  init() {
    // SAFETY: the set is initialised by sigemptyset before it is used.
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, SIGTERM)
    unsafe sigaddset(&set, SIGINT)
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Blocks both signals in the calling thread and those it starts.
  static func block() { _ = StopSignals() }

  /// The next signal, or nil after the time.
  func next(timeoutMilliseconds: Int) -> Int32? {
    var set = self.set
    var timeout = timespec(
      tv_sec: timeoutMilliseconds / 1_000, tv_nsec: (timeoutMilliseconds % 1_000) * 1_000_000)
    // SAFETY: set and timeout live across the call.
    let signal = unsafe sigtimedwait(&set, nil, &timeout)
    return signal > 0 ? signal : nil
  }

  /// Gives both signals their default effect again: the next one ends the process.
  func exitOnNext() {
    var set = self.set
    // SAFETY: as above.
    unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }
}
