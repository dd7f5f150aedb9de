import Engine
import Kafka
import Learning
import Pipeline
import Records

/// Why a lane's session ended.
enum LaneEnd: Sendable {
  /// Asked to stop; everything taken is committed.
  case stopped
  /// What this lane held belongs to another now: begin anew.
  case rejoin(String)
  case failed(WorkerFailure)

  /// After an error that takes the lane out of its group. A fencing stays what it is: who joins again after each would
  /// take the place of another of his name, who does the same, for ever.
  static func left(because error: KafkaError) -> LaneEnd {
    error.isInstanceFenced ? .failed(.kafka(error)) : .rejoin("\(error)")
  }
  var isFencing: Bool {
    if case .failed(.kafka(let error)) = self { error.isInstanceFenced } else { false }
  }
}

/// One member of the consumer group: takes records of its partitions, folds and scores them, and hands
/// sealed units to a commit thread, which publishes one while the next is computed.
///
/// A session lasts until a stop, a lost assignment or a failure; what it had not committed is dropped
/// with the state behind it, and the next session makes that state again from the logs.
///
/// Threads: everything here runs on the lane's fold thread; the committer on its own, joined by rings.
final class Lane {
  /// Sealed units in flight; a full ring stops the taking.
  static let unitsInFlight = 3
  /// Records taken between two looks at the scorers: bounds how old a scorer may be served.
  static let stepRecords = 256

  let context: WorkerContext
  let plan: EnginePlan
  let progress: LaneProgress
  let consumer: any GroupConsumer
  let sealed: Ring<SealedUnit>
  let free: Ring<CommitUnit>
  let committer: LaneCommitter
  /// Where predictions go at once; nil for exactly-once.
  let early: EarlyPredictions?
  private let commitThread: any RunningThread
  var partitions: [LanePartition] = []
  var control: ControlIntake?
  /// What the group gave and whose place in the logs is not known yet.
  var pending = PendingAssignment()
  /// The unit being filled.
  var unit: CommitUnit
  /// When the first record of the open unit was taken, monotonic nanoseconds; nil while it is empty.
  var unitFirstTaken: UInt64?
  /// Where followed records go: their outputs were published long ago.
  let silent: CommitUnit
  var lastCheckpoint: UInt64
  /// Something was consumed since the last checkpoint.
  var isDirty = false
  /// When offsets were committed last.
  var lastSeal: UInt64
  /// When the assignment came whose partitions are being restored.
  var restoreBegan: UInt64?
  var scorers: ScorerSet?
  var generation: UInt64 = 0
  var sealedCount: UInt64 = 0
  /// Differs between all sessions of all processes.
  let sessionMark: String
  /// Every input of every partition was at its end when last looked at.
  private var isIdle = false
  /// Which partition is stepped first.
  private var firstInTurn = 0
  private var headers = HeaderBlock()
  var errorBudget: ErrorBudget
  var lastNote: UInt64 = 0
  /// How long an input at its end is still waited for, nanoseconds.
  private let alignWait: UInt64

  init(context: WorkerContext, plan: EnginePlan, progress: LaneProgress) throws(WorkerFailure) {
    self.context = context
    self.plan = plan
    self.progress = progress
    let consumer = try kafka { () throws(KafkaError) in
      try context.makeConsumer(lane: progress.index)
    }
    self.consumer = consumer
    sealed = context.makeRing(capacity: Self.unitsInFlight)
    free = context.makeRing(capacity: Self.unitsInFlight + 1)
    func makeUnit() -> CommitUnit { CommitUnit(
        examples: context.makeExampleBuilder(plan), inputCount: plan.inputs.count) }
    unit = makeUnit()
    silent = makeUnit()
    for _ in 0..<Self.unitsInFlight { _ = free.push(makeUnit()) }
    lastCheckpoint = context.now()
    lastSeal = lastCheckpoint
    sessionMark = "\(context.wallMilliseconds()).\(lastCheckpoint).\(progress.index)"
    errorBudget = ErrorBudget(context.settings.errors)
    alignWait = UInt64(context.settings.alignWaitMilliseconds) * 1_000_000
    let (sealed, free) = (self.sealed, self.free)
    let early = try kafka { () throws(KafkaError) in
      context.settings.delivery.mode == .atLeastOnce ? try EarlyPredictions(context) : nil
    }
    self.early = early
    let committer = try kafka { () throws(KafkaError) in
      try LaneCommitter(
        context: context, progress: progress, consumer: consumer, early: early, sealed: sealed,
        free: free)
    }
    self.committer = committer
    do throws(ThreadFailure) {
      commitThread = try context.runtime.startThread("commit-\(progress.index)") { [committer] in committer.run() }
    } catch {
      throw .exhausted("no thread can be started: \(error)")
    }
  }

  /// Runs one session to its end. Closes the consumer and joins the commit thread in every case.
  func run() -> LaneEnd {
    let end: LaneEnd
    do throws(WorkerFailure) {
      end = try session()
    } catch {
      end = .failed(error)
    }
    if case .stopped = end {} else { committer.abandon() }
    sealed.close()
    commitThread.join()
    partitions.removeAll()
    // What it held is for the next owner to tell.
    progress.update { $0.partitions = [] }
    control = nil
    progress.isReady.store(false, ordering: .releasing)
    progress.ownsControl.store(false, ordering: .releasing)
    consumer.close()
    // What the committer met is the cause; what the fold thread saw of it is a consequence, unless another took its name.
    return end.isFencing ? end : committer.end ?? end
  }

  private func session() throws(WorkerFailure) -> LaneEnd {
    try kafka { () throws(KafkaError) in
      try consumer.subscribe([plan.inputs[plan.scoredInput].topic, context.settings.topics.control])
    }
    while true {
      if sealed.isClosed { return .rejoin("commit thread ended") }
      if context.isStopping || (context.untilEnd && isFinished) {
        try release(forcingCheckpoint: true)
        return .stopped
      }
      switch consumer.poll(milliseconds: 0) {
      case .none: break
      case .assign(let given): try take(given)
      case .revoke(_, let lost):
        if lost { return .rejoin("assignment lost") }
        try revoke()
      case .error(let error):
        guard error.action == .retrySameCall else {
          if error.action == .rejoinGroup { return .rejoin("\(error)") }
          throw .kafka(error)
        }
        context.log.warning(
          "consumer-error", "consumer",
          LogFields(["error": error.description]))
      }
      adopt()
      let resolved = try resolvePending()
      let progressed = try work()
      try sealIfDue()
      if context.now() - lastNote >= 500_000_000 { noteProgress() }
      if !progressed && !resolved { consumer.wait(milliseconds: waitMilliseconds) }
    }
  }

  /// Lanes adopt between steps, idle ones too, so that a prediction names exactly one version.
  private func adopt() {
    guard context.hub.generation != generation else {
      if unitFirstTaken == nil && committer.committedCount == sealedCount {
        progress.resolved.store(generation, ordering: .releasing)
      }
      return
    }
    Failpoints.pass(.beforeModelSwap)
    let (next, nextGeneration) = context.hub.current()
    scorers = next
    generation = nextGeneration
    progress.adopted.store(generation, ordering: .releasing)
  }

  private var isFinished: Bool {
    isIdle && unitFirstTaken == nil && !partitions.isEmpty && pending.isEmpty
  }

  /// Fetches and steps every partition once; false where nothing could be done.
  private func work() throws(WorkerFailure) -> Bool {
    guard let scorers else { return false }
    var progressed = false
    noteAttempt()
    isIdle = true
    // Why in turn: a unit that the first ones fill must not leave the others behind for ever.
    firstInTurn = partitions.isEmpty ? 0 : (firstInTurn + 1) % partitions.count
    for turn in partitions.indices {
      let partition = partitions[(firstInTurn + turn) % partitions.count]
      var moved = try fetch(partition)
      if moved { Failpoints.pass(.afterPoll) }
      let restoring = partition.restoring
      if let restoring { moved = try followJournal(partition, restoring) || moved }
      let target = restoring == nil ? unit : silent
      // Nothing to follow yet: a step would run live.
      if restoring != nil {
        isIdle = false
        guard partition.engine.followedRemaining > 0 else {
          progressed = progressed || moved
          continue
        }
        silent.clear()
      }
      let before = target.consumed
      let careful = restoring == nil && partition.careLeft > 0
      let budget =
        restoring == nil
        ? min(before + (careful ? 1 : Self.stepRecords), context.settings.delivery.transactionRecords)
        : Self.stepRecords
      if careful { suspect(partition, partition.engine.next) }
      let trapped = Self.plantedTrap == nil || restoring != nil ? nil : partition.engine.consumedOffsets
      do throws(EngineFault) {
        let outcome = try partition.engine.step(into: target, scorers: scorers, budget: budget)
        if outcome != .idle { isIdle = false }
        // A piece of the journal is done: the next one may be there.
        if outcome == .followed { moved = true }
      } catch {
        throw .unrecoverable("partition \(partition.number): \(error)")
      }
      let taken = target.consumed > before
      if let trapped { springTrap(partition, before: trapped) }
      if careful { survive(partition, taken: taken) }
      if taken && restoring == nil {
        early?.publish(unit)
        isDirty = true
        if unitFirstTaken == nil { unitFirstTaken = context.now() }
      }
      progressed = progressed || taken || moved
    }
    if let control, try control.take(into: unit) {
      progressed = true
      if unitFirstTaken == nil { unitFirstTaken = context.now() }
    }
    return progressed
  }

  /// Moves what the client has fetched into the partition's engine.
  private func fetch(_ partition: LanePartition) throws(WorkerFailure) -> Bool {
    var fetched = false
    let engine = partition.engine
    for input in partition.queues.indices {
      taking: while true {
        let careful = partition.careLeft > 0 && partition.restoring == nil
        let room = careful ? (engine.lacks(input: input) ? min(1, engine.room(input: input)) : 0) : engine.room(input: input)
        if room == 0 { break }
        var repeated: Int64?
        let (count, stop) = partition.queues[input].take(upTo: room) { record in
          headers.removeAll()
          record.appendHeaders(to: &headers)
          if careful {
            suspect(partition, (input, record.offset))
            // What killed two processes is not even decoded.
            if engine.isQuarantined(input: input, offset: record.offset) {
              unsafe engine.append(
                input: input, payload: UnsafeRawBufferPointer(start: nil, count: 0), key: nil,
                headers: UnsafeRawBufferPointer(start: nil, count: 0), offset: record.offset,
                timestamp: record.timestamp)
              return
            }
          }
          unsafe headers.bytes.withUnsafeBytes { headers in
            let isNew = unsafe engine.append(
              input: input, payload: record.unsafeValue,
              key: record.hasKey ? record.unsafeKey : nil, headers: headers,
              offset: record.offset, timestamp: record.timestamp)
            if !isNew { repeated = record.offset }
          }
        }
        if let repeated {
          context.log.warning(
            "record-repeated", "the client handed out a record again; passed over",
            LogFields([
              "topic": plan.inputs[input].topic, "partition": "\(partition.number)", "offset": "\(repeated)",
            ]))
        }
        if count > 0 {
          fetched = true
          partition.endedAt[input] = nil
          if careful {
            engine.seal(input: input)
            suspect(partition, nil)
          }
        }
        switch stop {
        case .record: continue
        case .nothing: break taking
        case .endOfPartition:
          partition.endedAt[input] = context.now()
          fetched = true
        case .error(let error):
          guard error.action == .retrySameCall else { throw .kafka(error) }
          context.log.warning(
            "fetch-error", "fetch",
            LogFields(["error": "\(error)"]))
          break taking
        }
      }
      if let ended = partition.endedAt[input], context.now() - ended >= alignWait {
        engine.markAtEnd(input: input)
      }
      engine.seal(input: input)
    }
    return fetched
  }

  private var waitMilliseconds: Int32 {
    if !pending.isEmpty { return 10 }
    guard let first = unitFirstTaken else { return 50 }
    let interval = UInt64(context.settings.delivery.transactionIntervalMilliseconds) * 1_000_000
    let elapsed = context.now() - first
    return elapsed >= interval ? 0 : Int32((interval - elapsed) / 1_000_000 + 1)
  }

  func noteProgress() {
    lastNote = context.now()
    context.warm.expire(now: lastNote)
    let partitions = self.partitions.map { partition in
      let engine = partition.engine
      let counters = engine.windowCounters
      return LaneSnapshot.Partition(
        partition: engine.partition.value, accounting: engine.accounting,
        waiting: engine.waitingCount, earlyLabels: engine.earlyLabelCount,
        windowKeys: counters.keys, windowLate: counters.late, windowBytes: engine.windowStateBytes,
        waitingBytes: engine.waitingBytes, nextOffsets: engine.consumedOffsets,
        journalNext: partition.chain.journalNext.load(ordering: .acquiring),
        watermarks: plan.inputs.indices.map { engine.watermark(input: $0) },
        ends: plan.inputs.map { consumer.knownEnd(TopicPartition($0.topic, engine.partition.value)) },
        eventTimes: plan.inputs.indices.map { engine.newestEventTime(input: $0) },
        records: engine.recordCounts,
        restoreRemaining: partition.restoreRemaining)
    }
    if let began = restoreBegan, pending.isEmpty, !self.partitions.contains(where: { $0.restoring != nil }) {
      context.metrics.restored(nanoseconds: context.now() - began)
      restoreBegan = nil
    }
    progress.update { snapshot in
      snapshot.partitions = partitions
      guard snapshot.phase != .draining else { return }
      snapshot.phase = phase
    }
  }

  private var phase: LaneSnapshot.Phase {
    if !pending.isEmpty || partitions.contains(where: { $0.restoring != nil }) { return .restoring }
    return partitions.isEmpty && control == nil ? .waiting : .running
  }
}
