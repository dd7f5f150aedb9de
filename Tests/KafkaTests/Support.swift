import Kafka
import Testing

/// What a test keeps of a record.
struct Kept: Hashable {
  var partition: Int32
  var offset: Int64
  var timestamp: Int64
  var key: String?
  var value: String?
  var headers: [String]

  init(_ record: borrowing Record) {
    partition = record.partition
    offset = record.offset
    timestamp = record.timestamp
    key = record.hasKey ? text(record.key) : nil
    value = record.isTombstone ? nil : text(record.value)
    var list: [String] = []
    record.forEachHeader { name, value in
      if let value { list.append("\(text(name))=\(text(value))") } else { list.append("\(text(name))") }
    }
    headers = list
  }
}

func text(_ span: RawSpan) -> String { span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }

extension Reader {
  /// Records up to the ends of `partitions`, as of when each reports its end.
  func readAll(_ partitions: [Int32] = [0], from position: StartPosition = .beginning) throws -> [Kept] {
    for partition in partitions { try start(partition: partition, at: position) }
    defer { for partition in partitions { stop(partition: partition) } }
    var kept: [Kept] = []
    var open = Set(partitions)
    for _ in 0..<100_000 where !open.isEmpty {
      switch next(timeoutMilliseconds: 10_000, { kept.append(Kept($0)) }) {
      case .record: break
      case .endOfPartition(let partition, _): open.remove(partition)
      case .error(let error): if error.action != .retrySameCall { throw error }
      case .nothing:
        Issue.record("no end of partition within ten seconds")
        return kept
      }
    }
    return kept
  }
}

extension Consumer {
  /// Polls until the group says something that matters, at most about `seconds` long.
  func event(seconds: Int32 = 30) throws -> ConsumerEvent {
    for _ in 0..<(seconds * 10) {
      switch poll(milliseconds: 100) {
      case .none: continue
      case .error(let error): if error.action != .retrySameCall { throw error }
      case let event: return event
      }
    }
    return .none
  }
}

func expectError<T>(
  _ call: KafkaCall, _ action: KafkaAction, sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> T
) {
  do {
    _ = try body()
    Issue.record("no error from \(call)", sourceLocation: sourceLocation)
  } catch let error as KafkaError {
    #expect(error.call == call, "\(error)", sourceLocation: sourceLocation)
    #expect(error.action == action, "\(error)", sourceLocation: sourceLocation)
  } catch {
    Issue.record("another error: \(error)", sourceLocation: sourceLocation)
  }
}
