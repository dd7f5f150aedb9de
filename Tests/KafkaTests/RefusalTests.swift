@testable import Kafka
import Testing

/// Words of librdkafka 2.0.2 as they came from Apache Kafka 3.6 and 4.1.
struct RefusalTests {
  private static let authentication: Int32 = -169
  private static let transport: Int32 = -195
  private static let ssl: Int32 = -181

  @Test func `what tells of a refusal is told apart from what passes by itself`() {
    for words in [
      "sasl_ssl://localhost:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 301ms in state AUTH_REQ)",
      "sasl_ssl://localhost:1/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN",
    ] {
      let refusal = Refusals.refusal(code: Self.authentication, words: words)
      #expect(refusal?.action == .denied && refusal?.message == words)
    }
    for alert in ["sslv3 alert bad certificate: SSL alert number 42 (after 26ms in state APIVERSION_QUERY)", "sslv3 alert certificate unknown: SSL alert number 46", "tlsv13 alert certificate required: SSL alert number 116"] {
      let refusal = Refusals.refusal(code: Self.transport, words: "ssl://localhost:1/bootstrap: Receive failed: error:0A000412:SSL routines::\(alert)")
      #expect(refusal?.action == .denied && refusal?.message.contains("the client's certificate is refused") == true)
    }
    // A broker that goes down in the middle of a handshake.
    for (code, words) in [
      (Self.authentication, "sasl_ssl://localhost:1/1: SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure"),
      (Self.authentication, "sasl_ssl://localhost:1/1: SASL PLAIN mechanism handshake failed: Local: Timed out: broker's supported mechanisms: "),
      (Self.ssl, "ssl://127.0.0.1:1/1: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while reading"),
      (Self.transport, "ssl://127.0.0.1:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused"),
      (Self.transport, "ssl://127.0.0.1:1/1: Receive failed: error:0A000438:SSL routines::tlsv1 alert internal error: SSL alert number 80"),
    ] { #expect(Refusals.refusal(code: code, words: words) == nil, "\(words)") }
  }

  @Test func `a partition that may not be written is named after the library's words`() {
    let words = "[thrd:main]: TxnCoordinator/1: Failed to add partition \"p.predictions\" [0] to transaction: Broker: Topic authorization failed"
    let refusal = Refusals.refusedPartition(words: words)
    #expect(refusal?.action == .denied && refusal?.message.hasSuffix("topic=p.predictions") == true)
    for other in ["", "\"\"\"", "Failed to add partition \"p\" [0] to transaction: Broker: Not coordinator", "Topic authorization failed"] {
      #expect(Refusals.refusedPartition(words: other) == nil, "\(other)")
    }
  }
}
