import CRdKafka

/// What a caller does about an error. Sorted by reaction, not by cause.
public enum KafkaAction: String, Hashable, Sendable, CaseIterable {
  /// Call the same function again with the same arguments: it resumes. After a commit was started, never abort.
  case retrySameCall
  /// End the transaction, begin another, send the same bytes and the same offsets again, commit.
  case abortAndResend
  /// Destroy the producer, make a new one with the same id, initialise it, then ask the group what was committed.
  case recreateProducer
  /// Abort if a transaction is open, drop the partitions and join the group again.
  case rejoinGroup
  /// This one record can never be written: abort if the error says so, and replace it by a reference.
  case quarantineRecord
  /// The offset asked for is not in the log any more (or not yet): the state behind it cannot be rebuilt.
  case offsetOutOfRange
  /// Settings or topics are wrong; the same call will fail in the same way.
  case misconfigured
  /// Credentials or rights are missing.
  case denied
  /// Stop this client; nothing else is safe.
  case fatal

  /// The pure classification: flags before codes, and codes by the call that returned them.
  ///
  /// An error of a transactional call without any flag counts as fatal for the handle, as `rdkafka.h` asks.
  /// Whether the second fencing in a row means another owner is the caller's to count (`KafkaError.isFenced`).
  public static func after(code: Int32, flags: KafkaErrorFlags, call: KafkaCall) -> KafkaAction {
    if KafkaCode.authorisation.contains(code) { return .denied }
    // At the start it is final. Under way what is connected goes on, and one bad broker of three must stop nobody.
    if KafkaCode.distrust.contains(code), [.create, .query, .admin].contains(call) { return .denied }
    switch call {
    case .create: return code == KafkaCode.systemResource ? .fatal : .misconfigured
    case .consume: return consuming(code, flags)
    case .query, .admin: return asking(code, flags, call)
    case .initTransactions, .begin, .sendOffsets, .commit, .abort, .produce, .delivery:
      // Why before the flags: initialising again with the same settings would fail for ever.
      if KafkaCode.unsupported.contains(code) { return .misconfigured }
      if flags.contains(.fatal) { return .recreateProducer }
      if flags.contains(.requiresAbort) {
        if KafkaCode.group.contains(code) { return .rejoinGroup }
        return KafkaCode.record.contains(code) ? .quarantineRecord : .abortAndResend
      }
      if flags.contains(.retriable) { return .retrySameCall }
      switch call {
      case .produce: return producing(code)
      case .delivery: return delivering(code)
      default: return .recreateProducer
      }
    }
  }

  /// Local refusals of a record; they carry no flags.
  private static func producing(_ code: Int32) -> KafkaAction {
    switch code {
    case KafkaCode.queueFull: .retrySameCall
    // Producing is refused in this state once a record failed: the transaction has to be aborted.
    case KafkaCode.state: .abortAndResend
    case KafkaCode.unknownPartition, KafkaCode.unknownTopic, KafkaCode.unknownTopicOrPartition,
      KafkaCode.invalidArgument:
      .misconfigured
    default: KafkaCode.record.contains(code) ? .quarantineRecord : .recreateProducer
    }
  }

  /// Reports carry no flags either; the commit that follows repeats the error with its flags.
  private static func delivering(_ code: Int32) -> KafkaAction {
    if KafkaCode.record.contains(code) { return .quarantineRecord }
    return KafkaCode.lostProducer.contains(code) ? .recreateProducer : .abortAndResend
  }

  private static func consuming(_ code: Int32, _ flags: KafkaErrorFlags) -> KafkaAction {
    if flags.contains(.fatal) { return .fatal }
    if KafkaCode.offset.contains(code) { return .offsetOutOfRange }
    if KafkaCode.rejoin.contains(code) { return .rejoinGroup }
    if KafkaCode.wrongTopicOrGroup.contains(code) { return .misconfigured }
    // A corrupt record set is skipped by the client after this error: going on would lose it in silence.
    if KafkaCode.corrupt.contains(code) { return .fatal }
    // All else (a broker away, a name not resolved) is news: the client keeps trying.
    return .retrySameCall
  }

  private static func asking(
    _ code: Int32, _ flags: KafkaErrorFlags, _ call: KafkaCall
  ) -> KafkaAction {
    if flags.contains(.fatal) { return .fatal }
    if flags.contains(.retriable) || KafkaCode.passing.contains(code) { return .retrySameCall }
    if KafkaCode.offset.contains(code) { return .offsetOutOfRange }
    if call == .admin || KafkaCode.wrongTopicOrGroup.contains(code) { return .misconfigured }
    return .fatal
  }
}

/// Codes that this module tells apart, by the words of `rdkafka.h`.
public enum KafkaCode {
  public static let partitionEnd = RD_KAFKA_RESP_ERR__PARTITION_EOF.rawValue
  public static let queueFull = RD_KAFKA_RESP_ERR__QUEUE_FULL.rawValue
  public static let timedOut = RD_KAFKA_RESP_ERR__TIMED_OUT.rawValue
  public static let state = RD_KAFKA_RESP_ERR__STATE.rawValue
  public static let invalidArgument = RD_KAFKA_RESP_ERR__INVALID_ARG.rawValue
  /// No thread, or no memory, is to be had.
  public static let systemResource = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE.rawValue
  public static let unknownPartition = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION.rawValue
  public static let unknownTopic = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC.rawValue
  public static let unknownTopicOrPartition = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue
  public static let inconsistent = RD_KAFKA_RESP_ERR__INCONSISTENT.rawValue
  public static let fenced = RD_KAFKA_RESP_ERR__FENCED.rawValue
  public static let fencedInstance = RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID.rawValue
  public static let transport = RD_KAFKA_RESP_ERR__TRANSPORT.rawValue
  public static let messageTooLarge = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE.rawValue
  public static let topicExists = RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS.rawValue

  static let fencing: [Int32] = [
    RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
    RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
  ].map(\.rawValue)

  /// This client and a broker do not trust each other: authority, host name, expiry, password.
  static let distrust: [Int32] = [
    RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR__SSL,
  ].map(\.rawValue)

  /// What a broker refuses.
  static let authorisation: [Int32] = [
    RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM,
    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_SECURITY_DISABLED,
  ].map(\.rawValue)

  static let unsupported: [Int32] = [
    RD_KAFKA_RESP_ERR__NOT_CONFIGURED, RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED,
    RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, RD_KAFKA_RESP_ERR__INVALID_ARG,
    RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
    RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
  ].map(\.rawValue)

  static let group: [Int32] = [
    RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
    RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
  ].map(\.rawValue)

  static let record: [Int32] = [
    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
    RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, RD_KAFKA_RESP_ERR_INVALID_MSG,
    RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
  ].map(\.rawValue)

  static let lostProducer: [Int32] = [
    RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
    RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
    RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
  ].map(\.rawValue)

  static let offset: [Int32] = [
    RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
    RD_KAFKA_RESP_ERR__NO_OFFSET,
  ].map(\.rawValue)

  static let rejoin: [Int32] = [
    RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
    RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
    RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST,
  ].map(\.rawValue)

  static let wrongTopicOrGroup: [Int32] = [
    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
    RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
    RD_KAFKA_RESP_ERR__UNKNOWN_GROUP, RD_KAFKA_RESP_ERR_INVALID_GROUP_ID,
    RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
    RD_KAFKA_RESP_ERR__INVALID_ARG, RD_KAFKA_RESP_ERR__NOT_CONFIGURED,
    RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
  ].map(\.rawValue)

  static let corrupt: [Int32] = [
    RD_KAFKA_RESP_ERR__BAD_MSG, RD_KAFKA_RESP_ERR__BAD_COMPRESSION,
    RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
    RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR__INCONSISTENT,
  ].map(\.rawValue)

  /// What passes by itself: elections, loading coordinators, lost connections.
  static let passing: [Int32] = [
    RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
    RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
    RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR__WAIT_CACHE, RD_KAFKA_RESP_ERR__PARTIAL,
    RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
    RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
    RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_NOT_CONTROLLER,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
    RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
    RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
    RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
    RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
  ].map(\.rawValue)
}
