/// What a worker needs of the system it runs on beside Kafka and files: time, threads and waiting.
/// `SystemRuntime` is the real one; the simulation runs one thread at a time, in an order that its seed decides.
protocol Runtime: Sendable {
  /// Monotonic nanoseconds.
  func now() -> UInt64
  /// Milliseconds since 1970, for what people read.
  func wallMilliseconds() -> Int64
  func pause(milliseconds: UInt32)
  func startThread(_ name: String, _ body: sending @escaping () -> Void) throws(ThreadFailure) -> any RunningThread
  func makeMonitor() -> any Monitor
  /// Gives memory that nobody uses back to the system, where it is much.
  func giveBackMemory()
}

/// A thread that was started. Its owner joins it exactly once, from another thread.
protocol RunningThread: AnyObject, Sendable {
  func join()
}

/// A lock and one condition, on which any number of threads wait.
protocol Monitor: AnyObject, Sendable {
  func lock()
  func unlock()
  /// Called with the lock held, returns with it held; may return early.
  func wait()
  /// As `wait`; false once the time has passed.
  func wait(untilNanoseconds deadline: UInt64) -> Bool
  func signalAll()
}
