import Foundation
import Records
@testable import RunChecker
import Testing

/// Whole workers on a simulated cluster, disk and clock, by seed.
///
/// A seed that fails prints itself; `make simulate SEED=n` plays it alone, with everything that happens.
@Suite(.serialized) struct SimulationTests {
  static let environment = ProcessInfo.processInfo.environment
  static func number(_ name: String) -> UInt64? { environment[name].flatMap { UInt64($0) } }

  @Test func `quiet worlds drain, and nothing is wrong with what they leave`() {
    let results = SeedResult.of(0..<20) { seed in
      var scenario = Scenario(seed: seed)
      scenario.instances = seed % 2 == 0 ? ["a"] : ["a", "b"]
      scenario.partitions = Int32(1 + seed % 3)
      return scenario
    }
    expectClean(results)
  }

  @Test func `the same seed gives the same history and the same logs, alone or beside others on other threads`() {
    for first in SeedResult.of(3..<11, scenario: { Scenario.drawn($0) }) {
      let second = SeedResult.of(Scenario.drawn(first.seed), stacks: StackPool())
      #expect(first.history == second.history && first.logs == second.logs, "seed=\(first.seed)")
    }
  }

  @Test func `through every fault, nothing is lost, doubled or changed`() {
    if let seed = Self.number("SEED") {
      // PLANT names a bug that is put into the world, to look at how it is found.
      let bug = Self.environment["PLANT"].flatMap { PlantedBug(rawValue: $0) }
      let scenario = bug.map { PlantedBugTests.scenario(seed, for: $0) }
        ?? (Self.number("LOSSES") != nil ? Self.losing(seed) : Scenario.drawn(seed, faults: Self.number("FAULTS")))
      let result = SeedResult.of(scenario, stacks: StackPool(), plant: Plant(bug: bug)) { time, what in
        print("\((time - 1_000_000_000_000) / 1_000_000) \(what)")
      }
      print(result)
      expectClean([result])
      return
    }
    let first = Self.number("FROM") ?? 0
    let began = ContinuousClock.now
    let results = SeedResult.of(first..<(first + (Self.number("SEEDS") ?? 800))) {
      Scenario.drawn($0, faults: Self.number("FAULTS"))
    }
    expectClean(results)
    let counts = results.map(\.counts)
    var faults: [String: Int] = [:]
    for count in counts { faults.merge(count.byFault) { $0 + $1 } }
    var codes: [String: Int] = [:]
    for count in counts { codes.merge(count.byCode) { $0 + $1 } }
    print("simulation, what workers said:", codes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    // The same in any build, on any number of cores.
    let digest = Digest.of(results.flatMap { $0.logs.bytes })
    print(
      "simulation: \(results.count) seeds in \(Int(seconds)) s, \(Int(Double(results.count) / max(seconds, 1e-3) * 60)) a minute, digest=\(digest),",
      "\(results.reduce(0) { $0 + $1.steps }) steps, \(results.reduce(0) { $0 + $1.milliseconds } / 1_000) s of virtual time,",
      "\(counts.reduce(0) { $0 + $1.starts }) starts, \(counts.reduce(0) { $0 + $1.kills }) kills,",
      "\(counts.reduce(0) { $0 + $1.bareReplays }) replays without a checkpoint,",
      "drained within \(counts.map(\.drainMilliseconds).max() ?? 0) ms,",
      "\(counts.reduce(0) { $0 + $1.abandoned }) threads that would not unwind,",
      faults.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
  }

  @Test func `a coordinator that forgets who joined, again and again, costs a session, and no worker gives way to nobody`() {
    let results = SeedResult.of(0..<60) { seed in
      var scenario = Scenario.drawn(seed)
      scenario.faults.removeAll { if case .twin = $0.kind { true } else { false } }
      // Both quickly one after the other, and when a session has gone by.
      let pause = (1 + seed % 5) * Scenario.second
      for turn in 1...5 {
        scenario.faults.append(
          Scenario.Fault(at: min(pause * UInt64(turn), scenario.feedNanoseconds - 1), kind: .joiningForgotten, instance: 0))
      }
      return scenario
    }
    expectClean(results)
    // Some were fenced twice within a minute, and looked.
    #expect(results.reduce(0) { $0 + ($1.counts.byCode["fenced-again"] ?? 0) } > 20)
  }

  @Test func `of two that bear one name one gives way, however busy they are`() {
    let results = SeedResult.of(0..<12) { seed in
      var scenario = Scenario(seed: seed)
      scenario.requests = 300
      scenario.feedNanoseconds = 90 * Scenario.second
      // Commits hear of another before heartbeats do, and the other way round.
      scenario.transactionMilliseconds = seed % 2 == 0 ? 10 : 1_500
      scenario.faults = [Scenario.Fault(at: 3 * Scenario.second, kind: .twin(80 * Scenario.second), instance: 0)]
      return scenario
    }
    expectClean(results)
    for result in results {
      let (ends, sessions) = (result.counts.gaveWay, result.counts.byCode["rejoin"] ?? 0)
      // Not by taking each other's place again and again until one is lucky.
      #expect(ends > 0 && sessions <= 4 * ends + 2, "seed=\(result.seed) ends=\(ends) sessions=\(sessions)")
    }
  }

  @Test func `a producer that asks in vain is given up for another one, at whatever it was doing`() {
    let results = SeedResult.of(0..<40) { seed in
      var scenario = Scenario(seed: seed)
      scenario.instances = seed % 2 == 0 ? ["a"] : ["a", "b"]
      scenario.transactionMilliseconds = seed % 3 == 0 ? 300 : 30
      scenario.hasCommands = seed % 4 == 0
      // Early: one that is stuck is followed by another that is, half a minute each, and then all has to be done in time.
      for turn in 1...2 as ClosedRange<UInt64> {
        scenario.faults.append(
          Scenario.Fault(at: scenario.feedNanoseconds / 8 * turn + seed * 37_000_000, kind: .wedge(next: (seed + turn) % 2 == 0), instance: 0))
      }
      return scenario
    }
    expectClean(results)
  }

  @Test func `acknowledged records that brokers lose were read by nobody, or the loss is told`() {
    let results = SeedResult.of(0..<(Self.number("LOSSES") ?? 100)) { Self.losing($0) }
    expectClean(results)
    let lost = results.filter { $0.counts.lostRecords > 0 }
    print("simulation: \(lost.count) worlds lost records, \(lost.count { $0.counts.isLossTold }) were told")
    #expect(lost.contains { $0.counts.isLossTold } && lost.contains { !$0.counts.isLossTold })
  }

  /// As drawn, and some last records of a partition are lost: of an input once all was fed, since nobody can tell that
  /// others have taken their offsets before he looks; of the journal at any time.
  private static func losing(_ seed: UInt64) -> Scenario {
    var scenario = Scenario.drawn(seed)
    var random = SplitMix(seed ^ 0x1055)
    let (count, draw, at) = (Int64(1 + random.next() % 6), random.next(), random.next())
    let isInput = draw % 4 < 3
    scenario.faults.append(
      Scenario.Fault(
        at: isInput ? scenario.feedNanoseconds / 100 * 97 : at % scenario.feedNanoseconds,
        kind: .dataLoss(count, draw), instance: 0))
    return scenario
  }

  private func expectClean(_ results: [SeedResult]) {
    for result in results where !result.findings.isEmpty {
      Issue.record(
        "seed \(result.seed): \(result.findings.count) findings: \(result.findings.prefix(3).joined(separator: "; ").prefix(1_500)); alone: make simulate SEED=\(result.seed)\(Self.number("FAULTS").map { " FAULTS=\($0)" } ?? "")"
      )
    }
    #expect(!results.isEmpty)
  }
}
