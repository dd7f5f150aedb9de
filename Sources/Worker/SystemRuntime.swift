import CMalloc
import Glibc

/// The real clock, threads and condition variables.
struct SystemRuntime: Runtime {
  func now() -> UInt64 { Monotonic.nanoseconds() }

  func wallMilliseconds() -> Int64 {
    var time = timespec()
    // SAFETY: writes one struct; this clock always exists.
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec / 1_000_000)
  }

  func pause(milliseconds: UInt32) { usleep(milliseconds * 1_000) }

  func startThread(
    _ name: String, _ body: sending @escaping () -> Void
  ) throws(ThreadFailure) -> any RunningThread {
    try NamedThread(name, body)
  }

  func makeMonitor() -> any Monitor { SystemMonitor() }

  /// Why: the C library's allocator keeps what was freed, in an arena for every few threads. A worker whose members and
  /// producers are made again and again, each with threads of its own, and who catches up after each time, held more
  /// free memory than used after some minutes (75 MB, of which 42 were free).
  func giveBackMemory() {
    let held = mallinfo2()
    guard MemoryWaste.isMuch(used: held.uordblks, free: held.fordblks) else { return }
    malloc_trim(0)
  }
}

/// When giving free memory back is worth the page faults of taking it again. Pure.
enum MemoryWaste {
  static let freeBytesMin = 16 << 20
  /// Also not while less than half of all is free: what flows through under load comes again at once.
  static func isMuch(used: Int, free: Int) -> Bool { free >= freeBytesMin && free > used }
}

/// The monotonic clock.
enum Monotonic {
  static func nanoseconds() -> UInt64 {
    var time = timespec()
    // SAFETY: writes one struct; this clock always exists.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }
}

/// A pthread mutex and a condition variable on the monotonic clock, so that a step of the wall clock wakes nobody.
///
/// Invariant: both lie at fixed addresses from `init` to `deinit`.
@safe final class SystemMonitor: Monitor, @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    var attributes = pthread_condattr_t()
    // SAFETY: both were freshly allocated; the attributes live across the calls.
    var result = unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    result |= unsafe pthread_cond_init(condition, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
    precondition(result == 0, "a lock cannot be made")
  }
  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }
  func lock() {
    let result = unsafe pthread_mutex_lock(mutex)
    precondition(result == 0, "pthread_mutex_lock")
  }
  func unlock() {
    let result = unsafe pthread_mutex_unlock(mutex)
    precondition(result == 0, "pthread_mutex_unlock")
  }
  func wait() {
    let result = unsafe pthread_cond_wait(condition, mutex)
    precondition(result == 0, "pthread_cond_wait")
  }
  func wait(untilNanoseconds deadline: UInt64) -> Bool {
    var moment = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
    return unsafe pthread_cond_timedwait(condition, mutex, &moment) == 0
  }
  func signalAll() { unsafe pthread_cond_broadcast(condition) }
}
