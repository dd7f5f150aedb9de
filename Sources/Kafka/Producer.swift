import CRdKafka
import Records

/// Sends records without transactions: for tools and operators' commands, never for a worker's outputs.
///
/// Threads:  any one at a time.
/// Invariant: nothing of ours changes after `init`; what callbacks count is behind a lock.
@safe public final class Producer: PlainWriter, @unchecked Sendable {
  let handle: ClientHandle
  private let settings: ProducerSettings

  public init(
    _ client: ClientSettings, _ settings: ProducerSettings = ProducerSettings()
  ) throws(KafkaError) {
    let configuration = Configuration()
    try configuration.apply(client)
    try configuration.apply(settings)
    // Why idempotent: without it a retried batch may be written twice, or after a later one.
    try configuration.set([
      ("enable.idempotence", "true"), ("max.in.flight.requests.per.connection", "5"),
    ])
    handle = try configuration.makeClient(RD_KAFKA_PRODUCER, client)
    self.settings = settings
  }

  public func open(_ topic: String) throws(KafkaError) -> ProducerTopic {
    try ProducerTopic(topic, of: handle, timeoutMilliseconds: 10_000)
  }
  public func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic {
    try ProducerTopic(topic, of: handle, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// As below, for callers that hold pointers and know the partition.
  public func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan?, timestamp: Int64
  ) throws(KafkaError) {
    guard let topic = topic as? ProducerTopic else {
      throw KafkaError(code: KafkaCode.invalidArgument, call: .produce, message: "the topic was opened by another client")
    }
    try unsafe handle.produce(
      topic, partition: partition, key: key, value: value, headers: headers, timestamp: timestamp,
      queueFullMilliseconds: settings.queueFullMilliseconds)
  }

  /// Queues a record; `partition` nil: by the key, as Java clients do. `timestamp` 0: now.
  public func produce(
    _ topic: ProducerTopic, partition: Int32?, key: RawSpan?, value: RawSpan?, headers: RawSpan? = nil,
    timestamp: Int64 = 0
  ) throws(KafkaError) {
    try handle.produce(
      topic, partition: partition, key: key, value: value, headers: headers, timestamp: timestamp,
      queueFullMilliseconds: settings.queueFullMilliseconds)
  }

  /// As above, for callers that hold arrays.
  public func produce(
    _ topic: ProducerTopic, partition: Int32?, key: [UInt8]?, value: [UInt8],
    headers: HeaderBlock = HeaderBlock(), timestamp: Int64 = 0
  ) throws(KafkaError) {
    // SAFETY: bytes have no padding.
    if let key {
      try unsafe produce(
        topic, partition: partition, key: key.span.bytes, value: value.span.bytes,
        headers: headers.bytes.span.bytes, timestamp: timestamp)
    } else {
      try unsafe produce(
        topic, partition: partition, key: nil, value: value.span.bytes,
        headers: headers.bytes.span.bytes, timestamp: timestamp)
    }
  }

  /// Serves delivery reports.
  public func poll(milliseconds: Int32 = 0) { handle.poll(milliseconds) }

  /// Waits until everything queued is acknowledged or has failed; throws the first failure since the last flush.
  public func flush(timeoutMilliseconds: Int32) throws(KafkaError) {
    let code = unsafe rd_kafka_flush(handle.pointer, timeoutMilliseconds)
    if let failure = takeFailures().first { throw failure }
    if code != RD_KAFKA_RESP_ERR_NO_ERROR {
      throw KafkaError(code: code.rawValue, call: .delivery, flags: .retriable)
    }
  }

  /// Failed deliveries since last asked, and the first of them.
  public func takeFailures() -> (count: Int, first: KafkaError?) { handle.takeFailures() }

  /// Records queued or in flight.
  public var pendingCount: Int { Int(unsafe rd_kafka_outq_len(handle.pointer)) }
}

extension ClientHandle {
  func takeFailures() -> (count: Int, first: KafkaError?) {
    box.failures.withLock { failures in
      defer { failures = CallbackBox.Failures() }
      return (failures.count, failures.first)
    }
  }

  /// As the pointer form, with spans.
  func produce(
    _ topic: ProducerTopic, partition: Int32?, key: RawSpan?, value: RawSpan?, headers: RawSpan?,
    timestamp: Int64, queueFullMilliseconds: Int32
  ) throws(KafkaError) {
    // SAFETY: the spans are borrowed for the whole call, and the library copies before it returns.
    var keyBytes: UnsafeRawBufferPointer?
    var valueBytes: UnsafeRawBufferPointer?
    if let key { unsafe keyBytes = unsafe key.withUnsafeBytes { unsafe $0 } }
    if let value { unsafe valueBytes = unsafe value.withUnsafeBytes { unsafe $0 } }
    try unsafe produce(
      topic, partition: partition, key: keyBytes, value: valueBytes, headers: headers,
      timestamp: timestamp, queueFullMilliseconds: queueFullMilliseconds)
  }
}
