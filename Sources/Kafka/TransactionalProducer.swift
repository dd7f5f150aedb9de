import CRdKafka
import Records
import Synchronization

/// Writes units whole or not at all, together with the offsets they were made from.
///
/// Life:     `initTransactions` once (it fences and aborts the predecessor with the same id), then per unit `begin`,
///           `produce`…, `sendOffsets`, `commit`; or `abort`. Every error says by its `action` what comes next.
/// In doubt: after a transaction in which a call was retried or timed out, or a connection broke, a delayed request may
///           still reach the broker, its end or its offsets among the next one's: `isInDoubt` asks for a new producer
///           (whose epoch fences it) before the next `begin`.
/// Threads:  transactional calls on one thread at a time; `produce` may run on another between `begin` and
///           `commit`. The library itself is thread-safe.
/// Invariant: `doubt` and `errorsAtBegin` are atomic; nothing else of ours changes after `init`.
@safe public final class TransactionalProducer: TransactionalWriter, @unchecked Sendable {
  public let transactionalID: String
  let handle: ClientHandle
  private let settings: ProducerSettings
  private let doubt = Atomic<Bool>(false)
  /// Transport errors when the transaction began.
  private let errorsAtBegin = Atomic<Int>(0)

  public init(
    _ client: ClientSettings, transactionalID: String, _ settings: ProducerSettings = ProducerSettings()
  ) throws(KafkaError) {
    let configuration = Configuration()
    try configuration.apply(client)
    try configuration.apply(settings)
    try configuration.set([
      ("transactional.id", transactionalID), ("enable.idempotence", "true"),
      ("transaction.timeout.ms", "\(settings.transactionMilliseconds)"),
      ("max.in.flight.requests.per.connection", "5"),
    ])
    handle = try configuration.makeClient(RD_KAFKA_PRODUCER, client)
    self.settings = settings
    self.transactionalID = transactionalID
  }

  /// Takes the id over from whoever had it. A time-out is retriable by the same call.
  public func initTransactions(timeoutMilliseconds: Int32) throws(KafkaError) {
    try unsafe check(rd_kafka_init_transactions(handle.pointer, timeoutMilliseconds), .initTransactions)
  }

  public func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic {
    try ProducerTopic(topic, of: handle, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// To be called at a unit's first output, so that no transaction is open for nothing.
  public func begin() throws(KafkaError) {
    handle.poll(0)
    _ = handle.takeFailures()
    handle.box.tracked.withLock { $0.removeAll(keepingCapacity: true) }
    errorsAtBegin.store(handle.box.transportErrors.load(ordering: .relaxed), ordering: .relaxed)
    try unsafe check(rd_kafka_begin_transaction(handle.pointer), .begin)
  }

  /// Queues a record of the open transaction; the bytes are copied before it returns. `timestamp` 0: now.
  public func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan? = nil, timestamp: Int64 = 0, tracked: Bool = false
  ) throws(KafkaError) {
    guard let topic = topic as? ProducerTopic else {
      throw KafkaError(code: KafkaCode.invalidArgument, call: .produce, message: "the topic was opened by another client")
    }
    try unsafe handle.produce(
      topic, partition: partition, key: key, value: value, headers: headers, timestamp: timestamp,
      queueFullMilliseconds: settings.queueFullMilliseconds, tracked: tracked)
  }

  /// As above, for callers that hold arrays.
  public func produce(
    _ topic: any OpenTopic, partition: Int32, key: [UInt8]?, value: [UInt8]?,
    headers: HeaderBlock, timestamp: Int64 = 0
  ) throws(KafkaError) {
    guard let topic = topic as? ProducerTopic else {
      throw KafkaError(code: KafkaCode.invalidArgument, call: .produce, message: "the topic was opened by another client")
    }
    // SAFETY: bytes have no padding.
    try unsafe handle.produce(
      topic, partition: partition, key: key?.span.bytes, value: value?.span.bytes,
      headers: headers.bytes.span.bytes, timestamp: timestamp, queueFullMilliseconds: settings.queueFullMilliseconds)
  }

  /// The newest tracked record of this partition number since `begin`; nil where none was delivered.
  public func trackedOffset(partition: Int32) -> Int64? {
    handle.box.tracked.withLock { $0[partition] }
  }

  /// Adds the offsets that the unit's input ends at. `group` is of when the unit was sealed.
  public func sendOffsets(
    _ offsets: [PartitionOffset], _ group: any GroupIdentity, timeoutMilliseconds: Int32
  ) throws(KafkaError) {
    if offsets.isEmpty { return }
    guard let group = group as? GroupMetadata else {
      throw KafkaError(code: KafkaCode.invalidArgument, call: .sendOffsets, message: "the group is another client's")
    }
    let list = PartitionList(offsets)
    let error = unsafe rd_kafka_send_offsets_to_transaction(
      handle.pointer, list.pointer, group.pointer, timeoutMilliseconds)
    do { try unsafe check(error, .sendOffsets) } catch {
      if error.isRetriable { doubt.store(true, ordering: .relaxed) }
      throw error
    }
  }

  /// Flushes and commits. -1 waits until the outcome is known, as the library insists on.
  public func commit(timeoutMilliseconds: Int32) throws(KafkaError) {
    try end(.commit) { () throws(KafkaError) in
      try unsafe check(rd_kafka_commit_transaction(handle.pointer, timeoutMilliseconds), .commit)
    }
  }

  /// Drops what was queued and aborts. Not after a request that was not answered: the library ends the process where the
  /// answer, or its absence, comes later. Another producer under the same id ends the transaction as well.
  public func abort(timeoutMilliseconds: Int32 = -1) throws(KafkaError) {
    try end(.abort) { () throws(KafkaError) in
      try unsafe check(rd_kafka_abort_transaction(handle.pointer, timeoutMilliseconds), .abort)
    }
    _ = handle.takeFailures()
  }

  /// A delayed end of an earlier transaction may still arrive: make a new producer before the next `begin`.
  public var isInDoubt: Bool { doubt.load(ordering: .relaxed) }

  /// Failed deliveries since the last `begin`, and the first of them: it names what a failed commit only repeats.
  public func takeFailures() -> (count: Int, first: KafkaError?) { handle.takeFailures() }

  /// Serves delivery reports and errors; to be called while a lane is idle.
  public func poll(milliseconds: Int32) { handle.poll(milliseconds) }

  /// Drops everything queued or in flight, so that a fatal producer can be let go at once.
  public func purge() {
    _ = unsafe rd_kafka_purge(
      handle.pointer, Int32(RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT))
    handle.poll(0)
  }

  private func end(_ call: KafkaCall, _ body: () throws(KafkaError) -> Void) throws(KafkaError) {
    do {
      try body()
    } catch {
      if error.isRetriable { doubt.store(true, ordering: .relaxed) }
      throw error
    }
    handle.poll(0)
    if handle.box.lostAnswers.count > 0
      || handle.box.transportErrors.load(ordering: .relaxed) != errorsAtBegin.load(ordering: .relaxed)
    {
      doubt.store(true, ordering: .relaxed)
    }
  }
}
