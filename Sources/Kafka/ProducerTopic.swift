import CRdKafka
import Records

/// A topic opened by one producer: its partitions are known before the first record is sent.
///
/// Threads:  any; nothing changes after `init`, which is what makes it `Sendable`.
/// Invariant: goes before the client, which `handle` keeps.
@safe public final class ProducerTopic: OpenTopic, @unchecked Sendable {
  public let name: String
  /// As of opening. A topic that was widened since is opened again.
  public let partitionCount: Int32
  let handle: ClientHandle
  let pointer: OpaquePointer

  /// Also warms the metadata, else the first record of a topic can wait for a second.
  init(_ name: String, of handle: ClientHandle, timeoutMilliseconds: Int32) throws(KafkaError) {
    let deadline = Deadline(milliseconds: timeoutMilliseconds)
    partitionCount = try handle.partitionCount(of: name, timeoutMilliseconds: timeoutMilliseconds)
    // SAFETY: the client lives as long as `handle`; the topic is ours to destroy.
    guard let topic = unsafe rd_kafka_topic_new(handle.pointer, name, nil) else {
      throw KafkaError(code: rd_kafka_last_error().rawValue, call: .produce, message: "no topic \"\(name)\"")
    }
    unsafe pointer = unsafe topic
    self.name = name
    self.handle = handle
    var metadata: UnsafePointer<rd_kafka_metadata>?
    // SAFETY: the answer is destroyed unread: asking fills the client's own cache.
    let code = unsafe rd_kafka_metadata(handle.pointer, 0, topic, &metadata, max(deadline.left, 1_000))
    if let metadata = unsafe metadata { unsafe rd_kafka_metadata_destroy(metadata) }
    try check(code, .query)
  }

  deinit { unsafe rd_kafka_topic_destroy(pointer) }
}

extension ClientHandle {
  /// Queues one record; the bytes are copied before it returns.
  ///
  /// A full queue is served for up to `queueFullMilliseconds`, then the error is thrown, retriable.
  ///
  /// Cost:     no allocation on our side but for headers, which the library keeps as a list.
  /// Errors:   an unknown partition is refused here: before 2.12.0 the library frees headers twice then.
  func produce(
    _ topic: ProducerTopic, partition: Int32?, key: UnsafeRawBufferPointer?,
    value: UnsafeRawBufferPointer?, headers: RawSpan?, timestamp: Int64, queueFullMilliseconds: Int32,
    tracked: Bool = false
  ) throws(KafkaError) {
    precondition(topic.handle === self, "the topic was opened by another producer")
    if let partition, partition < 0 || partition >= topic.partitionCount {
      throw KafkaError(
        code: KafkaCode.unknownPartition, call: .produce,
        message: "no such partition topic=\(topic.name) partition=\(partition) count=\(topic.partitionCount)")
    }
    let list = try unsafe makeHeaders(headers)
    var error = unsafe enqueue(topic, partition ?? -1, key, value, list, timestamp, tracked)
    if unsafe error != nil {
      let deadline = Deadline(milliseconds: queueFullMilliseconds)
      while let failed = unsafe error, unsafe rd_kafka_error_code(failed) == RD_KAFKA_RESP_ERR__QUEUE_FULL,
        !deadline.isPast
      {
        unsafe rd_kafka_error_destroy(failed)
        poll(5)
        unsafe error = unsafe enqueue(topic, partition ?? -1, key, value, list, timestamp, tracked)
      }
      if let failed = unsafe error {
        // SAFETY: on failure the headers are still ours.
        if let list = unsafe list { unsafe rd_kafka_headers_destroy(list) }
        throw unsafe KafkaError(consuming: failed, call: .produce)
      }
    }
  }

  private func enqueue(
    _ topic: ProducerTopic, _ partition: Int32, _ key: UnsafeRawBufferPointer?,
    _ value: UnsafeRawBufferPointer?, _ headers: OpaquePointer?, _ timestamp: Int64, _ tracked: Bool
  ) -> OpaquePointer? {
    // SAFETY: eight arguments at most, all initialised before they are read; the library copies key and value
    // (`MSG_F_COPY`) and takes the headers only on success.
    unsafe withUnsafeTemporaryAllocation(of: rd_kafka_vu_t.self, capacity: 8) { arguments in
      unsafe arguments.initialize(repeating: rd_kafka_vu_t())
      unsafe arguments[0].vtype = RD_KAFKA_VTYPE_RKT
      unsafe arguments[0].u.rkt = topic.pointer
      unsafe arguments[1].vtype = RD_KAFKA_VTYPE_PARTITION
      unsafe arguments[1].u.i32 = partition
      unsafe arguments[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS
      unsafe arguments[2].u.i = Int32(RD_KAFKA_MSG_F_COPY)
      unsafe arguments[3].vtype = RD_KAFKA_VTYPE_TIMESTAMP
      unsafe arguments[3].u.i64 = timestamp
      var count = 4
      if let value = unsafe value {
        unsafe arguments[count].vtype = RD_KAFKA_VTYPE_VALUE
        unsafe arguments[count].u.mem.ptr = address(of: value)
        unsafe arguments[count].u.mem.size = value.count
        count += 1
      }
      if let key = unsafe key {
        unsafe arguments[count].vtype = RD_KAFKA_VTYPE_KEY
        unsafe arguments[count].u.mem.ptr = address(of: key)
        unsafe arguments[count].u.mem.size = key.count
        count += 1
      }
      if let headers = unsafe headers {
        unsafe arguments[count].vtype = RD_KAFKA_VTYPE_HEADERS
        unsafe arguments[count].u.headers = headers
        count += 1
      }
      if tracked {
        unsafe arguments[count].vtype = RD_KAFKA_VTYPE_OPAQUE
        unsafe arguments[count].u.ptr = box.opaque
        count += 1
      }
      return unsafe rd_kafka_produceva(pointer, arguments.baseAddress, count)
    }
  }

  /// Empty bytes may have no address, but a null one means no value at all.
  private func address(of bytes: UnsafeRawBufferPointer) -> UnsafeMutableRawPointer {
    unsafe UnsafeMutableRawPointer(mutating: bytes.baseAddress) ?? UnsafeMutableRawPointer(pointer)
  }

  private func makeHeaders(_ block: RawSpan?) throws(KafkaError) -> OpaquePointer? {
    guard let block, block.byteCount > 0 else { return nil }
    // SAFETY: a new list, ours until a record takes it; it copies names and values.
    let list = unsafe rd_kafka_headers_new(8)
    let whole = HeaderBlock.forEach(in: block) { name, value in
      // SAFETY: names and values are lent through each call, which copies them.
      let nameBytes = unsafe name.withUnsafeBytes { unsafe $0 }
      let text = unsafe nameBytes.baseAddress?.assumingMemoryBound(to: CChar.self)
      if let value {
        let bytes = unsafe value.withUnsafeBytes { unsafe $0 }
        _ = unsafe rd_kafka_header_add(list, text, nameBytes.count, address(of: bytes), bytes.count)
      } else {
        _ = unsafe rd_kafka_header_add(list, text, nameBytes.count, nil, 0)
      }
    }
    guard whole else {
      unsafe rd_kafka_headers_destroy(list)
      throw KafkaError(code: KafkaCode.invalidArgument, call: .produce, message: "the bytes are not a header block")
    }
    return unsafe list
  }
}
