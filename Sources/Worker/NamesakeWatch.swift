import Kafka

/// Whether another process bears a static member's name, told by looking at the group while the member itself is away.
/// Pure: fed what each look found and when.
///
/// Why looking: a member can be fenced by itself. When a broker dies between its joining and the answer, or a
/// coordinator takes over that has not heard of it, the group knows it by an id that nobody has. Such an id sends no
/// heartbeats and is gone after a session. One that stays beyond that belongs to somebody who lives.
struct NamesakeWatch {
  enum Verdict: Equatable {
    case lookAgain
    /// Nobody bears the name: the member may join again.
    case alone
    case another
  }

  /// A coordinator that takes over meanwhile lets the session begin anew, and a rebalance may stand before it.
  static let marginNanoseconds: UInt64 = 5_000_000_000
  private let patience: UInt64
  /// The id under which the name was seen first, and when.
  private var seen: (id: String, since: UInt64)?

  init(sessionMilliseconds: Int64) {
    patience = 2 * UInt64(max(sessionMilliseconds, 0)) * 1_000_000 + Self.marginNanoseconds
  }

  /// `id`: of the member that bears the name; nil where none does. `now`: monotonic nanoseconds.
  mutating func observe(_ id: String?, now: UInt64) -> Verdict {
    guard let id else { return .alone }
    guard let seen, seen.id == id else {
      self.seen = (id, now)
      return .lookAgain
    }
    return now - seen.since >= patience ? .another : .lookAgain
  }

  /// The group could not be asked: how long its members lived meanwhile is not known.
  mutating func missed() { seen = nil }
}
