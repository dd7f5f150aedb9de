import CRdKafka
import Synchronization

/// What the library's callbacks write and a client's owner reads. One per client, alive until the client is gone.
///
/// Invariant: `rebalances` and `isClosing` are touched only by the thread that polls the consumer, since the
/// rebalance callback runs inside that poll; all else is behind a lock or atomic, since deliveries are reported
/// to whichever thread serves the producer and errors and log lines come on any. The two-member rebalance test
/// under the thread sanitiser would notice.
final class CallbackBox: @unchecked Sendable {
  struct Failures {
    var count = 0
    var first: KafkaError?
  }
  private let sink: LogSink?
  private let secrets: [String]
  /// What the group asked for and the owner has not been told yet.
  var rebalances: [ConsumerEvent] = []
  /// While closing nobody answers rebalances: the callback lets go by itself.
  var isClosing = false
  let failures = Mutex(Failures())
  /// By partition number, the offset of the newest delivered record that was to be tracked.
  let tracked = Mutex<[Int32: Int64]>([:])
  /// Of a consumer; nil for producers.
  let pacer: FetchPacer?
  let lostAnswers = LostAnswers()
  let refusals = Refusals()
  /// Lost connections and unreachable brokers so far.
  let transportErrors = Atomic<Int>(0)

  init(log sink: LogSink?, secrets: [String], pacer: FetchPacer? = nil) {
    self.pacer = pacer
    self.sink = sink
    self.secrets = secrets.filter { !$0.isEmpty }
  }

  func log(_ level: Int32, _ facility: String, _ message: String) {
    if facility == "ADDPARTS", let refused = Refusals.refusedPartition(words: message) { countFailure(refused) }
    guard let sink else { return }
    // Why: the library should never print one, but a broker's refusal may quote what it was sent.
    let leaks = secrets.contains { message.contains($0) }
    sink(level, facility, leaks ? "(withheld: the line holds a secret)" : message)
  }

  /// Keeps a refusal and tells of it.
  func refused(_ error: KafkaError) {
    refusals.note(error)
    log(3, LogQueue.refusal, error.message)
  }

  func countFailure(_ error: KafkaError) {
    failures.withLock { failures in
      failures.count += 1
      if failures.first == nil { failures.first = error }
    }
  }

  var opaque: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }

  static func from(_ opaque: UnsafeMutableRawPointer?) -> CallbackBox? {
    guard let opaque = unsafe opaque else { return nil }
    // SAFETY: `opaque` is always a box that its client's handle keeps alive until the client is destroyed.
    return unsafe Unmanaged<CallbackBox>.fromOpaque(opaque).takeUnretainedValue()
  }
}

/// Records what the group asks for. The assignment itself is the owner's to make.
@c func millrace_kafka_rebalance(
  _ client: OpaquePointer?, _ code: rd_kafka_resp_err_t,
  _ partitions: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?,
  _ opaque: UnsafeMutableRawPointer?
) {
  guard let box = unsafe CallbackBox.from(opaque), let client = unsafe client else { return }
  switch code {
  case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS where !box.isClosing:
    // SAFETY: the list is the library's and lives through this call.
    box.rebalances.append(.assign(unsafe PartitionList.topicPartitions(partitions)))
  case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS where !box.isClosing:
    let lost = unsafe rd_kafka_assignment_lost(client) != 0
    box.rebalances.append(.revoke(unsafe PartitionList.topicPartitions(partitions), lost: lost))
  default:
    // SAFETY: a nil list lets go of everything, which is what an error or a close needs.
    _ = unsafe rd_kafka_assign(client, nil)
    if !box.isClosing { box.rebalances.append(.error(KafkaError(code: code.rawValue, call: .consume))) }
  }
}

@c func millrace_kafka_log(
  _ client: OpaquePointer?, _ level: Int32, _ facility: UnsafePointer<CChar>?,
  _ message: UnsafePointer<CChar>?
) {
  guard let client = unsafe client, let box = unsafe CallbackBox.from(rd_kafka_opaque(client)) else {
    return
  }
  // SAFETY: both strings are the library's and live through this call.
  unsafe box.log(
    level, facility.map { unsafe String(cString: $0) } ?? "",
    message.map { unsafe String(cString: $0) } ?? "")
}

@c func millrace_kafka_error(
  _ client: OpaquePointer?, _ code: Int32, _ reason: UnsafePointer<CChar>?,
  _ opaque: UnsafeMutableRawPointer?
) {
  guard let box = unsafe CallbackBox.from(opaque) else { return }
  let error = KafkaError(code: code, call: .consume)
  switch rd_kafka_resp_err_t(rawValue: code) {
  case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
    RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__RESOLVE:
    box.transportErrors.add(1, ordering: .relaxed)
  default: break
  }
  // SAFETY: the string is the library's and lives through this call.
  let words = unsafe reason.map { unsafe String(cString: $0) } ?? ""
  if let refusal = Refusals.refusal(code: code, words: words) { box.refused(refusal) } else { box.log(4, error.name, words) }
}

@c func millrace_kafka_delivery(
  _ client: OpaquePointer?, _ message: UnsafePointer<rd_kafka_message_t>?,
  _ opaque: UnsafeMutableRawPointer?
) {
  guard let box = unsafe CallbackBox.from(opaque), let message = unsafe message else { return }
  // SAFETY: the message is the library's and lives through this call.
  let code = unsafe message.pointee.err
  if code == RD_KAFKA_RESP_ERR_NO_ERROR {
    guard unsafe message.pointee._private != nil else { return }
    let (partition, offset) = unsafe (message.pointee.partition, message.pointee.offset)
    box.tracked.withLock { $0[partition] = max($0[partition] ?? -1, offset) }
    return
  }
  let topic = unsafe String(cString: rd_kafka_topic_name(message.pointee.rkt))
  let partition = unsafe message.pointee.partition
  let words = unsafe String(cString: rd_kafka_err2str(code))
  box.countFailure(
    KafkaError(
      code: code.rawValue, call: .delivery, message: "\(words) topic=\(topic) partition=\(partition)"))
}
