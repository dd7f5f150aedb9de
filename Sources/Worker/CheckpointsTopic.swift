import Kafka
import Records

/// Reads topic `checkpoints`, as much of it as is committed now.
///
/// Nothing that it gives was believed: chunks hash to their keys, and contents to what their manifest names.
///
/// Cost:    one pass over the topic a call.
/// Threads: the replica's.
struct CheckpointsTopic {
  private static let timeoutMilliseconds: Int32 = 30_000
  let context: WorkerContext

  /// Manifests, and which chunks are there.
  func index() throws(KafkaError) -> CheckpointIndex {
    var index = CheckpointIndex()
    try read { key, value in index.take(key: key, value: value) }
    return index
  }

  /// The contents, each if it is whole.
  func fetch(_ contents: [ChunkedContent]) throws(KafkaError) -> [[UInt8]?] {
    var assembly = ChunkAssembly(contents)
    try read { key, value in assembly.take(key: key, value: value) }
    return contents.map { content in
      guard case .whole(let bytes) = assembly.verdict(content) else { return nil }
      return bytes
    }
  }

  private func read(_ body: ([UInt8]?, [UInt8]?) -> Void) throws(KafkaError) {
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
