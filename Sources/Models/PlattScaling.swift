import Records

/// Online Platt scaling: probability = sigmoid(a * margin + b), one gradient step a label.
///
/// Units:    `rate` is the first step; a in [0.05, 20] (so the order of scores never turns), b in [-10, 10]; margins clamped to ±16.
/// Cost:     O(1).
/// Replay:   the same calls give the same bits on every host.
/// Source:   Platt 1999, learnt online with AdaGrad steps (Duchi et al. 2011).
// Why not a constant step: with labels hours late, b chases the time of day; at 0.01 that cost 0.02 AUC
// on flight delays.
struct PlattScaling: Hashable, Sendable {
  static let marginMax: Float = 16
  var a: Float = 1
  var b: Float = 0
  static let squaresMax: Float = 1e30
  /// Sums of squared gradients.
  var aSquares: Float = 0
  var bSquares: Float = 0

  @inline(__always)
  func probability(margin: Float) -> Float { Elementary.sigmoid(a * margin + b) }

  mutating func learn(margin: Float, label: Float, weight: Float, rate: Float) {
    guard margin.isFinite, weight > 0, label >= 0, label <= 1 else { return }
    let m = max(-Self.marginMax, min(Self.marginMax, margin))
    let g = min(weight, 16) * (Elementary.sigmoid(a * m + b) - label)
    let aSum = min(aSquares + g * m * g * m, Self.squaresMax)
    let bSum = min(bSquares + g * g, Self.squaresMax)
    aSquares = aSum
    bSquares = bSum
    a = max(0.05, min(20, a - rate * g * m / (1 + aSum).squareRoot()))
    b = max(-10, min(10, b - rate * g / (1 + bSum).squareRoot()))
  }
}

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
