import Synchronization

/// Receives one line of the client library's log: syslog level (0–7), facility, message.
public typealias LogSink = @Sendable (_ level: Int32, _ facility: String, _ message: String) -> Void

/// A bounded hand-over of log lines from the library's threads to one that may write them.
///
/// Cost:     a lock and two strings a line; the library logs only when something happens.
/// Errors:   lines beyond the capacity are dropped and counted, oldest kept.
/// Threads:  any.
public final class LogQueue: Sendable {
  public struct Line: Hashable, Sendable {
    public var level: Int32
    public var facility: String
    public var message: String
  }
  private struct State {
    var lines: [Line] = []
    var dropped = 0
  }
  /// Facility of the lines by which brokers and client refuse each other: certificates, credentials.
  public static let refusal = "REFUSED"
  private let state = Mutex(State())
  private let capacity: Int

  public init(capacity: Int = 256) { self.capacity = capacity }

  public var sink: LogSink {
    { [self] level, facility, message in
      state.withLock { state in
        guard state.lines.count < capacity else {
          state.dropped += 1
          return
        }
        state.lines.append(Line(level: level, facility: facility, message: message))
      }
    }
  }

  /// Takes what has gathered, and how many lines there was no room for.
  public func drain() -> (lines: [Line], dropped: Int) {
    state.withLock { state in
      defer { state = State() }
      return (state.lines, state.dropped)
    }
  }
}
