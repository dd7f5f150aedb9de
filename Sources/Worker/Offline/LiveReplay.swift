import Engine
import Features
import Learning
import Pipeline
import Records

/// Computes again what a live run predicted, from raw taps of its inputs, `journal` and `learning`.
///
/// The learning log is folded from its charter on; each partition follows its journal, in the order and with the
/// versions that stand there. Every served score is compared with the journal's bit for bit, and every prediction,
/// where the taps hold them, with the published one byte for byte.
///
/// Memory:   the state of a worker, 24 bytes a record, and the scorers of versions that a journal record still to be
///           followed names: partitions advance as soon as their versions are there.
/// Replay:   this is the proof that a run can be computed again.
public final class LiveReplay {
  public struct Outcome: Sendable {
    public var predictions: UInt64 = 0
    /// Predictions that were found published with the very same bytes.
    public var compared: UInt64 = 0
    public var journalRecords: UInt64 = 0
    public var learningRecords: UInt64 = 0
    public var versions = 0
    public var partitions = 0
    /// The most scorers that had to be held at once.
    public var versionsHeldMax = 0
    public var version: ModelVersion?
    public var stateHash: Digest?
  }

  /// One partition on its way through its journal.
  private final class Partition {
    let number: Int32
    let engine: PartitionEngine
    let feed: OfflineFeed<OfflineFault>
    let journal: TapIndex.Cursor
    let published: TapIndex.Cursor?
    /// The journal record that waits for its versions.
    var pending: (record: JournalRecord, versions: [ModelVersion], offset: Int64)?
    init(
      number: Int32, engine: PartitionEngine, feed: OfflineFeed<OfflineFault>, journal: TapIndex.Cursor,
      published: TapIndex.Cursor?
    ) {
      self.number = number
      self.engine = engine
      self.feed = feed
      self.journal = journal
      self.published = published
    }
  }

  private let settings: PipelineSettings
  private let features: FeaturePlan
  private let taps: TapIndex
  /// Published predictions to compare with; nil: none are.
  private let published: TapIndex?
  private let state = ModelState()
  private let learning: TapIndex.Cursor
  private var scorers: [ModelVersion: ScorerSet] = [:]
  /// How many journal records still name a version.
  private var references: [ModelVersion: Int] = [:]
  private var outcome = Outcome()

  public init(
    settings: PipelineSettings, features: FeaturePlan, taps: TapIndex, published: TapIndex? = nil
  ) {
    self.settings = settings
    self.features = features
    self.taps = taps
    self.published = published
    learning = taps.cursor(settings.topics.learning, 0)
  }

  private var journalTopic: String { settings.topics.journal }
  private var scoredTopic: String { settings.features.inputs[settings.features.scoredInput].topic }

  /// - Parameter emit: takes the value of each prediction, partition by partition in order.
  public func run(
    emit: ([UInt8]) -> Void = { _ in }, progress: (OfflineReplay.Progress) -> Void = { _ in }
  ) throws(OfflineFault) -> Outcome {
    let begun = Monotonic.nanoseconds()
    let numbers = taps.partitions(of: journalTopic)
    guard !numbers.isEmpty else {
      throw .unfit("the taps hold no record of the journal topic=\(journalTopic)")
    }
    try countReferences(numbers)
    let plan = try foldCharter()
    var partitions: [Partition] = []
    for number in numbers { partitions.append(try makePartition(number, plan)) }
    outcome.partitions = partitions.count
    let journalTotal = numbers.reduce(0) { $0 + taps.count(journalTopic, $1) }
    while true {
      var progressed = false
      for partition in partitions {
        while try advance(partition, emit) {
          progressed = true
          progress(
            OfflineReplay.Progress(
              records: Int(outcome.predictions), share: Double(outcome.journalRecords) / Double(journalTotal),
              seconds: Double(Monotonic.nanoseconds() - begun) / 1e9))
        }
      }
      let waiting = partitions.filter { $0.pending != nil }
      if waiting.isEmpty { break }
      guard !progressed else { continue }
      guard try learn() else {
        let first = waiting[0]
        let missing = first.pending!.versions.first { scorers[$0] == nil }!
        throw .mismatch(
          topic: journalTopic, partition: first.number, offset: first.pending!.offset,
          what: "version \(missing) scored here, and the learning log never makes it")
      }
    }
    while try learn() {}
    for partition in partitions {
      if let left = try partition.published?.take() {
        throw .mismatch(
          topic: left.topic, partition: left.partition, offset: left.offset,
          what: "this prediction was published and is not computed again")
      }
    }
    outcome.version = state.version
    outcome.stateHash = state.stateHash
    return outcome
  }

  // MARK: The model

  private func countReferences(_ numbers: [Int32]) throws(OfflineFault) {
    for number in numbers {
      let journal = taps.cursor(journalTopic, number)
      while let (record, offset) = try next(journal, number) {
        guard record.planDigest == features.digest else {
          throw .mismatch(
            topic: journalTopic, partition: number, offset: offset,
            what: "written under another declaration of inputs, windows and features theirs=\(record.planDigest) ours=\(features.digest)")
        }
        for version in Set(record.versions.map(\.version)) { references[version, default: 0] += 1 }
      }
    }
    outcome.versions = references.count
  }

  /// Folds up to the charter, which says how many contenders there are.
  private func foldCharter() throws(OfflineFault) -> EnginePlan {
    while state.settings == nil {
      guard try learn() else {
        throw .unfit(
          "the taps hold no charter this build can fold: begin the tap of '\(settings.topics.learning)' at its beginning")
      }
    }
    guard !state.isRefused, state.settings?.rowSchema == features.rowSchema else {
      throw .unfit("the learning log's charter is for other features or another build")
    }
    return EnginePlan(
      features: features, join: settings.join, threshold: Float(settings.decisionThreshold),
      contenderCount: state.contenderNames.count)
  }

  /// Folds one record of the learning log; false at its end.
  private func learn() throws(OfflineFault) -> Bool {
    guard let record = try learning.take() else { return false }
    _ = state.fold(
      record.value ?? [], offset: Offset(record.offset),
      timestamp: EventTime(milliseconds: record.timestamp))
    outcome.learningRecords += 1
    let version = state.version
    if references[version] != nil, scorers[version] == nil, let made = state.scorers() {
      scorers[version] = made
      outcome.versionsHeldMax = max(outcome.versionsHeldMax, scorers.count)
    }
    return true
  }

  // MARK: One partition

  private func next(
    _ journal: TapIndex.Cursor, _ number: Int32
  ) throws(OfflineFault) -> (JournalRecord, Int64)? {
    guard let tap = try journal.take() else { return nil }
    do throws(FormatError) {
      return (try JournalRecord.decode(tap.value ?? []), tap.offset)
    } catch {
      throw .mismatch(
        topic: journalTopic, partition: number, offset: tap.offset, what: "no journal record: \(error)")
    }
  }

  private func makePartition(_ number: Int32, _ plan: EnginePlan) throws(OfflineFault) -> Partition {
    guard let (first, offset) = try next(taps.cursor(journalTopic, number), number) else {
      throw .unfit("no journal partition=\(number)")
    }
    let start = first.replayFrom
    guard start.count == plan.inputs.count else {
      throw .mismatch(
        topic: journalTopic, partition: number, offset: offset, what: "written with other inputs")
    }
    let cursors = plan.inputs.map { taps.cursor($0.topic, number) }
    for input in cursors.indices { cursors[input].skip(before: start[input]) }
    let engine = PartitionEngine(plan: plan, partition: PartitionID(number), start: start)
    let feed = OfflineFeed(engine) { (input) throws(OfflineFault) -> OfflineRecord? in
      guard let tap = try cursors[input].take() else { return nil }
      return OfflineRecord(
        payload: tap.value ?? [], key: tap.key, headers: HeaderBlock(tap.headers).bytes,
        offset: tap.offset, timestamp: tap.timestamp)
    }
    return Partition(
      number: number, engine: engine, feed: feed, journal: taps.cursor(journalTopic, number),
      published: published?.cursor(settings.topics.predictions, number))
  }

  /// Follows the partition's next journal record, if its versions are there. False: at the end, or waiting for them.
  private func advance(_ partition: Partition, _ emit: ([UInt8]) -> Void) throws(OfflineFault) -> Bool {
    if partition.pending == nil, let (record, offset) = try next(partition.journal, partition.number) {
      partition.pending = (record, Array(Set(record.versions.map(\.version))), offset)
    }
    guard let (record, versions, offset) = partition.pending else { return false }
    guard versions.allSatisfy({ scorers[$0] != nil }) else { return false }
    partition.pending = nil
    outcome.journalRecords += 1
    try follow(partition, record, at: offset, emit)
    for version in versions {
      references[version]! -= 1
      if references[version] == 0 {
        references[version] = nil
        scorers[version] = nil
      }
    }
    return true
  }

  private func follow(
    _ partition: Partition, _ record: JournalRecord, at offset: Int64, _ emit: ([UInt8]) -> Void
  ) throws(OfflineFault) {
    let engine = partition.engine
    let unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: features.rowSchema, contenderCount: engine.plan.contenderCount,
        planDigest: features.digest),
      inputCount: engine.plan.inputs.count)
    engine.follow([record]) { [unowned self] in self.scorers[$0] }
    // Any scorers will do: a step that follows looks up those that the journal names.
    let any = state.scorers()!
    while engine.followedRemaining > 0 {
      do throws(EngineFault) {
        _ = try engine.step(into: unit, scorers: any, budget: .max)
      } catch {
        throw fault(error, partition.number, offset)
      }
      if engine.followedRemaining > 0 { try partition.feed.fill() }
    }
    for output in unit.records where output.destination == .predictions {
      outcome.predictions += 1
      let value = unit.value(of: output)
      if let published = partition.published {
        try compare(
          try published.take(), value: value, key: unit.bytes(output.key),
          headers: unit.bytes(output.headers) ?? [], timestamp: output.timestamp, partition.number)
        outcome.compared += 1
      }
      emit(value)
    }
  }

  private func compare(
    _ tap: TapRecord?, value: [UInt8], key: [UInt8]?, headers: [UInt8], timestamp: Int64, _ number: Int32
  ) throws(OfflineFault) {
    let topic = settings.topics.predictions
    func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    guard let tap else {
      throw .mismatch(
        topic: topic, partition: number, offset: -1,
        what: "computed again and never published: \(text(value))")
    }
    func differ(_ what: String) -> OfflineFault {
      .mismatch(topic: topic, partition: number, offset: tap.offset, what: what)
    }
    guard tap.value == value else {
      throw differ("published \(text(tap.value ?? [])) computed \(text(value))")
    }
    guard tap.key == key else { throw differ("the key of the prediction differs") }
    guard HeaderBlock(tap.headers).bytes == headers else { throw differ("the headers of the prediction differ") }
    guard tap.timestamp == timestamp else {
      throw differ("the timestamp differs published=\(tap.timestamp) computed=\(timestamp)")
    }
  }

  private func fault(_ error: EngineFault, _ number: Int32, _ journalOffset: Int64) -> OfflineFault {
    let inputs = settings.features.inputs
    switch error {
    case .missingInput(let input, let offset):
      return .mismatch(
        topic: inputs[input].topic, partition: number, offset: offset,
        what: "the journal says that this record was read, and the taps lack it journal_offset=\(journalOffset)")
    case .journalMismatch(let what, let input, let offset):
      return .mismatch(
        topic: input < inputs.count ? inputs[input].topic : journalTopic, partition: number, offset: offset,
        what: "differs from the journal: \(what) journal_offset=\(journalOffset)")
    case .scoreMismatch(let offset, let contender):
      let names = state.contenderNames
      return .mismatch(
        topic: scoredTopic, partition: number, offset: offset,
        what: "the score of '\(contender < names.count ? names[contender] : "?")' is not the one that was served journal_offset=\(journalOffset)")
    }
  }
}

extension HeaderBlock {
  /// As a worker would have been handed them.
  init(_ headers: [TapRecord.Header]) {
    self.init()
    for header in headers { append(header.name, header.value) }
  }
}
