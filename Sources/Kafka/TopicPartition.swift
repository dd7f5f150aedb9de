import CRdKafka
import Glibc

/// One partition of one topic.
public struct TopicPartition: Hashable, Sendable, CustomStringConvertible {
  public var topic: String
  public var partition: Int32
  public init(_ topic: String, _ partition: Int32) {
    self.topic = topic
    self.partition = partition
  }
  public var description: String { "\(topic)[\(partition)]" }
}

/// A place in a partition, with the text that travels with a committed offset.
public struct PartitionOffset: Hashable, Sendable {
  public var partition: TopicPartition
  public var offset: Int64
  public var metadata: String
  public init(_ partition: TopicPartition, offset: Int64, metadata: String = "") {
    self.partition = partition
    self.offset = offset
    self.metadata = metadata
  }
}

/// What a group has committed for a partition; `offset` is nil where nothing is.
public struct CommittedOffset: Hashable, Sendable {
  public var partition: TopicPartition
  public var offset: Int64?
  public var metadata: String
  public init(partition: TopicPartition, offset: Int64?, metadata: String) {
    self.partition = partition
    self.offset = offset
    self.metadata = metadata
  }
}

/// First offset still in the log, and the end: of what is committed for a read_committed client, else of all.
public struct Watermarks: Hashable, Sendable {
  public var low: Int64
  public var high: Int64
  public init(low: Int64, high: Int64) {
    self.low = low
    self.high = high
  }
}

public struct TopicDescription: Hashable, Sendable {
  public var name: String
  public var partitionCount: Int32
  public var replication: Int32
  public init(name: String, partitionCount: Int32, replication: Int32) {
    self.name = name
    self.partitionCount = partitionCount
    self.replication = replication
  }
}

/// Where reading starts.
public enum StartPosition: Hashable, Sendable {
  case beginning, end
  case offset(Int64)
  /// So many offsets before the end.
  case tail(Int64)

  var native: Int64 {
    switch self {
    case .beginning: Int64(RD_KAFKA_OFFSET_BEGINNING)
    case .end: Int64(RD_KAFKA_OFFSET_END)
    case .offset(let value): value
    case .tail(let count): Int64(RD_KAFKA_OFFSET_TAIL_BASE) - count
    }
  }
}

/// Owner of a C list of partitions with offsets.
@safe struct PartitionList: ~Copyable {
  let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

  init(_ items: [PartitionOffset]) {
    // SAFETY: the library returns a new list; entries are filled in as it hands them out.
    unsafe pointer = rd_kafka_topic_partition_list_new(Int32(items.count))
    for item in items {
      let entry = unsafe rd_kafka_topic_partition_list_add(
        pointer, item.partition.topic, item.partition.partition)!
      unsafe entry.pointee.offset = item.offset
      if !item.metadata.isEmpty {
        // The list frees it by `free`, so it has to come from `malloc`.
        unsafe entry.pointee.metadata = UnsafeMutableRawPointer(strdup(item.metadata))
        unsafe entry.pointee.metadata_size = item.metadata.utf8.count
      }
    }
  }
  deinit { unsafe rd_kafka_topic_partition_list_destroy(pointer) }

  private var count: Int { Int(unsafe pointer.pointee.cnt) }

  var offsets: [Int64] { (0..<count).map { unsafe pointer.pointee.elems[$0].offset } }

  var firstError: rd_kafka_resp_err_t {
    for index in 0..<count {
      let code = unsafe pointer.pointee.elems[index].err
      if code != RD_KAFKA_RESP_ERR_NO_ERROR { return code }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR
  }

  /// Entries as committed offsets.
  var committed: [CommittedOffset] {
    let partitions = unsafe Self.topicPartitions(pointer)
    return partitions.indices.map { index in
      // SAFETY: `index` is below the list's count.
      let entry = unsafe pointer.pointee.elems[index]
      let offset = unsafe entry.offset
      var metadata = ""
      if let bytes = unsafe entry.metadata {
        metadata = unsafe String(
          decoding: UnsafeRawBufferPointer(start: bytes, count: entry.metadata_size), as: UTF8.self)
      }
      return CommittedOffset(
        partition: partitions[index], offset: offset < 0 ? nil : offset, metadata: metadata)
    }
  }

  static func topicPartitions(
    _ list: UnsafePointer<rd_kafka_topic_partition_list_t>?
  ) -> [TopicPartition] {
    guard let list = unsafe list else { return [] }
    // SAFETY: `cnt` says how many entries there are; each has a topic.
    return (0..<Int(unsafe list.pointee.cnt)).map { index in
      let entry = unsafe list.pointee.elems[index]
      return unsafe TopicPartition(String(cString: entry.topic), entry.partition)
    }
  }
  static func topicPartitions(
    _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
  ) -> [TopicPartition] {
    unsafe topicPartitions(list.map { unsafe UnsafePointer($0) })
  }
}
