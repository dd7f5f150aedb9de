import Foundation
import Kafka
import TestSupport
import Testing

/// What only a real broker keeps: transactions, fencing, offsets within them. Skipped where none is installed.
@Suite(.serialized, .enabled(if: LocalBroker.isAvailable, "noida-db is not installed"), .timeLimit(.minutes(6)))
struct BrokerTests {
  let broker: LocalBroker
  let settings: ClientSettings

  init() throws {
    broker = try LocalBroker.shared()
    settings = broker.settings()
  }

  private func producer(_ id: String) throws -> TransactionalProducer {
    let producer = try TransactionalProducer(settings, transactionalID: id)
    try producer.initTransactions()
    return producer
  }

  /// Waits until the broker has the record: an abort drops what was not sent yet.
  private func arrived(_ value: String, on topic: String, _ producer: TransactionalProducer) throws {
    let whole = try Reader(settings, topic: topic, fetch: FetchSettings(isolation: .readUncommitted))
    while try whole.readAll().last?.value != value { producer.poll(milliseconds: 10) }
  }

  @Test func `a reader of committed records sees no open and no aborted ones`() throws {
    let name = try broker.createTopic("transactions")
    let producer = try producer(name)
    let topic = try producer.open(name)
    func write(_ value: String) throws {
      try producer.begin()
      try producer.produce(topic, partition: 0, key: nil, value: Array(value.utf8))
      try arrived(value, on: name, producer)
    }
    try write("kept")
    try producer.commit()
    try write("aborted")
    try producer.abort()
    try write("after")
    try producer.commit()
    try write("open")
    let committed = try Reader(settings, topic: name)
    #expect(try committed.readAll().map(\.value) == ["kept", "after"])
    try producer.commit()
    #expect(try committed.readAll().map(\.value) == ["kept", "after", "open"])
    let whole = try Reader(settings, topic: name, fetch: FetchSettings(isolation: .readUncommitted))
    #expect(try whole.readAll().map(\.value) == ["kept", "aborted", "after", "open"])
    #expect(!producer.isInDoubt)
  }

  @Test func `a log is read to its high watermark, over markers and aborted records`() throws {
    let name = try broker.createTopic("journal")
    let producer = try producer(name)
    let topic = try producer.open(name)
    for (value, commits) in [("a", true), ("b", false), ("c", true), ("d", false)] {
      try producer.begin()
      try producer.produce(topic, partition: 0, key: nil, value: Array(value.utf8))
      try arrived(value, on: name, producer)
      if commits { try producer.commit() } else { try producer.abort() }
    }
    let whole = try Reader(settings, topic: name, fetch: FetchSettings(isolation: .readUncommitted))
    let end = try whole.watermarks(TopicPartition(name, 0))
    let reader = try Reader(settings, topic: name)
    try reader.start(partition: 0, at: .beginning)
    var values: [String] = []
    try reader.read(partition: 0, through: end.high, timeoutMilliseconds: 20_000) { record in
      values.append(text(record.value))
    }
    #expect(values == ["a", "c"])
    #expect(reader.position(partition: 0)! >= end.high)
    // Further than the log goes: says so in time, and may be read on. The last marker may have come after `end`.
    expectError(.query, .retrySameCall) {
      try reader.read(partition: 0, through: end.high + 2, timeoutMilliseconds: 300) { _ in }
    }
  }

  @Test func `an open transaction parts the last stable offset from the high watermark`() throws {
    let name = try broker.createTopic("watermarks")
    let producer = try producer(name)
    let topic = try producer.open(name)
    try producer.begin()
    try producer.produce(topic, partition: 0, key: nil, value: [1])
    let whole = try Reader(settings, topic: name, fetch: FetchSettings(isolation: .readUncommitted))
    while try whole.watermarks(TopicPartition(name, 0)).high == 0 { producer.poll(milliseconds: 10) }
    let committed = try Reader(settings, topic: name)
    #expect(try committed.watermarks(TopicPartition(name, 0)).high == 0)
    #expect(try whole.watermarks(TopicPartition(name, 0)).high == 1)
    try producer.abort()
  }

  @Test func `a second producer with the id fences the first, whose unit is gone`() throws {
    let name = try broker.createTopic("fencing")
    let first = try producer(name)
    try first.begin()
    try first.produce(try first.open(name), partition: 0, key: nil, value: Array("first".utf8))
    let second = try producer(name)
    try second.begin()
    try second.produce(try second.open(name), partition: 0, key: nil, value: Array("second".utf8))
    try second.commit()
    do {
      try first.commit()
      Issue.record("a fenced producer committed")
    } catch {
      #expect(error.action == .recreateProducer && error.isFenced, "\(error)")
    }
    first.purge()
    #expect(try Reader(settings, topic: name).readAll().map(\.value) == ["second"])
  }

  @Test func `records and offsets commit together, with the offset's text`() throws {
    let input = try broker.createTopic("input", partitions: 2)
    let output = try broker.createTopic("output")
    let consumer = try Consumer(settings, GroupSettings(groupID: "group-\(input)"))
    try consumer.subscribe([input])
    guard case .assign(let partitions) = try consumer.event() else {
      Issue.record("nothing was assigned")
      return
    }
    #expect(partitions.count == 2)
    _ = try consumer.assign(partitions.map { PartitionOffset($0, offset: 0) })
    #expect(try consumer.committed(partitions).map(\.offset) == [nil, nil])
    let producer = try producer(output)
    let topic = try producer.open(output)
    let foreign = TopicPartition(output, 0)
    func unit(_ offset: Int64, _ metadata: String) throws {
      try producer.begin()
      try producer.produce(topic, partition: 0, key: nil, value: Array("\(offset)".utf8))
      try producer.sendOffsets(
        [
          PartitionOffset(partitions[0], offset: offset, metadata: metadata),
          // A partition that the group did not give, but that the member reads.
          PartitionOffset(foreign, offset: 1),
        ], consumer.groupIdentity())
    }
    try unit(7, "replay_from=3")
    try producer.commit()
    try unit(9, "replay_from=4")
    try producer.abort()
    let committed = try consumer.committed(partitions + [foreign])
    #expect(committed.map(\.offset) == [7, nil, 1])
    #expect(committed[0].metadata == "replay_from=3")
    #expect(try Reader(settings, topic: output).readAll().map(\.value) == ["7"])
    let members = try Admin(settings).members(ofGroup: "group-\(input)")
    #expect(members.map(\.clientID) == ["test"])
    #expect(consumer.close())
  }

  @Test func `records are found by their time`() throws {
    let name = try broker.createTopic("times")
    let producer = try Producer(settings)
    let topic = try producer.open(name)
    let start: Int64 = 1_700_000_000_000
    for index in 0..<Int64(10) {
      try producer.produce(topic, partition: 0, key: nil, value: [1], timestamp: start + index * 1000)
      try producer.flush()
    }
    let reader = try Reader(settings, topic: name)
    let partition = [TopicPartition(name, 0)]
    #expect(try reader.offsets(partition, atOrAfter: start + 3_500) == [4])
    #expect(try reader.offsets(partition, atOrAfter: 0) == [0])
    #expect(try reader.offsets(partition, atOrAfter: start + 60_000) == [nil])
    #expect(try reader.watermarks(partition[0]) == Watermarks(low: 0, high: 10))
  }

  @Test func `topics are created once, widened and described`() throws {
    let admin = try Admin(settings)
    let name = try broker.createTopic("admin", partitions: 3)
    #expect(try admin.topics().first { $0.name == name }?.partitionCount == 3)
    do {
      try admin.create([NewTopic(name: name, partitions: 3, replication: 1)])
      Issue.record("an existing topic was created")
    } catch { #expect(error.code == KafkaCode.topicExists, "\(error)") }
    #expect(try !admin.clusterID().isEmpty)
    try admin.delete(topics: [name])
    // The brokers are told after the answer: asked until they know, or the test's time is up.
    while try admin.topics().contains(where: { $0.name == name }) {}
    expectError(.admin, .misconfigured) { try admin.delete(topics: ["no-such-topic"]) }
  }

  @Test func `what was committed outlives the broker's restart, and clients go on after it`() throws {
    let own = try LocalBroker()
    defer { own.stop() }
    let settings = own.settings()
    let name = try own.createTopic("outage")
    let producer = try TransactionalProducer(settings, transactionalID: name)
    try producer.initTransactions()
    let topic = try producer.open(name)
    try producer.begin()
    try producer.produce(topic, partition: 0, key: nil, value: Array("before".utf8))
    try producer.commit()
    own.halt()
    let reader = try Reader(settings, topic: name)
    expectError(.query, .retrySameCall) {
      try reader.watermarks(TopicPartition(name, 0), timeoutMilliseconds: 500)
    }
    try own.start()
    // The unit that met the outage is sent by whichever way its errors ask for.
    var next = producer
    for attempt in 1...5 {
      do {
        if next !== producer { try next.initTransactions() }
        try next.begin()
        try next.produce(try next.open(name), partition: 0, key: nil, value: Array("after".utf8))
        try next.commit()
        break
      } catch {
        try #require(attempt < 5, "\(error)")
        if error.action == .abortAndResend, (try? next.abort(timeoutMilliseconds: 20_000)) != nil { continue }
        next.purge()
        next = try TransactionalProducer(settings, transactionalID: name)
      }
    }
    let values = try reader.readAll().map(\.value)
    #expect(values == ["before", "after"])
  }
}
