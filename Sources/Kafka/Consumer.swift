import CRdKafka
import Synchronization

/// What one poll of a consumer brought. Records never come this way: they are in the partition queues.
public enum ConsumerEvent: Hashable, Sendable {
  /// The group gives these partitions: answer by `assign`, before the next poll if possible.
  case assign([TopicPartition])
  /// The group takes everything back: finish or abort what is open, then answer by `unassign`. When `lost`,
  /// others may own the partitions already: abort, and publish nothing of them.
  case revoke([TopicPartition], lost: Bool)
  case error(KafkaError)
  case none
}

/// Member of a consumer group: reads committed records, commits nothing by itself, rebalances eagerly by `range`.
///
/// Use:      `subscribe`; then in a loop `poll(0)` for the group's wishes, take from the partition queues, and
///           `wait` when all were empty. Polling goes on also while nothing is taken.
/// Eager:    the assignor is always `range`, so `assign` and `unassign` always name everything; the library's
///           own notion of the protocol is not asked (it is nil while closing).
/// Threads:  one, save for `isAssignmentLost` and `wake`; closing goes on on another, while that one waits. `GroupMetadata` may be sent to another.
/// Invariant: `queueHandle` never changes; the box is touched inside `poll` and `close` alone.
@safe public final class Consumer: GroupConsumer, @unchecked Sendable {
  let handle: ClientHandle
  private let queueHandle: OpaquePointer
  private var isClosed = false

  public init(_ settings: ClientSettings, _ group: GroupSettings) throws(KafkaError) {
    let configuration = Configuration()
    try configuration.apply(settings)
    try configuration.apply(group)
    handle = try configuration.makeClient(RD_KAFKA_CONSUMER, settings)
    // SAFETY: the client lives as long as `handle`. Errors and log events join the consumer's queue, so that
    // one poll serves all.
    _ = unsafe rd_kafka_poll_set_consumer(handle.pointer)
    unsafe queueHandle = rd_kafka_queue_get_consumer(handle.pointer)
    unsafe handle.wakeup.watch(queueHandle)
  }

  deinit {
    // SAFETY: ours since `init`; it goes before the client, which `handle` keeps until this has run.
    unsafe rd_kafka_queue_destroy(queueHandle)
  }

  /// Joins the group for these topics. Further partitions are added in `assign`.
  public func subscribe(_ topics: [String]) throws(KafkaError) {
    let list = PartitionList(topics.map { PartitionOffset(TopicPartition($0, -1), offset: 0) })
    try check(unsafe rd_kafka_subscribe(handle.pointer, list.pointer), .consume)
  }

  /// Serves the group, at most `milliseconds` long.
  public func poll(milliseconds: Int32) -> ConsumerEvent {
    if !handle.box.rebalances.isEmpty { return handle.box.rebalances.removeFirst() }
    // SAFETY: the client lives as long as `handle`; the message is ours until destroyed.
    if let message = unsafe rd_kafka_consumer_poll(handle.pointer, milliseconds) {
      defer { unsafe rd_kafka_message_destroy(message) }
      switch unsafe message.pointee.err {
      case RD_KAFKA_RESP_ERR_NO_ERROR:
        // Cannot happen: every assigned partition has its own queue. If it did, a record would be lost.
        return .error(
          KafkaError(
            code: KafkaCode.inconsistent, call: .consume,
            message: "a record came outside its partition's queue"))
      case RD_KAFKA_RESP_ERR__PARTITION_EOF: break
      default: return .error(unsafe consumeError(message, handle))
      }
    }
    return handle.box.rebalances.isEmpty ? .none : handle.box.rebalances.removeFirst()
  }

  /// Takes on these partitions, whether the group gave them or they belong to those it gave, and starts fetching.
  /// Each has a queue of its own, cut off the common one before the assignment; in the order given.
  public func assign(_ partitions: [PartitionOffset]) throws(KafkaError) -> [any RecordQueue] {
    var queues: [any RecordQueue] = []
    for item in partitions { queues.append(try PartitionQueue(item.partition, of: handle)) }
    let list = PartitionList(partitions)
    try check(unsafe rd_kafka_assign(handle.pointer, list.pointer), .consume)
    return queues
  }

  /// Lets go of everything: the answer to a revocation.
  public func unassign() throws(KafkaError) {
    try check(unsafe rd_kafka_assign(handle.pointer, nil), .consume)
  }

  /// Waits until a queue has something, at most `milliseconds`. Call it after all queues and `poll(0)` were empty.
  @discardableResult
  public func wait(milliseconds: Int32) -> Bool { handle.wakeup.wait(milliseconds: milliseconds) }

  /// Ends a `wait` from another thread.
  public func wake() { handle.wakeup.signal() }

  /// The group went on without this member: whatever it does with its partitions may be done twice.
  public var isAssignmentLost: Bool { unsafe rd_kafka_assignment_lost(handle.pointer) != 0 }

  /// Generation and member id as of now, to go with the offsets of a unit that is sealed now.
  public func groupIdentity() throws(KafkaError) -> any GroupIdentity {
    // SAFETY: the library returns a new object or nil.
    guard let metadata = unsafe rd_kafka_consumer_group_metadata(handle.pointer) else {
      throw KafkaError(code: KafkaCode.state, call: .query, message: "the consumer has no group")
    }
    return unsafe GroupMetadata(owning: metadata)
  }

  /// What the group has committed. Under read_committed this waits for pending transactions.
  public func committed(
    _ partitions: [TopicPartition], timeoutMilliseconds: Int32
  ) throws(KafkaError) -> [CommittedOffset] {
    let list = PartitionList(partitions.map { PartitionOffset($0, offset: Int64(RD_KAFKA_OFFSET_INVALID)) })
    try check(unsafe rd_kafka_committed(handle.pointer, list.pointer, timeoutMilliseconds), .query)
    try check(list.firstError, .query)
    return list.committed
  }

  /// Commits outside of any transaction, and waits for the answer: for delivery that is at least once.
  public func commit(_ offsets: [PartitionOffset]) throws(KafkaError) {
    if offsets.isEmpty { return }
    let list = PartitionList(offsets)
    try check(unsafe rd_kafka_commit(handle.pointer, list.pointer, 0), .query)
    try check(list.firstError, .query)
  }

  /// Offset after the last record taken; nil where none was.
  public func positions(_ partitions: [TopicPartition]) throws(KafkaError) -> [Int64?] {
    let list = PartitionList(partitions.map { PartitionOffset($0, offset: 0) })
    try check(unsafe rd_kafka_position(handle.pointer, list.pointer), .query)
    return list.offsets.map { $0 < 0 ? nil : $0 }
  }

  /// First and end offset, asked of the broker; the end is the last stable offset.
  public func watermarks(
    _ partition: TopicPartition, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Watermarks {
    try handle.watermarks(partition, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// The end offset that the last fetch of an assigned partition told; nil before the first. Asks nobody.
  public func knownEnd(_ partition: TopicPartition) -> Int64? {
    var low: Int64 = -1
    var high: Int64 = -1
    // SAFETY: both are local values lent for the call, and the name is copied by it.
    let code = unsafe rd_kafka_get_watermark_offsets(
      handle.pointer, partition.topic, partition.partition, &low, &high)
    return code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? high : nil
  }

  public func partitionCount(
    of topic: String, timeoutMilliseconds: Int32 = 10_000
  ) throws(KafkaError) -> Int32 {
    try handle.partitionCount(of: topic, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// Leaves the group, at most `timeoutMilliseconds` long; whether it could leave in that time. Commit and write
  /// checkpoints before: revocations during the close are answered without asking anybody. A member that the library
  /// cannot let go of stays behind in the process; the next one under its name takes its place in the group.
  @discardableResult
  public func close(timeoutMilliseconds: Int32) -> Bool {
    if isClosed { return true }
    isClosed = true
    handle.box.isClosing = true
    let hasLeft = Answer()
    let hasReturned = BoundedCall.run(milliseconds: timeoutMilliseconds + Self.graceMilliseconds) { [self] in
      hasLeft.value.store(leave(timeoutMilliseconds: timeoutMilliseconds), ordering: .relaxed)
    }
    if !hasReturned { handle.box.log(3, "CLOSE", "the client library does not let go of a member of the group; it stays behind") }
    return hasReturned && hasLeft.value.load(ordering: .relaxed)
  }

  private final class Answer: Sendable { let value = Atomic(false) }
  /// Beyond the time that the closing itself takes account of.
  private static let graceMilliseconds: Int32 = 3_000

  private func leave(timeoutMilliseconds: Int32) -> Bool {
    handle.box.rebalances.removeAll()
    // A revocation that was reported but not answered holds the close up, so it is answered here.
    _ = unsafe rd_kafka_assign(handle.pointer, nil)
    // SAFETY: client and queue live as long as `self`.
    if let error = unsafe rd_kafka_consumer_close_queue(handle.pointer, queueHandle) {
      handle.box.log(4, "CLOSE", unsafe KafkaError(consuming: error, call: .consume).description)
      return false
    }
    let deadline = Deadline(milliseconds: timeoutMilliseconds)
    while unsafe rd_kafka_consumer_closed(handle.pointer) == 0 {
      if deadline.isPast { return false }
      if let message = unsafe rd_kafka_consumer_poll(handle.pointer, min(50, max(deadline.left, 1))) {
        unsafe rd_kafka_message_destroy(message)
      }
    }
    return true
  }
}

/// Who a consumer is in its group: what a broker checks offsets in a transaction against.
///
/// Threads:  immutable, so any.
/// Invariant: the C object is only read after `init`.
@safe public final class GroupMetadata: GroupIdentity, @unchecked Sendable {
  let pointer: OpaquePointer
  init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }
  deinit { unsafe rd_kafka_consumer_group_metadata_destroy(pointer) }
}
