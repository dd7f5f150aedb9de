import CRdKafka
import Records

/// One consumed record, lent: its bytes belong to the client and are gone when the borrow ends.
///
/// Cost:     no copy; headers are parsed by the library on first use.
@safe public struct Record: ~Copyable {
  /// The library's message; nil for a record lent from memory.
  private let message: UnsafeMutablePointer<rd_kafka_message_t>?
  /// Encoded headers of a record lent from memory.
  private let headerBlock: UnsafeRawBufferPointer
  public let partition: Int32
  public let offset: Int64
  /// Kafka timestamp in milliseconds; -1 where the broker keeps none.
  public let timestamp: Int64
  /// The payload for callers that work on pointers; not to be kept.
  public let unsafeValue: UnsafeRawBufferPointer
  public let unsafeKey: UnsafeRawBufferPointer

  init(borrowing message: UnsafeMutablePointer<rd_kafka_message_t>) {
    unsafe self.message = unsafe message
    unsafe headerBlock = UnsafeRawBufferPointer(start: nil, count: 0)
    partition = unsafe message.pointee.partition
    offset = unsafe message.pointee.offset
    timestamp = unsafe rd_kafka_message_timestamp(message, nil)
    unsafe unsafeValue = UnsafeRawBufferPointer(start: message.pointee.payload, count: message.pointee.len)
    unsafe unsafeKey = UnsafeRawBufferPointer(start: message.pointee.key, count: message.pointee.key_len)
  }

  /// A record that lies in memory, for clients that are no broker's. A null address stands for no value or key;
  /// `headers` is an encoded `HeaderBlock`. All of it must outlive the record.
  public init(
    partition: Int32, offset: Int64, timestamp: Int64, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer,
    headers: UnsafeRawBufferPointer
  ) {
    unsafe message = nil
    unsafe headerBlock = unsafe headers
    self.partition = partition
    self.offset = offset
    self.timestamp = timestamp
    unsafe unsafeValue = unsafe value
    unsafe unsafeKey = unsafe key
  }

  public var topic: String {
    guard let message = unsafe message else { return "" }
    return unsafe String(cString: rd_kafka_topic_name(message.pointee.rkt))
  }
  /// A null value, which is a tombstone; an empty one is not.
  public var isTombstone: Bool { unsafe unsafeValue.baseAddress == nil }
  public var hasKey: Bool { unsafe unsafeKey.baseAddress != nil }

  /// The payload; empty for a tombstone.
  public var value: RawSpan {
    @_lifetime(borrow self)
    get {
      // SAFETY: the message lives as long as `self`.
      let span = unsafe RawSpan(_unsafeBytes: unsafeValue)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
  /// The key; empty where there is none.
  public var key: RawSpan {
    @_lifetime(borrow self)
    get {
      // SAFETY: the message lives as long as `self`.
      let span = unsafe RawSpan(_unsafeBytes: unsafeKey)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
  /// A copy of the payload, for cold paths; empty for a tombstone.
  public var valueBytes: [UInt8] {
    // SAFETY: copied while the message lives.
    unsafe Array(unsafeValue)
  }

  /// Lends name and value of every header, in order.
  public func forEachHeader(_ body: (_ name: RawSpan, _ value: RawSpan?) -> Void) {
    guard let message = unsafe message else {
      // SAFETY: whoever lent the record keeps its headers through the call. Bytes that are no block end the walk.
      _ = unsafe HeaderBlock.forEach(in: RawSpan(_unsafeBytes: headerBlock)) { body($0, $1) }
      return
    }
    var headers: OpaquePointer?
    // SAFETY: the headers belong to the message, which lives as long as `self`.
    guard unsafe rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
    var index = 0
    while true {
      var name: UnsafePointer<CChar>?
      var value: UnsafeRawPointer?
      var size = 0
      let code = unsafe rd_kafka_header_get_all(headers, index, &name, &value, &size)
      guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let name = unsafe name else { return }
      // SAFETY: the name is terminated; the value has `size` bytes.
      let nameBytes = unsafe UnsafeRawBufferPointer(start: name, count: length(of: name))
      if let value = unsafe value {
        let bytes = unsafe UnsafeRawBufferPointer(start: value, count: size)
        unsafe body(RawSpan(_unsafeBytes: nameBytes), RawSpan(_unsafeBytes: bytes))
      } else {
        unsafe body(RawSpan(_unsafeBytes: nameBytes), nil)
      }
      index += 1
    }
  }

  /// Appends the headers to `block`; false if there are none.
  @discardableResult
  public func appendHeaders(to block: inout HeaderBlock) -> Bool {
    let before = block.bytes.count
    forEachHeader { name, value in block.append(name: name, value: value) }
    return block.bytes.count > before
  }

  private func length(of text: UnsafePointer<CChar>) -> Int {
    var count = 0
    while unsafe text[count] != 0 { count += 1 }
    return count
  }
}

/// What one try at a queue gave.
public enum Taken: Hashable, Sendable {
  /// A record was lent to the closure.
  case record
  /// Everything there is has been taken; `offset` is where the next record will be at the earliest. Under
  /// read_committed the end is the last stable offset.
  case endOfPartition(partition: Int32, offset: Int64)
  case error(KafkaError)
  /// Nothing within the time.
  case nothing
}

/// Takes one message of `queue` and lends it.
@inline(__always)
func takeOne(
  _ queue: OpaquePointer, _ milliseconds: Int32, _ handle: ClientHandle, _ body: (borrowing Record) -> Void
) -> Taken {
  // SAFETY: the queue's owner calls; the message is ours until it is destroyed at the end of this function,
  // which is before the client, since the owner holds the client.
  guard let message = unsafe rd_kafka_consume_queue(queue, milliseconds) else { return .nothing }
  defer { unsafe rd_kafka_message_destroy(message) }
  let code = unsafe message.pointee.err
  if code == RD_KAFKA_RESP_ERR_NO_ERROR {
    body(unsafe Record(borrowing: message))
    return .record
  }
  return unsafe failure(message, handle)
}

/// An end of partition, or the error that `message` stands for.
func failure(_ message: UnsafeMutablePointer<rd_kafka_message_t>, _ handle: ClientHandle) -> Taken {
  let code = unsafe message.pointee.err
  if code == RD_KAFKA_RESP_ERR__PARTITION_EOF {
    return .endOfPartition(
      partition: unsafe message.pointee.partition, offset: unsafe message.pointee.offset)
  }
  return .error(unsafe consumeError(message, handle))
}

func consumeError(
  _ message: UnsafeMutablePointer<rd_kafka_message_t>, _ handle: ClientHandle
) -> KafkaError {
  let code = unsafe message.pointee.err
  if code == RD_KAFKA_RESP_ERR__FATAL, let fatal = handle.fatalError { return fatal }
  // SAFETY: an error's payload is text that lives as long as the message; a topic is there or nil.
  var words = unsafe rd_kafka_message_errstr(message).map { unsafe String(cString: $0) } ?? ""
  if let topic = unsafe message.pointee.rkt {
    words += unsafe " topic=\(String(cString: rd_kafka_topic_name(topic))) partition=\(message.pointee.partition)"
  }
  return KafkaError(code: code.rawValue, call: .consume, message: words)
}
