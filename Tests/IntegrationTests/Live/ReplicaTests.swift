import Foundation
import Kafka
import Learning
import Records
@testable import RunChecker
import TestSupport
import Testing

extension LiveTests {
  /// Workers on one pipeline hold one model, and can prove it.
  @Suite(.serialized) struct Replicas {
    static let often = ["learning.keep_every=50"]

    /// A tag, and what every member answers to it.
    private func stateHashes(_ scene: Scene, _ id: String, _ instances: [String]) throws -> Set<Digest> {
      try scene.send(id, .tag(name: id))
      var hashes: [String: Digest] = [:]
      try wait(seconds: 30, "every answer to \(id)") {
        try scene.checkRunning()
        for ack in try scene.acks() where ack.id == id && ack.status == .accepted {
          hashes[ack.instance] = ack.stateHash
        }
        return instances.allSatisfy { hashes[$0] != nil }
      }
      return Set(hashes.values)
    }

    /// Starts all members, the first before the others, and waits until each has folded the log to its end.
    private func startTogether(_ scene: Scene) throws {
      for member in scene.members {
        try member.worker.start()
        try wait(seconds: 60, "\(member.instance) to hold the model") {
          try scene.checkRunning()
          return member.worker.log.contains("model-ready")
        }
      }
    }

    private func claims(_ scene: Scene) throws -> [HashClaim] {
      try scene.read(scene.pipeline.settings.topics.learning)[0].compactMap { record in
        if case .claim(let claim)? = try? LearningRecord.decode(record.value) { claim } else { nil }
      }
    }

    private func alerts(_ scene: Scene) throws -> Set<String> {
      Set(
        try scene.read(scene.pipeline.settings.topics.alerts).joined()
          .compactMap { try JSONValue(parsing: $0.value)["kind"]?.string })
    }

    @Test func `two workers hold the same state at the same version, and confirm each other's`() throws {
      let scene = try Scene("agree", settings: Self.often)
      try scene.addMember("two")
      let feed = Feed(scene, requests: 500)
      try startTogether(scene)
      try feed.flow("both to take part") {
        try scene.checkRunning()
        return scene.members.allSatisfy { $0.partitions ?? 0 > 0 }
      }
      while !feed.isEmpty { try feed.send(1) }
      try scene.drain()
      #expect(try stateHashes(scene, "both", ["one", "two"]) == [try scene.folded().stateHash])
      let claims = try claims(scene)
      let versions = Dictionary(grouping: claims, by: \.version)
      let byBoth = versions.values.filter { Set($0.map(\.instance)) == ["one", "two"] }
      #expect(byBoth.count >= 2)
      for claims in versions.values { #expect(Set(claims.map { "\($0.stateHash) \($0.ledgerHash)" }).count == 1) }
      try wait(seconds: 20, "what was tagged to be confirmed") {
        try scene.folded().ledger.tagged("both")?.isConfirmed == true
      }
      try feed.finish(comparesPartitionStates: false)
    }

    @Test func `row 50: a worker that declares other learning settings obeys the log, and a charter puts them in force for all`()
      throws
    {
      let scene = try Scene("charter", settings: Self.often)
      let feed = Feed(scene, requests: 700)
      let deployed = try scene.addMember("two", settings: ["learning.rate=0.2"])
      try startTogether(scene)
      try feed.flow("both to take part") {
        try scene.checkRunning()
        return scene.members.allSatisfy { $0.partitions ?? 0 > 0 }
      }
      try feed.advance(900)
      #expect(deployed.worker.log.contains("charter-differs"))
      #expect(try stateHashes(scene, "before", ["one", "two"]).count == 1)
      let old = try scene.foldedVersion()

      // An operator sees the difference, and puts it in force.
      let key = scene.directory.appendingPathComponent("operator").path
      try scene.operatorKey.pem().write(toFile: key, atomically: true, encoding: .utf8)
      chmod(key, 0o600)
      let control = WorkerProcess(
        arguments: [
          "control", "charter", "--config", TestPipeline.file, "--set", "learning.keep_every=50", "--set",
          "learning.rate=0.2", "--key", key, "--reason", "a higher rate",
        ], variables: scene.pipeline.variables, logFile: scene.directory.appendingPathComponent("control").path)
      try control.start()
      #expect(try control.waitForExit(seconds: 60) == 0, "\(control.log)")
      for told in ["champion rate: 0.1 → 0.2", "keeping=base-rate", "beginning=champion,no-windows", "2/2 applied"] {
        #expect(control.log.contains(told), "\(told) in \(control.log)")
      }
      #expect(scene.worker.log.contains("charter-differs"))

      while !feed.isEmpty { try feed.send(1) }
      try scene.drain()
      #expect(try stateHashes(scene, "after", ["one", "two"]) == [try scene.folded().stateHash])
      let folded = try scene.folded()
      #expect(folded.version.lineage.value == old.lineage.value + 1)
      try wait(seconds: 20, "what the charter made to be confirmed, and its record") {
        let ledger = try scene.folded().ledger
        return ledger.kept.first { $0.version.lineage == folded.version.lineage }?.isConfirmed == true
          && ledger.counters.chartersIgnored > 0
      }
      try scene.send("back", .rollback(to: .tag("before"), then: .continue))
      #expect(try scene.waitForAck("back", .rejected).detail.contains("earlier charter"))
      try feed.finish(comparesPartitionStates: false)
    }

    @Test func `a worker with an empty disk starts from what was published, and returns to a version it never held`()
      throws
    {
      let scene = try Scene("bootstrap", settings: Self.often)
      // As declared, and as eagerly as a broker can: what nobody names any more is really gone.
      if LocalBroker.isApacheKafka {
        try scene.admin.change(
          [
            .init("cleanup.policy", "compact"), .init("min.cleanable.dirty.ratio", "0.01"),
            .init("segment.ms", "500"), .init("delete.retention.ms", "100"),
          ], ofTopic: scene.pipeline.settings.topics.checkpoints)
      }
      let feed = Feed(scene, requests: 700)
      try scene.worker.start()
      try feed.advance(700)
      let good = try #require(try stateHashes(scene, "good", ["one"]).first)
      _ = try scene.waitForAck("good", .applied)
      try feed.flow("two later versions to be confirmed") {
        try scene.checkRunning()
        let ledger = try scene.folded().ledger
        guard let tagged = ledger.tagged("good") else { return false }
        return ledger.kept.count { $0.isConfirmed && tagged.place < $0.place } >= 2
      }
      let second = try scene.addMember("two")
      try second.worker.start()
      try feed.flow("the second to take part") {
        try scene.checkRunning()
        return second.partitions ?? 0 > 0
      }
      #expect(second.worker.log.contains("model-fetched"), "\(second.worker.log)")
      try scene.send("back", .rollback(to: .tag("good"), then: .continue))
      try wait(seconds: 30, "both to apply the rollback") {
        try scene.checkRunning()
        return Set(try scene.acks().filter { $0.id == "back" && $0.status == .applied }.map(\.instance)) == ["one", "two"]
      }
      let accepted = try scene.acks().filter { $0.id == "back" && $0.status == .accepted }
      #expect(Set(accepted.map(\.stateHash)) == [good])
      #expect(second.worker.log.contains("state-fetched"), "\(second.worker.log)")
      while !feed.isEmpty { try feed.send(1) }
      try scene.drain()
      #expect(try stateHashes(scene, "after", ["one", "two"]) == [try scene.folded().stateHash])
      try feed.finish(comparesPartitionStates: false)
    }

    @Test func `row 42: what a rollback returns to is fetched and served while another worker hangs in a transaction`() throws {
      let scene = try Scene("fetched", settings: Self.often)
      let feed = Feed(scene, requests: 1_500)
      try scene.worker.start()
      try feed.advance(500)
      _ = try stateHashes(scene, "good", ["one"])
      let good = try #require(try scene.waitForAck("good", .applied).version)
      try feed.flow("a later version to be confirmed") {
        try scene.checkRunning()
        return try scene.folded().ledger.kept.last.map { $0.isConfirmed && good < $0.version } ?? false
      }
      let second = try scene.addMember("two")
      try second.worker.start()
      try feed.flow("the second to take part") {
        try scene.checkRunning()
        return second.partitions ?? 0 > 0
      }
      #expect(second.worker.log.contains("model-fetched") && !second.worker.log.contains("state-fetched"))
      #expect(try scene.worker.terminate() == 0)
      try scene.worker.start(fail: "after_send_offsets:8:stop")
      try feed.flow("the first to hang in its transaction") { scene.worker.isStopped }
      func servedAsGood() throws -> Int {
        try scene.read(scene.pipeline.settings.topics.predictions, waitsForOpen: false).joined().count { record in
          try JSONValue(parsing: record.value)["version"]?.string == good.description
        }
      }
      let before = try servedAsGood()
      try scene.send("back", .rollback(to: .tag("good"), then: .freeze))
      try feed.flow("the second to serve what it never held", seconds: 30) { try servedAsGood() > before }
      #expect(second.worker.log.contains("state-fetched"))
      #expect(scene.worker.isStopped)
      scene.worker.signal(SIGCONT)
      try feed.flow("both to apply the rollback") {
        try scene.checkRunning()
        return Set(try scene.acks().filter { $0.id == "back" && $0.status == .applied }.map(\.instance)) == ["one", "two"]
      }
      try feed.finish(comparesPartitionStates: false)
    }

    @Test func `row 39: a flipped bit is noticed at the next claim, told, and folded away`() throws {
      let scene = try Scene("flipped", settings: Self.often)
      let second = try scene.addMember("two", variables: ["MILLRACE_TEST_FLIP_WEIGHT": "120"])
      let feed = Feed(scene, requests: 700)
      try startTogether(scene)
      try feed.flow("the second to fold again") {
        try scene.checkRunning()
        return second.worker.log.contains("to another model")
      }
      #expect(second.worker.log.contains("replicas-differ") && scene.worker.log.contains("replicas-differ"))
      while !feed.isEmpty { try feed.send(1) }
      try scene.drain()
      #expect(try stateHashes(scene, "healed", ["one", "two"]) == [try scene.folded().stateHash])
      #expect(try alerts(scene).contains("learning-replicas-differ"))
      // Nothing that the log confirmed is of the flipped bit.
      let ledger = try scene.folded().ledger
      #expect(ledger.kept.allSatisfy { !$0.isConfirmed || $0.isBeyondDoubt })
      #expect(try claims(scene).contains { claim in claim.instance == "two" && claim.fold > 1 })
      for member in scene.members { #expect(try member.worker.terminate() == 0) }
      // What it left on disk is the model that the log makes.
      let evidence = try scene.evidence(comparesPartitionStates: false)
      var history = ModelHistory()
      for record in evidence.learning where record.offset < evidence.modelStates.first?.next ?? 0 { history.fold(record) }
      #expect(history.state.isWhat(evidence.modelStates.first?.bytes ?? []))
    }

    @Test func `row 39: a worker that differs again after folding again stops scoring, the others go on`() throws {
      let scene = try Scene("faulty", settings: Self.often)
      try scene.addMember("two")
      let third = try scene.addMember("three", variables: ["MILLRACE_TEST_FLIP_WEIGHT": "120:always"])
      let feed = Feed(scene, requests: 900)
      try startTogether(scene)
      var code: Int32?
      try feed.flow("the faulty one to stop", seconds: 120) {
        code = third.worker.pollExit()
        for member in scene.members.dropLast() { try member.worker.checkRunning() }
        return code != nil
      }
      #expect(code == 65, "\(third.worker.log.suffix(2_000))")
      #expect(third.worker.log.contains("folded again, to the same model"))
      #expect(third.worker.log.contains("replica-stopped"))
      #expect(try alerts(scene).isSuperset(of: ["learning-replicas-differ", "learning-replica-stopped"]))
      let ledger = try scene.folded().ledger
      #expect(ledger.kept.allSatisfy { !$0.isConfirmed || $0.isBeyondDoubt })
      #expect(try stateHashes(scene, "rest", ["one", "two"]).count == 1)
      for member in scene.members.dropLast() { #expect(try member.worker.terminate() == 0) }
    }

    @Test(.long) func `row 39: of two workers that differ for good both stop`() throws {
      let scene = try Scene("tied", settings: Self.often)
      try scene.addMember("two", variables: ["MILLRACE_TEST_FLIP_WEIGHT": "120:always"])
      let feed = Feed(scene, requests: 900)
      try startTogether(scene)
      var codes: [String: Int32] = [:]
      try feed.flow("both to stop", seconds: 120) {
        for member in scene.members {
          if let code = member.worker.pollExit() { codes[member.instance] = code }
        }
        return codes.count == 2
      }
      #expect(codes == ["one": 65, "two": 65])
      #expect(try scene.folded().ledger.kept.allSatisfy { !$0.isConfirmed || $0.isBeyondDoubt })
    }

    @Test func `row 40: where the log was cut a worker starts from what was published, and refuses where that is cut off too`()
      throws
    {
      let scene = try Scene("cut", settings: Self.often)
      let feed = Feed(scene, requests: 500)
      try scene.worker.start()
      while !feed.isEmpty { try feed.send(1) }
      try scene.drain()
      try wait(seconds: 30, "what was kept to be confirmed") {
        try scene.folded().ledger.kept.allSatisfy(\.isConfirmed)
      }
      #expect(try scene.worker.terminate() == 0)
      let whole = try scene.folded()
      let base = try #require(whole.ledger.kept.last)
      let log = TopicPartition(scene.pipeline.settings.topics.learning, 0)

      try scene.admin.deleteRecords(before: [PartitionOffset(log, offset: base.place.value + 1)])
      try FileManager.default.removeItem(atPath: scene.stateDirectory)
      // What the versions scored that are still published can be computed again without any worker's disk.
      let verified = try scene.millrace(["verify", "--json"])
      let report = try JSONValue(parsing: verified.text)
      #expect(verified.code == 0 && report["predictions_differing"]?.integer == 0, "\(verified.text)")
      #expect(report["model_start"]?.string?.contains("published") == true, "\(verified.text)")
      #expect(report["predictions_equal"]?.integer ?? 0 > 0, "\(verified.text)")
      try scene.worker.start()
      try scene.send("there", .tag(name: "there"))
      #expect(try scene.waitForAck("there", .applied, seconds: 40).stateHash == whole.stateHash)
      #expect(scene.worker.log.contains("model-fetched"))
      #expect(try scene.worker.terminate() == 0)

      let end = try #require(try scene.read(log.topic)[0].last).offset + 1
      try scene.admin.deleteRecords(before: [PartitionOffset(log, offset: end)])
      try FileManager.default.removeItem(atPath: scene.stateDirectory)
      // The tag was published as well: it is forgotten too.
      try scene.admin.deleteRecords(
        before: [PartitionOffset(TopicPartition(scene.pipeline.settings.topics.checkpoints, 0), offset: -1)])
      try scene.worker.start()
      #expect(try scene.worker.waitForExit(seconds: 30) == 65)
      #expect(scene.worker.log.contains("neither a checkpoint nor a published version leads to it"))
    }
  }
}
