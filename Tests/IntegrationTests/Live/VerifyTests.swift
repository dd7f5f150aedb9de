import Checkpoints
import Foundation
import Kafka
import Records
@testable import RunChecker
import Storage
import Testing

extension LiveTests {
  /// What an operator can check afterwards: that every prediction is what inputs and model give, and that nothing is
  /// unaccounted for.
  @Suite(.serialized) struct Verifying {
    @Test func `after kills, broken and lost checkpoints ten thousand predictions are computed again and equal`() throws {
      let seed = UInt64(ProcessInfo.processInfo.environment["MILLRACE_TEST_SEED"] ?? "") ?? 20_240_202
      var random = SplitMix(seed)
      let scene = try Scene("verify")
      let stream = Stream(seed: seed, requests: 11_500, partitions: TestPipeline.partitions, faultShare: 0.03).records
      var pieces = stream.pieces(of: 50)[...]
      let store = CheckpointStore(scene.stateDirectory)
      for round in 0..<8 {
        try send(&pieces, pieces.count / (14 - round), scene)
        let before = try scene.committedCount()
        try scene.worker.start()
        try wait(seconds: 40, "records to be committed, seed=\(seed) round=\(round)") {
          try scene.worker.checkRunning()
          return try scene.committedCount() > before + 200
        }
        if round == 0 || round % 2 == 1 {
          // An older one to fall back to.
          var next = ContinuousClock.now
          try wait(seconds: 40, "a second checkpoint of each partition, seed=\(seed) round=\(round)") {
            try scene.worker.checkRunning()
            if ContinuousClock.now >= next {
              try send(&pieces, 1, scene)
              next = .now + .milliseconds(100)
            }
            let files = Dictionary(grouping: try store.list()) { "\($0.kind)\($0.partition)" }
            return files.count == Int(TestPipeline.partitions) + 1 && files.values.allSatisfy { $0.count > 1 }
          }
        }
        usleep(UInt32.random(in: 0..<300_000, using: &random))
        scene.worker.kill()
        if round % 2 == 1 { try damageNewest(store) }
      }
      try scene.worker.start()
      try send(&pieces, pieces.count / 2, scene)
      try scene.drain()

      // While the worker runs: everything adds up, and it says the same.
      let account = try scene.millrace(["account", "--worker", try scene.consoleAddress(), "--json"])
      #expect(account.code == 0, "seed=\(seed) \(account.text)")
      let sums = try JSONValue(parsing: account.text)
      #expect(sums["balanced"]?.bool == true)
      #expect(sums["partitions"]?.array?.allSatisfy { $0["worker"]?.string == "equal" } == true, "\(account.text)")

      // A state made again from the logs alone, and on from there.
      #expect(try scene.worker.terminate() == 0)
      for name in try store.list() { try FileManager.default.removeItem(atPath: store.path(name)) }
      try scene.worker.start()
      try send(&pieces, pieces.count, scene)
      try scene.drain()
      try scene.expectAccounts()
      let live = try scene.millrace(["verify", "--json"])
      #expect(live.code == 0, "seed=\(seed) \(live.text)")
      #expect(try scene.worker.terminate() == 0)

      let published = try scene.read(scene.pipeline.settings.topics.predictions)
      let total = published.reduce(0) { $0 + $1.count }
      #expect(total >= 10_000)
      let (code, text) = try scene.millrace(["verify", "--json"])
      #expect(code == 0, "seed=\(seed) \(text)")
      let report = try JSONValue(parsing: text)
      #expect(report["predictions_equal"]?.integer == Int64(total), "seed=\(seed) \(text)")
      #expect(report["predictions_differing"]?.integer == 0)
      #expect((report["versions"]?.integer ?? 0) > 50)
      try one(scene, published)
      try forge(scene, published)
    }

    /// One event, one version, one partition.
    private func one(_ scene: Scene, _ published: [[StoredRecord]]) throws {
      let victim = try JSONValue(parsing: published[1][published[1].count / 2].value)
      let id = try #require(victim["event_id"]?.string)
      let found = try scene.millrace(["verify", "--json", "--id", id])
      #expect(found.code == 0)
      #expect(try JSONValue(parsing: found.text)["predictions_equal"]?.integer == 1)
      let version = try #require(victim["version"]?.string)
      let scored = try published.joined().count { try JSONValue(parsing: $0.value)["version"]?.string == version }
      let versioned = try scene.millrace(["verify", "--json", "--scored-by", version])
      #expect(try JSONValue(parsing: versioned.text)["predictions_equal"]?.integer == Int64(scored), "\(versioned.text)")
      #expect(try scene.millrace(["verify", "--id", "nobody"]).code == 65)
    }

    /// What somebody else wrote into the topic is told, with its place.
    private func forge(_ scene: Scene, _ published: [[StoredRecord]]) throws {
      let producer = try Producer(scene.broker.settings("forger"))
      let topic = try producer.open(scene.pipeline.settings.topics.predictions)
      try producer.produce(
        topic, partition: 2, key: published[2][5].key, value: published[2][5].value, headers: HeaderBlock(), timestamp: 5)
      try producer.flush()
      let (code, text) = try scene.millrace(["verify", "--json"])
      #expect(code == 1)
      let partition = try #require(try JSONValue(parsing: text)["partitions"]?.array?.last)
      #expect(partition["differing"]?.integer == 1)
      #expect(partition["first_difference"]?["kind"]?.string == "repeated", "\(text)")
      let account = try scene.millrace(["account", "--json"])
      #expect(account.code == 1, "\(account.text)")
    }

    private func send(_ pieces: inout ArraySlice<ArraySlice<PlayedRecord>>, _ count: Int, _ scene: Scene) throws {
      for piece in pieces.prefix(count) { try scene.produce(piece) }
      pieces = pieces.dropFirst(count)
    }

    /// Flips a bit in the newest file of every partition and of the model.
    private func damageNewest(_ store: CheckpointStore) throws {
      var newest: [String: CheckpointName] = [:]
      for name in try store.list() { newest["\(name.kind)\(name.partition)"] = name }
      for name in newest.values {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: store.path(name)))
        bytes[bytes.count / 2] ^= 0x10
        try bytes.write(to: URL(fileURLWithPath: store.path(name)))
      }
    }
  }
}

extension Scene {
  /// Runs the program to its end: its exit code and what it printed.
  func millrace(_ arguments: [String], seconds: Double = 90) throws -> (code: Int32, text: String) {
    let file = directory.appendingPathComponent("millrace-\(UUID().uuidString.prefix(8))").path
    let process = WorkerProcess(
      arguments: arguments + ["--config", TestPipeline.file, "--quiet"], variables: pipeline.variables, logFile: file)
    try process.start()
    let code = try process.waitForExit(seconds: seconds)
    return (code, process.log)
  }

  /// Where the worker's console listens, by its log.
  func consoleAddress() throws -> String { try consoleAddress(of: members[0]) }

  func consoleAddress(of member: Member) throws -> String {
    for line in member.worker.log.split(separator: "\n").reversed() where line.contains("console listens") {
      if let address = (try? JSONValue(parsing: String(line)))?["address"]?.string {
        return address.hasPrefix("http") ? address : "http://\(address)"
      }
    }
    throw WorkerProcess.Failure(description: "the console does not say where it listens")
  }
}
