import Foundation
import Testing

extension LiveTests.Faults {
  /// `make soak MINUTES=n SEED=s`. Not part of other runs: what a fault at random meets is up to the machine, and a run
  /// that is to say whether a change is sound has to say the same twice.
  @Suite(.serialized, .enabled(if: Chaos.minutes > 0, "for as long as make soak MINUTES=n asks")) struct Soak {
    @Test func `row 52: under faults at random and a constant load nothing is lost, doubled or changed, and memory does not grow`() throws {
      let minutes = Chaos.minutes
      let seed = UInt64(ProcessInfo.processInfo.environment["MILLRACE_SOAK_SEED"] ?? "") ?? UInt64.random(in: 1...999_999)
      let chaos = try Chaos(seed: seed, minutes: minutes)
      try chaos.run()
      let feed = Feed(chaos.scene, requests: 0)
      try chaos.scene.drain(seconds: 180)
      try chaos.scene.expectAccounts()
      try feed.finish(comparesPartitionStates: false, seconds: 120)
      // A leak of some tens of bytes a record would pass this within an hour, what a short run wavers by does not.
      #expect(chaos.late < chaos.early * 1.3 + 32 * 1_024, "seed=\(seed) KiB \(chaos.early) → \(chaos.late), \(chaos.slope) a minute")
      #expect(chaos.most < 512 * 1_024, "seed=\(seed) \(chaos.most) KiB")
      #expect(chaos.faults.count >= min(5, Int(minutes * 5)), "seed=\(seed) \(chaos.faults)")
    }
  }
}
