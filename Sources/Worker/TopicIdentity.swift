import Engine
import Kafka
import Records

/// A record that a state was made with, and where its topic must still hold it.
struct RememberedRecord: Equatable, Sendable {
  var partition: TopicPartition
  var taken: TakenRecord
}

/// Reads records back that states were made with: a topic that was deleted and made anew under the same name, or cut by
/// an unclean election, has others at these offsets, and going on would mix two histories.
///
/// Cost:    one reader a topic, all partitions at once; a fetch each.
/// Errors:  `topicRecreated` where another record stands there; what cannot be read in time is retriable. A record that
///          compaction has taken proves nothing.
struct TopicIdentity {
  static let timeoutMilliseconds: Int32 = 5_000
  let context: WorkerContext

  func check(_ records: [RememberedRecord]) throws(WorkerFailure) {
    for topic in Set(records.map(\.partition.topic)).sorted() {
      try check(topic, records.filter { $0.partition.topic == topic })
    }
  }

  private func check(_ topic: String, _ records: [RememberedRecord]) throws(WorkerFailure) {
    var missing: [Int32: TakenRecord] = [:]
    for record in records { missing[record.partition.partition] = record.taken }
    var fault: String?
    try kafka { () throws(KafkaError) in
      let reader = try context.makeReader(topic, isolation: .readUncommitted)
      for (partition, taken) in missing.sorted(by: { $0.key < $1.key }) {
        try reader.start(partition: partition, at: .offset(taken.offset))
      }
      let deadline = context.now() + UInt64(Self.timeoutMilliseconds) * 1_000_000
      while !missing.isEmpty, fault == nil {
        let taken = reader.next(timeoutMilliseconds: 50) { record in
          guard let expected = missing.removeValue(forKey: record.partition) else { return }
          reader.stop(partition: record.partition)
          guard record.offset == expected.offset else { return }
          // SAFETY: the span does not outlive the record that lends it.
          let found = CRC32C.of(record.value)
          if found != expected.checksum {
            fault = "the topic holds another record where one was read: it was made anew or cut topic=\(topic) partition=\(record.partition) offset=\(record.offset); the state was made from other records"
          }
        }
        switch taken {
        case .record: continue
        case .endOfPartition(let partition, let offset):
          if let expected = missing[partition], offset <= expected.offset {
            fault = "the topic ends before a record that was read: it was made anew or cut topic=\(topic) partition=\(partition) end=\(offset) read=\(expected.offset)"
          }
        case .error(let error): if error.action != .retrySameCall && error.action != .offsetOutOfRange { throw error }
        case .nothing: break
        }
        if case .error(let error) = taken, error.action == .offsetOutOfRange {
          // Retention took it meanwhile, or the topic is shorter: the bounds, asked again, tell which.
          for (partition, expected) in missing {
            let bounds = try reader.watermarks(TopicPartition(topic, partition))
            if bounds.high <= expected.offset {
              fault = "the topic ends before a record that was read: it was made anew or cut topic=\(topic) partition=\(partition) end=\(bounds.high) read=\(expected.offset)"
            } else if bounds.low > expected.offset {
              missing[partition] = nil
            }
          }
        }
        guard !missing.isEmpty, fault == nil, context.now() >= deadline else { continue }
        throw KafkaError(
          code: KafkaCode.timedOut, call: .query, message: "records could not be read back in time topic=\(topic)")
      }
    }
    if let fault { throw .topicRecreated(fault) }
  }
}
