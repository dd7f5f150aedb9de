import CRdKafka
import Glibc
import Synchronization

/// Why brokers and this client do not trust each other: the last refusal that a client met.
///
/// The library tries again for ever and its calls merely time out, so that a wrong password would look like brokers
/// that are away. What names a refusal is kept here; what may pass by itself (a connection that breaks within a
/// handshake, as when a broker restarts) is none.
///
/// Threads:  the client's threads note; anyone reads.
final class Refusals: Sendable {
  /// Alerts by which a peer refuses certificate or protocol, by RFC 8446 §6.2: handshake_failure, bad_certificate to
  /// unknown_ca, access_denied, protocol_version, insufficient_security, certificate_required.
  static let alerts: Set<Int> = [40, 42, 43, 44, 45, 46, 48, 49, 70, 71, 116]
  private let newest = Mutex<KafkaError?>(nil)

  var last: KafkaError? { newest.withLock { $0 } }
  func note(_ error: KafkaError) { newest.withLock { $0 = error } }

  /// What the library's words for an error mean, where they tell of a refusal. Pure.
  static func refusal(code: Int32, words: String) -> KafkaError? {
    if code == RD_KAFKA_RESP_ERR__AUTHENTICATION.rawValue {
      // A request without its answer is reported under the same code.
      guard !words.contains("Request failed"), !words.contains("Local: ") else { return nil }
      return KafkaError(code: code, call: .query, message: words)
    }
    if let alert = alert(in: words) {
      guard alerts.contains(alert) else { return nil }
      return KafkaError(
        code: RD_KAFKA_RESP_ERR__AUTHENTICATION.rawValue, call: .query,
        message: "the client's certificate is refused, as one that is missing, has expired or comes from an authority"
          + " that the brokers do not know: \(words)")
    }
    return nil
  }

  /// A partition that a transaction may not write to. The call that fails for it does not say which, so that only the
  /// library's log line does: `Failed to add partition "name" [0] to transaction: Broker: Topic authorization failed`.
  static func refusedPartition(words: String) -> KafkaError? {
    let code = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED.rawValue
    let refused = KafkaError(code: code, call: .delivery)
    let parts = words.split(separator: "\"", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0].hasSuffix("add partition "), words.hasSuffix(refused.message) else { return nil }
    return KafkaError(code: code, call: .delivery, message: "\(refused.message) topic=\(parts[1])")
  }

  /// The number in OpenSSL's `SSL alert number 42`.
  private static func alert(in words: String) -> Int? {
    let parts = words.split(separator: " ")
    guard let place = parts.lastIndex(of: "number"), place >= 2, parts[place - 1] == "alert", place + 1 < parts.count
    else { return nil }
    return Int(parts[place + 1].prefix { $0.isNumber })
  }

  /// Words for the codes of a certificate's check that an operator can do something about (`X509_V_ERR_*`).
  static func reason(certificate code: Int32) -> String {
    switch code {
    case 9: "it is not valid yet"
    case 10: "it has expired"
    case 18: "it is signed by itself alone"
    case 2, 19, 20, 21: "it comes from an authority that is not trusted here"
    case 23: "it was revoked"
    case 62, 64: "it is for another host"
    default: "it does not verify"
    }
  }
}

/// Called for each certificate that a broker shows, after the library's own check; it changes no verdict, and keeps why.
@c func millrace_kafka_certificate(
  _ client: OpaquePointer?, _ broker: UnsafePointer<CChar>?, _ brokerID: Int32, _ code: UnsafeMutablePointer<Int32>?,
  _ depth: Int32, _ certificate: UnsafePointer<CChar>?, _ size: Int, _ words: UnsafeMutablePointer<CChar>?,
  _ capacity: Int, _ opaque: UnsafeMutableRawPointer?
) -> Int32 {
  // SAFETY: the code is the library's and lives through this call. Without one nothing was verified.
  guard let verdict = unsafe code?.pointee else { return 0 }
  guard verdict != 0 else { return 1 }
  guard let box = unsafe CallbackBox.from(opaque) else { return 0 }
  // SAFETY: the name is the library's and lives through this call.
  let name = unsafe broker.map { unsafe String(cString: $0) } ?? ""
  let reason = Refusals.reason(certificate: verdict)
  let text = "the broker's certificate is refused: \(reason) broker=\(name) code=\(verdict) depth=\(depth)"
  box.refused(KafkaError(code: RD_KAFKA_RESP_ERR__SSL.rawValue, call: .query, message: text))
  if let words = unsafe words, capacity > 0 {
    // SAFETY: the buffer is as long as the library says, and is terminated within it.
    unsafe strncpy(words, reason, capacity - 1)
    unsafe words[capacity - 1] = 0
  }
  return 0
}
