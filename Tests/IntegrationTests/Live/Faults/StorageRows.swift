import Checkpoints
import Foundation
import Kafka
import Records
@testable import RunChecker
import Storage
import Testing

extension LiveTests.Faults {
  /// Disks that fail, checkpoints of others, logs that are cut.
  @Suite(.serialized) struct Disks {
    @Test(.long) func `row 11: a full disk, a device that fails and a failing fsync stop no scoring`() throws {
      let scene = try Scene("disk")
      let feed = Feed(scene, requests: 900)
      let store = CheckpointStore(scene.stateDirectory)
      for fail in ["checkpoint_write:2+:full", "checkpoint_fsync:1+:io", "checkpoint_dirsync:1+:io", "checkpoint_rename:1+:io"] {
        let size = scene.worker.logSize
        let before = try newest(store)
        try scene.worker.start(fail: fail)
        try feed.advance(150)
        try feed.flow("the alarm of \(fail)") {
          try scene.checkRunning()
          return scene.worker.log(since: size).contains("checkpoint-failed")
        }
        try feed.advance(60)
        scene.worker.kill()
        // A name that may not be on the device is given up.
        #expect(try newest(store) == before, "\(fail)")
      }
      try scene.worker.start()
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .enabled(if: geteuid() == 0, "needs the right to mount a small file system"))
    func `row 11: a file system that is full stops no scoring`() throws {
      let scene = try Scene("tmpfs")
      try FileManager.default.createDirectory(atPath: scene.stateDirectory, withIntermediateDirectories: true)
      let mounted = mount("tmpfs", scene.stateDirectory, "tmpfs", 0, "size=64k")
      try #require(mounted == 0, "mount: \(String(cString: strerror(errno)))")
      defer { umount2(scene.stateDirectory, Int32(MNT_DETACH)) }
      let feed = Feed(scene, requests: 600)
      try scene.worker.start()
      try feed.flow("the alarm of a full disk", every: .milliseconds(20)) {
        try scene.checkRunning()
        return scene.worker.log.contains("checkpoint-failed")
      }
      try feed.advance(60)
      try feed.finish(comparesPartitionStates: false)
      #expect(scene.worker.log.contains("the disk or its quota is full"))
    }

    @Test(.long) func `row 12: checkpoints of another partition and of another pipeline are refused`() throws {
      let other = try Scene("foreign-other")
      let foreign = try withCheckpoints(other)
      let scene = try Scene("foreign")
      let feed = try withCheckpoints(scene)
      _ = foreign
      // Files of the other pipeline, under names newer than our own, and our partitions exchanged.
      let (theirs, ours) = (CheckpointStore(other.stateDirectory), CheckpointStore(scene.stateDirectory))
      let stolen = try #require(try theirs.list(.partition, PartitionID(0)).last)
      for name in try ours.list(.partition, PartitionID(0)) { try FileManager.default.removeItem(atPath: ours.path(name)) }
      try FileManager.default.copyItem(atPath: theirs.path(stolen), toPath: ours.path(stolen))
      let (one, two) = (
        try #require(try ours.list(.partition, PartitionID(1)).last), try #require(try ours.list(.partition, PartitionID(2)).last)
      )
      let bytes = try Data(contentsOf: URL(fileURLWithPath: ours.path(one)))
      try Data(contentsOf: URL(fileURLWithPath: ours.path(two))).write(to: URL(fileURLWithPath: ours.path(one)))
      try bytes.write(to: URL(fileURLWithPath: ours.path(two)))
      let size = scene.worker.logSize
      try scene.worker.start()
      try feed.advance(60)
      let refusals = scene.worker.log(since: size).split(separator: "\n").filter { $0.contains("checkpoint-refused") }
      #expect(refusals.count >= 3, "\(refusals)")
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long) func `row 13: a start whose records are no longer kept is refused loudly`() throws {
      let scene = try Scene("retention")
      let feed = try withCheckpoints(scene)
      let store = CheckpointStore(scene.stateDirectory)
      for name in try store.list() where name.kind == .partition {
        try FileManager.default.removeItem(atPath: store.path(name))
      }
      let committed = try #require(try scene.committed()[0][0])
      try scene.admin.deleteRecords(before: [
        PartitionOffset(TopicPartition(scene.pipeline.settings.features.inputs[0].topic, 0), offset: committed)
      ])
      try scene.worker.start()
      #expect(try scene.worker.waitForExit(seconds: 30) == 65)
      #expect(scene.worker.log.contains("no longer kept"))
      _ = feed
    }

    @Test(.long, .needsKafka(Members.silence)) func `row 14: a group that was deleted goes on where its journal ends`() throws {
      let scene = try Scene("group", settings: Members.short)
      let feed = try withCheckpoints(scene)
      try wait(seconds: 30, "the group to be empty") {
        try scene.admin.members(ofGroup: scene.pipeline.settings.name).isEmpty
      }
      try scene.admin.delete(group: scene.pipeline.settings.name)
      #expect(try scene.committedCount() == 0)
      let size = scene.worker.logSize
      try scene.worker.start()
      try feed.flow("the journal to supply the offsets") {
        try scene.checkRunning()
        return scene.worker.log(since: size).contains("committed offsets are gone")
      }
      try feed.finish()
    }

    /// A worker that has run, written checkpoints and ended.
    private func withCheckpoints(_ scene: Scene) throws -> Feed {
      let feed = Feed(scene, requests: 450)
      try scene.worker.start()
      try feed.advance(600)
      #expect(try scene.worker.terminate() == 0)
      return feed
    }

    private func newest(_ store: CheckpointStore) throws -> CheckpointName? {
      ((try? store.list()) ?? []).filter { $0.kind == .partition }.max { $0.generation < $1.generation }
    }
  }
}
