import Glibc
import Synchronization

/// Calls of the client library that may never return, on threads of their own that nobody has to join.
///
/// Why: closing a member asks the library's main thread to let go of its partitions, and waits for the answer without a
/// limit. On 2.0.2 that answer does not come where the group has dropped the member meanwhile (seen after "unknown
/// member", with another rebalance on its way).
enum BoundedCall {
  private final class Work: Sendable {
    let body: @Sendable () -> Void
    let isDone = Atomic<Bool>(false)
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Whether `body` has returned in this time; else its thread stays behind with all that `body` holds. Where there is no
  /// thread to be had it runs here.
  static func run(milliseconds: Int32, _ body: @escaping @Sendable () -> Void) -> Bool {
    let work = Work(body)
    var thread = pthread_t()
    // SAFETY: the reference is given to the new thread, which takes it back once, or is released here.
    let start = unsafe Unmanaged.passRetained(work)
    guard unsafe pthread_create(&thread, nil, boundedCallMain, start.toOpaque()) == 0 else {
      unsafe start.release()
      body()
      return true
    }
    pthread_detach(thread)
    let deadline = Deadline(milliseconds: milliseconds)
    while !work.isDone.load(ordering: .acquiring) {
      if deadline.isPast { return false }
      usleep(500)
    }
    return true
  }

  fileprivate static func run(_ context: UnsafeMutableRawPointer) {
    // SAFETY: the reference that `run` retained for this thread.
    let work = unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue()
    work.body()
    work.isDone.store(true, ordering: .releasing)
  }
}

@c private func boundedCallMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context = unsafe context { unsafe BoundedCall.run(context) }
  return nil
}
