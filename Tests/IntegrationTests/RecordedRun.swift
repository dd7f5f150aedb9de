import Engine
import Learning
import Pipeline
import Records
@testable import RunChecker

/// What a worker would leave behind, made without one: engines and a fold in this process, units cut at random.
///
/// The twin of the real worker for tests of the checker: its evidence is without fault, so that a planted one is
/// all that can be found.
struct RecordedRun {
  static func evidence(_ pipeline: TestPipeline, _ records: [PlayedRecord], seed: UInt64) throws -> Evidence {
    var run = try RecordedRun(pipeline, records, seed: seed)
    try run.play()
    return run.evidence
  }

  private let plan: EnginePlan
  private var random: SplitMix
  private var evidence: Evidence
  private let model = ModelState()
  private let engines: [PartitionEngine]
  private var feeds: [EngineFeed]
  private let unit: CommitUnit

  private init(_ pipeline: TestPipeline, _ records: [PlayedRecord], seed: UInt64) throws {
    let count = TestPipeline.partitions
    let plan = pipeline.plan
    self.plan = plan
    random = SplitMix(seed)
    let inputs = Stream.stored(records, partitions: count)
    let none = [[StoredRecord]](repeating: [], count: Int(count))
    evidence = Evidence(
      inputs: inputs, predictions: none, journal: none, deadLetters: [], learning: [],
      committed: Array(repeating: Array(repeating: 0, count: inputs.count), count: Int(count)),
      modelStates: [], partitionStates: Array(repeating: nil, count: Int(count)))
    let starts = inputs.map { _ in Int64(0) }
    engines = (0..<count).map { PartitionEngine(plan: plan, partition: .init($0), start: starts) }
    feeds = engines.enumerated().map { partition, engine in EngineFeed(engine, inputs.map { $0[partition] }) }
    unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: plan.features.rowSchema, contenderCount: plan.contenderCount,
        planDigest: plan.features.digest), inputCount: plan.inputs.count)
    append(learning: ModelState.charter(pipeline.settings.learning, clusterID: "cluster").record())
  }

  private mutating func play() throws {
    var scorers = model.scorers()!
    var isDone = false
    while !isDone {
      isDone = true
      for partition in engines.indices {
        let engine = engines[partition]
        feeds[partition].fill()
        let outcome = try engine.step(
          into: unit, scorers: scorers, budget: unit.consumed + Int.random(in: 1...120, using: &random))
        if outcome != .idle { isDone = false }
      }
      commit()
      // Scorers are adopted now and then, as a lane would that is busy.
      if random.chance(0.6) { scorers = model.scorers()! }
    }
    var writer = ByteWriter()
    model.encode(into: &writer)
    evidence.modelStates = [("the worker", writer.bytes, Int64(evidence.learning.count))]
    for partition in engines.indices {
      evidence.partitionStates[partition] = engines[partition].sections(plan: plan)
    }
  }

  private mutating func commit() {
    for engine in engines { _ = engine.seal(into: unit) }
    unit.sealExamples()
    for partition in engines.indices {
      for record in unit.stored(.predictions, partition: Int32(partition)) {
        append(record, to: &evidence.predictions[partition])
      }
      for record in unit.stored(.journal, partition: Int32(partition)) {
        append(record, to: &evidence.journal[partition])
      }
    }
    for record in unit.stored(.deadLetters) { append(record, to: &evidence.deadLetters) }
    for range in unit.ranges {
      evidence.committed[Int(range.partition.value)] = range.nextOffsets.map { $0 }
    }
    for record in unit.stored(.learning) { append(learning: record.value) }
    unit.clear()
  }

  private func append(_ record: StoredRecord, to topic: inout [StoredRecord]) {
    var record = record
    record.offset = Int64(topic.count)
    topic.append(record)
  }

  /// Appends to `learning`, folds, and stores what the fold wants kept, as a publisher would.
  private mutating func append(learning value: [UInt8]) {
    let offset = Int64(evidence.learning.count)
    let record = StoredRecord(offset: offset, timestamp: offset, key: nil, value: value)
    evidence.learning.append(record)
    for effect in model.fold(value, offset: Offset(offset), timestamp: EventTime(milliseconds: offset)) {
      guard case .keep(let version, let digest, _) = effect else { continue }
      append(learning: HashClaim(instance: "one", version: version, stateHash: digest).record())
      append(learning: KeptVersion(version: version, digest: digest).record())
    }
  }
}
