import Checkpoints
import Engine
import Kafka
import Pipeline
import Records
import Storage
import Synchronization

/// Publishes a lane's sealed units, one transaction each, on a thread of its own, while the lane computes
/// the next.
///
/// Protocol: a unit's bytes are encoded once. A commit that timed out is called again, never aborted. After any other
/// error, and after a commit in doubt, the producer is made anew: that ends the transaction at the brokers and fences
/// whatever is still under way. The committed offsets say whether it counted; if not, the same bytes are sent again.
/// Why never by the library's abort: an answer to a request of before may come after it, and then the library ends the
/// process (an assertion in `rd_kafka_txn_handle_AddPartitionsToTxn`: seen on 2.0.2, unchanged in the source of newer ones).
///
/// Threads: `run` on the commit thread; `end` after that thread was joined; `isIdle` anywhere.
/// Invariant: `producer` and `topics` are touched by the commit thread alone once `run` began.
final class LaneCommitter: @unchecked Sendable {
  static let attemptsMax = 5
  /// What every topic that we write to must take.
  static let recordBytesMax = 1_048_588
  /// How often one call is called again before the client itself is doubted: another one then finds out what became of
  /// the transaction. Thirty seconds are longer than brokers take to elect.
  static let retriesMax = 6
  /// How long one call waits for the broker before it looks whether anybody still waits for it. It resumes when it is
  /// called again.
  static let callMilliseconds: Int32 = 5_000

  private let context: WorkerContext
  private let progress: LaneProgress
  private let consumer: any GroupConsumer
  private let early: EarlyPredictions?
  private let role: String
  private let sealed: Ring<SealedUnit>
  private let free: Ring<CommitUnit>
  private var producer: any TransactionalWriter
  private var topics: OutputTopics
  private let taken = Atomic<UInt64>(0)
  private let abandoned = Atomic<Bool>(false)
  /// Fencings since the last commit: the first may be the broker's own time-out, the second is another owner's doing.
  private var fencings = 0
  private let result = Mutex<LaneEnd?>(nil)

  init(
    context: WorkerContext, progress: LaneProgress, consumer: any GroupConsumer, early: EarlyPredictions?,
    sealed: Ring<SealedUnit>, free: Ring<CommitUnit>
  ) throws(KafkaError) {
    self.context = context
    self.progress = progress
    self.consumer = consumer
    self.early = early
    self.sealed = sealed
    self.free = free
    role = "\(progress.index)"
    producer = try context.makeProducer(role)
    topics = try OutputTopics(context.settings, producer)
  }

  /// Why the thread ended by itself; nil where it was told to.
  var end: LaneEnd? { result.withLock { $0 } }
  /// Gives up what is not committed at the next time-out: nobody waits for it any more.
  func abandon() { abandoned.store(true, ordering: .releasing) }
  /// Units committed so far.
  var committedCount: UInt64 { taken.load(ordering: .acquiring) }

  /// Commits units until the ring is closed and empty, or one cannot be committed.
  func run() {
    while let unit = sealed.pop() {
      switch publishEarly(unit) ?? commit(unit) ?? finish(unit) {
      case .none:
        taken.wrappingAdd(1, ordering: .acquiringAndReleasing)
        _ = free.push(unit.unit)
      case .some(let end):
        if case .failed(.topicRecreated) = end {} else { context.metrics.transactionFailed("fenced") }
        result.withLock { $0 = end }
        sealed.close()
        free.close()
        return
      }
    }
    free.close()
  }

  /// What a known commit makes true: metrics, and checkpoints that may now be named. A journal record that stands before
  /// what its log held already says that brokers have lost the records between: nobody could follow it any more.
  private func finish(_ sealed: SealedUnit) -> LaneEnd? {
    Failpoints.pass(.afterCommit)
    progress.resolved.store(sealed.generation, ordering: .releasing)
    progress.update {
      $0.unitsCommitted += 1
      $0.recordsConsumed += UInt64(sealed.unit.consumed)
    }
    context.metrics.committed(sealed, now: context.now())
    for journal in sealed.journals {
      guard let offset = producer.trackedOffset(partition: journal.partition) else { continue }
      let known = journal.chain.journalNext.load(ordering: .acquiring)
      guard offset >= known else {
        return .failed(
          .topicRecreated(
            "the journal was made anew or cut under the worker topic=\(context.settings.topics.journal) partition=\(journal.partition) offset=\(offset) known=\(known)"))
      }
      journal.chain.journalNext.store(offset + 1, ordering: .releasing)
    }
    for pending in sealed.checkpoints {
      let (name, bytes) = pending.chain.encode(pending.writer)
      context.write(name, bytes)
    }
    return nil
  }

  // MARK: One unit

  private func publishEarly(_ sealed: SealedUnit) -> LaneEnd? {
    do throws(KafkaError) { try early?.settle(sealed.unit) } catch { return .failed(.kafka(error)) }
    return nil
  }

  /// nil: committed.
  private func commit(_ sealed: SealedUnit) -> LaneEnd? {
    var attempts = 0
    while true {
      attempts += 1
      do throws(KafkaError) {
        if sealed.isEmpty { return nil }
        if producer.isInDoubt { try recreate() }
        try send(sealed)
        Failpoints.pass(.afterSendOffsets)
        Failpoints.pass(.duringCommit)
        try retrying { () throws(KafkaError) in
          try producer.commit(timeoutMilliseconds: Self.callMilliseconds)
        }
        fencings = 0
        return nil
      } catch let met {
        let error = producer.cause(of: met)
        if abandoned.load(ordering: .acquiring) { return .left(because: error) }
        if error.isFenced { fencings += 1 }
        if fencings > 1 { return .failed(.kafka(error)) }
        context.metrics.transactionFailed("aborted")
        context.log.warning(
          "transaction-failed", "transaction failed",
          LogFields(["attempt": "\(attempts)", "error": "\(error)"]))
        if let end = recover(from: error, sealed, attempts: attempts) {
          if case .stopped = end { return nil }
          return end
        }
      }
    }
  }

  /// Brings the producer back to where `send` may be tried again (nil), or says how this ends;
  /// `.stopped` stands for "it was committed after all".
  private func recover(from error: KafkaError, _ sealed: SealedUnit, attempts: Int) -> LaneEnd? {
    guard attempts < Self.attemptsMax else { return .failed(.kafka(error)) }
    do throws(KafkaError) {
      switch error.action {
      case .abortAndResend, .recreateProducer, .retrySameCall:
        try recreate()
        return try probe(sealed)
      case .rejoinGroup:
        // Ends the transaction, which others wait for; where that fails the next session does.
        do throws(KafkaError) { try recreate() } catch {}
        return .left(because: error)
      case .quarantineRecord:
        // Every output is capped below a topic's usual limit, so that the topic must have been given a lower one.
        return .failed(
          .misconfigured("a topic refuses a record of ours; its max.message.bytes must be at least \(Self.recordBytesMax): \(error)"))
      case .offsetOutOfRange, .misconfigured, .denied, .fatal:
        return .failed(.kafka(error))
      }
    } catch let second {
      // The way back failed too: a new producer and the committed offsets are the last resort.
      do throws(KafkaError) {
        try recreate()
        return try probe(sealed)
      } catch {
        return .failed(.kafka(second))
      }
    }
  }

  private func send(_ sealed: SealedUnit) throws(KafkaError) {
    let unit = sealed.unit
    try producer.begin()
    Failpoints.pass(.afterBegin)
    for record in unit.records where early == nil || record.destination != .predictions {
      let topic = topics[record.destination]
      // Shared topics are written round robin by our own partition number, so that each keeps few writers.
      let partition =
        record.partition >= 0 ? record.partition : Int32(progress.index) % topic.partitionCount
      try unsafe unit.withParts(of: record) { (key, value, headers) throws(KafkaError) in
        try produceWaiting { () throws(KafkaError) in
          try unsafe producer.produce(
            topic, partition: partition, key: key, value: value, headers: headers,
            timestamp: max(record.timestamp, 0), tracked: record.destination == .journal)
        }
      }
    }
    Failpoints.pass(.afterProduce)
    try retrying { () throws(KafkaError) in
      try producer.sendOffsets(
        context.offsets(of: sealed), sealed.group, timeoutMilliseconds: Self.callMilliseconds)
    }
  }

  /// A full queue is waited for: that is the back-pressure.
  private func produceWaiting(_ body: () throws(KafkaError) -> Void) throws(KafkaError) {
    while true {
      do throws(KafkaError) { return try body() } catch {
        guard error.code == KafkaCode.queueFull, !abandoned.load(ordering: .acquiring) else { throw error }
        producer.poll(milliseconds: 10)
      }
    }
  }

  /// Calls again what says that it may be called again.
  private func retrying(_ call: () throws(KafkaError) -> Void) throws(KafkaError) {
    for attempt in 1... {
      do throws(KafkaError) { return try call() } catch {
        guard error.action == .retrySameCall, attempt < Self.retriesMax,
          !abandoned.load(ordering: .acquiring)
        else { throw error }
      }
    }
  }

  private func recreate() throws(KafkaError) {
    producer.purge()
    producer = try context.makeProducer(role)
    topics = try OutputTopics(context.settings, producer)
  }

  /// What became of the transaction, by the group's committed offsets.
  private func probe(_ sealed: SealedUnit) throws(KafkaError) -> LaneEnd? {
    let ends = context.offsets(of: sealed)
    let committed = try consumer.committed(ends.map(\.partition))
    if zip(ends, committed).allSatisfy({ $0.offset == $1.offset }) {
      // Why not the offsets alone: a process of the same name may have committed the same records, scored by another
      // version. Brokers that keep no metadata cannot tell.
      let isOurs = zip(ends, committed).allSatisfy { $1.metadata.isEmpty || $0.metadata == $1.metadata }
      return isOurs || sealed.unit.records.isEmpty ? .stopped : .rejoin("the unit's records were committed by another")
    }
    // Anything ahead of us was not ours.
    let isBehind = zip(ends, committed).allSatisfy { ($1.offset ?? -1) <= $0.offset }
    return isBehind ? nil : .rejoin("committed offsets are ahead of the unit")
  }
}

/// The topics a worker writes to, opened by one producer.
struct OutputTopics {
  private let predictions, deadLetters, learning, journal, acks: any OpenTopic

  init(_ settings: PipelineSettings, _ producer: any TransactionalWriter) throws(KafkaError) {
    predictions = try producer.open(settings.topics.predictions)
    deadLetters = try producer.open(settings.topics.deadLetters)
    learning = try producer.open(settings.topics.learning)
    journal = try producer.open(settings.topics.journal)
    acks = try producer.open(settings.topics.acks)
  }

  subscript(destination: OutputRecord.Destination) -> any OpenTopic {
    switch destination {
    case .predictions: predictions
    case .deadLetters: deadLetters
    case .learning: learning
    case .journal: journal
    case .acks: acks
    }
  }
}
