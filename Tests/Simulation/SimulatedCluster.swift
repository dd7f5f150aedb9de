import Kafka
import Pipeline
@testable import Worker

/// Where one simulated process gets its clients from.
final class SimulatedCluster: Cluster, @unchecked Sendable {
  static let id = "simulated"
  let side: ClientSide
  private let settings: PipelineSettings

  init(_ side: ClientSide, _ settings: PipelineSettings) {
    self.side = side
    self.settings = settings
  }

  func clusterID() throws(KafkaError) -> String { Self.id }

  func topics() throws(KafkaError) -> [TopicDescription] {
    try side.persist(.admin, "topics", milliseconds: 10_000) { [side] in
      .success(
        side.broker.topics.map {
          TopicDescription(name: $0.name, partitionCount: Int32($0.partitions.count), replication: 1)
        })
    }
  }

  func members() throws(KafkaError) -> [GroupMember] {
    try side.persist(.admin, "members", milliseconds: 5_000) { [side] in
      .success(
        side.broker.group.members.map {
          GroupMember(id: $0.id, clientID: "", instanceID: $0.instance, host: "", partitions: $0.assignment)
        })
    }
  }

  func makeConsumer(lane: Int) throws(KafkaError) -> any GroupConsumer {
    try side.checkAlive(.create)
    return SimulatedConsumer(
      side, instance: settings.worker.memberName(lane: lane),
      timing: .init(
        sessionNanoseconds: UInt64(settings.worker.sessionTimeoutMilliseconds) * 1_000_000,
        heartbeatNanoseconds: UInt64(settings.worker.heartbeatMilliseconds) * 1_000_000))
  }

  func makeProducer(transactionalID: String) throws(KafkaError) -> any TransactionalWriter {
    try side.checkAlive(.create)
    let producer = SimulatedProducer(
      side, transactionalID: transactionalID,
      transactionMilliseconds: Int(settings.delivery.transactionTimeoutMilliseconds))
    side.process.producers.append(producer)
    if side.process.wedgesNextProducer { producer.wedge() }
    side.process.wedgesNextProducer = false
    return producer
  }

  func makeReader(_ topic: String, isolation: FetchSettings.Isolation) throws(KafkaError) -> any LogReader {
    try side.checkAlive(.create)
    return SimulatedReader(side, topic: topic, readsCommitted: isolation == .readCommitted)
  }

  func makeWriter() throws(KafkaError) -> any PlainWriter {
    try side.checkAlive(.create)
    return SimulatedWriter(side)
  }
}
