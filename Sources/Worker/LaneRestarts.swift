import Kafka

/// Which ends of a lane's session are followed by another one, and after which pause. Pure; one for each lane.
///
/// A broker that is away is waited for: the client's time-outs end a session, never the worker. A static member
/// may be told that it was fenced by itself, when a broker restarts between its joining and the answer: it joins
/// again once. A second fencing soon after means that another process bears the same name, and one has to go.
struct LaneRestarts {
  enum Decision: Equatable {
    case again(reason: String, pauseMilliseconds: UInt32)
    case fail(WorkerFailure)
  }

  static let pauseFirst: UInt32 = 100
  static let pauseMax: UInt32 = 5_000
  /// A session this long counts as a success: the pauses begin anew.
  static let calmNanoseconds: UInt64 = 30_000_000_000
  /// Two fencings within this time are not an accident.
  static let fencingNanoseconds: UInt64 = 60_000_000_000

  private var pause = Self.pauseFirst
  private var lastFencing: UInt64?

  /// `began` and `now`: the session's first and last moment, monotonic nanoseconds.
  mutating func decide(after failure: WorkerFailure, began: UInt64, now: UInt64) -> Decision {
    if now - began >= Self.calmNanoseconds { pause = Self.pauseFirst }
    switch failure {
    case .superseded(let why), .unreachable(let why): return again(why)
    case .kafka(let error) where error.isInstanceFenced:
      defer { lastFencing = now }
      if let lastFencing, now - lastFencing < Self.fencingNanoseconds { return .fail(failure) }
      return again("\(error)")
    case .kafka(let error) where error.action == .retrySameCall || error.action == .rejoinGroup:
      return again("\(error)")
    case .kafka, .unrecoverable, .misconfigured, .beyondTolerance, .denied, .storage,
      .topicRecreated, .topicsChanged: return .fail(failure)
    }
  }

  private mutating func again(_ reason: String) -> Decision {
    defer { pause = min(pause * 2, Self.pauseMax) }
    return .again(reason: reason, pauseMilliseconds: pause)
  }
}
