import Kafka
import Testing

@testable import Worker

struct LaneRestartsTests {
  private static let second: UInt64 = 1_000_000_000

  private func kafka(_ code: Int32, _ call: KafkaCall, _ flags: KafkaErrorFlags = []) -> WorkerFailure {
    .kafka(KafkaError(code: code, call: call, flags: flags))
  }

  @Test func `a broker that is away ends a session as often as it likes, never the worker`() {
    var restarts = LaneRestarts()
    var pauses: [UInt32] = []
    for round in 0..<100 as Range<UInt64> {
      let began = round * 10 * Self.second
      let failure = kafka(KafkaCode.timedOut, round % 2 == 0 ? .query : .initTransactions, .retriable)
      guard case .again(_, let pause) = restarts.decide(after: failure, began: began, now: began + Self.second) else {
        Issue.record("the worker was ended in round \(round)")
        return
      }
      pauses.append(pause)
    }
    #expect(pauses.first == LaneRestarts.pauseFirst)
    #expect(zip(pauses, pauses.dropFirst()).allSatisfy { $0 <= $1 } && pauses.last == LaneRestarts.pauseMax)
  }

  @Test func `after a calm session the pauses begin anew`() {
    var restarts = LaneRestarts()
    for _ in 0..<5 { _ = restarts.decide(after: .superseded("lost"), began: 0, now: 1) }
    let decision = restarts.decide(after: .superseded("lost"), began: 0, now: LaneRestarts.calmNanoseconds)
    #expect(decision == .again(reason: "lost", pauseMilliseconds: LaneRestarts.pauseFirst))
  }

  @Test func `one fencing of the member is survived, a second one soon after is another's`() {
    var restarts = LaneRestarts()
    let fenced = kafka(KafkaCode.fencedInstance, .consume, .fatal)
    func survives(at time: UInt64) -> Bool {
      if case .again = restarts.decide(after: fenced, began: time, now: time) { true } else { false }
    }
    #expect(survives(at: 5 * Self.second))
    #expect(!survives(at: 20 * Self.second))
    #expect(survives(at: 200 * Self.second))
    #expect(fenced.exitCode == 75)
  }

  @Test func `what starting again would not help ends the worker`() {
    for failure in [
      .unrecoverable("x"), .misconfigured("x"), .beyondTolerance("x"), .storage("x"),
      kafka(KafkaCode.unknownTopicOrPartition, .query), kafka(KafkaCode.fenced, .commit, .fatal),
    ] as [WorkerFailure] {
      var restarts = LaneRestarts()
      #expect(restarts.decide(after: failure, began: 0, now: 1) == .fail(failure))
    }
  }
}
