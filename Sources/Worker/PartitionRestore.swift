import Checkpoints
import Engine
import Kafka
import Pipeline
import Records
import Storage

/// Finds where one partition's state stands in its logs: the newest checkpoint that may be used, and the journal
/// from there on.
///
/// Order:   the committed offsets first, then the true end of the journal, then its last record, which must name those
///          offsets. What is committed later than the question is ours alone to commit.
/// Errors:  a broker that does not answer in time is retriable; logs that do not fit together are not.
struct PartitionRestore {
  let context: WorkerContext
  let plan: EnginePlan
  let consumer: any GroupConsumer
  let journals: JournalReaders
  let partition: PartitionID

  private static let journalMilliseconds: Int32 = 5_000

  /// `committed`: the group's offsets of the inputs. `attempts`: checkpoints that may still be set aside because their
  /// content does not restore.
  func run(committed: [Int64?], attempts: Int = 3) throws(WorkerFailure) -> LanePartition {
    let inputs = plan.inputs.map { TopicPartition($0.topic, partition.value) }
    var bounds: [Watermarks] = []
    for input in inputs {
      bounds.append(try kafka { () throws(KafkaError) in try consumer.watermarks(input) })
    }
    let journal = TopicPartition(context.settings.topics.journal, partition.value)
    let ends = try kafka { () throws(KafkaError) in try journals.all.watermarks(journal) }
    let last = try lastRecord(of: journal, ends)
    let restored = try checkpoint(
      RestorePoint(
        kind: .partition, fingerprint: context.fingerprint(plan: plan, partition: partition),
        inputs: inputs.indices.map {
          LogBounds(
            topic: inputs[$0].topic, earliest: Offset(bounds[$0].low),
            committed: Offset(committed[$0] ?? bounds[$0].high))
        },
        log: LogBounds(topic: journal.topic, earliest: Offset(ends.low), committed: Offset(ends.high))))
    let decision = decideStart(
      StartFacts(
        committed: committed, lowest: bounds.map(\.low), start: bounds.map(\.low),
        journalNext: last?.nextOffsets, journalReplayFrom: last?.replayFrom,
        journalLowest: ends.low, journalReplayPlace: last?.replayJournal ?? 0,
        checkpoint: restored.checkpoint?.identity.inputs.map(\.next.value),
        ends: bounds.map(\.high), topics: inputs.map(\.topic)))
    switch decision {
    case .begin(let at):
      return LanePartition(
        engine: PartitionEngine(plan: plan, partition: partition, start: at, journalPlace: ends.high),
        chain: CheckpointChain(
          journalNext: ends.high, generation: restored.generationNext, parent: restored.checkpoint?.id),
        restoring: nil)
    case .resume(let from, let to, let useCheckpoint, let warning):
      if let warning { context.alert(.offsetsExpired, "partition \(partition.value): \(warning)") }
      let place = useCheckpoint ? restored.checkpoint?.identity.logNext.value ?? 0 : last?.replayJournal ?? 0
      let engine = PartitionEngine(plan: plan, partition: partition, start: from, journalPlace: place)
      if useCheckpoint, let checkpoint = restored.checkpoint {
        do { try engine.restore(from: checkpoint) } catch {
          guard attempts > 0 else { throw .storage("checkpoint does not restore: \(error)") }
          context.setAside(checkpoint.identity, because: error)
          return try run(committed: committed, attempts: attempts - 1)
        }
      }
      Failpoints.pass(.duringRestore)
      let feed = try kafka { () throws(KafkaError) in
        try JournalFeed(
          context.makeReader(journal.topic), partition: partition.value, from: max(place, ends.low), to: ends.high)
      }
      context.log.info(
        "restoring", "restoring partition",
        LogFields([
          "partition": "\(partition.value)", "checkpoint": useCheckpoint ? "yes" : "no", "from": "\(from)", "to": "\(to)",
          "journal_from": "\(max(place, ends.low))", "journal_end": "\(ends.high)",
        ]))
      let made = LanePartition(
        engine: engine,
        chain: CheckpointChain(
          journalNext: ends.high, generation: restored.generationNext, parent: restored.checkpoint?.id),
        restoring: LanePartition.Restoring(feed: feed, target: to, adoptsTotals: !useCheckpoint))
      for (input, place) in inputs.enumerated() {
        guard let taken = engine.lastTaken(input: input), taken.offset >= bounds[input].low else { continue }
        made.remembered.append(RememberedRecord(partition: place, taken: taken))
      }
      return made
    case .refuse(let why):
      // Why asked once more: whoever was stalled here for longer than its session finds what the next owner has done
      // since, which is no fault of the logs.
      let since = try kafka { () throws(KafkaError) in try consumer.committed(inputs) }
      guard since.map(\.offset) == committed else {
        throw .superseded("partition \(partition.value) was committed by another while it was restored")
      }
      throw .unrecoverable(
        "partition \(partition.value): \(why) journal_begin=\(ends.low) journal_end=\(ends.high)")
    }
  }

  private func checkpoint(_ point: RestorePoint) throws(WorkerFailure) -> RestoredCheckpoint {
    let restored: RestoredCheckpoint
    do throws(StorageError) {
      restored = try context.store.restore(at: point, knownSections: PartitionEngine.checkpointSections)
    } catch {
      throw .storage("\(error)")
    }
    for refused in restored.refused {
      context.log.warning(
        "checkpoint-refused", "checkpoint refused",
        LogFields(["name": "\(refused.name)", "reason": "\(refused.reason)"]))
    }
    return restored
  }

  /// The journal's newest record; nil where it has none. Looks back in growing steps, since markers and aborted
  /// records lie between.
  private func lastRecord(of journal: TopicPartition, _ ends: Watermarks) throws(WorkerFailure) -> JournalRecord? {
    var span: Int64 = 16
    while true {
      let start = max(ends.low, ends.high - span)
      var bytes: [UInt8]?
      var offset: Int64 = -1
      if start < ends.high {
        try kafka { () throws(KafkaError) in
          try journals.committed.start(partition: journal.partition, at: .offset(start))
          defer { journals.committed.stop(partition: journal.partition) }
          try journals.committed.read(
            partition: journal.partition, through: ends.high, timeoutMilliseconds: Self.journalMilliseconds
          ) { record in
            guard record.partition == journal.partition, record.offset > offset, record.offset < ends.high
            else { return }
            bytes = record.valueBytes
            offset = record.offset
          }
        }
      }
      if let bytes {
        do throws(FormatError) { return try JournalRecord.decode(bytes) } catch {
          throw .unrecoverable("journal record at offset \(offset) cannot be read: \(error)")
        }
      }
      if start == ends.low { return nil }
      span = span.multipliedReportingOverflow(by: 16).partialValue
    }
  }
}

/// Readers of the journal topic for the questions that a restore asks, made once for all partitions of an assignment.
struct JournalReaders {
  let committed: any LogReader
  /// Knows the true end: the other one is told the last stable offset.
  let all: any LogReader

  init(_ context: WorkerContext) throws(KafkaError) {
    committed = try context.makeReader(context.settings.topics.journal)
    all = try context.makeReader(context.settings.topics.journal, isolation: .readUncommitted)
  }
}
