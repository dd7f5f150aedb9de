import Kafka
import Records
import Synchronization
import TestSupport
import Testing

/// A connection that breaks while a request of a transaction is under way: the library repairs it in silence, and the
/// producer must know all the same that the first request may still arrive.
@Suite(.serialized, .enabled(if: LocalBroker.isAvailable, "needs a broker"), .timeLimit(.minutes(6)))
struct LostAnswerTests {
  @Test(arguments: [
    KafkaProxy.Kind.addPartitions, .addOffsets, .transactionalOffsets, .endTransaction,
  ])
  func `a producer is in doubt after a lost answer, and after no other transaction`(kind: KafkaProxy.Kind) throws {
    let broker = try LocalBroker.shared()
    let proxy = try KafkaProxy(to: broker.bootstrap)
    defer { proxy.stop() }
    let name = try broker.createTopic("lost")
    let group = try Consumer(broker.settings("group"), GroupSettings(groupID: name))
    let producer = try TransactionalProducer(
      ClientSettings(bootstrap: proxy.bootstrap, clientID: "lost"), transactionalID: name)
    try producer.initTransactions(timeoutMilliseconds: 30_000)
    let topic = try producer.open(name, timeoutMilliseconds: 10_000)

    func transaction(_ offset: Int64) throws {
      try producer.begin()
      try producer.produce(topic, partition: 0, key: nil, value: [1], headers: HeaderBlock())
      try producer.sendOffsets(
        [PartitionOffset(TopicPartition(name, 0), offset: offset)], try group.groupIdentity(), timeoutMilliseconds: 30_000)
      try producer.commit(timeoutMilliseconds: 30_000)
    }
    for offset in 1...3 as ClosedRange<Int64> {
      try transaction(offset)
      #expect(!producer.isInDoubt)
    }
    let once = Once()
    proxy.onReply { $0.kind == kind && once.first() ? .cut : .pass }
    try transaction(4)
    #expect(once.isDone)
    #expect(producer.isInDoubt)
  }

  private final class Once: Sendable {
    private let done = Mutex(false)
    var isDone: Bool { done.withLock { $0 } }
    /// True the first time.
    func first() -> Bool {
      done.withLock { done in
        defer { done = true }
        return !done
      }
    }
  }
}
