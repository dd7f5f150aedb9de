import Kafka
import Pipeline

/// The Kafka cluster as a worker uses it: where all its clients come from. `KafkaCluster` is the real one; the
/// simulation has another, so that one seed decides everything the worker meets.
///
/// Threads: any.
protocol Cluster: Sendable {
  func clusterID() throws(KafkaError) -> String
  /// Name and partition count of every topic that may be seen.
  func topics() throws(KafkaError) -> [TopicDescription]
  /// Who is in the pipeline's group now.
  func members() throws(KafkaError) -> [GroupMember]
  /// The member of the group for one lane, not subscribed yet.
  func makeConsumer(lane: Int) throws(KafkaError) -> any GroupConsumer
  /// A writer that is still to be initialised.
  func makeProducer(transactionalID: String) throws(KafkaError) -> any TransactionalWriter
  func makeReader(_ topic: String, isolation: FetchSettings.Isolation) throws(KafkaError) -> any LogReader
  /// A writer outside of transactions.
  func makeWriter() throws(KafkaError) -> any PlainWriter
}

extension PipelineSettings.WorkerIdentity {
  /// The static name under which a lane is in the group (`group.instance.id`).
  func memberName(lane: Int) -> String { "\(instance)-\(lane)" }
}
