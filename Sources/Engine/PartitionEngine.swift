import Features
import Learning
import Models
import Records

/// What `step` stopped for.
public enum StepOutcome: Equatable, Sendable {
  /// The unit has its fill.
  case budgetSpent
  /// This input must be fetched before anything may go.
  case waiting(input: Int)
  /// Every input is at its end, and all before it is done.
  case idle
  /// All journal records given were followed; the next `step` runs live.
  case followed
}

/// Why an engine cannot go on: what the logs say does not fit together.
public enum EngineFault: Error, Equatable, Sendable {
  /// An input lacks a record that the journal says was consumed.
  case missingInput(input: Int, offset: Int64)
  /// Following the journal did not give what the journal says.
  case journalMismatch(what: String, input: Int, offset: Int64)
  /// A prediction was recomputed and differs.
  case scoreMismatch(offset: Int64, contender: Int)
}

/// The two folds and the score of one partition: records of its inputs in, outputs out.
///
/// State plus input is everything: no clock, no randomness, no thread. Live, the inputs are merged by
/// event time and scored by the scorers given; following a journal, order and scores are those the
/// journal names, so that the state comes out bit for bit as it was.
///
/// Cost:     no allocation per record in the steady state; a few per unit.
/// Threads:  owned by one thread at a time.
public final class PartitionEngine {
  public let partition: PartitionID
  public let plan: EnginePlan
  let features: PartitionFeatures
  let join: LabelJoin
  let queues: [InputQueue]
  let group: ScoredGroup
  let scratch = ScoringScratch()
  var nextOffsets: [Int64]
  /// Per input, the largest event time of a usable record so far.
  var eventTimesMax: [Int64]
  var marks: ReplayMarks
  public internal(set) var accounting = Accounting()
  /// What the open unit did in this partition so far.
  var journal: JournalRecord
  /// Journal records still to be followed, and how far in the first one.
  var following = FollowedJournal()
  /// Records that are passed over: input and offset.
  var quarantined: [(input: Int, offset: Int64)] = []
  /// Text of one prediction on its way into the unit.
  var prediction = JSONWriter(capacity: 1024)

  /// A partition whose inputs begin at `start` with nothing known; what its journal says of them stands at
  /// `journalPlace` or behind.
  public init(plan: EnginePlan, partition: PartitionID, start: [Int64], journalPlace: Int64 = 0) {
    precondition(start.count == plan.inputs.count)
    self.plan = plan
    self.partition = partition
    features = PartitionFeatures(plan: plan.features)
    join = LabelJoin(
      settings: plan.join, partition: partition, schema: plan.features.rowSchema,
      contenderCount: plan.contenderCount)
    queues = plan.inputs.indices.map { InputQueue(input: $0, plan: plan.features) }
    group = ScoredGroup(plan: plan.features, contenderCount: plan.contenderCount)
    nextOffsets = start
    recordCounts = start.map { _ in 0 }
    eventTimesMax = start.map { _ in .min }
    marks = ReplayMarks(start: start, journal: journalPlace, spanMilliseconds: plan.replaySpanMilliseconds)
    journal = JournalRecord(inputCount: start.count, contenderCount: plan.contenderCount)
  }

  // MARK: Inputs

  /// How many records of this input can be taken now.
  public func room(input: Int) -> Int { queues[input].room }

  /// One record as it was fetched. Call `seal` when no more can be had at once. False, and nothing is taken, for a
  /// record that was handed out before: client libraries before 2.4.0 may do so after a rebalance.
  @discardableResult
  public func append(
    input: Int, payload: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer?,
    headers: UnsafeRawBufferPointer, offset: Int64, timestamp: Int64
  ) -> Bool {
    guard offset >= nextOffsets[input], offset > queues[input].newestOffset else { return false }
    unsafe queues[input].append(
      payload: payload, key: key, headers: headers, offset: offset, timestamp: timestamp)
    return true
  }

  public func seal(input: Int) { queues[input].seal() }

  /// The broker said that nothing follows for now.
  public func markAtEnd(input: Int) { queues[input].markAtEnd() }

  /// Per input, the offset after the last record that went into the state.
  public var consumedOffsets: [Int64] { nextOffsets }
  /// The record of an input that was taken last, if its bytes were kept.
  public func lastTaken(input: Int) -> TakenRecord? { queues[input].lastTaken }
  public var waitingCount: Int { join.waitingCount }
  public var earlyLabelCount: Int { join.earlyLabelCount }
  public var windowCounters: FeatureCounters { features.counters }
  public var windowStateBytes: Int { features.stateBytes }
  public var waitingBytes: Int { join.byteCount }
  /// Largest event time seen minus allowed lateness, milliseconds; nil before the first record.
  public func watermark(input: Int) -> Int64? {
    newestEventTime(input: input).map { $0 - plan.inputs[input].latenessMilliseconds }
  }
  /// Largest event time of a usable record, milliseconds.
  public func newestEventTime(input: Int) -> Int64? {
    eventTimesMax[input] == .min ? nil : eventTimesMax[input]
  }
  /// Told of every group as it was scored live; nil on the hot path.
  public var scoredListener: ((ScoredEvents) -> Void)?
  /// Records consumed per input since the first one, as far as the state or its journal know of them.
  public internal(set) var recordCounts: [UInt64]

  /// Passes this record over when its turn comes: a dead letter that names it, and nothing else.
  public func quarantine(input: Int, offset: Int64) { quarantined.append((input, offset)) }

  public func isQuarantined(input: Int, offset: Int64) -> Bool {
    quarantined.contains { $0.input == input && $0.offset == offset }
      || isFollowing && following.says(.quarantined, input: input, offset: offset)
  }

  /// The record that the next live step takes first; nil where there is none yet.
  public var next: (input: Int, offset: Int64)? {
    guard case .take(let input) = mergeDecision(inputs: queues.count, head: { queues[$0].head }) else { return nil }
    return (input, queues[input].currentOffset)
  }

  /// Whether the merge has no record of this input to look at.
  public func lacks(input: Int) -> Bool {
    if case .record = queues[input].head { return false }
    return true
  }

  // MARK: The main operation

  /// Takes records in merged order until the unit has `budget` records, an input is lacking, or all is done.
  public func step(into unit: CommitUnit, scorers: ScorerSet, budget: Int) throws(EngineFault)
    -> StepOutcome
  {
    // Once a step and not once a record: the account has a dozen counters, a record moves one or two.
    let before = accounting
    defer { unit.accounting += accounting - before }
    if !following.isEmpty { return try follow(into: unit) }
    while unit.consumed < budget && !unit.isFull {
      let decision = mergeDecision(inputs: queues.count) { queues[$0].head }
      switch decision {
      case .take(let input):
        if mustScoreBefore(input: input) { flush(into: unit, scorers: scorers) }
        take(input: input, into: unit)
        if group.isFull { flush(into: unit, scorers: scorers) }
      case .wait(let input):
        flush(into: unit, scorers: scorers)
        return .waiting(input: input)
      case .idle:
        flush(into: unit, scorers: scorers)
        return .idle
      }
    }
    flush(into: unit, scorers: scorers)
    return .budgetSpent
  }

  /// Ends what this partition did in the unit: its journal record and its offsets. `journalPlace` is an offset of
  /// the journal at or before that record. False where it did nothing.
  public func seal(into unit: CommitUnit, journalPlace: Int64 = 0) -> Bool {
    precondition(group.count == 0 && following.isEmpty)
    guard !journal.isEmpty else { return false }
    let before = marks.replayFrom
    let newest = eventTimesMax.max() ?? .min
    let oldest = eventTimesMax.min() ?? .min
    journal.nextOffsets = nextOffsets
    journal.replayFrom = before
    journal.replayJournal = marks.replayJournal
    journal.planDigest = plan.features.digest
    journal.totals.append(contentsOf: recordCounts)
    accounting.append(to: &journal.totals)
    var writer = ByteWriter(capacity: 256)
    journal.encode(into: &writer)
    unit.append(
      .journal, partition: partition.value, key: nil, value: writer.bytes, timestamp: 0)
    unit.append(
      ConsumedRange(partition: partition, nextOffsets: nextOffsets, replayFrom: before))
    marks.note(newest: newest, oldest: oldest, nextOffsets: nextOffsets, journal: journalPlace)
    journal.clear()
    return true
  }

  /// Names the offsets again without having done anything: those of topics that the group does not subscribe to
  /// would expire otherwise.
  public func reaffirm(into unit: CommitUnit) {
    unit.append(ConsumedRange(partition: partition, nextOffsets: nextOffsets, replayFrom: marks.replayFrom))
  }

  /// Forgets what was fetched and not taken yet: it will be fetched again, from `consumedOffsets` on.
  public func dropFetched() {
    for queue in queues { queue.clear() }
  }

  // MARK: One record

  /// Takes the head of one input into the state.
  func take(input: Int, into unit: CommitUnit) {
    let queue = queues[input]
    let (batch, prepared, record) = queue.current
    let offset = batch.offsets[record]
    if isFollowing || !quarantined.isEmpty, isQuarantined(input: input, offset: offset) {
      reject(input: input, batch: batch, record: record, reason: .quarantined, into: unit)
      journal.noteDisposition(input: UInt8(input), offset: offset, code: .quarantined)
    } else if let reason = DeadLetterReason(rawValue: batch.reasons[record]) {
      reject(input: input, batch: batch, record: record, reason: reason, into: unit)
    } else {
      eventTimesMax[input] = max(eventTimesMax[input], batch.eventTimes[record])
      if input == plan.scoredInput {
        takeEvent(batch: batch, prepared: prepared, record: record, into: unit)
      } else if input == plan.labelInput {
        takeLabel(input: input, batch: batch, prepared: prepared, record: record, into: unit)
      } else {
        observe(input: input, batch: batch, prepared: prepared, record: record)
        accounting.recordsObserved += 1
      }
    }
    nextOffsets[input] = offset + 1
    recordCounts[input] += 1
    journal.noteRun(input: UInt8(input), nextOffset: offset + 1)
    unit.consumed += 1
    unit.consumedByInput[input] += 1
    queue.advance()
  }

  private func observe(input: Int, batch: InputBatch, prepared: PreparedBatch, record: Int) {
    features.observe(
      input: input, prepared: prepared, record: record,
      at: EventTime(milliseconds: batch.eventTimes[record]))
  }

  private func takeEvent(
    batch: InputBatch, prepared: PreparedBatch, record: Int, into unit: CommitUnit
  ) {
    let time = EventTime(milliseconds: batch.eventTimes[record])
    let offset = batch.offsets[record]
    let idHash = batch.idHashes[record]
    let admission: LabelJoin.Admission
    if isFollowing, following.isDuplicate(input: plan.scoredInput, offset: offset) {
      join.noteDuplicate()
      admission = .duplicate
    } else {
      admission = batch.withID(record) { id in
        join.admit(idHash: idHash, id: id, eventTime: time, offset: Offset(offset))
      }
    }
    guard case .new(let entry) = admission else {
      accounting.eventsDuplicate += 1
      journal.noteDisposition(
        input: UInt8(plan.scoredInput), offset: offset, code: .duplicate)
      return
    }
    let slot = group.count
    features.read(prepared: prepared, record: record, at: time, into: group.features, slot: slot)
    group.entries[slot] = entry
    group.idHashes[slot] = idHash
    group.earliest = min(group.earliest, time.milliseconds)
    if join.hasEarlyLabels(slot: entry) { group.hasEarlyLabels = true }
    group.offsets[slot] = offset
    group.eventTimes[slot] = time.milliseconds
    group.timestamps[slot] = batch.timestamps[record]
    group.ids[slot] = batch.withID(record) { group.arena.append($0) }
    // Why capped: a prediction too large to be produced would abort its transaction for ever.
    group.keys[slot] =
      unsafe batch.withKey(record) { key in
        if let key = unsafe key, key.count <= plan.outputBytesMax / 8 {
          unsafe group.arena.append(key)
        } else {
          ByteArena.Place.none
        }
      }
    group.headers[slot] = unsafe batch.withHeaders(record) { headers in
      headers.count <= plan.outputBytesMax / 4 ? unsafe group.arena.append(headers) : .empty
    }
    group.rows.count = slot + 1
    observe(input: plan.scoredInput, batch: batch, prepared: prepared, record: record)
    accounting.eventsScored += 1
  }
}
