import CRdKafka

/// The records of one assigned partition, in offset order, apart from those of every other.
///
/// Back-pressure is not taking: once the queue holds its prefetch, the client stops fetching this partition alone.
///
/// Life:     made by `Consumer.assign`; to be dropped when the partition is revoked. Holds the client.
/// Cost:     no allocation on our side a record.
/// Threads:  one at a time, the consumer's own.
/// Invariant: nothing changes after `init`, so handing the object between threads is safe; taking from two
///           threads would only lose the order.
@safe public final class PartitionQueue: RecordQueue, @unchecked Sendable {
  public let partition: TopicPartition
  private let handle: ClientHandle
  private let queue: OpaquePointer

  /// Cuts the partition off the consumer's common queue, which has to happen before it is assigned.
  init(_ partition: TopicPartition, of handle: ClientHandle) throws(KafkaError) {
    // SAFETY: the client lives as long as `handle`; the queue reference is ours to destroy.
    guard let queue = unsafe rd_kafka_queue_get_partition(handle.pointer, partition.topic, partition.partition)
    else {
      throw KafkaError(code: KafkaCode.unknownPartition, call: .consume, message: "no such partition \(partition)")
    }
    unsafe rd_kafka_queue_forward(queue, nil)
    unsafe handle.wakeup.watch(queue)
    self.partition = partition
    self.handle = handle
    unsafe self.queue = unsafe queue
  }

  // Invariant: the queue goes before the client, which `handle` keeps until this has run.
  deinit { unsafe rd_kafka_queue_destroy(queue) }

  /// Takes the next record, lending it to `body`; waits at most `timeoutMilliseconds` (0: does not wait).
  public func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    unsafe takeOne(queue, timeoutMilliseconds, handle, body)
  }

  /// Takes up to `count` records without waiting; how many, and what stopped it before that (`.nothing` too).
  public func take(
    upTo count: Int, _ body: (borrowing Record) -> Void
  ) -> (count: Int, stop: Taken) {
    var taken = 0
    while taken < count {
      let result = unsafe takeOne(queue, 0, handle, body)
      guard result == .record else { return (taken, result) }
      taken += 1
    }
    return (taken, .record)
  }

  /// Records (and notices) that wait in the queue.
  public var length: Int { unsafe rd_kafka_queue_length(queue) }
}
