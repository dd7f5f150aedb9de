import Foundation
import Learning
import Records
@testable import RunChecker
import Testing

extension LiveTests {
  /// Records that cannot be used, commands that must not count, and those that must.
  @Suite(.serialized) struct Commands {
    @Test func `row 43: forged, stale and foreign commands change nothing, a rollback returns to the very model`() throws {
      let scene = try Scene("command")
      let stream = Stream(seed: 17, requests: 600, partitions: TestPipeline.partitions, faultShare: 0.5).records
      let third = stream.count / 3
      try scene.worker.start()
      try scene.produce(stream[..<third])
      try scene.drain()
      let before = try scene.foldedVersion()
      #expect(before.sequence.value > 50)

      try refuse(scene)
      #expect(try scene.foldedVersion() == before)

      // A tag keeps what stands; the same bytes again have no further effect.
      let tag = try scene.send("tag-1", .tag(name: "good"))
      let applied = try scene.waitForAck("tag-1", .applied)
      #expect(applied.version == before)
      try scene.command(tag.value, signature: tag.signature)
      try wait(seconds: 20, "the answer to the repeated command") {
        try scene.acks().contains { $0.id == "tag-1" && $0.detail.contains("seen before") }
      }
      #expect(try scene.folded().ledger.kept.filter { $0.tags == ["good"] }.count == 1)

      // Learns on, returns to the tag, and learns no more.
      try scene.produce(stream[third..<(2 * third)])
      try scene.drain()
      let later = try scene.foldedVersion()
      #expect(later.sequence > before.sequence)
      try scene.send("back-1", .rollback(to: .tag("good"), then: .freeze), expectLineage: before.lineage)
      #expect(try scene.waitForAck("back-1", .accepted).stateHash == applied.stateHash)
      let back = try scene.waitForAck("back-1", .applied)
      #expect(back.version?.lineage.value == before.lineage.value + 1)
      #expect(back.stateHash == applied.stateHash)
      try scene.produce(stream[(2 * third)...])
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)

      let findings = try scene.findings()
      #expect(findings.isEmpty, "\(findings.count): \(findings.prefix(10))")
      try checkFrozen(scene, since: later, hash: try #require(applied.stateHash))
    }

    /// Everything learnt after the switch is counted frozen, and every prediction after it is of the tagged state.
    private func checkFrozen(_ scene: Scene, since later: ModelVersion, hash: Digest) throws {
      let evidence = try scene.evidence()
      var history = ModelHistory()
      var frozen: UInt64 = 0
      for record in evidence.learning {
        history.fold(record)
        if history.state.ledger.isFrozen,
          case .examples(let block) = try LearningRecord.decode(record.value)
        { frozen += UInt64(block.count) }
      }
      #expect(frozen > 0)
      #expect(history.state.ledger.counters.frozen == frozen)
      #expect(history.state.stateHash == hash)
      #expect(history.state.version.sequence.value >= later.sequence.value + frozen)
      let tagged = try #require(history.state.ledger.tagged("good"))
      #expect(tagged.digest == hash)
      let served = Set(
        try evidence.predictions.joined().compactMap {
          try JSONValue(parsing: $0.value)["version"]?.string.flatMap { ModelVersion($0) }
        })
      let after = served.filter { $0.lineage.value > later.lineage.value }
      #expect(!after.isEmpty)
      for version in after { #expect(history.hashes[version] == hash, "version=\(version)") }
    }

    /// Sends everything that must be turned down, and waits for the answers.
    private func refuse(_ scene: Scene) throws {
      let stranger = try Ed25519.PrivateKey(seed: [UInt8](repeating: 99, count: 32))
      let good = scene.order("unsigned-1", .freeze)
      try scene.command(good.json(), signature: nil)
      let forged = try scene.order("forged-1", .freeze).signed(with: stranger)
      try scene.command(forged.value, signature: forged.signature)
      var stale = scene.order("expired-1", .freeze)
      stale.issuedAt = EventTime(milliseconds: 1_000)
      stale.expiresAt = EventTime(milliseconds: 2_000)
      try scene.send(stale)
      var foreign = scene.order("foreign-1", .freeze)
      foreign.pipeline = "another"
      try scene.send(foreign)
      var cluster = scene.order("cluster-1", .freeze)
      cluster.clusterID = "another-cluster"
      try scene.send(cluster)
      try scene.send(
        "unkept-1",
        .rollback(
          to: .version(ModelVersion(lineage: Lineage(1), sequence: Sequence(999_999))), then: .freeze))
      try scene.send("untagged-1", .rollback(to: .tag("never"), then: .continue))
      var old = scene.order("lineage-1", .freeze)
      old.expectLineage = Lineage(9)
      try scene.send(old)
      var unknown = String(decoding: scene.order("unknown-1", .freeze).json(), as: UTF8.self)
      unknown.insert(contentsOf: #""more":1,"#, at: unknown.index(after: unknown.startIndex))
      try scene.sendSigned(unknown)
      var twice = String(decoding: scene.order("twice-1", .freeze).json(), as: UTF8.self)
      twice.insert(contentsOf: #""kind":"tag","#, at: twice.index(after: twice.startIndex))
      try scene.sendSigned(twice)
      try scene.sendSigned("{")

      for (id, reason) in [
        ("unsigned-1", "signature"), ("forged-1", "signature"), ("expired-1", "expired"),
        ("cluster-1", "another cluster"), ("unkept-1", "not kept"), ("untagged-1", "not kept"),
        ("lineage-1", "lineage"), ("unknown-1", "unknown member"),
      ] {
        let ack = try scene.waitForAck(id, .rejected)
        #expect(ack.detail.contains(reason), "\(ack)")
      }
      // Bytes that name no command have nobody to answer: they are told in the log.
      try wait(seconds: 10, "the refusal of bytes that are no command") {
        let refused = scene.worker.log.split(separator: "\n").filter { $0.contains("command-refused") }
        return ["duplicateKey", "malformed"].allSatisfy { told in refused.contains { $0.contains(told) } }
      }
      let acks = try scene.acks()
      #expect(!acks.contains { $0.id == "foreign-1" })
      #expect(!acks.contains { $0.status == .accepted || $0.status == .applied })
    }
  }
}
