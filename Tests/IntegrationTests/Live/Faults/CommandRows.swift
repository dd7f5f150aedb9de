import Foundation
import Learning
import Records
@testable import RunChecker
import Testing

extension LiveTests.Faults {
  /// Commands while records flow and workers die.
  @Suite(.serialized) struct UnderCommand {
    @Test(.long) func `row 42: rollbacks to every target during load, one of them with the worker killed`() throws {
      let scene = try Scene("rollback")
      let feed = Feed(scene, requests: 1_800)
      try scene.worker.start()
      try feed.advance(600)
      try scene.send("tag-1", .tag(name: "good"))
      let tagged = try applied("tag-1", scene, feed)
      var lineage = try #require(tagged.version).lineage.value
      let targets: [(String, RollbackTarget)] = [
        ("back-1", .tag("good")), ("back-2", .previous), ("back-3", .version(try #require(tagged.version))),
        ("back-4", .tag("good")),
      ]
      for (id, target) in targets {
        try feed.advance(200)
        if id == "back-3" {
          // The command waits in the log for the one who comes after.
          scene.worker.kill()
          try scene.send(id, .rollback(to: target, then: .continue))
          try feed.send(10)
          try scene.worker.start()
        } else {
          try scene.send(id, .rollback(to: target, then: .continue))
        }
        let ack = try applied(id, scene, feed)
        lineage += 1
        #expect(ack.version?.lineage.value == lineage, "\(id) \(ack)")
        if id != "back-2" { #expect(ack.stateHash == tagged.stateHash, "\(id) \(ack)") }
      }
      try feed.finish()
      #expect(try scene.folded().version.lineage.value == lineage)
    }

    @Test func `row 42: a rollback brakes every worker at once while one hangs in an open transaction, and nothing newer scores after`() throws {
      let scene = try Scene("brake")
      let feed = Feed(scene, requests: 1_200)
      try scene.worker.start()
      try feed.advance(300)
      try scene.send("tag-1", .tag(name: "good"))
      let good = try #require(try applied("tag-1", scene, feed).version)
      let second = try scene.addMember("two")
      try second.worker.start(fail: "after_send_offsets:8:stop")
      try feed.flow("the second to hang in its transaction") { second.worker.isStopped }
      try scene.send("back-1", .rollback(to: .tag("good"), then: .freeze))
      try feed.flow("the first to serve what it was sent back to", seconds: 10) {
        try versions(scene).contains { $0.last.map { $0 == good || $0.lineage > good.lineage } ?? false }
      }
      #expect(scene.worker.log.contains("serving is pinned until the log confirms"))
      second.worker.signal(SIGCONT)
      try feed.flow("both to have applied it") {
        try scene.checkRunning()
        return try Set(scene.acks().filter { $0.id == "back-1" && $0.status == .applied }.map(\.instance)).count == 2
      }
      let before = try versions(scene).map(\.count)
      try feed.advance(100)
      for (partition, versions) in try versions(scene).enumerated() {
        #expect(versions.dropFirst(before[partition]).allSatisfy { $0.lineage > good.lineage }, "partition \(partition)")
      }
      try feed.finish(comparesPartitionStates: false)
    }

    /// Versions that scored, by partition, in order.
    private func versions(_ scene: Scene) throws -> [[ModelVersion]] {
      try scene.read(scene.pipeline.settings.topics.predictions, waitsForOpen: false).map { records in
        try records.map { record in
          try #require(try JSONValue(parsing: record.value)["version"]?.string.flatMap { ModelVersion($0) })
        }
      }
    }

    @Test func `row 44: killed between a command's effect and its answer, the effect is there once and the answer comes`() throws {
      let scene = try Scene("unanswered")
      let feed = Feed(scene, requests: 450)
      try scene.worker.start(fail: "before_ack:1")
      try feed.advance(200)
      try scene.send("freeze-1", .freeze)
      #expect(try scene.worker.waitForExit(seconds: 30) == 128 + SIGKILL)
      #expect(try scene.folded().ledger.isFrozen)
      #expect(try scene.acks().contains { $0.id == "freeze-1" && $0.status == .accepted } == false)
      try scene.worker.start()
      _ = try applied("freeze-1", scene, feed)
      try feed.finish()
      let ledger = try scene.folded().ledger
      #expect(ledger.isFrozen)
      #expect(ledger.counters.commandsAccepted == 1)
    }

    private func applied(_ id: String, _ scene: Scene, _ feed: Feed) throws -> CommandAck {
      var found: CommandAck?
      try feed.flow("the answer to \(id)", seconds: 40) {
        try scene.checkRunning()
        found = try scene.acks().first { $0.id == id && $0.status == .applied }
        return found != nil
      }
      return found!
    }
  }
}
