import Foundation
import Learning
import Records
@testable import RunChecker
import Storage
import Testing

extension LiveTests.Faults {
  /// The worker is killed at a chosen step of its protocol, several times over, and goes on where it stopped.
  @Suite(.serialized) struct Kills {
    @Test func `row 1: killed with records taken and none applied`() throws {
      try killed("after-poll", at: ["after_poll:1", "after_poll:6", "after_poll:17"])
    }

    @Test func `row 2: killed with a unit computed and nothing of it sent`() throws {
      try killed("after-apply", at: ["after_apply:1", "after_apply:5", "after_begin:3", "after_begin:8"])
    }

    @Test func `row 3: killed with outputs sent and no offsets`() throws {
      try killed("after-produce", at: ["after_produce:1", "after_produce:4", "after_produce:11"])
    }

    @Test func `row 4: killed with outputs and offsets sent and no commit`() throws {
      try killed("after-offsets", at: ["after_send_offsets:1", "after_send_offsets:5", "after_send_offsets:9"])
    }

    @Test func `row 5: killed at some moment of a commit`() throws {
      try killed(
        "during-commit",
        at: ["during_commit:2:kill=20", "during_commit:4:kill=500", "during_commit:3:kill=1500", "during_commit:6:kill=4000"])
    }

    @Test func `row 6: killed after a commit and before its checkpoint, the labels held back`() throws {
      // Small units: however many records a fetch brings, there is a second commit.
      let scene = try Scene("after-commit", settings: ["delivery.transaction.records=40"])
      let stream = Stream(seed: 6, requests: 450, partitions: TestPipeline.partitions, faultShare: 0.03).records
      for third in stream.pieces(of: stream.count / 3) {
        // Events go ahead, so that the waiting rows of several units are there when the worker dies.
        try scene.produce(third.filter { $0.input != Stream.outcomes })
        try die(scene, "after_commit:2")
        try scene.produce(third.filter { $0.input == Stream.outcomes })
        try die(scene, "after_commit:1")
      }
      try scene.worker.start()
      try Feed(scene, requests: 0).finish()
    }

    @Test(.long) func `row 7: killed before each call of a checkpoint's way to disk`() throws {
      let scene = try Scene("checkpoint")
      let feed = Feed(scene, requests: 1_500)
      // Every partition has a checkpoint to fall back to: the label join's own counts begin anew without one.
      let store = CheckpointStore(scene.stateDirectory)
      try scene.worker.start()
      try feed.flow("the first checkpoints") {
        try scene.checkRunning()
        return Set(((try? store.list()) ?? []).filter { $0.kind == .partition }.map(\.partition)).count == 3
      }
      scene.worker.kill()
      for point in [
        "checkpoint_create:3", "checkpoint_write:1", "checkpoint_write:7", "checkpoint_fsync:2", "checkpoint_rename:1",
        "checkpoint_rename:4", "checkpoint_dirsync:1", "checkpoint_dirsync:3", "checkpoint_written:2",
      ] { try feed.runUntilKilled(point) }
      try scene.worker.start()
      try feed.finish()
    }

    @Test func `row 38: killed between a kept version and the word of it`() throws {
      let scene = try Scene("kept")
      let feed = Feed(scene, requests: 700)
      try feed.runUntilKilled("between_chunks_and_manifest:1")
      try feed.runUntilKilled("between_chunks_and_manifest:1")
      try scene.worker.start()
      try feed.finish()
      let kept = try scene.folded().ledger.kept
      #expect(kept.count > 1)
      #expect(kept.filter { !$0.isStored }.isEmpty)
    }

    private func die(_ scene: Scene, _ fail: String) throws {
      try scene.worker.start(fail: fail)
      #expect(try scene.worker.waitForExit(seconds: 60) == 128 + SIGKILL)
    }

    private func killed(
      _ name: String, requests: Int = 450, at points: [String],
      _ location: SourceLocation = #_sourceLocation
    ) throws {
      let scene = try Scene(name)
      let feed = Feed(scene, requests: requests)
      for point in points { try feed.runUntilKilled(point, location) }
      try scene.worker.start()
      try feed.finish(of: { _ in }, location)
    }
  }
}
