import Testing

@testable import Engine

// Method: every combination of heads over three inputs and three event times, against a plain restatement of
// the rule: nothing goes while an input before the choice is unknown.

private let heads: [InputHead] = [
  .unknown, .atEnd, .record(eventTime: 1), .record(eventTime: 2), .record(eventTime: 3),
]

private func oracle(_ heads: [InputHead]) -> MergeDecision {
  if let waiting = heads.firstIndex(of: .unknown) { return .wait(input: waiting) }
  let times = heads.enumerated().compactMap { index, head -> (Int64, Int)? in
    if case .record(let time) = head { return (time, index) }
    return nil
  }
  guard let first = times.min(by: { ($0.0, $0.1) < ($1.0, $1.1) }) else { return .idle }
  return .take(input: first.1)
}

@Test func `the earliest head goes first, and nothing goes past an input that may still bring an earlier one`() {
  for a in heads {
    for b in heads {
      for c in heads {
        let all = [a, b, c]
        #expect(mergeDecision(inputs: 3) { all[$0] } == oracle(all), "\(all)")
      }
    }
  }
}
