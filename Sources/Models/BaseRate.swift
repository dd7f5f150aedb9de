/// The decayed share of positives among the labels seen.
///
/// Units:    a label loses 1/`horizon` of its weight with each later label of weight 1.
/// Cost:     O(1).
struct BaseRate: Hashable, Sendable {
  static let horizon = 10_000.0
  private(set) var positives = 0.0
  private(set) var total = 0.0

  init() {}
  /// Nil for sums that no labels could have given.
  init?(positives: Double, total: Double) {
    guard positives >= 0, positives <= total, total.isFinite else { return nil }
    self.positives = positives
    self.total = total
  }

  /// As if half a positive and half a negative had been seen before all.
  var probability: Double { (positives + 0.5) / (total + 1) }
  var margin: Float { Float(Elementary.logit(probability)) }

  mutating func learn(label: Float, weight: Float) {
    guard weight > 0, label >= 0, label <= 1 else { return }
    let w = Double(min(weight, FTRLLearner.weightMax))
    let keep = 1 - min(w, 1) / Self.horizon
    positives = positives * keep + w * Double(label)
    total = total * keep + w
    // Rounding may leave the part above the whole by one ulp.
    if positives > total { positives = total }
  }
}
