import Kafka
import Records

/// What the group gave and is not being read yet.
struct PendingAssignment {
  var partitions: [Int32] = []
  var control = false
  /// When the logs are asked again.
  var nextTry: UInt64 = 0
  /// How often they were asked in vain, and since when.
  var failures = 0
  var since: UInt64 = 0
  var lastWords: UInt64 = 0
  /// While questions are open.
  var journals: JournalReaders?

  var isEmpty: Bool { partitions.isEmpty && !control }
}

extension Lane {
  /// How long one question may take while other partitions are being served, and when there are none.
  private static let questionMilliseconds: (serving: Int32, alone: Int32) = (100, 1_000)

  /// Takes on what the group gives: of each scored partition the same partition of every other input. States that
  /// nobody moved on since they were given back go on at once; for the others the logs are asked, beside the work.
  func take(_ given: [TopicPartition]) throws(WorkerFailure) {
    progress.update {
      $0.phase = .restoring
      $0.rebalances += 1
    }
    context.metrics.rebalanced()
    restoreBegan = context.now()
    Failpoints.pass(.afterAssign)
    let scoredTopic = plan.inputs[plan.scoredInput].topic
    let numbers = given.filter { $0.topic == scoredTopic }.map(\.partition).sorted()
    let ownsControl = given.contains { $0.topic == context.settings.topics.control }
    partitions = takeWarm(numbers)
    control = nil
    pending = PendingAssignment()
    pending.partitions = numbers.filter { number in !partitions.contains { $0.number == number } }
    pending.control = ownsControl
    pending.since = context.now()
    pending.lastWords = pending.since
    progress.ownsControl.store(ownsControl, ordering: .releasing)
    let warm = partitions.count
    // The group waits for this answer, also while it names nothing yet.
    try reassign()
    context.log.info(
      "assigned", "assigned",
      LogFields([
        "partitions": numbers.map(String.init).joined(separator: ","), "warm": "\(warm)",
        "control": ownsControl ? "yes" : "no",
      ]))
  }

  /// Gives everything back, committed, and keeps the states in case they come again.
  func revoke() throws(WorkerFailure) {
    try release(forcingCheckpoint: false, share: 3)
    for partition in partitions where partition.restoring == nil {
      context.warm.keep(partition, now: context.now())
    }
    partitions.removeAll()
    control = nil
    pending = PendingAssignment()
    progress.ownsControl.store(false, ordering: .releasing)
    progress.isReady.store(false, ordering: .releasing)
    noteProgress()
    try kafka { () throws(KafkaError) in try consumer.unassign() }
  }

  /// The states among these that stand where the group's offsets stand.
  private func takeWarm(_ numbers: [Int32]) -> [LanePartition] {
    let warm = numbers.compactMap { context.warm.take($0) }
      .filter { $0.engine.plan.features.digest == plan.features.digest && $0.engine.plan.contenderCount == plan.contenderCount }
    guard !warm.isEmpty else { return [] }
    let committed: [CommittedOffset]
    do throws(KafkaError) {
      committed = try consumer.committed(
        warm.flatMap { inputs(of: $0.number) }, timeoutMilliseconds: Self.questionMilliseconds.alone)
    } catch {
      // Nobody says that they stand right: they are made again like any other.
      return []
    }
    let width = plan.inputs.count
    return warm.enumerated().compactMap { index, partition in
      let ours = partition.engine.consumedOffsets
      let theirs = committed[(index * width)..<((index + 1) * width)].map(\.offset)
      let agrees = zip(ours, theirs).allSatisfy { ours, theirs in
        theirs == nil ? partition.engine.recordCounts.allSatisfy { $0 == 0 } : ours == theirs
      }
      return agrees ? partition : nil
    }
  }

  func inputs(of partition: Int32) -> [TopicPartition] {
    plan.inputs.map { TopicPartition($0.topic, partition) }
  }

  /// Asks the logs about what was given; whether something came of it. Never waits long: what is served goes on.
  func resolvePending() throws(WorkerFailure) -> Bool {
    let now = context.now()
    guard !pending.isEmpty, now >= pending.nextTry else { return false }
    // All at once; where that fails, each alone, so that one that waits for a transaction holds up no other.
    let alone = pending.failures % 2 == 1 && !pending.partitions.isEmpty
    let asked =
      alone ? [pending.partitions[pending.failures / 2 % pending.partitions.count]] : pending.partitions
    let asksControl = pending.control && !alone
    let control = TopicPartition(context.settings.topics.control, 0)
    do throws(WorkerFailure) {
      let committed = try kafka { () throws(KafkaError) in
        try consumer.committed(
          asked.flatMap { inputs(of: $0) } + (asksControl ? [control] : []),
          timeoutMilliseconds: partitions.isEmpty
            ? Self.questionMilliseconds.alone : Self.questionMilliseconds.serving)
      }
      let journals = try journalReaders()
      var made: [LanePartition] = []
      let width = plan.inputs.count
      for (index, number) in asked.enumerated() {
        made.append(
          try PartitionRestore(context: context, plan: plan, consumer: consumer, journals: journals, partition: PartitionID(number))
            .run(committed: committed[(index * width)..<((index + 1) * width)].map(\.offset)))
      }
      try TopicIdentity(context: context).check(made.flatMap(\.remembered))
      if asksControl {
        let low = try kafka { () throws(KafkaError) in try consumer.watermarks(control).low }
        self.control = ControlIntake(
          context: context, position: max(committed[committed.count - 1].offset ?? low, low))
        pending.control = false
      }
      for partition in made where partition.restoring == nil { takeCare(of: partition) }
      partitions += made
      pending.partitions.removeAll { asked.contains($0) }
      if pending.isEmpty { pending.journals = nil }
      pending.failures = 0
    } catch {
      guard case .kafka(let cause) = error, cause.action == .retrySameCall else { throw error }
      pending.failures += 1
      pending.nextTry = context.now() + 100_000_000
      if context.now() - pending.lastWords >= 10_000_000_000 {
        pending.lastWords = context.now()
        context.log.warning(
          "assignment-waits", "what the group gave cannot be read yet; asked again",
          LogFields([
            "partitions": asked.map(String.init).joined(separator: ","),
            "seconds": "\((pending.lastWords - pending.since) / 1_000_000_000)", "reason": "\(cause)",
          ]))
      }
      return false
    }
    try reassign()
    return true
  }

  /// Made once for all that an assignment asks.
  private func journalReaders() throws(WorkerFailure) -> JournalReaders {
    if let readers = pending.journals { return readers }
    let readers = try kafka { () throws(KafkaError) in try JournalReaders(context) }
    pending.journals = readers
    return readers
  }

  /// Tells the client what to read: everything that is held, each from where its state stands.
  private func reassign() throws(WorkerFailure) {
    partitions.sort { $0.number < $1.number }
    var offsets: [PartitionOffset] = []
    for partition in partitions {
      partition.engine.dropFetched()
      for (input, offset) in zip(inputs(of: partition.number), partition.engine.consumedOffsets) {
        offsets.append(PartitionOffset(input, offset: offset))
      }
    }
    if let control {
      offsets.append(PartitionOffset(TopicPartition(context.settings.topics.control, 0), offset: control.position))
    }
    var queues = try kafka { () throws(KafkaError) in try consumer.assign(offsets) }
    if let control { control.read(from: queues.removeLast()) }
    let width = plan.inputs.count
    for (index, partition) in partitions.enumerated() {
      partition.queues = Array(queues[(index * width)..<((index + 1) * width)])
      partition.endedAt = partition.queues.map { _ in nil }
    }
    noteProgress()
    if pending.isEmpty { progress.isReady.store(true, ordering: .releasing) }
  }

  /// Gives the engine the next piece of the journal, or ends the restoring; whether anything came of it.
  func followJournal(_ partition: LanePartition, _ restoring: LanePartition.Restoring) throws(WorkerFailure) -> Bool {
    let engine = partition.engine
    guard engine.followedRemaining < Self.journalRecordsAhead else { return false }
    let records = try restoring.feed.pull(upTo: 2 * Self.journalRecordsAhead)
    engine.follow(more: records)
    guard restoring.feed.isFinished, engine.followedRemaining == 0 else { return !records.isEmpty }
    for (input, target) in restoring.target.enumerated() where engine.consumedOffsets[input] < target {
      throw .unrecoverable(
        "partition \(partition.number): the journal ends before the committed offset topic=\(plan.inputs[input].topic) reached=\(engine.consumedOffsets[input]) committed=\(target)")
    }
    if restoring.adoptsTotals { engine.adoptTotals() }
    partition.restoring = nil
    takeCare(of: partition)
    context.log.info(
      "partition-restored", "partition restored", LogFields(["partition": "\(partition.number)"]))
    noteProgress()
    return true
  }

  /// Journal records that the engine has at hand while it follows.
  private static let journalRecordsAhead = 32
}
