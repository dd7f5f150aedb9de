import CRdKafka
import Glibc

/// Owner of one `rd_kafka_t`. Whatever came from the client (queues, topics) holds this handle, so the client
/// is destroyed after all of them.
///
/// Threads:  the C object may be called from any thread.
/// Invariant: `pointer` and `box` never change, which is what makes the handle `Sendable`.
@safe final class ClientHandle: @unchecked Sendable {
  let pointer: OpaquePointer
  let box: CallbackBox
  /// The library may write to it until the client is destroyed, so it is closed after.
  let wakeup: Wakeup

  init(_ pointer: OpaquePointer, box: CallbackBox) {
    unsafe self.pointer = unsafe pointer
    self.box = box
    wakeup = Wakeup()
  }

  deinit {
    // SAFETY: nobody else holds the client. Closing a consumer is `Consumer.close`, which is bounded; destroying
    // must not wait for a broker.
    unsafe rd_kafka_destroy_flags(pointer, Int32(RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE))
  }

  /// Serves callbacks; how many events were served.
  @discardableResult
  func poll(_ milliseconds: Int32) -> Int32 {
    // SAFETY: the client lives as long as `self`.
    unsafe rd_kafka_poll(pointer, milliseconds)
  }

  /// The error behind `_FATAL`, if the client has one.
  var fatalError: KafkaError? {
    var words = ""
    let code = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
      // SAFETY: the buffer is as long as the size we pass.
      unsafe text.initialize(repeating: 0)
      let code = unsafe rd_kafka_fatal_error(pointer, text.baseAddress, text.count)
      unsafe words = String(cString: text.baseAddress!)
      return code
    }
    guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
    return KafkaError(code: code.rawValue, call: .consume, message: words, flags: .fatal)
  }

  /// Name and partition count of every topic the client may see. Never creates one: asking for a single topic
  /// would, on a broker that creates topics by itself.
  func topics(timeoutMilliseconds: Int32) throws(KafkaError) -> [TopicDescription] {
    var metadata: UnsafePointer<rd_kafka_metadata>?
    // SAFETY: the library allocates the answer, which we copy and destroy below.
    let code = unsafe rd_kafka_metadata(pointer, 1, nil, &metadata, timeoutMilliseconds)
    if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw unanswered(KafkaError(code: code.rawValue, call: .query)) }
    guard let metadata = unsafe metadata else {
      throw KafkaError(code: KafkaCode.inconsistent, call: .query)
    }
    defer { unsafe rd_kafka_metadata_destroy(metadata) }
    var topics: [TopicDescription] = []
    for index in 0..<Int(unsafe metadata.pointee.topic_cnt) {
      // SAFETY: `topic_cnt` says how many topics there are, `partition_cnt` how many partitions each.
      let topic = unsafe metadata.pointee.topics[index]
      var replicas = 0
      for partition in 0..<Int(unsafe topic.partition_cnt) {
        replicas = max(replicas, Int(unsafe topic.partitions[partition].replica_cnt))
      }
      if unsafe topic.err != RD_KAFKA_RESP_ERR_NO_ERROR { continue }
      topics.append(
        TopicDescription(
          name: unsafe String(cString: topic.topic), partitionCount: unsafe topic.partition_cnt,
          replication: Int32(replicas)))
    }
    return topics.sorted { $0.name < $1.name }
  }

  func partitionCount(of topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> Int32 {
    let topics = try topics(timeoutMilliseconds: timeoutMilliseconds)
    guard let found = topics.first(where: { $0.name == topic }), found.partitionCount > 0 else {
      throw KafkaError(
        code: KafkaCode.unknownTopicOrPartition, call: .query,
        message: "the topic does not exist or may not be seen topic=\(topic)")
    }
    return found.partitionCount
  }

  /// Answers of `ListOffsets` for each partition: `query` is a time in milliseconds, or -1 (end), -2 (beginning).
  ///
  /// Why not `rd_kafka_query_watermark_offsets`: before 2.3.0 it ignores its time-out. What passes by itself (an
  /// election, a lost connection) is asked again until the deadline.
  func listOffsets(
    _ partitions: [TopicPartition], query: Int64, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> [Int64] {
    if partitions.isEmpty { return [] }
    let deadline = Deadline(milliseconds: timeoutMilliseconds)
    while true {
      let list = PartitionList(partitions.map { PartitionOffset($0, offset: query) })
      // SAFETY: list and client live through the call, which fills in the offsets.
      var code = unsafe rd_kafka_offsets_for_times(pointer, list.pointer, max(deadline.left, 1))
      if code == RD_KAFKA_RESP_ERR_NO_ERROR { code = list.firstError }
      if code == RD_KAFKA_RESP_ERR_NO_ERROR { return list.offsets }
      let error = KafkaError(code: code.rawValue, call: .query)
      guard error.action == .retrySameCall, !deadline.isPast else { throw error }
      _ = Glibc.poll(nil, 0, min(20, max(deadline.left, 1)))
    }
  }

  func watermarks(
    _ partition: TopicPartition, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Watermarks {
    let deadline = Deadline(milliseconds: timeoutMilliseconds)
    let low = try listOffsets([partition], query: -2, timeoutMilliseconds: deadline.left)[0]
    let high = try listOffsets([partition], query: -1, timeoutMilliseconds: max(deadline.left, 1))[0]
    return Watermarks(low: low, high: high)
  }

  func clusterID(timeoutMilliseconds: Int32) throws(KafkaError) -> String {
    // SAFETY: the library returns a string of its allocator, or nil; it is copied and freed here.
    guard let text = unsafe rd_kafka_clusterid(pointer, timeoutMilliseconds) else {
      throw unanswered(
        KafkaError(code: KafkaCode.timedOut, call: .query, message: "no broker told the cluster's id in time"))
    }
    defer { unsafe rd_kafka_mem_free(pointer, text) }
    return unsafe String(cString: text)
  }

  /// The refusal behind a question that no broker answered; the error itself where there is none.
  private func unanswered(_ error: KafkaError) -> KafkaError {
    guard error.action == .retrySameCall else { return error }
    // What the client's threads met stands in its queue until it is polled.
    while poll(0) > 0 {}
    return box.refusals.last ?? error
  }
}

/// A point on the monotonic clock.
struct Deadline {
  private let end: Int64
  init(milliseconds: Int32) { end = Self.now + Int64(milliseconds) }
  var left: Int32 { Int32(clamping: end - Self.now) }
  var isPast: Bool { Self.now >= end }

  private static var now: Int64 {
    var time = timespec()
    // SAFETY: fills in the value it is given.
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
