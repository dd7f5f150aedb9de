import Pipeline

/// Counts dead letters over processing time: too many mean that the schema changed, not the records.
///
/// Cost: one entry per unit that had any; entries older than the span are dropped.
struct ErrorBudget {
  private let settings: PipelineSettings.ErrorTolerance
  private var entries: [(nanoseconds: UInt64, count: Int)] = []

  init(_ settings: PipelineSettings.ErrorTolerance) { self.settings = settings }

  /// Whether the budget is spent after `count` more, and the declaration asks to stop then.
  mutating func isExceeded(adding count: Int, now: UInt64) -> Bool {
    guard settings.then == .stop, count > 0 else { return false }
    entries.append((now, count))
    let span = UInt64(settings.perMilliseconds) * 1_000_000
    let start = now - min(now, span)
    entries.removeAll { $0.nanoseconds < start }
    return entries.reduce(0) { $0 + $1.count } > settings.records
  }
}
