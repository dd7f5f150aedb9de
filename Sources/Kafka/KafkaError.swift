import CRdKafka

/// What a call on a Kafka client said when it failed: the code, the flags that came with it, and what to do next.
///
/// The flags are librdkafka's own judgement of a transactional error and go before the code: the same code can
/// be retriable in one call and fatal in another.
public struct KafkaError: Error, Hashable, Sendable, CustomStringConvertible {
  /// `rd_kafka_resp_err_t`: negative inside the client, positive from a broker.
  public var code: Int32
  /// Symbolic name, such as `_TIMED_OUT`.
  public var name: String
  /// For people. Never holds a secret.
  public var message: String
  public var flags: KafkaErrorFlags
  /// Which call failed: the same code asks for different things in different calls.
  public var call: KafkaCall

  public var isRetriable: Bool { flags.contains(.retriable) }
  public var requiresAbort: Bool { flags.contains(.requiresAbort) }
  public var isFatal: Bool { flags.contains(.fatal) }
  /// The producer was fenced, by another process with its id or by the broker's transaction time-out. The
  /// first time in a row it is created again; the second time another process owns the id.
  public var isFenced: Bool { KafkaCode.fencing.contains(code) }
  /// A static group member was fenced: by another process under its name, or by its own joining when the answer
  /// to that was lost. As above, the second time in a row is the other's.
  public var isInstanceFenced: Bool { code == KafkaCode.fencedInstance }

  /// A broker and this client do not trust each other.
  public var isDistrust: Bool { KafkaCode.distrust.contains(code) }

  /// The system gives no more threads or memory.
  public var isExhausted: Bool { code == KafkaCode.systemResource }

  /// What the caller does next.
  public var action: KafkaAction { KafkaAction.after(code: code, flags: flags, call: call) }

  public init(
    code: Int32, name: String, message: String, flags: KafkaErrorFlags = [], call: KafkaCall
  ) {
    self.code = code
    self.name = name
    self.message = message
    self.flags = flags
    self.call = call
  }

  /// From a bare code, with librdkafka's words for it unless `message` is given.
  public init(code: Int32, call: KafkaCall, message: String? = nil, flags: KafkaErrorFlags = []) {
    let native = rd_kafka_resp_err_t(rawValue: code)
    // SAFETY: both functions return static strings for any code.
    let name = unsafe String(cString: rd_kafka_err2name(native))
    let words = unsafe message ?? String(cString: rd_kafka_err2str(native))
    self.init(code: code, name: name, message: words, flags: flags, call: call)
  }

  /// Reads and destroys an error object.
  init(consuming error: OpaquePointer, call: KafkaCall) {
    // SAFETY: the caller hands over an error object nobody else holds; it is read before it is destroyed.
    unsafe code = rd_kafka_error_code(error).rawValue
    unsafe name = String(cString: rd_kafka_error_name(error))
    unsafe message = String(cString: rd_kafka_error_string(error))
    flags = []
    if unsafe rd_kafka_error_is_retriable(error) != 0 { flags.insert(.retriable) }
    if unsafe rd_kafka_error_txn_requires_abort(error) != 0 { flags.insert(.requiresAbort) }
    if unsafe rd_kafka_error_is_fatal(error) != 0 { flags.insert(.fatal) }
    self.call = call
    unsafe rd_kafka_error_destroy(error)
  }

  public var description: String {
    var marks = ""
    if isRetriable { marks += " retriable" }
    if requiresAbort { marks += " requires-abort" }
    if isFatal { marks += " fatal" }
    return "\(message) error=\(name) call=\(call) action=\(action)\(marks)"
  }
}

/// librdkafka's judgement of an error of a transactional call.
public struct KafkaErrorFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  public static let retriable = KafkaErrorFlags(rawValue: 1)
  public static let requiresAbort = KafkaErrorFlags(rawValue: 2)
  public static let fatal = KafkaErrorFlags(rawValue: 4)
}

/// The kinds of call whose errors are told apart.
public enum KafkaCall: String, Hashable, Sendable, CaseIterable {
  /// Building a client from its settings.
  case create
  case initTransactions, begin, produce, sendOffsets, commit, abort
  /// The report on a produced record.
  case delivery
  /// Poll, subscribe, assign and the partition queues.
  case consume
  /// Committed offsets, watermarks, metadata.
  case query
  case admin
}

/// Throws unless `error` is nil.
@inline(__always)
func check(_ error: OpaquePointer?, _ call: KafkaCall) throws(KafkaError) {
  if let error = unsafe error { throw unsafe KafkaError(consuming: error, call: call) }
}

@inline(__always)
func check(_ code: rd_kafka_resp_err_t, _ call: KafkaCall) throws(KafkaError) {
  if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(code: code.rawValue, call: call) }
}
