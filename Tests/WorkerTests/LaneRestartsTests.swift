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

  @Test(arguments: [(KafkaCall.sendOffsets, KafkaErrorFlags.requiresAbort), (.initTransactions, .fatal), (.query, KafkaErrorFlags())])
  func `a broker that is not to be trusted any more is waited for`(call: KafkaCall, flags: KafkaErrorFlags) {
    var restarts = LaneRestarts()
    // `_SSL`, as a broker with an expired certificate gives it.
    let failure = kafka(-181, call, flags)
    for round in 0..<100 as Range<UInt64> {
      guard case .again = restarts.decide(after: failure, began: round * Self.second, now: round * Self.second) else {
        Issue.record("the worker was ended in round \(round)")
        return
      }
    }
  }

  @Test func `after a calm session the pauses begin anew`() {
    var restarts = LaneRestarts()
    for _ in 0..<5 { _ = restarts.decide(after: .superseded("lost"), began: 0, now: 1) }
    let decision = restarts.decide(after: .superseded("lost"), began: 0, now: LaneRestarts.calmNanoseconds)
    #expect(decision == .again(reason: "lost", pauseMilliseconds: LaneRestarts.pauseFirst))
  }

  @Test(arguments: [
    (KafkaCode.fencedInstance, KafkaCall.consume), (KafkaCode.fenced, .commit),
  ]) func `one fencing is survived, after a second one soon after the group is asked`(code: Int32, call: KafkaCall) {
    var restarts = LaneRestarts()
    let fenced = kafka(code, call, .fatal)
    func isAsked(at time: UInt64) -> Bool {
      switch restarts.decide(after: fenced, began: time, now: time) {
      case .again: return false
      case .againIfAlone(_, let failure):
        #expect(failure == fenced)
        return true
      case .fail:
        Issue.record("the worker was ended")
        return false
      }
    }
    #expect(!isAsked(at: 5 * Self.second))
    #expect(isAsked(at: 20 * Self.second))
    #expect(isAsked(at: 79 * Self.second))
    #expect(!isAsked(at: 200 * Self.second))
    #expect(fenced.exitCode == 75)
  }

  @Test func `sessions that a producer's errors end are followed by others, but not for ever`() {
    for (code, flags) in [(KafkaCode.state, KafkaErrorFlags.requiresAbort), (KafkaCode.state, .fatal)] {
      var restarts = LaneRestarts()
      let failure = kafka(code, .commit, flags)
      func goesOn(_ began: UInt64, _ now: UInt64) -> Bool {
        if case .again = restarts.decide(after: failure, began: began, now: now) { true } else { false }
      }
      for round in 0..<UInt64(LaneRestarts.lossesMax) { #expect(goesOn(round * Self.second, round * Self.second)) }
      // One that went well meanwhile begins the count anew.
      #expect(goesOn(100 * Self.second, 140 * Self.second))
      for _ in 1..<LaneRestarts.lossesMax { #expect(goesOn(150 * Self.second, 151 * Self.second)) }
      #expect(!goesOn(160 * Self.second, 161 * Self.second))
    }
  }

  @Test func `what starting again would not help ends the worker`() {
    for failure in [
      .unrecoverable("x"), .misconfigured("x"), .beyondTolerance("x"), .storage("x"), .exhausted("x"),
      kafka(KafkaCode.unknownTopicOrPartition, .query), kafka(KafkaCode.state, .consume, .fatal),
      kafka(KafkaCode.messageTooLarge, .commit, .requiresAbort),
    ] as [WorkerFailure] {
      var restarts = LaneRestarts()
      #expect(restarts.decide(after: failure, began: 0, now: 1) == .fail(failure))
    }
  }
}
