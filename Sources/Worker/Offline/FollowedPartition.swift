import Checkpoints
import Engine
import Features
import Kafka
import Learning
import Pipeline
import Records
import Storage

/// One partition on its way along its journal: the engine, the records of its inputs, and what comes next.
final class FollowedPartition {
  let number: Int32
  let engine: PartitionEngine
  let start: FollowStart
  /// Where its journal ends for this run.
  var journalEnd: Int64
  private let journal: LogStream
  private let feed: OfflineFeed<LogFault>
  private let limits: InputLimits
  private(set) var journalRecords: UInt64 = 0
  /// Records taken from each input's topic.
  var recordsRead: [UInt64] { limits.read }
  private var pending: (record: JournalRecord, offset: Int64)?

  fileprivate init(
    number: Int32, engine: PartitionEngine, start: FollowStart, journal: LogStream, journalEnd: Int64,
    inputs: [LogStream]
  ) {
    self.number = number
    self.engine = engine
    self.start = start
    self.journal = journal
    self.journalEnd = journalEnd
    let limits = InputLimits(inputs.count)
    self.limits = limits
    feed = OfflineFeed(engine) { (input) throws(LogFault) -> OfflineRecord? in
      guard let record = try inputs[input].take(before: limits.next[input]) else { return nil }
      limits.read[input] += 1
      return record
    }
  }

  /// Whether another declaration of inputs, windows and features wrote a record: its rows cannot be made again.
  func isForeign(_ record: JournalRecord) -> Bool { record.planDigest != engine.plan.features.digest }

  /// Whether what the engine gives from here on is what a state that knows everything gives.
  var isComplete: Bool {
    zip(engine.consumedOffsets, start.complete).allSatisfy { $0 >= $1 }
  }

  /// The journal record that comes next; nil at the end. Those that the state contains are passed over.
  func next() throws(LogFault) -> (record: JournalRecord, offset: Int64)? {
    while pending == nil {
      guard let (record, offset) = try decodedJournal(journal, before: journalEnd) else { return nil }
      let consumed = engine.consumedOffsets
      let isCovered = record.nextOffsets.count <= consumed.count
        && record.nextOffsets.indices.allSatisfy { record.nextOffsets[$0] <= consumed[$0] }
      if !isCovered { pending = (record, offset) }
    }
    return pending
  }

  /// How scores are made by version, and who hears of those that differ.
  struct Aloud {
    var rescore: (ModelVersion) -> Rescoring?
    var onDifference: (ScoreDifference) -> Void
  }

  /// Does again what `record`, as `next()` gave it, says was done; without `aloud`, silently.
  func follow(
    _ record: JournalRecord, at offset: Int64, into unit: CommitUnit, anyScorers: ScorerSet, aloud: Aloud? = nil
  ) throws(FollowFault) {
    pending = nil
    journalRecords += 1
    for input in record.nextOffsets.indices where input < limits.next.count {
      limits.next[input] = record.nextOffsets[input]
    }
    if let aloud {
      engine.follow([record], rescore: aloud.rescore, onDifference: aloud.onDifference)
    } else {
      engine.follow([record])
    }
    while engine.followedRemaining > 0 {
      do throws(LogFault) { try feed.fill() } catch { throw .log(error) }
      do throws(EngineFault) {
        _ = try engine.step(into: unit, scorers: anyScorers, budget: .max)
      } catch {
        throw .engine(error, journalOffset: offset)
      }
    }
  }
}

/// Why a partition cannot be followed on.
enum FollowFault: Error {
  case log(LogFault)
  case engine(EngineFault, journalOffset: Int64)
}

/// How far each input may be read, which is to where the journal says that it was, and how many records were.
private final class InputLimits {
  var next: [Int64]
  var read: [UInt64]
  init(_ inputs: Int) {
    next = Array(repeating: 0, count: inputs)
    read = Array(repeating: 0, count: inputs)
  }
}

/// The next record of a journal before `end`.
private func decodedJournal(
  _ stream: LogStream, before end: Int64
) throws(LogFault) -> (record: JournalRecord, offset: Int64)? {
  guard let record = try stream.take(before: end) else { return nil }
  do throws(FormatError) {
    return (try JournalRecord.decode(record.payload), record.offset)
  } catch {
    throw .unfit("no journal record: \(error) topic=\(stream.topic) partition=\(stream.partition) offset=\(record.offset)")
  }
}

/// Partitions made ready to be followed.
struct FollowedPartitions {
  var partitions: [FollowedPartition] = []
  /// Those whose logs no longer lead to a whole state, and why.
  var unreachable: [(number: Int32, why: String)] = []
  /// Those in which nothing was ever done.
  var empty: [Int32] = []

  /// Finds for each partition the earliest place to follow it from.
  ///
  /// Reads: the journals' beginnings, and the checkpoints of `directory` (none: nil). Writes nothing.
  init(
    _ numbers: [Int32], settings: PipelineSettings, plan: EnginePlan, source: any LogSource, directory: String?
  ) throws(LogFault) {
    let journalTopic = settings.topics.journal
    var found: [(number: Int32, start: FollowStart, checkpoint: Checkpoint?, range: LogRange)] = []
    for number in numbers {
      let range = try source.range(journalTopic, number)
      var lowest: [Int64] = []
      for input in plan.inputs { lowest.append(try source.range(input.topic, number).low) }
      let checkpoints = usableCheckpoints(
        directory, fingerprint: CheckpointFingerprint(
          clusterID: source.clusterID, topic: plan.inputs[plan.scoredInput].topic,
          partition: PartitionID(number), pipeline: settings.name, settings: plan.features.digest),
        journalLow: range.low)
      let journal = try source.open([LogPlace(topic: journalTopic, partition: number, from: range.low)])[0]
      if checkpoints.isEmpty || range.low == 0, try journal.peek(before: range.end) == nil {
        empty.append(number)
        continue
      }
      let facts = FollowFacts(
        journalLow: range.low, lowest: lowest,
        checkpoints: checkpoints.map { ("\($0.name)", $0.checkpoint.identity.inputs.map(\.next.value)) })
      let start = try chooseFollowStart(facts) { () throws(LogFault) -> JournalRecord? in
        try decodedJournal(journal, before: range.end)?.record
      }
      guard let start else {
        unreachable.append(
          (number, "no checkpoint is usable, and the logs begin too late journal=\(range.low) inputs=\(lowest)"))
        continue
      }
      var checkpoint: Checkpoint?
      if case .checkpoint(let name, _) = start {
        checkpoint = checkpoints.first { "\($0.name)" == name }?.checkpoint
      }
      found.append((number, start, checkpoint, range))
    }
    var places: [LogPlace] = []
    for entry in found {
      places.append(LogPlace(topic: journalTopic, partition: entry.number, from: entry.range.low))
      for (input, schema) in plan.inputs.enumerated() {
        places.append(LogPlace(topic: schema.topic, partition: entry.number, from: entry.start.at[input]))
      }
    }
    let streams = places.isEmpty ? [] : try source.open(places)
    let width = 1 + plan.inputs.count
    for (index, entry) in found.enumerated() {
      let engine = PartitionEngine(plan: plan, partition: PartitionID(entry.number), start: entry.start.at)
      if let checkpoint = entry.checkpoint {
        do { try engine.restore(from: checkpoint) } catch {
          unreachable.append((entry.number, "the checkpoint does not restore: \(error)"))
          continue
        }
      }
      partitions.append(
        FollowedPartition(
          number: entry.number, engine: engine, start: entry.start, journal: streams[index * width],
          journalEnd: entry.range.end, inputs: Array(streams[(index * width + 1)..<((index + 1) * width)])))
    }
  }
}

/// Checkpoints of one partition that belong to these logs and that the journal still leads on from, oldest first.
private func usableCheckpoints(
  _ directory: String?, fingerprint: CheckpointFingerprint, journalLow: Int64
) -> [(name: CheckpointName, checkpoint: Checkpoint)] {
  guard let directory else { return [] }
  let store = CheckpointStore(directory)
  // A directory that cannot be read holds nothing for us; a file that a running worker replaces meanwhile neither.
  let names = (try? store.list(.partition, fingerprint.partition)) ?? []
  return names.compactMap { name in
    guard let checkpoint = try? store.load(name, knownSections: PartitionEngine.checkpointSections),
      checkpoint.identity.fingerprint.firstDifference(from: fingerprint) == nil,
      checkpoint.identity.logNext.value >= journalLow
    else { return nil }
    return (name, checkpoint)
  }
}
