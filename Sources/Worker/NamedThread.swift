import Glibc

/// The system would not start another thread.
public struct ThreadFailure: Error, Hashable, Sendable {
  /// The system's error number.
  public var code: Int32
}

/// A thread of our own, for work that blocks: lanes, commits, the replica. Such calls must not stand on
/// Swift's cooperative pool, which has one thread a core.
///
/// Lifetime: runs `body` once. The owner joins it exactly once, from another thread, before letting go.
public final class NamedThread: RunningThread, @unchecked Sendable {
  // Invariant: `handle` and `joined` are touched only by the owner, which joins once (asserted).
  public let name: String
  private var handle: pthread_t
  private var joined = false

  private final class Start {
    let name: String
    let body: () -> Void
    init(name: String, body: @escaping () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// `name` is cut to the 15 bytes the kernel keeps.
  public init(
    _ name: String, stackBytes: Int = 4 << 20, _ body: sending @escaping () -> Void
  ) throws(ThreadFailure) {
    self.name = name
    var attributes = pthread_attr_t()
    // SAFETY: the attributes live across the calls that use them.
    unsafe pthread_attr_init(&attributes)
    defer { unsafe _ = pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setstacksize(&attributes, stackBytes)
    // SAFETY: the reference is given to the new thread, which takes it back exactly once; if there is no
    // new thread, it is released below.
    let start = unsafe Unmanaged.passRetained(Start(name: name, body: body))
    handle = 0
    let result = unsafe pthread_create(&handle, &attributes, namedThreadMain, start.toOpaque())
    guard result == 0 else {
      unsafe start.release()
      // Nothing runs, so there is nothing to join.
      joined = true
      throw ThreadFailure(code: result)
    }
  }

  deinit { precondition(joined, "a thread was let go without being joined") }

  /// Waits until `body` has returned. What it wrote is then visible to the caller.
  public func join() {
    precondition(!joined, "joined twice")
    joined = true
    let result = pthread_join(handle, nil)
    precondition(result == 0, "a thread cannot join itself")
  }

  fileprivate static func run(_ context: UnsafeMutableRawPointer) {
    // SAFETY: `context` is the reference that `init` retained for this thread.
    let start = unsafe Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
    setName(Array(start.name.utf8.prefix(15)))
    start.body()
  }

  /// Why by the file: `pthread_setname_np` is hidden behind `_GNU_SOURCE`. A thread without its name works
  /// as well, so failures are passed over.
  private static func setName(_ name: [UInt8]) {
    guard !name.isEmpty else { return }
    // SAFETY: path and buffer are lent to the calls.
    let file = unsafe open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    unsafe name.withUnsafeBytes { unsafe _ = write(file, $0.baseAddress, $0.count) }
    _ = close(file)
  }
}

@c private func namedThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context = unsafe context { unsafe NamedThread.run(context) }
  return nil
}
