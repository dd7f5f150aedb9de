import CRdKafka

/// Reads partitions of one topic from chosen places, without a group and without committing.
///
/// For logs that every process reads whole: the learning log, a journal up to its high watermark, the commands.
///
/// Isolation: `watermarks` and `endOffsets` answer the last stable offset under read_committed, and the high
///           watermark under read_uncommitted; a reader that must see a journal's true end asks a second one.
/// Cost:     no allocation on our side a record.
/// Threads:  one, save for `wake`.
/// Invariant: the fields that change are touched by that thread alone.
@safe public final class Reader: LogReader, @unchecked Sendable {
  public let topic: String
  let handle: ClientHandle
  private let queue: OpaquePointer
  private let topicHandle: OpaquePointer
  private var started: [Int32] = []
  /// By partition number; -1 where nothing was read yet.
  private var nextOffsets: [Int64] = []

  public init(
    _ settings: ClientSettings, topic: String, fetch: FetchSettings = FetchSettings()
  ) throws(KafkaError) {
    let configuration = Configuration()
    try configuration.apply(settings)
    try configuration.apply(fetch)
    let handle = try configuration.makeClient(RD_KAFKA_CONSUMER, settings)
    // SAFETY: the client lives as long as `handle`; topic and queue are ours to destroy, before it.
    guard let made = unsafe rd_kafka_topic_new(handle.pointer, topic, nil) else {
      throw KafkaError(
        code: rd_kafka_last_error().rawValue, call: .create, message: "no topic \"\(topic)\"")
    }
    unsafe topicHandle = unsafe made
    unsafe queue = rd_kafka_queue_new(handle.pointer)
    unsafe handle.wakeup.watch(queue)
    self.handle = handle
    self.topic = topic
  }

  deinit {
    // SAFETY: partitions stop before their queue goes, and both before the client.
    for partition in started { _ = unsafe rd_kafka_consume_stop(topicHandle, partition) }
    unsafe rd_kafka_queue_destroy(queue)
    unsafe rd_kafka_topic_destroy(topicHandle)
  }

  /// Starts reading a partition. One that is being read must be stopped first.
  public func start(partition: Int32, at position: StartPosition) throws(KafkaError) {
    guard partition >= 0, partition < 1 << 20, !started.contains(partition) else {
      throw KafkaError(
        code: KafkaCode.invalidArgument, call: .consume,
        message: "cannot start topic=\(topic) partition=\(partition)")
    }
    // SAFETY: topic and queue live as long as `self`.
    if unsafe rd_kafka_consume_start_queue(topicHandle, partition, position.native, queue) != 0 {
      throw KafkaError(code: rd_kafka_last_error().rawValue, call: .consume)
    }
    started.append(partition)
    while nextOffsets.count <= Int(partition) { nextOffsets.append(-1) }
    if case .offset(let offset) = position { nextOffsets[Int(partition)] = offset }
  }

  public func stop(partition: Int32) {
    guard let index = started.firstIndex(of: partition) else { return }
    started.remove(at: index)
    _ = unsafe rd_kafka_consume_stop(topicHandle, partition)
  }

  /// Takes the next record of any started partition; waits at most `timeoutMilliseconds`.
  public func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    var after: (partition: Int32, offset: Int64) = (-1, -1)
    let taken = unsafe takeOne(queue, timeoutMilliseconds, handle) { record in
      after = (record.partition, record.offset + 1)
      body(record)
    }
    switch taken {
    case .record: if nextOffsets.indices.contains(Int(after.partition)) { nextOffsets[Int(after.partition)] = after.offset }
    case .endOfPartition(let partition, let offset):
      if nextOffsets.indices.contains(Int(partition)) { nextOffsets[Int(partition)] = offset }
    case .nothing: handle.poll(0)
    case .error: break
    }
    return taken
  }

  /// Where the next record of `partition` will be at the earliest: markers and aborted records count as passed
  /// once the end of the partition was reported. Nil before anything was.
  public func position(partition: Int32) -> Int64? {
    guard nextOffsets.indices.contains(Int(partition)), nextOffsets[Int(partition)] >= 0 else { return nil }
    return nextOffsets[Int(partition)]
  }

  /// Reads one started partition until its position reaches `end`, lending every record before it. Records of
  /// other partitions, and those at or past `end`, are lent as well if they come in between.
  ///
  /// Errors:   whatever the partition reports; `_TIMED_OUT` (retriable by reading on) past the deadline.
  public func read(
    partition: Int32, through end: Int64, timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void
  ) throws(KafkaError) {
    let deadline = Deadline(milliseconds: timeoutMilliseconds)
    while (position(partition: partition) ?? -1) < end {
      if deadline.isPast {
        throw KafkaError(
          code: KafkaCode.timedOut, call: .query,
          message: "not read to the end in time topic=\(topic) partition=\(partition) "
            + "position=\(position(partition: partition) ?? -1) end=\(end)")
      }
      if case .error(let error) = next(timeoutMilliseconds: min(200, max(deadline.left, 1)), body),
        error.action != .retrySameCall
      {
        throw error
      }
    }
  }

  /// Waits until there may be something to take, at most `milliseconds`.
  @discardableResult
  public func wait(milliseconds: Int32) -> Bool { handle.wakeup.wait(milliseconds: milliseconds) }
  public func wake() { handle.wakeup.signal() }

  public func partitionCount(timeoutMilliseconds: Int32 = 10_000) throws(KafkaError) -> Int32 {
    try handle.partitionCount(of: topic, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// Of any topic, by this reader's isolation.
  public func watermarks(
    _ partition: TopicPartition, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Watermarks {
    try handle.watermarks(partition, timeoutMilliseconds: timeoutMilliseconds)
  }
  /// End offsets of several partitions, in the order given.
  public func endOffsets(
    _ partitions: [TopicPartition], timeoutMilliseconds: Int32 = 10_000
  ) throws(KafkaError) -> [Int64] {
    try handle.listOffsets(partitions, query: -1, timeoutMilliseconds: timeoutMilliseconds)
  }
  /// For each partition the first offset whose Kafka timestamp is at or after `time` (milliseconds since 1970);
  /// nil where all are earlier.
  public func offsets(
    _ partitions: [TopicPartition], atOrAfter time: Int64, timeoutMilliseconds: Int32 = 10_000
  ) throws(KafkaError) -> [Int64?] {
    precondition(time >= 0, "a negative time has another meaning on the wire")
    return try handle.listOffsets(partitions, query: time, timeoutMilliseconds: timeoutMilliseconds)
      .map { $0 < 0 ? nil : $0 }
  }

  public func clusterID(timeoutMilliseconds: Int32 = 10_000) throws(KafkaError) -> String {
    try handle.clusterID(timeoutMilliseconds: timeoutMilliseconds)
  }
}
