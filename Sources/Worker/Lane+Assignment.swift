import Checkpoints
import Engine
import Kafka
import Pipeline
import Records
import Storage

extension Lane {
  /// Takes on what the group gives: of each scored partition the same partition of every other input, and
  /// the state that its logs and checkpoints lead to.
  func take(_ given: [TopicPartition]) throws(WorkerFailure) {
    progress.update {
      $0.phase = .restoring
      $0.rebalances += 1
    }
    context.metrics.rebalanced()
    restoreBegan = context.now()
    let scoredTopic = plan.inputs[plan.scoredInput].topic
    let numbers = given.filter { $0.topic == scoredTopic }.map(\.partition).sorted()
    var made: [RestoredPartition] = []
    for number in numbers { made.append(try restorePartition(PartitionID(number))) }
    var offsets: [PartitionOffset] = []
    for partition in made {
      for (input, offset) in partition.engine.consumedOffsets.enumerated() {
        offsets.append(
          PartitionOffset(
            TopicPartition(plan.inputs[input].topic, partition.engine.partition.value),
            offset: offset))
      }
    }
    let controlTopic = context.settings.topics.control
    let ownsControl = given.contains { $0.topic == controlTopic }
    if ownsControl { offsets.append(try controlStart(TopicPartition(controlTopic, 0))) }
    var queues = try kafka { () throws(KafkaError) in try consumer.assign(offsets) }
    control = ownsControl ? ControlIntake(context: context, queue: queues.removeLast()) : nil
    let width = plan.inputs.count
    partitions = made.enumerated().map { index, restored in
      LanePartition(
        restored, queues: Array(queues[(index * width)..<((index + 1) * width)]))
    }
    progress.ownsControl.store(ownsControl, ordering: .releasing)
    noteProgress()
    progress.isReady.store(true, ordering: .releasing)
    progress.update { $0.phase = partitions.isEmpty && !ownsControl ? .waiting : .running }
    context.log.info(
      "assigned", "assigned",
      LogFields(["partitions": numbers.map(String.init).joined(separator: ","), "control": ownsControl ? "yes" : "no"]))
  }

  private func controlStart(_ control: TopicPartition) throws(WorkerFailure) -> PartitionOffset {
    let committed = try kafka { () throws(KafkaError) in try consumer.committed([control]) }
    let low = try kafka { () throws(KafkaError) in try consumer.watermarks(control).low }
    return PartitionOffset(control, offset: max(committed[0].offset ?? low, low))
  }

  /// One partition's state, as its committed offsets, journal and checkpoints have it.
  ///
  /// `attempts`: checkpoints that may still be set aside because their content does not restore.
  private func restorePartition(
    _ partition: PartitionID, attempts: Int = 3
  ) throws(WorkerFailure) -> RestoredPartition {
    let inputs = plan.inputs.map { TopicPartition($0.topic, partition.value) }
    let committed = try kafka { () throws(KafkaError) in try consumer.committed(inputs) }
    var lowest: [Int64] = []
    var ends: [Int64] = []
    for input in inputs {
      let marks = try kafka { () throws(KafkaError) in try consumer.watermarks(input) }
      lowest.append(marks.low)
      ends.append(marks.high)
    }
    let journalPartition = TopicPartition(context.settings.topics.journal, partition.value)
    let journalEnds = try kafka { () throws(KafkaError) in
      try context.journalEnd(journalPartition)
    }
    let point = RestorePoint(
      kind: .partition, fingerprint: context.fingerprint(plan: plan, partition: partition),
      inputs: inputs.indices.map {
        LogBounds(
          topic: inputs[$0].topic, earliest: Offset(lowest[$0]),
          committed: Offset(committed[$0].offset ?? ends[$0]))
      },
      log: LogBounds(
        topic: journalPartition.topic, earliest: Offset(journalEnds.low),
        committed: Offset(journalEnds.high)))
    let restored: RestoredCheckpoint
    do throws(StorageError) {
      restored = try context.store.restore(
        at: point, knownSections: PartitionEngine.checkpointSections)
    } catch {
      throw .storage("\(error)")
    }
    for refused in restored.refused {
      context.log.warning(
        "checkpoint-refused", "checkpoint refused",
        LogFields(["name": "\(refused.name)", "reason": "\(refused.reason)"]))
    }
    // One record before the checkpoint's place as well: it names the offsets the checkpoint stands at.
    let journalStart = max(
      (restored.checkpoint?.identity.logNext.value ?? 0) - 1, journalEnds.low)
    let journal = try readJournal(journalPartition, from: journalStart, to: journalEnds.high)
    let decision = decideStart(
      StartFacts(
        committed: committed.map(\.offset), lowest: lowest, start: lowest,
        journalNext: journal.records.last?.nextOffsets,
        journalReplayFrom: journal.records.last?.replayFrom,
        checkpoint: restored.checkpoint?.identity.inputs.map(\.next.value)))
    let engine: PartitionEngine
    switch decision {
    case .begin(let at):
      engine = PartitionEngine(plan: plan, partition: partition, start: at)
    case .resume(let from, let to, let useCheckpoint, let warning):
      if let warning {
        context.log.warning("restore-warning", "restore", LogFields(["reason": warning]))
      }
      engine = PartitionEngine(plan: plan, partition: partition, start: from)
      if useCheckpoint, let checkpoint = restored.checkpoint {
        do { try engine.restore(from: checkpoint) } catch {
          guard attempts > 0 else { throw .storage("checkpoint does not restore: \(error)") }
          context.setAside(checkpoint.identity, because: error)
          return try restorePartition(partition, attempts: attempts - 1)
        }
      }
      engine.follow(journal.records)
      context.log.info(
        "restoring", "restoring partition",
        LogFields(["partition": "\(partition.value)", "checkpoint": useCheckpoint ? "yes" : "no", "from": "\(from)", "to": "\(to)", "journal_records": "\(engine.followedRemaining)"]))
    case .refuse(let why):
      throw .unrecoverable(
        "partition \(partition.value): \(why) journal_from=\(journalStart) journal_end=\(journalEnds.high)")
    }
    return RestoredPartition(
      engine: engine, journalNext: journal.next,
      checkpointGeneration: restored.generationNext, checkpointParent: restored.checkpoint?.id)
  }

  /// Reads a journal partition to its true end, waiting for transactions that are still open.
  private func readJournal(
    _ partition: TopicPartition, from start: Int64, to end: Int64
  ) throws(WorkerFailure) -> (records: [JournalRecord], next: Int64) {
    guard start < end else { return ([], end) }
    var records: [JournalRecord] = []
    // Why not the end: only a marker may lie between, and a checkpoint that names a place after it would let
    // the next start read none of the records that it must compare with the committed offsets.
    var next = end
    var fault: String?
    try kafka { () throws(KafkaError) in
      let reader = try context.makeReader(partition.topic)
      try reader.start(partition: partition.partition, at: .offset(start))
      try reader.read(partition: partition.partition, through: end, timeoutMilliseconds: 60_000) {
        record in
        guard record.offset < end, fault == nil else { return }
        do throws(FormatError) {
          records.append(try JournalRecord.decode(record.valueBytes))
          next = record.offset + 1
        } catch {
          fault = "journal record at offset \(record.offset) cannot be read: \(error)"
        }
      }
    }
    if let fault { throw .unrecoverable(fault) }
    return (records, next)
  }
}

/// A partition's engine on its way into a lane.
struct RestoredPartition {
  var engine: PartitionEngine
  /// Offset after the last record of its journal when it was restored.
  var journalNext: Int64
  var checkpointGeneration: UInt64
  var checkpointParent: Digest?
}
