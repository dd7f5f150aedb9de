import CRdKafka
import Glibc
import Synchronization

/// Waits out, on our side, what a broker that has nothing for us should have waited on its own.
///
/// A consumer asks again as soon as it is answered, and relies on the broker to hold an empty answer back for
/// `fetch.wait.max.ms`. Brokers that answer at once (noida-db 0.2 does) are then asked ten thousand times a second by
/// every idle consumer, which takes a core on either side. From a broker that waits nothing changes: its empty answers
/// come late enough.
///
/// An answer counts as empty when it is small and as long as the one before: what an empty one is depends on how many
/// partitions were asked for. One taken for empty by mistake costs a delay within the same bound.
///
/// Threads:  the client's broker threads.
final class FetchPacer: Sendable {
  static let emptyBytesMax = 4_096
  private let waitMicroseconds: Int64
  private let lastSize = Atomic<Int>(0)

  init(waitMilliseconds: Int) { waitMicroseconds = Int64(clamping: waitMilliseconds) * 1_000 }

  /// How long to hold back the next request, in microseconds.
  func pause(after size: Int, roundTripMicroseconds: Int64) -> Int64 {
    let previous = lastSize.exchange(size, ordering: .relaxed)
    guard size == previous, size <= Self.emptyBytesMax, roundTripMicroseconds >= 0,
      roundTripMicroseconds < waitMicroseconds / 2
    else { return 0 }
    return waitMicroseconds - roundTripMicroseconds
  }

  var opaque: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }
}

@c func millrace_kafka_new(
  _ client: OpaquePointer?, _ configuration: OpaquePointer?, _ opaque: UnsafeMutableRawPointer?,
  _ words: UnsafeMutablePointer<CChar>?, _ size: Int
) -> rd_kafka_resp_err_t {
  // SAFETY: the library is making this client; the pacer is kept by the client's box, which outlives it.
  unsafe rd_kafka_interceptor_add_on_response_received(
    client, "fetch-pacing", millrace_kafka_response, opaque)
}

/// Why sleep here, which the library advises against: this thread does nothing for a consumer but fetch from this
/// broker, and no other place stands between an answer and the next request. The group's coordinator has a thread of
/// its own.
@c func millrace_kafka_response(
  _ client: OpaquePointer?, _ socket: Int32, _ broker: UnsafePointer<CChar>?, _ brokerID: Int32,
  _ kind: Int16, _ version: Int16, _ correlation: Int32, _ size: Int, _ roundTrip: Int64,
  _ error: rd_kafka_resp_err_t, _ opaque: UnsafeMutableRawPointer?
) -> rd_kafka_resp_err_t {
  let fetch: Int16 = 1
  guard kind == fetch, error == RD_KAFKA_RESP_ERR_NO_ERROR, let opaque = unsafe opaque else {
    return RD_KAFKA_RESP_ERR_NO_ERROR
  }
  // SAFETY: `opaque` is the pacer that the client's box keeps.
  let pacer = unsafe Unmanaged<FetchPacer>.fromOpaque(opaque).takeUnretainedValue()
  let pause = pacer.pause(after: size, roundTripMicroseconds: roundTrip)
  if pause > 0 { usleep(useconds_t(clamping: pause)) }
  return RD_KAFKA_RESP_ERR_NO_ERROR
}
