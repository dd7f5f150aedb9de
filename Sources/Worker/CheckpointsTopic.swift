import Kafka
import Records

/// Topic `checkpoints`, as much of it as is committed now.
///
/// Nothing that it gives was believed: chunks hash to their keys, and contents to what their manifest names.
///
/// Cost:    one pass over the topic a call.
protocol PublishedVersions {
  associatedtype Failure: Error
  /// Lends keys and values in the order of the log; a tombstone's value is nil.
  func read(_ body: ([UInt8]?, [UInt8]?) -> Void) throws(Failure)
}

extension PublishedVersions {
  /// Manifests, and which chunks are there.
  func index() throws(Failure) -> CheckpointIndex {
    var index = CheckpointIndex()
    try read { key, value in index.take(key: key, value: value) }
    return index
  }

  /// The contents, each if it is whole.
  func fetch(_ contents: [ChunkedContent]) throws(Failure) -> [[UInt8]?] {
    var assembly = ChunkAssembly(contents)
    try read { key, value in assembly.take(key: key, value: value) }
    return contents.map { content in
      guard case .whole(let bytes) = assembly.verdict(content) else { return nil }
      return bytes
    }
  }
}

/// As a worker's replica reads it.
///
/// Threads: the replica's.
struct CheckpointsTopic: PublishedVersions {
  private static let timeoutMilliseconds: Int32 = 30_000
  let context: WorkerContext

  func read(_ body: ([UInt8]?, [UInt8]?) -> Void) throws(KafkaError) {
    let topic = context.settings.topics.checkpoints
    let reader = try context.makeReader(topic)
    let bounds = try reader.watermarks(TopicPartition(topic, 0))
    guard bounds.low < bounds.high else { return }
    try reader.start(partition: 0, at: .offset(bounds.low))
    defer { reader.stop(partition: 0) }
    try reader.read(
      partition: 0, through: bounds.high, timeoutMilliseconds: Self.timeoutMilliseconds
    ) { record in
      // SAFETY: both are copied while the record is lent.
      body(
        record.hasKey ? unsafe Array(record.unsafeKey) : nil,
        record.isTombstone ? nil : unsafe Array(record.unsafeValue))
    }
  }
}

/// As it is read back afterwards.
struct LoggedCheckpoints: PublishedVersions {
  let source: any LogSource
  let topic: String

  func read(_ body: ([UInt8]?, [UInt8]?) -> Void) throws(LogFault) {
    let range = try source.range(topic, 0)
    guard range.low < range.stable else { return }
    let log = try source.open([LogPlace(topic: topic, partition: 0, from: range.low)])[0]
    while let record = try log.take(before: range.stable) {
      // Neither a chunk nor a manifest is empty.
      body(record.key, record.payload.isEmpty ? nil : record.payload)
    }
  }
}
