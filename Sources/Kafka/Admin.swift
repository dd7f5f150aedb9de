import CRdKafka
import Glibc

/// A topic to be made.
public struct NewTopic: Hashable, Sendable {
  public var name: String
  public var partitions: Int32
  /// -1: the broker's default.
  public var replication: Int32
  /// Sorted by the caller; sent as given.
  public var config: [Setting]

  public struct Setting: Hashable, Sendable {
    public var name: String
    public var value: String
    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }
  public init(name: String, partitions: Int32, replication: Int32 = -1, config: [Setting] = []) {
    self.name = name
    self.partitions = partitions
    self.replication = replication
    self.config = config
  }
}

/// Operations on topics and groups, each a call that waits for its answer.
///
/// Why a consumer underneath: a producer's metadata requests create topics on brokers that do so by themselves.
///
/// Threads:  any one at a time.
/// Invariant: nothing changes after `init`.
@safe public final class Admin: @unchecked Sendable {
  let handle: ClientHandle

  public init(_ settings: ClientSettings) throws(KafkaError) {
    let configuration = Configuration()
    try configuration.apply(settings)
    try configuration.set("allow.auto.create.topics", "false")
    handle = try configuration.makeClient(RD_KAFKA_CONSUMER, settings)
  }

  /// Every topic that may be seen, by name.
  public func topics(timeoutMilliseconds: Int32 = 10_000) throws(KafkaError) -> [TopicDescription] {
    try handle.topics(timeoutMilliseconds: timeoutMilliseconds)
  }

  public func clusterID(timeoutMilliseconds: Int32 = 10_000) throws(KafkaError) -> String {
    try handle.clusterID(timeoutMilliseconds: timeoutMilliseconds)
  }

  /// Creates topics and waits until the brokers tell of them, which may be some time after they were made; the
  /// first failure is thrown after all were asked for. Existing ones fail with `KafkaCode.topicExists`.
  public func create(_ topics: [NewTopic], timeoutMilliseconds: Int32 = 30_000) throws(KafkaError) {
    if topics.isEmpty { return }
    var natives: [OpaquePointer?] = unsafe []
    defer { for unsafe native in unsafe natives { unsafe rd_kafka_NewTopic_destroy(native) } }
    for topic in topics {
      var words = ""
      let made: OpaquePointer? = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
        // SAFETY: the buffer is as long as the size we pass.
        unsafe text.initialize(repeating: 0)
        let made = unsafe rd_kafka_NewTopic_new(
          topic.name, topic.partitions, topic.replication, text.baseAddress, text.count)
        unsafe words = String(cString: text.baseAddress!)
        return unsafe made
      }
      guard let made = unsafe made else {
        throw KafkaError(code: KafkaCode.invalidArgument, call: .admin, message: "\(words) topic=\(topic.name)")
      }
      unsafe natives.append(made)
      for setting in topic.config {
        try check(unsafe rd_kafka_NewTopic_set_config(made, setting.name, setting.value), .admin)
      }
    }
    try unsafe ask(RD_KAFKA_ADMIN_OP_CREATETOPICS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_CreateTopics(handle.pointer, &natives, natives.count, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let results = unsafe rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
      try unsafe checkTopics(results, count)
    }
    try waitUntilTold(topics.map { ($0.name, $0.partitions) }, timeoutMilliseconds)
  }

  /// Why: KRaft answers when the controller has written the topics down, and each broker learns of them after that.
  private func waitUntilTold(
    _ wanted: [(name: String, partitions: Int32)], _ timeoutMilliseconds: Int32
  ) throws(KafkaError) {
    let deadline = Deadline(milliseconds: timeoutMilliseconds)
    while true {
      let told = try topics(timeoutMilliseconds: max(deadline.left, 1))
      let missing = wanted.first { want in
        !told.contains { $0.name == want.name && $0.partitionCount >= want.partitions }
      }
      guard let missing else { return }
      if deadline.isPast {
        throw KafkaError(
          code: KafkaCode.timedOut, call: .query, message: "the brokers do not tell of the topic yet topic=\(missing.name)")
      }
      _ = Glibc.poll(nil, 0, 20)
    }
  }

  /// Widens a topic. Its keys move to other partitions: state by key is no longer where its records come.
  public func createPartitions(
    _ topic: String, count newCount: Int32, timeoutMilliseconds: Int32 = 30_000
  ) throws(KafkaError) {
    var words = ""
    let made: OpaquePointer? = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
      // SAFETY: the buffer is as long as the size we pass.
      unsafe text.initialize(repeating: 0)
      let made = unsafe rd_kafka_NewPartitions_new(topic, Int(newCount), text.baseAddress, text.count)
      unsafe words = String(cString: text.baseAddress!)
      return unsafe made
    }
    guard let made = unsafe made else {
      throw KafkaError(code: KafkaCode.invalidArgument, call: .admin, message: "\(words) topic=\(topic)")
    }
    defer { unsafe rd_kafka_NewPartitions_destroy(made) }
    var natives: [OpaquePointer?] = unsafe [made]
    try unsafe ask(RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_CreatePartitions(handle.pointer, &natives, 1, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let results = unsafe rd_kafka_CreatePartitions_result_topics(
        rd_kafka_event_CreatePartitions_result(event), &count)
      try unsafe checkTopics(results, count)
    }
    try waitUntilTold([(topic, newCount)], timeoutMilliseconds)
  }

  public func delete(topics: [String], timeoutMilliseconds: Int32 = 30_000) throws(KafkaError) {
    if topics.isEmpty { return }
    var natives: [OpaquePointer?] = unsafe topics.map { unsafe rd_kafka_DeleteTopic_new($0) }
    defer { for unsafe native in unsafe natives { unsafe rd_kafka_DeleteTopic_destroy(native) } }
    try unsafe ask(RD_KAFKA_ADMIN_OP_DELETETOPICS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_DeleteTopics(handle.pointer, &natives, natives.count, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let results = unsafe rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count)
      try unsafe checkTopics(results, count)
    }
  }

  /// Deletes the records before each offset, as retention would.
  public func deleteRecords(
    before offsets: [PartitionOffset], timeoutMilliseconds: Int32 = 30_000
  ) throws(KafkaError) {
    if offsets.isEmpty { return }
    let list = PartitionList(offsets)
    // SAFETY: the object copies the list, and is destroyed after the answer.
    let made = unsafe rd_kafka_DeleteRecords_new(list.pointer)
    defer { unsafe rd_kafka_DeleteRecords_destroy(made) }
    var natives: [OpaquePointer?] = unsafe [made]
    try unsafe ask(RD_KAFKA_ADMIN_OP_DELETERECORDS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_DeleteRecords(handle.pointer, &natives, 1, options, queue)
    } answer: { event throws(KafkaError) in
      let results = unsafe rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event))
      guard let results = unsafe results else { return }
      for index in 0..<Int(unsafe results.pointee.cnt) {
        try check(unsafe results.pointee.elems[index].err, .admin)
      }
    }
  }

  private func checkTopics(
    _ results: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int
  ) throws(KafkaError) {
    for index in 0..<count {
      // SAFETY: the event that holds `count` results lives through this call.
      guard let result = unsafe results?[index] else { continue }
      let code = unsafe rd_kafka_topic_result_error(result)
      if code == RD_KAFKA_RESP_ERR_NO_ERROR { continue }
      let words = unsafe rd_kafka_topic_result_error_string(result).map { unsafe String(cString: $0) }
      let topic = unsafe String(cString: rd_kafka_topic_result_name(result))
      throw KafkaError(
        code: code.rawValue, call: .admin,
        message: "\(words ?? KafkaError(code: code.rawValue, call: .admin).message) topic=\(topic)")
    }
  }

  /// One request and its answer on a queue of its own.
  func ask(
    _ operation: rd_kafka_admin_op_t, _ timeoutMilliseconds: Int32,
    send: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void,
    answer: (_ event: OpaquePointer) throws(KafkaError) -> Void
  ) throws(KafkaError) {
    // SAFETY: options, queue and event are ours and destroyed here, before the client.
    let options = unsafe rd_kafka_AdminOptions_new(handle.pointer, operation)
    defer { unsafe rd_kafka_AdminOptions_destroy(options) }
    _ = unsafe rd_kafka_AdminOptions_set_request_timeout(options, timeoutMilliseconds, nil, 0)
    let queue = unsafe rd_kafka_queue_new(handle.pointer)
    defer { unsafe rd_kafka_queue_destroy(queue) }
    unsafe send(options, queue)
    guard let event = unsafe rd_kafka_queue_poll(queue, timeoutMilliseconds + 1_000) else {
      throw KafkaError(code: KafkaCode.timedOut, call: .admin)
    }
    defer { unsafe rd_kafka_event_destroy(event) }
    let code = unsafe rd_kafka_event_error(event)
    if code != RD_KAFKA_RESP_ERR_NO_ERROR {
      let words = unsafe rd_kafka_event_error_string(event).map { unsafe String(cString: $0) }
      throw KafkaError(code: code.rawValue, call: .admin, message: words)
    }
    try unsafe answer(event)
  }
}
