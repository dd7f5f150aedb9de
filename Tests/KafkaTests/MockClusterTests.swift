import Kafka
import Records
import Testing

/// Plumbing against librdkafka's cluster inside the process: what is sent comes back, queues stay apart, a group of
/// two deals out and deals again, and errors of each request lead to the right action. Nothing here shows
/// exactly-once: the mock keeps no transactions.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct MockClusterTests {
  private func start(partitions: Int32, topics: [String] = ["events"]) throws -> (MockCluster, ClientSettings) {
    let cluster = try MockCluster()
    for topic in topics { try cluster.createTopic(topic, partitions: partitions) }
    return (cluster, ClientSettings(bootstrap: cluster.bootstrap, clientID: "test"))
  }

  @Test func `what is produced is read back whole: null and empty, headers and times`() throws {
    let (cluster, settings) = try start(partitions: 2)
    let producer = try Producer(settings)
    let topic = try producer.open("events")
    #expect(topic.partitionCount == 2)
    var headers = HeaderBlock()
    headers.append("traceparent", "00-ab")
    headers.append("empty", "")
    headers.append("none", nil)
    try producer.produce(
      topic, partition: 1, key: Array("k".utf8), value: Array("v".utf8), headers: headers,
      timestamp: 1_234_567_890_123)
    try producer.produce(topic, partition: 1, key: [], value: [], timestamp: 5)
    try producer.produce(topic, partition: 1, key: nil, value: nil as RawSpan?, timestamp: 6)
    try producer.produce(topic, partition: 0, key: nil, value: Array("other".utf8), timestamp: 7)
    try producer.flush()
    #expect(producer.pendingCount == 0)

    let reader = try Reader(settings, topic: "events")
    let kept = try reader.readAll([1])
    #expect(kept.map(\.value) == ["v", "", nil])
    #expect(kept.map(\.key) == ["k", "", nil])
    #expect(kept.map(\.timestamp) == [1_234_567_890_123, 5, 6])
    #expect(kept.map(\.offset) == [0, 1, 2])
    #expect(kept[0].headers == ["traceparent=00-ab", "empty=", "none"])
    #expect(kept[1].headers == [])
    #expect(try reader.watermarks(TopicPartition("events", 1)) == Watermarks(low: 0, high: 3))
    #expect(try reader.endOffsets([TopicPartition("events", 1), TopicPartition("events", 0)]) == [3, 1])
    #expect(try reader.readAll([0, 1], from: .tail(1)).map(\.value).sorted { ($0 ?? "") < ($1 ?? "") } == [nil, "other"])
    withExtendedLifetime(cluster) {}
  }

  @Test func `a record for no partition, over the limit or with bad headers is refused and named`() throws {
    let (cluster, settings) = try start(partitions: 1)
    let producer = try Producer(settings, ProducerSettings(messageBytesMax: 2_000))
    let topic = try producer.open("events")
    for partition in [-1, 1, 99] as [Int32] {
      expectError(.produce, .misconfigured) {
        var headers = HeaderBlock()
        headers.append("a", "b")
        try producer.produce(topic, partition: partition, key: nil, value: [1], headers: headers)
      }
    }
    expectError(.produce, .quarantineRecord) {
      try producer.produce(topic, partition: 0, key: nil, value: [UInt8](repeating: 0, count: 3_000))
    }
    expectError(.produce, .misconfigured) {
      try producer.produce(topic, partition: 0, key: nil, value: [1], headers: HeaderBlock(bytes: [200]))
    }
    expectError(.query, .misconfigured) { try producer.open("no-such-topic") }
    withExtendedLifetime(cluster) {}
  }

  @Test func `a full queue pushes back and can be retried`() throws {
    let (cluster, settings) = try start(partitions: 1)
    let producer = try Producer(settings, ProducerSettings(queueKilobytes: 1, queueFullMilliseconds: 20))
    let topic = try producer.open("events")
    try cluster.setDown()
    expectError(.produce, .retrySameCall) {
      for _ in 0..<10 {
        try producer.produce(topic, partition: 0, key: nil, value: [UInt8](repeating: 1, count: 600))
      }
    }
  }

  @Test func `each assigned partition has a queue of its own, read in any order, and an end`() throws {
    let (cluster, settings) = try start(partitions: 2, topics: ["events", "labels"])
    let producer = try Producer(settings)
    for name in ["events", "labels"] {
      let topic = try producer.open(name)
      for partition in 0..<Int32(2) {
        for index in 0..<50 {
          try producer.produce(
            topic, partition: partition, key: nil, value: Array("\(name)\(partition)-\(index)".utf8))
        }
      }
    }
    try producer.flush()
    let consumer = try Consumer(settings, GroupSettings(groupID: "g"))
    try consumer.subscribe(["events"])
    let given = try consumer.event()
    let events = [TopicPartition("events", 0), TopicPartition("events", 1)]
    #expect(given == .assign(events))
    // The group knows of events alone; labels are added by the member.
    let all = events + [TopicPartition("labels", 0), TopicPartition("labels", 1)]
    let queues = try consumer.assign(all.map { PartitionOffset($0, offset: $0.topic == "labels" ? 10 : 0) })
    // The last first: what waits in one queue does not hold up another.
    for queue in queues.reversed() {
      var values: [String] = []
      var end: Int64?
      while end == nil {
        switch queue.next({ record in values.append(text(record.value)) }) {
        case .record: break
        case .endOfPartition(_, let offset): end = offset
        case .error(let error): throw error
        case .nothing:
          #expect(consumer.poll(milliseconds: 0) == .none)
          consumer.wait(milliseconds: 1_000)
        }
      }
      let start = queue.partition.topic == "labels" ? 10 : 0
      let name = "\(queue.partition.topic)\(queue.partition.partition)"
      #expect(values == (start..<50).map { "\(name)-\($0)" })
      #expect(end == 50)
    }
    #expect(try consumer.positions(all) == [50, 50, 50, 50])
    // A sleeping merge loop wakes for one more record, whichever queue it comes to.
    let topic = try producer.open("labels")
    try producer.produce(topic, partition: 1, key: nil, value: Array("late".utf8))
    var late: String?
    for _ in 0..<20 where late == nil {
      consumer.wait(milliseconds: 1_000)
      _ = queues[3].next { record in late = text(record.value) }
    }
    #expect(late == "late")
    #expect(consumer.close())
    withExtendedLifetime(cluster) {}
  }

  @Test func `two members share what one had, and nobody is told behind their back`() throws {
    let (cluster, settings) = try start(partitions: 4)
    let group = GroupSettings(groupID: "g", sessionMilliseconds: 3_000, heartbeatMilliseconds: 300)
    let first = try Consumer(settings, group)
    try first.subscribe(["events"])
    guard case .assign(let alone) = try first.event() else {
      Issue.record("nothing was assigned")
      return
    }
    #expect(alone.count == 4)
    _ = try first.assign(alone.map { PartitionOffset($0, offset: 0) })
    let second = try Consumer(settings, group)
    try second.subscribe(["events"])
    var given: [Int: [TopicPartition]] = [:]
    var revoked: [TopicPartition] = []
    for _ in 0..<600 where given.count < 2 {
      for (index, member) in [first, second].enumerated() {
        switch member.poll(milliseconds: 50) {
        case .assign(let partitions):
          given[index] = partitions
          _ = try member.assign(partitions.map { PartitionOffset($0, offset: 0) })
        case .revoke(let partitions, let lost):
          #expect(!lost && index == 0)
          #expect(!member.isAssignmentLost)
          revoked += partitions
          try member.unassign()
        case .error(let error): #expect(error.action == .retrySameCall, "\(error)")
        case .none: break
        }
      }
    }
    #expect(Set(revoked) == Set(alone))
    #expect(given[0]?.count == 2 && given[1]?.count == 2)
    #expect(Set((given[0] ?? []) + (given[1] ?? [])) == Set(alone))
    #expect(second.close())
    #expect(first.close())
    withExtendedLifetime(cluster) {}
  }

  @Test func `reading on past the log's end is an error, never a jump`() throws {
    let (cluster, settings) = try start(partitions: 1)
    let reader = try Reader(settings, topic: "events")
    expectError(.consume, .offsetOutOfRange) { try reader.readAll(from: .offset(17)) }
    withExtendedLifetime(cluster) {}
  }

  /// A producer with one record in an open transaction, and metadata of a real member.
  private struct Transaction {
    let producer: TransactionalProducer
    let topic: any OpenTopic
    let group: any GroupIdentity
    let consumer: Consumer
    let settings: ClientSettings

    init(_ cluster: MockCluster) throws {
      try cluster.createTopic("events", partitions: 1)
      settings = ClientSettings(bootstrap: cluster.bootstrap, clientID: "test")
      consumer = try Consumer(settings, GroupSettings(groupID: "g"))
      group = try consumer.groupIdentity()
      producer = try TransactionalProducer(settings, transactionalID: "t")
      try producer.initTransactions()
      topic = try producer.open("events")
      try producer.begin()
      try produce()
    }
    func produce() throws(KafkaError) {
      try producer.produce(topic, partition: 0, key: nil, value: [1])
    }
    func sendOffsets() throws(KafkaError) {
      try producer.sendOffsets([PartitionOffset(TopicPartition("events", 0), offset: 1)], group, timeoutMilliseconds: 5_000)
    }
  }

  @Test(arguments: [
    (MockCluster.Request.offsetCommitOfTransaction, Int32(22), KafkaAction.rejoinGroup),  // ILLEGAL_GENERATION
    (.offsetCommitOfTransaction, 25, .rejoinGroup),  // UNKNOWN_MEMBER_ID
    (.offsetCommitOfTransaction, 82, .rejoinGroup),  // FENCED_INSTANCE_ID
    (.addOffsets, 47, .recreateProducer),  // INVALID_PRODUCER_EPOCH
    (.addOffsets, 53, .denied),  // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
  ])
  func `offsets that are refused say whose fault it is`(
    request: MockCluster.Request, code: Int32, action: KafkaAction
  ) throws {
    let cluster = try MockCluster()
    let transaction = try Transaction(cluster)
    cluster.push(request, errors: [code])
    expectError(.sendOffsets, action) { try transaction.sendOffsets() }
    guard action == .rejoinGroup else { return }
    // An abort and a new begin, and the same bytes go through.
    try transaction.producer.abort()
    try transaction.producer.begin()
    try transaction.produce()
    try transaction.sendOffsets()
    try transaction.producer.commit()
  }

  @Test(arguments: [
    (MockCluster.Request.endTransaction, Int32(47), KafkaAction.recreateProducer),  // INVALID_PRODUCER_EPOCH
    (.endTransaction, 90, .recreateProducer),  // PRODUCER_FENCED
    (.endTransaction, 48, .recreateProducer),  // INVALID_TXN_STATE
    (.produce, 10, .quarantineRecord),  // MSG_SIZE_TOO_LARGE
    (.produce, 29, .denied),  // TOPIC_AUTHORIZATION_FAILED
    (.produce, 59, .abortAndResend),  // UNKNOWN_PRODUCER_ID
    (.produce, 47, .recreateProducer),  // INVALID_PRODUCER_EPOCH
  ])
  func `a commit that fails says what becomes of the unit`(
    request: MockCluster.Request, code: Int32, action: KafkaAction
  ) throws {
    let cluster = try MockCluster()
    let transaction = try Transaction(cluster)
    cluster.push(request, errors: [code])
    expectError(.commit, action) { try transaction.producer.commit(timeoutMilliseconds: 20_000) }
    if action == .recreateProducer {
      transaction.producer.purge()
      let successor = try TransactionalProducer(transaction.settings, transactionalID: "t")
      try successor.initTransactions()
      try successor.begin()
      try successor.produce(try successor.open("events"), partition: 0, key: nil, value: [1])
      try successor.commit()
    } else if action != .denied {
      // A refused batch may leave a gap that only the next transaction reports: the unit is sent again, again.
      for attempt in 1...5 {
        try transaction.producer.abort()
        try transaction.producer.begin()
        do {
          try transaction.produce()
          try transaction.producer.commit()
          break
        } catch {
          #expect(error.action == .abortAndResend && attempt < 5, "\(error)")
        }
      }
    }
  }

  @Test func `passing errors inside a transaction are not even seen`() throws {
    let cluster = try MockCluster()
    let transaction = try Transaction(cluster)
    cluster.push(.addOffsets, errors: [15, 16])  // COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
    cluster.push(.offsetCommitOfTransaction, errors: [14])  // COORDINATOR_LOAD_IN_PROGRESS
    cluster.push(.endTransaction, errors: [51])  // CONCURRENT_TRANSACTIONS
    try transaction.sendOffsets()
    try transaction.producer.commit()
    #expect(!transaction.producer.isInDoubt)
  }

  @Test func `with the broker away a commit times out, is retriable, resumes, and leaves a doubt`() throws {
    let cluster = try MockCluster()
    let transaction = try Transaction(cluster)
    try transaction.sendOffsets()
    try cluster.setDown()
    expectError(.commit, .retrySameCall) { try transaction.producer.commit(timeoutMilliseconds: 1_500) }
    #expect(transaction.producer.isInDoubt)
    try cluster.setUp()
    try transaction.producer.commit(timeoutMilliseconds: 60_000)
    #expect(transaction.producer.isInDoubt)
  }

  @Test func `questions to a broker that is away end in time, and are worth repeating`() throws {
    let (cluster, settings) = try start(partitions: 1)
    let reader = try Reader(settings, topic: "events")
    #expect(try reader.watermarks(TopicPartition("events", 0)) == Watermarks(low: 0, high: 0))
    try cluster.setDown()
    expectError(.query, .retrySameCall) {
      try reader.watermarks(TopicPartition("events", 0), timeoutMilliseconds: 700)
    }
    try cluster.setUp()
    #expect(
      try reader.watermarks(TopicPartition("events", 0), timeoutMilliseconds: 30_000)
        == Watermarks(low: 0, high: 0))
  }
}
