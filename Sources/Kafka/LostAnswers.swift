import CRdKafka
import Synchronization

/// Whether a request of a transaction was left without its answer.
///
/// A connection that breaks while such a request is under way is repaired by the library, which sends the request again
/// and tells nobody: its error callback stays silent where the broker can be reached at once. The first one may then
/// arrive late, in the middle of the next transaction, and end it there (seen on Apache Kafka 4.1: its outputs became
/// visible without their offsets). The interceptor for answers is called for those that never came as well.
///
/// Threads:  the client's broker threads count; anyone reads.
final class LostAnswers: Sendable {
  /// AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit. What is produced carries numbers of its own.
  static let kinds: [Int16] = [24, 25, 26, 28]
  private let lost = Atomic<Int>(0)

  var count: Int { lost.load(ordering: .relaxed) }
  func note(_ kind: Int16) { if Self.kinds.contains(kind) { lost.add(1, ordering: .relaxed) } }

  var opaque: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }
}

@c func millrace_kafka_new_producer(
  _ client: OpaquePointer?, _ configuration: OpaquePointer?, _ opaque: UnsafeMutableRawPointer?,
  _ words: UnsafeMutablePointer<CChar>?, _ size: Int
) -> rd_kafka_resp_err_t {
  // SAFETY: the library is making this client; the count is kept by the client's box, which outlives it.
  unsafe rd_kafka_interceptor_add_on_response_received(client, "lost-answers", millrace_kafka_answer, opaque)
}

/// `error` is the connection's or the time-out's, never one that the broker told.
@c func millrace_kafka_answer(
  _ client: OpaquePointer?, _ socket: Int32, _ broker: UnsafePointer<CChar>?, _ brokerID: Int32,
  _ kind: Int16, _ version: Int16, _ correlation: Int32, _ size: Int, _ roundTrip: Int64,
  _ error: rd_kafka_resp_err_t, _ opaque: UnsafeMutableRawPointer?
) -> rd_kafka_resp_err_t {
  if error != RD_KAFKA_RESP_ERR_NO_ERROR, let opaque = unsafe opaque {
    // SAFETY: `opaque` is the count that the client's box keeps.
    unsafe Unmanaged<LostAnswers>.fromOpaque(opaque).takeUnretainedValue().note(kind)
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR
}
