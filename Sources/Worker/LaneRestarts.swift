import Kafka

/// Which ends of a lane's session are followed by another one, and after which pause. Pure; one for each lane.
///
/// A broker that is away is waited for: the client's time-outs end a session, never the worker. So is one that
/// answers wrongly, for some sessions: what was not committed is dropped and made again from the logs.
///
/// A fencing may be an accident: a transaction that its broker gave up, a static member whose coordinator went away
/// between its joining and the answer. It joins again at once. After a second fencing soon after, the group is asked
/// first whether another process bears the same name (`NamesakeWatch`): then one has to go.
struct LaneRestarts {
  enum Decision: Equatable {
    case again(reason: String, pauseMilliseconds: UInt32)
    /// As `again` where nobody else bears the member's name, else as `fail`.
    case againIfAlone(reason: String, WorkerFailure)
    case fail(WorkerFailure)
  }

  static let pauseFirst: UInt32 = 100
  static let pauseMax: UInt32 = 5_000
  /// A session this long counts as a success: the pauses begin anew.
  static let calmNanoseconds: UInt64 = 30_000_000_000
  /// Two fencings within this time are looked into.
  static let fencingNanoseconds: UInt64 = 60_000_000_000
  /// Sessions in a row that a producer's errors may end before a calm one: then a supervisor shall know.
  static let lossesMax = 10

  private var pause = Self.pauseFirst
  private var losses = 0
  private var lastFencing: UInt64?

  /// `began` and `now`: the session's first and last moment, monotonic nanoseconds.
  mutating func decide(after failure: WorkerFailure, began: UInt64, now: UInt64) -> Decision {
    if now - began >= Self.calmNanoseconds { (pause, losses) = (Self.pauseFirst, 0) }
    switch failure {
    case .superseded(let why), .unreachable(let why): return again(why)
    case .kafka(let error) where error.isFenced || error.isInstanceFenced:
      defer { lastFencing = now }
      if let lastFencing, now - lastFencing < Self.fencingNanoseconds {
        return .againIfAlone(reason: "\(error)", failure)
      }
      return again("\(error)")
    // They trusted each other at the start; it is told, and ends with the certificate's or the broker's renewal.
    case .kafka(let error) where error.isDistrust: return again("\(error)")
    case .kafka(let error):
      switch error.action {
      case .retrySameCall, .rejoinGroup: return again("\(error)")
      case .abortAndResend, .recreateProducer:
        losses += 1
        return losses > Self.lossesMax ? .fail(failure) : again("\(error)")
      case .quarantineRecord, .offsetOutOfRange, .misconfigured, .denied, .fatal: return .fail(failure)
      }
    case .unrecoverable, .misconfigured, .beyondTolerance, .denied, .storage, .exhausted, .topicRecreated, .topicsChanged:
      return .fail(failure)
    }
  }

  private mutating func again(_ reason: String) -> Decision {
    defer { pause = min(pause * 2, Self.pauseMax) }
    return .again(reason: reason, pauseMilliseconds: pause)
  }
}
