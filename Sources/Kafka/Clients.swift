import Records

/// What a lane needs of its member of the consumer group. `Consumer` is the real one; a simulated log has another.
///
/// Use and errors as written there. Threads: one, save for `wake`, `committed` and `isAssignmentLost`.
public protocol GroupConsumer: AnyObject, Sendable {
  func subscribe(_ topics: [String]) throws(KafkaError)
  func poll(milliseconds: Int32) -> ConsumerEvent
  func assign(_ partitions: [PartitionOffset]) throws(KafkaError) -> [any RecordQueue]
  func unassign() throws(KafkaError)
  @discardableResult
  func wait(milliseconds: Int32) -> Bool
  func wake()
  var isAssignmentLost: Bool { get }
  /// Generation and member id as of now.
  func groupIdentity() throws(KafkaError) -> any GroupIdentity
  func committed(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [CommittedOffset]
  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks
  func knownEnd(_ partition: TopicPartition) -> Int64?
  /// Commits outside of any transaction, and waits for the answer.
  func commit(_ offsets: [PartitionOffset]) throws(KafkaError)
  @discardableResult
  func close(timeoutMilliseconds: Int32) -> Bool
}

/// Who a consumer is in its group, as of one moment. Opaque: only the clients of the same cluster read it.
public protocol GroupIdentity: AnyObject, Sendable {}

/// The records of one assigned partition. `PartitionQueue` is the real one.
public protocol RecordQueue: AnyObject, Sendable {
  var partition: TopicPartition { get }
  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken
  func take(upTo count: Int, _ body: (borrowing Record) -> Void) -> (count: Int, stop: Taken)
}

/// Reads partitions of one topic from chosen places, without a group. `Reader` is the real one.
public protocol LogReader: AnyObject, Sendable {
  var topic: String { get }
  func start(partition: Int32, at position: StartPosition) throws(KafkaError)
  func stop(partition: Int32)
  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken
  /// Reads one started partition until its position reaches `end`.
  func read(
    partition: Int32, through end: Int64, timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void
  ) throws(KafkaError)
  @discardableResult
  func wait(milliseconds: Int32) -> Bool
  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks
  /// End offsets of several partitions, in the order given.
  func endOffsets(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [Int64]
}

/// A topic opened by one writer.
public protocol OpenTopic: AnyObject, Sendable {
  var name: String { get }
  var partitionCount: Int32 { get }
}

/// Writes units whole or not at all. `TransactionalProducer` is the real one. A transaction that failed is ended by
/// another writer under the same id.
public protocol TransactionalWriter: AnyObject, Sendable {
  var transactionalID: String { get }
  /// A delayed end of an earlier transaction may still arrive: make a new writer before the next `begin`.
  var isInDoubt: Bool { get }
  func initTransactions(timeoutMilliseconds: Int32) throws(KafkaError)
  func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic
  func begin() throws(KafkaError)
  /// Queues a record of the open transaction; the bytes are copied. `timestamp` 0: now. A `tracked` record's offset
  /// can be asked for once the transaction is committed.
  func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan?, timestamp: Int64, tracked: Bool
  ) throws(KafkaError)
  func sendOffsets(_ offsets: [PartitionOffset], _ group: any GroupIdentity, timeoutMilliseconds: Int32) throws(KafkaError)
  func commit(timeoutMilliseconds: Int32) throws(KafkaError)
  /// The newest tracked record of this partition number since `begin`; nil where none was delivered.
  func trackedOffset(partition: Int32) -> Int64?
  /// Failed deliveries since the last `begin`, and the first of them.
  func takeFailures() -> (count: Int, first: KafkaError?)
  func poll(milliseconds: Int32)
  func purge()
}

extension TransactionalWriter {
  /// The refusal behind an error of the open transaction: after it every call merely says that the state is erroneous,
  /// and sending the same again would meet the same.
  public func cause(of error: KafkaError) -> KafkaError {
    guard [.abortAndResend, .denied, .quarantineRecord].contains(error.action) else { return error }
    poll(milliseconds: 0)
    guard let failure = takeFailures().first, [.denied, .quarantineRecord].contains(failure.action) else { return error }
    return failure
  }
}

/// Writes records outside of any transaction, in order and without doubles of its own. `Producer` is the real one.
public protocol PlainWriter: AnyObject, Sendable {
  func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic
  /// Queues a record; the bytes are copied.
  func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan?, timestamp: Int64
  ) throws(KafkaError)
  /// Waits until everything queued is acknowledged or has failed; throws the first failure since the last flush.
  func flush(timeoutMilliseconds: Int32) throws(KafkaError)
}

extension GroupConsumer {
  public func committed(_ partitions: [TopicPartition]) throws(KafkaError) -> [CommittedOffset] {
    try committed(partitions, timeoutMilliseconds: 30_000)
  }
  public func watermarks(_ partition: TopicPartition) throws(KafkaError) -> Watermarks {
    try watermarks(partition, timeoutMilliseconds: 10_000)
  }
  @discardableResult
  public func close() -> Bool { close(timeoutMilliseconds: 10_000) }
}

extension PlainWriter {
  public func flush() throws(KafkaError) { try flush(timeoutMilliseconds: 30_000) }

  /// As `produce` with pointers, for callers that hold arrays.
  public func produce(
    _ topic: any OpenTopic, partition: Int32, key: [UInt8]?, value: [UInt8], timestamp: Int64 = 0
  ) throws(KafkaError) {
    try unsafe lending(key, value) { (key, value) throws(KafkaError) in
      try unsafe produce(topic, partition: partition, key: key, value: value, headers: nil, timestamp: timestamp)
    }
  }
}

extension RecordQueue {
  public func next(_ body: (borrowing Record) -> Void) -> Taken { next(timeoutMilliseconds: 0, body) }
}

extension LogReader {
  public func watermarks(_ partition: TopicPartition) throws(KafkaError) -> Watermarks {
    try watermarks(partition, timeoutMilliseconds: 10_000)
  }
}

extension TransactionalWriter {
  public func initTransactions() throws(KafkaError) { try initTransactions(timeoutMilliseconds: 30_000) }
  public func open(_ topic: String) throws(KafkaError) -> any OpenTopic { try open(topic, timeoutMilliseconds: 10_000) }
  /// Waits until the outcome is known, as the library insists on.
  public func commit() throws(KafkaError) { try commit(timeoutMilliseconds: -1) }
  public func sendOffsets(_ offsets: [PartitionOffset], _ group: any GroupIdentity) throws(KafkaError) {
    try sendOffsets(offsets, group, timeoutMilliseconds: 30_000)
  }

  /// As `produce` with pointers, for callers that hold arrays.
  public func produce(
    _ topic: any OpenTopic, partition: Int32, key: [UInt8]? = nil, value: [UInt8], timestamp: Int64 = 0
  ) throws(KafkaError) {
    try unsafe lending(key, value) { (key, value) throws(KafkaError) in
      try unsafe produce(
        topic, partition: partition, key: key, value: value, headers: nil, timestamp: timestamp, tracked: false)
    }
  }
}

/// Lends the bytes of both for the call.
private func lending(
  _ key: [UInt8]?, _ value: [UInt8],
  _ body: (UnsafeRawBufferPointer?, UnsafeRawBufferPointer) throws(KafkaError) -> Void
) throws(KafkaError) {
  // SAFETY: bytes have no padding; both arrays outlive the call.
  try unsafe value.span.bytes.withUnsafeBytes { value throws(KafkaError) in
    guard let key else { return try unsafe body(nil, value) }
    try unsafe key.span.bytes.withUnsafeBytes { key throws(KafkaError) in try unsafe body(key, value) }
  }
}
