import TestSupport
import Testing

/// The real worker on a real broker, judged by the checker. One scene at a time: the machine may be small.
@Suite(
  .serialized, .showsLogs,
  .enabled(if: LocalBroker.isAvailable && WorkerProcess.program != nil, "needs noida-db and the millrace program"),
  // The judging of a soak takes its time as well.
  .timeLimit(.minutes(10 + Int(2 * Chaos.minutes))))
enum LiveTests {}

/// After a test that ended by an error, prints the last that its workers wrote: their files go with the scene.
struct ShowsLogs: SuiteTrait, TestTrait, TestScoping {
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
  ) async throws {
    guard testCase != nil else { return try await function() }
    Scene.lastLogs.withLock { $0 = [] }
    do { try await function() } catch {
      for log in Scene.lastLogs.withLock({ $0 }) { print(log) }
      throw error
    }
  }
}

extension Trait where Self == ShowsLogs {
  static var showsLogs: Self { Self() }
}
