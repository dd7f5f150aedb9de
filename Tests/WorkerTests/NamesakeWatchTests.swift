import Testing

@testable import Worker

struct NamesakeWatchTests {
  private static let second: UInt64 = 1_000_000_000
  /// Two sessions and the margin.
  private static let patience: UInt64 = 6 * second + NamesakeWatch.marginNanoseconds
  private var watch = NamesakeWatch(sessionMilliseconds: 3_000)

  @Test mutating func `a name that nobody bears is free at once`() {
    #expect(watch.observe(nil, now: 7) == .alone)
  }

  @Test mutating func `an id that nobody has is gone after its session, and the name is free`() {
    for time in 0...3 as ClosedRange<UInt64> { #expect(watch.observe("ghost", now: time * Self.second) == .lookAgain) }
    #expect(watch.observe(nil, now: 4 * Self.second) == .alone)
  }

  @Test mutating func `who stays beyond two sessions lives`() {
    #expect(watch.observe("other", now: 9) == .lookAgain)
    #expect(watch.observe("other", now: 9 + Self.patience - 1) == .lookAgain)
    #expect(watch.observe("other", now: 9 + Self.patience) == .another)
  }

  @Test mutating func `another id, or a time without an answer, begins the watch anew`() {
    #expect(watch.observe("first", now: 0) == .lookAgain)
    #expect(watch.observe("second", now: Self.patience) == .lookAgain)
    #expect(watch.observe("second", now: 2 * Self.patience - 1) == .lookAgain)
    watch.missed()
    #expect(watch.observe("second", now: 2 * Self.patience) == .lookAgain)
    #expect(watch.observe("second", now: 3 * Self.patience) == .another)
  }
}
