import Engine
import Features
import Learning
import Pipeline
import Records

/// A pipeline run in one process without a broker: the engines of its partitions and a model that learns as they go.
///
/// Records are taken until `endUnit`, which merges them by event time, scores them, lets the labels among them join,
/// folds the examples into the model and adopts the new scorers for the next unit: the very code of the worker, with
/// one unit in place of a transaction.
///
/// Replay:   the same records and unit borders give the same bytes on every host.
/// Threads:  owned by one thread.
public final class OfflineSession {
  /// What a unit made, lent to the caller as it ends. Unset ones cost nothing.
  public struct Listeners {
    /// Value of a prediction.
    public var prediction: ((_ value: [UInt8]) -> Void)?
    public var scored: ((ScoredEvents) -> Void)?
    public var examples: ((ExampleBlock) -> Void)?
    public init() {}
  }

  public let settings: PipelineSettings
  public let plan: EnginePlan
  public var listeners = Listeners() {
    didSet { for engine in engines { engine.scoredListener = listeners.scored } }
  }
  /// Records that could not be used, by input and reason.
  public private(set) var rejections: [[DeadLetterReason: UInt64]]
  public private(set) var predictionCount: UInt64 = 0
  public private(set) var unitCount = 0
  let model: OfflineModel
  private(set) var engines: [PartitionEngine] = []
  private var feeds: [OfflineFeed<Never>] = []
  private let pending: PendingRecords
  private let unit: CommitUnit
  private var newest = EventTime(milliseconds: 0)
  /// A gap is measured over one block in this many.
  private static let gapStride = 8

  public init(settings: PipelineSettings, features: FeaturePlan, partitions: Int = 1) {
    precondition(partitions > 0, "a pipeline has partitions")
    self.settings = settings
    model = OfflineModel(settings: settings.learning)
    plan = EnginePlan(
      features: features, join: settings.join, threshold: Float(settings.decisionThreshold),
      contenderCount: model.state.contenderNames.count)
    let inputs = plan.inputs.count
    let pending = PendingRecords(partitions: partitions, inputs: inputs)
    self.pending = pending
    rejections = Array(repeating: [:], count: inputs)
    unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: features.rowSchema, contenderCount: plan.contenderCount, planDigest: features.digest),
      inputCount: inputs)
    for partition in 0..<partitions {
      let engine = PartitionEngine(
        plan: plan, partition: PartitionID(Int32(partition)),
        start: Array(repeating: 0, count: inputs))
      engines.append(engine)
      feeds.append(OfflineFeed(engine) { input in pending.take(partition, input) })
    }
  }

  /// Index of an input by its name; nil where the pipeline has none.
  public func input(named name: String) -> Int? { plan.inputs.firstIndex { $0.name == name } }

  /// Takes a record into the open unit, in the partition that Kafka's partitioner gives its key; one without a key
  /// goes to the partition of its line, as `produce` plays it.
  public func take(input: Int, payload: [UInt8], key: [UInt8]?, timestamp: Int64, line: Int = 0) {
    let partition =
      key.map { Int(Murmur2.partition(of: $0, partitions: Int32(engines.count))) } ?? line % engines.count
    pending.add(partition, input, payload: payload, key: key, timestamp: timestamp)
    newest = max(newest, EventTime(milliseconds: timestamp))
  }

  /// Errors: `EngineFault` only if the engine contradicts itself.
  public func endUnit() throws(EngineFault) {
    let scorers = model.scorers
    for feed in feeds {
      running: while true {
        feed.fill()
        switch try feed.engine.step(into: unit, scorers: scorers, budget: .max) {
        case .waiting, .budgetSpent: continue
        case .idle, .followed: break running
        }
      }
      _ = feed.engine.seal(into: unit)
    }
    unit.sealExamples()
    for (reason, input, count) in unit.rejections { rejections[input][reason, default: 0] += UInt64(count) }
    var blocks = 0
    for record in unit.records {
      switch record.destination {
      case .predictions:
        predictionCount += 1
        if let tell = listeners.prediction { tell(unit.value(of: record)) }
      case .learning:
        learn(unit.value(of: record), measures: blocks % Self.gapStride == 0)
        blocks += 1
      case .deadLetters, .journal, .acks: break
      }
    }
    unit.clear()
    unitCount += 1
  }

  private func learn(_ bytes: [UInt8], measures: Bool) {
    model.fold(bytes, timestamp: newest)
    let measures = measures && unitCount % Self.gapStride == 0
    guard measures || listeners.examples != nil else { return }
    // Our own block: it was folded a line above.
    guard case .examples(let block)? = try? LearningRecord.decode(bytes) else { return }
    listeners.examples?(block)
    if measures { model.measureGap(over: block) }
  }
}

/// Records taken and not yet in an engine, by partition and input.
final class PendingRecords {
  private var lists: [[OfflineRecord]]
  private var firsts: [Int]
  private var nextOffsets: [Int64]
  private let inputs: Int

  init(partitions: Int, inputs: Int) {
    self.inputs = inputs
    lists = Array(repeating: [], count: partitions * inputs)
    firsts = Array(repeating: 0, count: partitions * inputs)
    nextOffsets = Array(repeating: 0, count: partitions * inputs)
  }

  func add(_ partition: Int, _ input: Int, payload: [UInt8], key: [UInt8]?, timestamp: Int64, headers: [UInt8] = []) {
    let list = partition * inputs + input
    lists[list].append(
      OfflineRecord(
        payload: payload, key: key, headers: headers, offset: nextOffsets[list], timestamp: timestamp))
    nextOffsets[list] += 1
  }

  func take(_ partition: Int, _ input: Int) -> OfflineRecord? {
    let list = partition * inputs + input
    guard firsts[list] < lists[list].count else {
      lists[list].removeAll(keepingCapacity: true)
      firsts[list] = 0
      return nil
    }
    firsts[list] += 1
    return lists[list][firsts[list] - 1]
  }
}
