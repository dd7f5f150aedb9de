@testable import RunChecker
import Testing

/// The simulation is itself tested: each planted fault has to be found, and soon.
@Suite(.serialized) struct PlantedBugTests {
  /// Seeds within which each has to be found.
  static let seedsMax: UInt64 = 300

  @Test func `records that a client hands out again after a rebalance are taken once`() {
    let bug = PlantedBug.recordsTakenAgainAfterARebalance
    let results = SeedResult.of(0..<60, plant: { Plant(bug: bug) }, scenario: { Self.scenario($0, for: bug) })
    for result in results {
      #expect(result.findings.isEmpty, "seed \(result.seed): \(result.findings.prefix(2))")
    }
  }

  @Test(arguments: PlantedBug.allCases.filter { $0 != .recordsTakenAgainAfterARebalance })
  func `a planted bug is found`(bug: PlantedBug) {
    var seed: UInt64 = 0
    while seed < Self.seedsMax {
      let results = SeedResult.of(seed..<(seed + 6), plant: { Plant(bug: bug) }) { Self.scenario($0, for: bug) }
      if let found = results.first(where: { !$0.findings.isEmpty }) {
        print("planted \(bug): seed \(found.seed): \(found.findings[0].prefix(160))")
        return
      }
      seed += 6
    }
    Issue.record("\(bug) was not found by \(Self.seedsMax) seeds")
  }

  /// As drawn, but answers are lost more often, markers take longer, and partitions move more often.
  static func scenario(_ seed: UInt64, for bug: PlantedBug) -> Scenario {
    var scenario = Scenario.drawn(seed)
    scenario.weather.lostRequests = 0.05
    scenario.weather.lostAnswers = 0.05
    scenario.weather.lateRequests = 0.5
    scenario.markerNanoseconds = 400_000_000
    scenario.instances = ["a", "b"]
    scenario.partitions = max(scenario.partitions, 2)
    scenario.isAtLeastOnce = false
    for fault in scenario.faults.indices { scenario.faults[fault].instance %= 2 }
    var moves: UInt64 = 3
    if bug == .revocationsNotHeard {
      // Units are open for long, so that one is when partitions go.
      (scenario.transactionRecords, scenario.transactionMilliseconds, moves) = (200, 1_000, 8)
    }
    // Requests are lost and arrive long after.
    if bug == .producerInDoubtUsedAgain { (scenario.weather.lostRequests, scenario.weather.lateRequests) = (0.12, 0.9) }
    if bug == .fileNamedBeforeItIsOnDisk || bug == .journalEndAskedOfTheStableLog || bug.isOfTheFolds {
      // What needs a rollback first needs time to learn.
      for turn in (bug == .countForgottenAfterARollback ? 4 : 1)...6 {
        let at = scenario.feedNanoseconds / 7 * UInt64(turn)
        scenario.faults.append(Scenario.Fault(at: at, kind: .kill(machine: !bug.isOfTheFolds), instance: turn % 2))
      }
    }
    // States are stored often, so that what is restored holds something.
    if bug.isOfTheFolds { scenario.checkpointMilliseconds = 200 }
    if bug == .countForgottenAfterARollback {
      (scenario.hasCommands, scenario.keepEvery) = (true, 5)
      (scenario.weather.lostRequests, scenario.weather.lostAnswers) = (0, 0)
      scenario.faults.removeAll { $0.at < scenario.feedNanoseconds / 2 }
    }
    for turn in 1...moves {
      let at = scenario.feedNanoseconds / (moves + 1) * turn
      scenario.faults.append(Scenario.Fault(at: at, kind: .rebalance, instance: 0))
    }
    return scenario
  }
}
