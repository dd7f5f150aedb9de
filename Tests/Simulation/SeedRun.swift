import Foundation
import Records
import Synchronization

/// What one seed came to.
struct SeedResult: Sendable {
  var seed: UInt64
  var findings: [String]
  /// Digests of all that happened, and of all that lies in the logs at the end.
  var history: UInt64
  var logs: Digest
  var steps: Int
  var milliseconds: UInt64
  var counts: World.Counts

  static func of(
    _ scenario: Scenario, stacks: StackPool, plant: Plant = Plant(), trace: ((UInt64, String) -> Void)? = nil
  ) -> SeedResult {
    let world = World(scenario, stacks: stacks, plant: plant)
    world.scheduler.trace = trace
    var findings = world.run()
    // Whoever was told of a loss looks after it himself; there is nothing to expect of the rest.
    if findings.isEmpty, !world.counts.isLossTold { findings = world.judge() }
    return SeedResult(
      seed: scenario.seed, findings: findings, history: world.scheduler.history, logs: world.logs, steps: world.scheduler.steps,
      milliseconds: world.milliseconds, counts: world.counts)
  }

  /// Plays many scenarios, one on each core; the results in their order.
  static func of(
    _ seeds: Range<UInt64>, plant: @escaping @Sendable () -> Plant = { Plant() },
    scenario: @escaping @Sendable (UInt64) -> Scenario
  ) -> [SeedResult] {
    let next = Mutex(seeds.lowerBound)
    let results = Mutex<[SeedResult]>([])
    let done = DispatchGroup()
    for _ in 0..<ProcessInfo.processInfo.activeProcessorCount {
      done.enter()
      let thread = Thread {
        let stacks = StackPool()
        while true {
          let seed = next.withLock { seed in
            defer { seed += 1 }
            return seed
          }
          guard seed < seeds.upperBound else { break }
          let result = SeedResult.of(scenario(seed), stacks: stacks, plant: plant())
          results.withLock { $0.append(result) }
        }
        done.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    done.wait()
    return results.withLock { $0 }.sorted { $0.seed < $1.seed }
  }

}
