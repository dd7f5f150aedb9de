import Checkpoints
import Foundation
import Records
@testable import RunChecker
import Storage
import Testing

extension LiveTests {
  /// The worker is killed, its checkpoints are broken or taken away, and nothing may be lost, doubled or changed.
  @Suite(.serialized) struct Survival {
    /// Kills of one run.
    static let kills = 10

    @Test func `killed at any moment, every event has one prediction and every label one example`() throws {
      let seed = UInt64(ProcessInfo.processInfo.environment["MILLRACE_TEST_SEED"] ?? "") ?? 20_240_101
      var random = SplitMix(seed)
      let scene = try Scene("kill")
      let stream = Stream(seed: seed, requests: 2_000, partitions: TestPipeline.partitions).records
      var pieces = stream.pieces(of: 10)[...]
      let store = CheckpointStore(scene.stateDirectory)
      for round in 0..<Self.kills {
        // Half of the rounds find new records at the start; while the worker runs, more come at a pace.
        if round % 2 == 0 { try send(&pieces, 10, scene) }
        let generation = newestGeneration(store)
        let before = try scene.committedCount()
        try scene.worker.start()
        let place = "seed=\(seed) round=\(round)"
        switch round % 3 {
        case 0:
          // About when checkpoints are written; from the first round on there is one.
          try flow(&pieces, scene, "a new checkpoint, \(place)") {
            round == 0
              ? partitionsWithCheckpoint(store) == Int(TestPipeline.partitions) : newestGeneration(store) > generation
          }
          usleep(UInt32.random(in: 0..<20_000, using: &random))
        case 1:
          let some = Int64.random(in: 1...300, using: &random)
          try flow(&pieces, scene, "\(some) more records to be committed, \(place)") {
            try scene.committedCount() >= before + some
          }
          usleep(UInt32.random(in: 0..<100_000, using: &random))
        default:
          // While it starts or restores.
          usleep(UInt32.random(in: 5_000..<600_000, using: &random))
        }
        try scene.worker.checkRunning()
        scene.worker.kill()
      }
      try scene.worker.start()
      while !pieces.isEmpty { try send(&pieces, 1, scene) }
      try scene.drain()
      let code = try scene.worker.terminate()
      #expect(code == 0)
      let findings = try scene.findings()
      #expect(findings.isEmpty, "seed=\(seed) \(findings.count): \(findings.prefix(10))")
    }

    @Test func `delivered at least once, killed at any moment, nothing is lost and nothing is learnt twice`() throws {
      let scene = try Scene("early", settings: ["delivery.mode=at-least-once"])
      let stream = Stream(seed: 11, requests: 1_500, partitions: TestPipeline.partitions).records
      var pieces = stream.pieces(of: 10)[...]
      for round in 0..<5 {
        let before = try scene.committedCount()
        try scene.worker.start()
        try flow(&pieces, scene, "100 more records to be committed, round \(round)") {
          try scene.committedCount() >= before + 100
        }
        try scene.worker.checkRunning()
        scene.worker.kill()
      }
      try scene.worker.start()
      while !pieces.isEmpty { try send(&pieces, 1, scene) }
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      // A unit that was computed again published its predictions again, perhaps with another score: the last one is
      // what the journal knows. All else is as strict as ever.
      let findings = try scene.findings { evidence in
        for partition in evidence.predictions.indices {
          var last: [JSONValue?: Int] = [:]
          for (index, record) in evidence.predictions[partition].enumerated() {
            last[(try? JSONValue(parsing: record.value))?["source"]?["offset"]] = index
          }
          let kept = Set(last.values)
          evidence.predictions[partition] = evidence.predictions[partition].enumerated()
            .filter { kept.contains($0.offset) }.map(\.element)
        }
      }
      #expect(findings.isEmpty, "\(findings.count): \(findings.prefix(10))")
    }

    @Test func `a record that kills the process is isolated within three restarts, the rest flows`() throws {
      let scene = try Scene("trap", variables: ["MILLRACE_TEST_TRAP": "0:1:40"])
      let stream = Stream(seed: 5, requests: 600, partitions: TestPipeline.partitions).records
      try scene.produce(stream)
      for life in 0..<3 {
        try scene.worker.start()
        let code = try scene.worker.waitForExit(seconds: 60)
        #expect(code == 128 + SIGKILL, "life \(life)")
      }
      try scene.worker.start()
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      let topics = scene.pipeline.settings.topics
      let codes = try scene.read(topics.deadLetters).joined().filter {
        $0.header("millrace-error-code") == "quarantined"
      }
      #expect(codes.count == 1)
      #expect(codes.first?.header("millrace-error-offset") == "40" && codes.first?.header("millrace-error-partition") == "1")
      let event = scene.pipeline.settings.features.inputs[0].topic
      #expect(codes.first?.header("millrace-error-topic") == event)
    }

    @Test func `broken and lost checkpoints cost time and nothing else`() throws {
      let scene = try Scene("torn")
      let stream = Stream(seed: 3, requests: 700, partitions: TestPipeline.partitions, faultShare: 0.02).records
      var pieces = stream.pieces(of: 60)[...]
      let store = CheckpointStore(scene.stateDirectory)

      try scene.worker.start()
      try send(&pieces, pieces.count / 4, scene)
      try scene.drain()
      // A second generation of each file, so that there is one to fall back to.
      let first = try store.list().count
      #expect(try scene.worker.terminate() == 0)
      try scene.worker.start()
      try send(&pieces, pieces.count / 3, scene)
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      #expect(try store.list().count > first)

      // The newest of a partition and of the model are damaged.
      try damageNewest(.partition, store)
      try damageNewest(.model, store)
      let size = scene.worker.logSize
      try scene.worker.start()
      try send(&pieces, pieces.count / 2, scene)
      try scene.drain()
      let refusals = scene.worker.log(since: size).split(separator: "\n").filter { $0.contains("checkpoint-refused") }
      #expect(refusals.count == 2, "\(refusals)")
      #expect(try scene.worker.terminate() == 0)
      let findings = try scene.findings()
      #expect(findings.isEmpty, "\(findings.count): \(findings.prefix(10))")

      // All are gone: state comes from the journal's replay start and the logs.
      for name in try store.list() { try FileManager.default.removeItem(atPath: store.path(name)) }
      try scene.worker.start()
      while !pieces.isEmpty { try send(&pieces, 1, scene) }
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      // Counts begin anew with such a state, so its bytes are not those of one that was never lost.
      let later = try scene.findings(comparesPartitionStates: false)
      #expect(later.isEmpty, "\(later.count): \(later.prefix(10))")
    }

    @Test func `a state directory in use is refused with a clear code`() throws {
      let scene = try Scene("lock")
      try scene.worker.start()
      try wait(seconds: 20, "the worker to start") {
        try scene.worker.checkRunning()
        return scene.status != nil
      }
      let second = WorkerProcess(
        arguments: ["run", "--config", TestPipeline.file, "--log-format", "json"],
        variables: scene.pipeline.variables.merging(["INSTANCE": "two"]) { $1 },
        logFile: scene.directory.appendingPathComponent("second").path)
      try second.start()
      #expect(try second.waitForExit(seconds: 20) == 74)
      #expect(second.log.contains("in use by another process"), "\(second.log)")
      #expect(try scene.worker.terminate() == 0)
    }

    /// Sends a piece every 30 ms until the condition holds, or all is sent and waits to be read.
    private func flow(
      _ pieces: inout ArraySlice<ArraySlice<PlayedRecord>>, _ scene: Scene, _ what: String,
      until condition: () throws -> Bool
    ) throws {
      var next = ContinuousClock.now
      try wait(seconds: 30, what) {
        try scene.worker.checkRunning()
        if ContinuousClock.now >= next {
          try send(&pieces, 1, scene)
          next = .now + .milliseconds(30)
        }
        return try condition() || pieces.isEmpty
      }
    }

    private func send(_ pieces: inout ArraySlice<ArraySlice<PlayedRecord>>, _ count: Int, _ scene: Scene) throws {
      for piece in pieces.prefix(count) { try scene.produce(piece) }
      pieces = pieces.dropFirst(count)
    }

    /// Of all partitions; 0 before there is one.
    private func newestGeneration(_ store: CheckpointStore) -> UInt64 {
      partitionCheckpoints(store).map(\.generation).max() ?? 0
    }
    private func partitionsWithCheckpoint(_ store: CheckpointStore) -> Int {
      Set(partitionCheckpoints(store).map(\.partition)).count
    }
    private func partitionCheckpoints(_ store: CheckpointStore) -> [CheckpointName] {
      // Before the first start there is no directory.
      ((try? store.list()) ?? []).filter { $0.kind == .partition }
    }

    /// Flips a bit in the middle of the newest file of this kind.
    private func damageNewest(_ kind: CheckpointKind, _ store: CheckpointStore) throws {
      let path = store.path(try #require(try store.list(kind, PartitionID(0)).last))
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      bytes[bytes.count / 2] ^= 0x10
      try bytes.write(to: URL(fileURLWithPath: path))
    }
  }
}

extension Array {
  /// Runs of `size` elements, the last one shorter.
  func pieces(of size: Int) -> [ArraySlice<Element>] {
    stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
  }
}
