import Checkpoints
import Engine
import Learning
import Pipeline
import Records

/// What a restart has to do before it is ready, in one process: read a state back, and follow the journal silently to
/// where the group stands.
///
/// Method: one live run over the stream makes journal, checkpoints and learning log; every round restores from them
///         what a restart would, on one thread, and must come to the very state of the live run.
struct RecoveryBench {
  let plan: EnginePlan
  let settings: PipelineSettings
  let stream: RecordedStream
  let rounds: Int

  struct Result {
    /// Records of all inputs by CPU second, silently.
    var tailPerSecond: Spread
    var tailRecords: Int
    var wholePerSecond: Spread
    var wholeRecords: Int
    /// Verifying, decoding and restoring a partition's checkpoint, milliseconds; its bytes.
    var restoreMilliseconds: Spread
    var checkpointBytes: Int
    var encodeMilliseconds: Spread
    /// The same of the model, and folding the learning log from its beginning, examples by CPU second.
    var modelRestoreMilliseconds: Spread
    var modelBytes: Int
    var examplesPerSecond: Spread
    var examples: Int
  }

  /// What the live run left behind.
  private struct Left {
    var inputs: [RecordedInput]
    var journal: [JournalRecord] = []
    var half: [UInt8] = []
    var halfOffsets: [Int64] = []
    var end: [[UInt8]] = []
    var blocks: [[UInt8]] = []
    var model: ModelState
  }

  func run() throws -> Result {
    let left = try live()
    let wholeRecords = left.inputs.reduce(0) { $0 + $1.places.count }
    let tailRecords = wholeRecords - Int(left.halfOffsets.reduce(0, +))
    var tail: [Double] = [], whole: [Double] = [], restore: [Double] = [], encode: [Double] = []
    for round in 0...rounds {
      var drive = JournalDrive(plan: plan, inputs: left.inputs, start: left.halfOffsets)
      let restoring = try measured {
        let checkpoint = try Checkpoint.decode(left.half, knownSections: PartitionEngine.checkpointSections)
        try drive.engine.restore(from: checkpoint)
      }
      let following = try measured { try drive.follow(left.journal) }
      try check(drive.engine, left)
      let encoding = measured { _ = encoded(drive.engine) }
      drive = JournalDrive(plan: plan, inputs: left.inputs, start: plan.inputs.map { _ in 0 })
      let replaying = try measured { try drive.follow(left.journal) }
      try check(drive.engine, left)
      // The first round pays for memory that the others find warm.
      guard round > 0 else { continue }
      restore.append(restoring.cpuNanoseconds / 1e6)
      tail.append(Double(tailRecords) / following.cpuNanoseconds * 1e9)
      whole.append(Double(wholeRecords) / replaying.cpuNanoseconds * 1e9)
      encode.append(encoding.cpuNanoseconds / 1e6)
    }
    let (modelRestore, modelBytes, folded) = try model(left)
    return Result(
      tailPerSecond: Spread(tail), tailRecords: tailRecords, wholePerSecond: Spread(whole), wholeRecords: wholeRecords,
      restoreMilliseconds: Spread(restore), checkpointBytes: left.half.count, encodeMilliseconds: Spread(encode),
      modelRestoreMilliseconds: modelRestore, modelBytes: modelBytes, examplesPerSecond: folded,
      examples: Int(left.model.version.sequence.value))
  }

  private func live() throws -> Left {
    let drive = EngineDrive(plan: plan, unitRecords: settings.delivery.transactionRecords)
    let model = chartered(settings)
    guard var scorers = model.scorers() else { throw BenchFailure("the charter was refused") }
    var left = Left(inputs: try stream.inputs(repetition: 0), model: model)
    try drive.run(left.inputs, scorers: { scorers }) { unit in
      for record in unit.values(.journal) { left.journal.append(try JournalRecord.decode(record)) }
      for block in unit.values(.learning) {
        left.blocks.append(block)
        _ = model.fold(block, offset: Offset(Int64(left.blocks.count)), timestamp: EventTime(milliseconds: 0))
      }
      scorers = model.scorers() ?? scorers
      if left.half.isEmpty, drive.engine.recordCounts.reduce(0, +) * 2 >= UInt64(stream.count) {
        left.half = encoded(drive.engine)
        left.halfOffsets = drive.engine.consumedOffsets
      }
    }
    left.end = try state(encoded(drive.engine))
    return left
  }

  private func model(_ left: Left) throws -> (Spread, Int, Spread) {
    var writer = ByteWriter()
    left.model.encode(into: &writer)
    let bytes = writer.bytes
    var restore: [Double] = [], fold: [Double] = []
    for round in 0...rounds {
      let restoring = try measured {
        var reader = ByteReader(bytes)
        _ = try ModelState(restoring: &reader)
      }
      let fresh = chartered(settings)
      let folding = measured {
        for (index, block) in left.blocks.enumerated() {
          _ = fresh.fold(block, offset: Offset(Int64(index + 1)), timestamp: EventTime(milliseconds: 0))
        }
      }
      guard fresh.stateHash == left.model.stateHash else { throw BenchFailure("the fold gave another model") }
      guard round > 0 else { continue }
      restore.append(restoring.cpuNanoseconds / 1e6)
      fold.append(Double(fresh.version.sequence.value) / folding.cpuNanoseconds * 1e9)
    }
    return (Spread(restore), bytes.count, Spread(fold))
  }

  private func encoded(_ engine: PartitionEngine) -> [UInt8] {
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: .partition,
        fingerprint: CheckpointFingerprint(
          clusterID: "bench", topic: plan.inputs[plan.scoredInput].topic, partition: engine.partition,
          pipeline: settings.name, settings: plan.features.digest),
        inputs: engine.consumedOffsets.enumerated().map {
          InputPosition(topic: plan.inputs[$0.offset].topic, next: Offset($0.element))
        }, logNext: Offset(0), generation: 1))
    engine.encode(into: &writer)
    return writer.encode().bytes
  }

  private func state(_ bytes: [UInt8]) throws -> [[UInt8]] {
    let checkpoint = try Checkpoint.decode(bytes)
    return try PartitionEngine.stateSections.map { try checkpoint.section($0) }
  }

  private func check(_ engine: PartitionEngine, _ left: Left) throws {
    guard try state(encoded(engine)) == left.end else { throw BenchFailure("the restored state is not the live one") }
  }
}

/// One partition that follows its journal in pieces, as a lane restores it.
private final class JournalDrive {
  private static let recordsAhead = 32
  let engine: PartitionEngine
  private let inputs: [RecordedInput]
  private var taken: [Int]
  private let silent: CommitUnit
  private let any: ScorerSet

  init(plan: EnginePlan, inputs: [RecordedInput], start: [Int64]) {
    engine = PartitionEngine(plan: plan, partition: PartitionID(0), start: start)
    self.inputs = inputs
    taken = start.map { Int($0) }
    silent = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: plan.features.rowSchema, contenderCount: plan.contenderCount, planDigest: plan.features.digest),
      inputCount: plan.inputs.count)
    any = ScorerSet(
      version: ModelVersion(lineage: Lineage(0), sequence: Sequence(0)), scorers: [], names: [], championIndex: 0,
      rowSchema: plan.features.rowSchema)
  }

  func follow(_ journal: [JournalRecord]) throws {
    var next = 0
    while next < journal.count || engine.followedRemaining > 0 {
      if engine.followedRemaining < Self.recordsAhead, next < journal.count {
        let end = min(next + 2 * Self.recordsAhead, journal.count)
        engine.follow(more: journal[next..<end].enumerated().map { ($0.element, Int64(next + $0.offset)) })
        next = end
      }
      for input in inputs.indices { fill(input) }
      silent.clear()
      guard engine.followedRemaining > 0 else { continue }
      _ = try engine.step(into: silent, scorers: any, budget: EngineDrive.stepRecords)
    }
  }

  private func fill(_ input: Int) {
    var room = engine.room(input: input)
    unsafe inputs[input].bytes.withUnsafeBytes { bytes in
      let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
      while room > 0, taken[input] < inputs[input].places.count {
        let place = inputs[input].places[taken[input]]
        // SAFETY: places lie within the bytes they were made from; the engine copies what it is lent.
        unsafe engine.append(
          input: input, payload: UnsafeRawBufferPointer(rebasing: bytes[place.payload]),
          key: place.key.map { unsafe UnsafeRawBufferPointer(rebasing: bytes[$0]) }, headers: none,
          offset: Int64(taken[input]), timestamp: place.timestamp)
        taken[input] += 1
        room -= 1
      }
    }
    if taken[input] == inputs[input].places.count { engine.markAtEnd(input: input) }
    engine.seal(input: input)
  }
}

extension RecoveryBench.Result {
  var figures: [Figure] {
    [
      Figure(
        "restart with a checkpoint: tail followed silently", tailPerSecond, "records/s",
        "one core; \(tailRecords) records behind the checkpoint"),
      Figure(
        "restart without one: from the replay start", wholePerSecond, "records/s", "one core; \(wholeRecords) records"),
      Figure(
        "checkpoint of a partition verified and restored", restoreMilliseconds, "ms", "\(checkpointBytes) bytes"),
      Figure("checkpoint of a partition serialised", encodeMilliseconds, "ms", "\(checkpointBytes) bytes"),
      Figure("model read back from its checkpoint", modelRestoreMilliseconds, "ms", "\(modelBytes) bytes"),
      Figure(
        "model folded from the learning log's beginning", examplesPerSecond, "examples/s", "\(examples) examples"),
    ]
  }
}
