// Method: metrics over random scores against a recomputation from the raw pairs.
import Models
import Records
import Testing

@testable import Learning

@Suite struct ScoreMetricsTests {
  struct Pair {
    var probability: Float
    var label: Float
  }

  static func pairs(_ count: Int, _ seed: UInt64) -> [Pair] {
    var random = SplitMix64(state: seed)
    return (0..<count).map { _ in
      let probability = Float.random(in: 0.001...0.999, using: &random)
      return Pair(
        probability: probability,
        label: Float.random(in: 0...1, using: &random) < probability * 0.8 ? 1 : 0)
    }
  }

  private func agrees(_ summary: ScoreMetrics.Summary, _ pairs: ArraySlice<Pair>) {
    let n = Double(pairs.count)
    let positives = pairs.filter { $0.label == 1 }
    let negatives = pairs.filter { $0.label == 0 }
    var logLoss = 0.0
    var brier = 0.0
    for pair in pairs {
      logLoss += Elementary.logLoss(probability: Double(pair.probability), label: Double(pair.label))
      let difference = Double(pair.probability) - Double(pair.label)
      brier += difference * difference
    }
    var wins = 0.0
    for one in positives {
      for zero in negatives {
        wins += one.probability > zero.probability ? 1 : one.probability == zero.probability ? 0.5 : 0
      }
    }
    #expect(summary.count == UInt64(pairs.count) && summary.positives == UInt64(positives.count))
    #expect(abs(summary.logLoss - logLoss / n) < 1e-6)
    #expect(abs(summary.brier - brier / n) < 1e-6)
    // Bins of 1/32 in log-odds: a hundredth of all pairs at most meet in one.
    #expect(abs(summary.auc - wins / Double(positives.count * negatives.count)) < 0.005)
    let average = pairs.reduce(0) { $0 + Double($1.probability) } / n
    #expect(abs(summary.averageProbability - average) < 1e-6)
    // Labels are drawn at 0.8 of what is said.
    #expect(abs(summary.calibrationError - 0.2 * average) < 0.03)
  }

  @Test func `windows and totals agree with the raw pairs`() {
    let metrics = ScoreMetrics()
    let pairs = Self.pairs(12_345, 1)
    for pair in pairs { metrics.observe(probability: pair.probability, label: pair.label) }
    agrees(metrics.summary(.newest1k), pairs.suffix(1000))
    agrees(metrics.summary(.newest10k), pairs.suffix(10_000))
    #expect(metrics.summary(.sinceSwitch).count == 12_345)
  }

  @Test func `a window that has moved on equals one that saw only its part`() {
    let long = ScoreMetrics()
    let short = ScoreMetrics()
    let pairs = Self.pairs(25_000, 2)
    for pair in pairs { long.observe(probability: pair.probability, label: pair.label) }
    for pair in pairs.suffix(10_000) {
      short.observe(probability: pair.probability, label: pair.label)
    }
    #expect(long.summary(.newest10k) == short.summary(.newest10k))
    #expect(long.summary(.newest1k) == short.summary(.newest1k))
  }

  @Test(arguments: [0, 1, 999, 1000, 1001, 10_000, 12_000])
  func `restored from bytes nothing is different`(_ count: Int) throws {
    let never = ScoreMetrics()
    for pair in Self.pairs(count, 3) { never.observe(probability: pair.probability, label: pair.label) }
    var writer = ByteWriter()
    never.encode(into: &writer)
    let restored = ScoreMetrics()
    restored.observe(probability: 0.5, label: 1)
    var reader = ByteReader(writer.bytes)
    try restored.restore(from: &reader)
    try reader.expectEnd()
    for pair in Self.pairs(3000, 4) {
      never.observe(probability: pair.probability, label: pair.label)
      restored.observe(probability: pair.probability, label: pair.label)
    }
    for window in ScoreMetrics.Window.allCases {
      #expect(never.summary(window) == restored.summary(window))
    }
  }

  @Test func `the ends of the scale are counted like any other`() {
    let metrics = ScoreMetrics()
    for (probability, label) in [(Float(0), Float(1)), (1, 0), (0, 0), (1, 1)] {
      metrics.observe(probability: probability, label: label)
    }
    let summary = metrics.summary(.sinceSwitch)
    #expect(summary.auc == 0.5 && summary.brier == 0.5 && summary.logLoss.isFinite)
  }
}
