import Kafka
import Pipeline

extension WorkerFailure {
  /// The same failure; where a right is missing, in words that say which: operation and resource.
  func namingRights(_ settings: PipelineSettings) -> WorkerFailure {
    guard case .kafka(let error) = self, error.action == .denied else { return self }
    return .denied("\(missingRight(error, settings)); reason: \(error)")
  }

  /// As what people hear of it.
  var alertKind: AlertKind? {
    switch self {
    case .denied: .rightMissing
    case .topicRecreated: .topicRecreated
    case .topicsChanged: .partitionsChanged
    case .unrecoverable: .logsUnfit
    case .kafka(let error): error.action == .denied ? .rightMissing : error.action == .offsetOutOfRange ? .logsUnfit : .stopped
    case .superseded, .unreachable, .misconfigured, .beyondTolerance, .storage, .exhausted: .stopped
    }
  }
}

/// The right that a refused call needs. Pure: brokers tell what was refused, and not always of what.
func missingRight(_ error: KafkaError, _ settings: PipelineSettings) -> String {
  let inputs = settings.features.inputs.map(\.topic)
  let topics = settings.topics
  func list(_ names: [String]) -> String { names.joined(separator: ", ") }
  switch error.name {
  case "TOPIC_AUTHORIZATION_FAILED":
    switch error.call {
    case .consume:
      return "the right to Read the topic is missing: \(list(inputs + [topics.learning, topics.journal, topics.control])) are read"
    case .produce, .delivery, .commit, .sendOffsets, .begin, .abort, .initTransactions:
      return "the right to Write a topic is missing: \(list([topics.predictions, topics.journal, topics.learning, topics.deadLetters, topics.acks, topics.alerts])) are written, and offsets of \(list(inputs)) committed, which needs Read"
    case .query, .admin, .create:
      return "the right to Describe a topic is missing: \(list(inputs + [topics.predictions, topics.journal, topics.learning, topics.control, topics.acks, topics.deadLetters, topics.alerts]))"
    }
  case "GROUP_AUTHORIZATION_FAILED":
    return "the right to Read the group is missing group=\(settings.name)"
  case "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
    return
      "the rights to Write and Describe transactional ids are missing prefix=\(settings.name)-\(settings.worker.instance)-"
  case "CLUSTER_AUTHORIZATION_FAILED":
    return "the right to IdempotentWrite on the cluster is missing, or Write on a transactional id with prefix \(settings.name)-\(settings.worker.instance)-"
  case "_SSL":
    return "the brokers cannot be trusted: kafka.security.ca names the authorities, kafka.bootstrap the hosts"
  case "_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "SECURITY_DISABLED":
    return "the brokers do not take the credentials: kafka.security names mechanism, user and certificates"
  default:
    return "a right is missing"
  }
}
