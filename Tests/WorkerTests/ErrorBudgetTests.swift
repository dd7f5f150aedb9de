import Pipeline
import Testing

@testable import Worker

// Method: a budget of 10 in a second, with time given.

@Test func `dead letters within the span add up, older ones are forgiven`() {
  var budget = ErrorBudget(.init(records: 10, perMilliseconds: 1_000, then: .stop))
  let second: UInt64 = 1_000_000_000
  let verdicts = [
    budget.isExceeded(adding: 6, now: 5 * second),
    budget.isExceeded(adding: 4, now: 5 * second + 1),
    budget.isExceeded(adding: 1, now: 5 * second + 2),
    budget.isExceeded(adding: 9, now: 7 * second),
  ]
  #expect(verdicts == [false, false, true, false])
}

@Test func `a pipeline that carries on is never stopped by its dead letters`() {
  var budget = ErrorBudget(.init(records: 1, perMilliseconds: 1_000, then: .carryOn))
  let isExceeded = budget.isExceeded(adding: 1_000, now: 1)
  #expect(!isExceeded)
}
