import Foundation
@testable import RunChecker
import Testing

extension LiveTests.Faults {
  /// What became of every record, however it came and whoever died over it.
  @Suite(.serialized) struct Accounts {
    @Test func `row 55: through a hostile stream, a lost disk, a kill and a rebalance every record is counted once, alike in metrics, account and topics`() throws {
      let scene = try Scene("account", settings: Members.short)
      // Event time must have gone on for longer than any state remembers when partitions move.
      let feed = Feed(scene, seed: 55, requests: 1_500, faultShare: 0.25, piece: 15)
      try scene.worker.start()
      try feed.advance(2_700)
      // In good order, and before any kill: names of producers are remembered on that disk, and the small broker hides
      // what is written under one whose transaction was aborted once.
      #expect(try scene.worker.terminate() == 0)
      try FileManager.default.removeItem(atPath: scene.stateDirectory)
      try scene.worker.start()
      try feed.advance(300)
      scene.worker.kill()
      try scene.worker.start()
      try feed.advance(300)
      let second = try scene.addMember("two")
      try second.worker.start()
      try feed.flow("both to take part") {
        try scene.checkRunning()
        return scene.members.allSatisfy { $0.partitions ?? 0 > 0 }
      }
      try feed.advance(300)
      while !feed.isEmpty { try feed.send(1) }
      try scene.drain()
      // Otherwise this proves little: states were made again from the middle of the log, here and there.
      for member in scene.members {
        let restores = member.worker.log.split(separator: "\n").filter { $0.contains("restoring partition") }
        #expect(
          restores.contains { $0.contains(#""checkpoint":"no""#) && !$0.contains(#""from":"[0, 0, 0]""#) },
          "\(member.instance) \(restores)")
      }
      try scene.expectAccounts()
      try feed.finish(comparesPartitionStates: false)
    }
  }
}
