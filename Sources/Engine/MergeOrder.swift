/// What the merge knows of the head of one input.
public enum InputHead: Equatable, Sendable {
  /// A record is buffered, with this event time (milliseconds).
  case record(eventTime: Int64)
  /// Nothing is buffered, and the broker said that there is nothing more for now.
  case atEnd
  /// Nothing is buffered, and more may be on its way.
  case unknown
}

/// Which input goes next.
public enum MergeDecision: Equatable, Sendable {
  case take(input: Int)
  /// An input must be fetched before anything may go.
  case wait(input: Int)
  /// All inputs are at their end.
  case idle
}

/// Of the records at the heads the earliest goes first; of equals the one of the lower input.
/// An input with nothing buffered is waited for until it is known to be at its end, so that
/// catching up, replaying history and running live see nearly the same world.
///
/// Cost: O(inputs).
@inlinable
public func mergeDecision(inputs: Int, head: (Int) -> InputHead) -> MergeDecision {
  var best = -1
  var bestTime = Int64.max
  for input in 0..<inputs {
    switch head(input) {
    case .record(let time):
      if best < 0 || time < bestTime {
        best = input
        bestTime = time
      }
    case .atEnd: continue
    case .unknown: return .wait(input: input)
    }
  }
  return best < 0 ? .idle : .take(input: best)
}
