import Kafka
import Records

/// What of a topic is printed, and how.
public struct TapOptions: Sendable {
  public var from = StartPosition.end
  /// One partition only; nil: all.
  public var partition: Int32?
  /// One JSON line a record with everything that Kafka keeps of it, as `replay` reads it.
  public var raw = false
  public var limit: Int?
  /// Stop once every partition was read to where it ended at the start.
  public var untilEnd = false
  public var isolation = FetchSettings.Isolation.readCommitted
  public init() {}
}

/// Prints the records of a topic until `options` or `shouldStop` ends it; how many there were.
///
/// Transaction markers are no records and are never seen; aborted records only under read_uncommitted. The records
/// of one partition come in order, those of several as they arrive. Times ahead of the years of RFC 3339 are
/// printed as milliseconds.
///
/// `write` gets whole lines, each with its end.
public func tapTopic<Failure: Error>(
  _ topic: String, _ client: ClientSettings, _ options: TapOptions, shouldStop: () -> Bool,
  write: ([UInt8]) throws(Failure) -> Void
) throws -> Int {
  let reader = try Reader(client, topic: topic, fetch: FetchSettings(isolation: options.isolation))
  let count = try reader.partitionCount()
  if let partition = options.partition, partition < 0 || partition >= count {
    throw KafkaError(
      code: KafkaCode.unknownPartition, call: .query,
      message: "no such partition topic=\(topic) partition=\(partition) count=\(count)")
  }
  let partitions = options.partition.map { [$0] } ?? Array(0..<count)
  // Asked before reading starts: a topic that grows meanwhile must not keep the end away for ever.
  let ends = try reader.endOffsets(partitions.map { TopicPartition(topic, $0) })
  var open = Set(partitions)
  for partition in partitions { try reader.start(partition: partition, at: options.from) }
  var written = 0
  var line = JSONWriter()
  while !shouldStop() {
    if let limit = options.limit, written >= limit { break }
    if options.untilEnd && open.isEmpty { break }
    var failure: Failure?
    var reached: (partition: Int32, offset: Int64)?
    let taken = reader.next(timeoutMilliseconds: 100) { record in
      reached = (record.partition, record.offset)
      if options.untilEnd && !open.contains(record.partition) { return }
      if options.untilEnd, let place = partitions.firstIndex(of: record.partition), record.offset >= ends[place] {
        return
      }
      line.clear()
      let copy = TapRecord(record, topic: topic)
      do throws(Failure) {
        if options.raw {
          copy.write(into: &line)
          try write(line.bytes + [0x0a])
        } else {
          try write(copy.text)
        }
        written += 1
      } catch { failure = error }
    }
    if let failure { throw failure }
    switch taken {
    case .error(let error): if error.action != .retrySameCall { throw error }
    // The end of a partition may lie before `ends` only while a transaction was being settled: then it is told again.
    case .endOfPartition(let partition, let offset): reached = (partition, offset - 1)
    case .record, .nothing: break
    }
    if let reached, let place = partitions.firstIndex(of: reached.partition), reached.offset + 1 >= ends[place] {
      open.remove(reached.partition)
    }
  }
  return written
}

extension TapRecord {
  /// A copy of a lent record.
  init(_ record: borrowing Record, topic: String) {
    var headers: [Header] = []
    record.forEachHeader { name, value in
      if let value {
        headers.append(Header(String(decoding: bytes(name), as: UTF8.self), bytes(value)))
      } else {
        headers.append(Header(String(decoding: bytes(name), as: UTF8.self), nil))
      }
    }
    self.init(
      topic: topic, partition: record.partition, offset: record.offset, timestamp: record.timestamp,
      key: record.hasKey ? bytes(record.key) : nil, value: record.isTombstone ? nil : bytes(record.value),
      headers: headers)
  }

  /// `time partition:offset key value name=value…`, and a line's end. What is not plain text is base64.
  var text: [UInt8] {
    let isWritable = (-62_135_596_800_000...253_402_300_799_999).contains(timestamp)
    var line = isWritable ? EventTime(milliseconds: timestamp).rfc3339 : "\(timestamp)"
    line += " \(partition):\(offset) \(plain(key)) \(plain(value))"
    for header in headers { line += " \(plain(Array(header.name.utf8)))=\(plain(header.value))" }
    return Array(line.utf8) + [0x0a]
  }
}

private func bytes(_ span: RawSpan) -> [UInt8] {
  // SAFETY: the bytes are copied while they are lent.
  unsafe span.withUnsafeBytes { unsafe Array($0) }
}

private func plain(_ bytes: [UInt8]?) -> String {
  guard let bytes else { return "-" }
  if let text = String(validating: bytes, as: UTF8.self), bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) {
    return text
  }
  return "base64:\(Base64.encode(bytes))"
}
