import Features
import Learning
import Records

extension PartitionEngine {
  /// Whether the label at the head of `input` could tell an event that waits in the group from one that was
  /// scored, or make an example before one that the group will make: the group is scored first then, so that where
  /// groups are cut leaves no trace, neither in the state nor in the order of the examples.
  ///
  /// Cost: one pass over the group's hashes a label; false for other inputs.
  func mustScoreBefore(input: Int) -> Bool {
    guard input == plan.labelInput, input != plan.scoredInput, group.count > 0 else { return false }
    let (batch, _, record) = queues[input].current
    guard batch.reasons[record] == 0 else { return false }
    if group.hasEarlyLabels { return true }
    let idHash = batch.idHashes[record]
    for slot in 0..<group.count where group.idHashes[slot] == idHash { return true }
    let newest = max(eventTimesMax[input], batch.eventTimes[record])
    let (watermark, overflow) = newest.subtractingReportingOverflow(
      plan.inputs[input].latenessMilliseconds)
    guard !overflow else { return true }
    let (deadline, isNever) = group.earliest.addingReportingOverflow(plan.join.horizonMilliseconds)
    return !isNever && deadline < watermark
      || join.dropsLabels(at: EventTime(milliseconds: watermark))
  }

  /// A label: joined to the event it is about, or kept, or counted as what else it is.
  func takeLabel(
    input: Int, batch: InputBatch, prepared: PreparedBatch, record: Int, into unit: CommitUnit
  ) {
    let counts = join.counters
    if let value = prepared.target(record) {
      let disposition = batch.withID(record) { id in
        join.label(
          idHash: batch.idHashes[record], id: id, value: value,
          knownAt: EventTime(milliseconds: batch.eventTimes[record]),
          offset: Offset(batch.offsets[record]), into: unit.examples)
      }
      if disposition == .duplicate {
        journal.noteDisposition(
          input: UInt8(input), offset: batch.offsets[record],
          code: .duplicate)
      }
    } else {
      reject(input: input, batch: batch, record: record, reason: .missingTarget, into: unit)
    }
    // Why also behind a label without a value: its event time moved the watermark all the same, and what the
    // watermark has passed must be gone from the state.
    if let watermark = watermark(input: input) {
      _ = join.advance(labelWatermark: EventTime(milliseconds: watermark), into: unit.examples)
    }
    settle(since: counts)
  }

  /// Moves what the join counted since into the partition's account.
  func settle(since before: JoinCounters) {
    let now = join.counters
    accounting.labelsJoined += now.joined - before.joined
    accounting.labelsCorrection += now.corrections - before.corrections
    accounting.labelsDuplicate += now.duplicates - before.duplicates
    accounting.labelsLate += now.late - before.late
    accounting.labelsOrphan += now.orphans - before.orphans
    accounting.predictionsExpired += now.expired - before.expired
  }

  /// A record that cannot be used: a dead letter with its bytes and the reason, and the count.
  func reject(
    input: Int, batch: InputBatch, record: Int, reason: DeadLetterReason, into unit: CommitUnit
  ) {
    if input == plan.scoredInput {
      accounting.eventsDeadLettered += 1
    } else if input == plan.labelInput {
      accounting.labelsRejected += 1
    } else {
      accounting.recordsRejected += 1
    }
    unit.noteRejection(reason, input: input)
    guard !isFollowing else { return }
    let schema = plan.inputs[input]
    let headers = unsafe batch.withHeaders(record) { original in
      unsafe DeadLetter.headers(
        reason: reason, stage: "decode", message: batch.faultMessage(record),
        topic: schema.topic, partition: partition.value, offset: batch.offsets[record],
        original: original, bytesMax: plan.outputBytesMax / 4)
    }
    let key =
      unsafe batch.withKey(record) { key in
        if let key = unsafe key, key.count <= plan.outputBytesMax / 8 {
          unsafe unit.arena.append(key)
        } else {
          ByteArena.Place.none
        }
      }
    let limit = plan.outputBytesMax / 2
    let value = unsafe batch.withPayload(record) { payload in
      // Why capped: a dead letter too large to be produced would abort its transaction for ever.
      unsafe unit.arena.append(UnsafeRawBufferPointer(rebasing: payload.prefix(limit)))
    }
    unit.append(
      OutputRecord(
        destination: .deadLetters, partition: -1, key: key, value: value,
        headers: unit.arena.append(headers), timestamp: 0))
  }
}
