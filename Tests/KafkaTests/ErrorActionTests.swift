import CRdKafka
import Kafka
import Testing

/// The table of error classes: what the worker does next, by call, code and flags.
struct ErrorActionTests {
  typealias Row = (KafkaCall, rd_kafka_resp_err_t, KafkaErrorFlags, KafkaAction)

  static let transactional: [Row] = [
    // Retriable goes before everything but rights: the call resumes.
    (.commit, RD_KAFKA_RESP_ERR__TIMED_OUT, .retriable, .retrySameCall),
    (.abort, RD_KAFKA_RESP_ERR__TIMED_OUT, .retriable, .retrySameCall),
    (.initTransactions, RD_KAFKA_RESP_ERR__TIMED_OUT, .retriable, .retrySameCall),
    (.sendOffsets, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, .retriable, .retrySameCall),
    // To be aborted: the group's errors, the record's, and the rest.
    (.sendOffsets, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, .requiresAbort, .rejoinGroup),
    (.sendOffsets, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, .requiresAbort, .rejoinGroup),
    (.sendOffsets, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, .requiresAbort, .rejoinGroup),
    (.commit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, .requiresAbort, .rejoinGroup),
    (.commit, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, .requiresAbort, .quarantineRecord),
    (.commit, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, .requiresAbort, .abortAndResend),
    (.commit, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, .requiresAbort, .abortAndResend),
    (.commit, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, .requiresAbort, .abortAndResend),
    (.commit, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, .requiresAbort, .denied),
    // Fatal for the handle: a new one, then the probe.
    (.commit, RD_KAFKA_RESP_ERR__FENCED, .fatal, .recreateProducer),
    (.commit, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, .fatal, .recreateProducer),
    (.commit, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, .fatal, .recreateProducer),
    (.commit, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, .fatal, .recreateProducer),
    (.begin, RD_KAFKA_RESP_ERR__FATAL, .fatal, .recreateProducer),
    (.initTransactions, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, .fatal, .denied),
    (.initTransactions, RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, .fatal, .misconfigured),
    // A broker that is not trusted any more is one that is away.
    (.sendOffsets, RD_KAFKA_RESP_ERR__SSL, .requiresAbort, .abortAndResend),
    (.commit, RD_KAFKA_RESP_ERR__AUTHENTICATION, .fatal, .recreateProducer),
    // No flag at all counts as fatal.
    (.commit, RD_KAFKA_RESP_ERR__STATE, [], .recreateProducer),
    (.sendOffsets, RD_KAFKA_RESP_ERR__FAIL, [], .recreateProducer),
    (.begin, RD_KAFKA_RESP_ERR__NOT_CONFIGURED, [], .misconfigured),
  ]

  static let records: [Row] = [
    (.produce, RD_KAFKA_RESP_ERR__QUEUE_FULL, [], .retrySameCall),
    (.produce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, [], .quarantineRecord),
    (.produce, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, [], .misconfigured),
    (.produce, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, [], .misconfigured),
    (.produce, RD_KAFKA_RESP_ERR__STATE, [], .abortAndResend),
    (.produce, RD_KAFKA_RESP_ERR__FATAL, [], .recreateProducer),
    (.produce, RD_KAFKA_RESP_ERR__FENCED, .fatal, .recreateProducer),
    (.delivery, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, [], .quarantineRecord),
    (.delivery, RD_KAFKA_RESP_ERR_INVALID_RECORD, [], .quarantineRecord),
    (.delivery, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, [], .denied),
    (.delivery, RD_KAFKA_RESP_ERR__SSL, [], .abortAndResend),
    (.delivery, RD_KAFKA_RESP_ERR__PURGE_QUEUE, [], .abortAndResend),
    (.delivery, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, [], .abortAndResend),
    (.delivery, RD_KAFKA_RESP_ERR__FENCED, [], .recreateProducer),
    (.delivery, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, [], .recreateProducer),
  ]

  static let others: [Row] = [
    (.query, RD_KAFKA_RESP_ERR__SSL, [], .denied),
    (.create, RD_KAFKA_RESP_ERR__AUTHENTICATION, [], .denied),
    (.consume, RD_KAFKA_RESP_ERR__SSL, [], .retrySameCall),
    (.consume, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, [], .retrySameCall),
    (.consume, RD_KAFKA_RESP_ERR__TRANSPORT, [], .retrySameCall),
    (.consume, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, [], .offsetOutOfRange),
    (.consume, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, [], .offsetOutOfRange),
    (.consume, RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, [], .rejoinGroup),
    (.consume, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, [], .misconfigured),
    (.consume, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, [], .denied),
    (.consume, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, .fatal, .fatal),
    (.consume, RD_KAFKA_RESP_ERR__BAD_MSG, [], .fatal),
    (.query, RD_KAFKA_RESP_ERR__TIMED_OUT, [], .retrySameCall),
    (.query, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, [], .retrySameCall),
    (.query, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, [], .retrySameCall),
    (.query, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, [], .misconfigured),
    (.query, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, [], .denied),
    (.admin, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, [], .misconfigured),
    (.admin, RD_KAFKA_RESP_ERR_NOT_CONTROLLER, [], .retrySameCall),
    (.admin, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, [], .denied),
    (.create, RD_KAFKA_RESP_ERR__INVALID_ARG, [], .misconfigured),
  ]

  @Test func `an error asks for the action of its row`() {
    for (call, code, flags, action) in Self.transactional + Self.records + Self.others {
      let error = KafkaError(code: code.rawValue, call: call, flags: flags)
      #expect(error.action == action, "\(error)")
    }
  }

  @Test func `no error of a transactional call goes unanswered, and none with a fatal flag is retried`() {
    for code in Int32(-200)...120 {
      for call in KafkaCall.allCases {
        let fatal = KafkaAction.after(code: code, flags: [.fatal, .retriable], call: call)
        #expect(fatal != .retrySameCall && fatal != .abortAndResend, "code=\(code) call=\(call)")
      }
      for call in [KafkaCall.commit, .abort, .initTransactions, .begin, .sendOffsets] {
        let bare = KafkaAction.after(code: code, flags: [], call: call)
        #expect(
          [.recreateProducer, .denied, .misconfigured].contains(bare), "code=\(code) call=\(call)")
      }
    }
  }

  @Test func `fencing is told apart from other fatal errors`() {
    for code in [RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED] {
      #expect(KafkaError(code: code.rawValue, call: .commit, flags: .fatal).isFenced)
    }
    let other = KafkaError(
      code: RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER.rawValue, call: .commit, flags: .fatal)
    #expect(!other.isFenced)
    let member = KafkaError(code: KafkaCode.fencedInstance, call: .consume, flags: .fatal)
    #expect(member.isInstanceFenced && !member.isFenced && !other.isInstanceFenced)
  }
}
