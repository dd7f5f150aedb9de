import Kafka
import Pipeline

/// The cluster that the pipeline declares, through librdkafka.
struct KafkaCluster: Cluster {
  private let settings: PipelineSettings
  private let security: ResolvedSecurity
  private let log: LogQueue

  /// What the clients log goes to `log`, to be drained by the owner.
  init(_ settings: PipelineSettings, _ security: ResolvedSecurity, log: LogQueue) {
    self.settings = settings
    self.security = security
    self.log = log
  }

  func clusterID() throws(KafkaError) -> String {
    try Admin(clientSettings("check")).clusterID(timeoutMilliseconds: 5_000)
  }

  func topics() throws(KafkaError) -> [TopicDescription] { try Admin(clientSettings("check")).topics() }

  func members() throws(KafkaError) -> [GroupMember] {
    try Admin(clientSettings("check")).members(ofGroup: settings.name, timeoutMilliseconds: 5_000)
  }

  func makeConsumer(lane: Int) throws(KafkaError) -> any GroupConsumer {
    try Consumer(
      clientSettings("\(lane)"),
      GroupSettings(
        groupID: settings.name, instanceID: settings.worker.memberName(lane: lane),
        sessionMilliseconds: Int(settings.worker.sessionTimeoutMilliseconds),
        heartbeatMilliseconds: Int(settings.worker.heartbeatMilliseconds)))
  }

  func makeProducer(transactionalID: String) throws(KafkaError) -> any TransactionalWriter {
    try TransactionalProducer(
      clientSettings("producer"), transactionalID: transactionalID,
      ProducerSettings(transactionMilliseconds: Int(settings.delivery.transactionTimeoutMilliseconds)))
  }

  func makeWriter() throws(KafkaError) -> any PlainWriter { try Producer(clientSettings("writer")) }

  func makeReader(
    _ topic: String, isolation: FetchSettings.Isolation
  ) throws(KafkaError) -> any LogReader {
    try Reader(clientSettings("reader"), topic: topic, fetch: FetchSettings(isolation: isolation))
  }

  private func clientSettings(_ role: String) -> ClientSettings {
    var client = security.clientSettings(
      bootstrap: settings.kafka.bootstrap,
      // Longer ones crash old client libraries.
      clientID: String("\(settings.name).\(settings.worker.instance).\(role)".prefix(64)))
    client.log = log.sink
    return client
  }
}
