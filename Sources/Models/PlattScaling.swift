import Records

/// Online Platt scaling: probability = sigmoid(a * margin + b), one gradient step a label.
///
/// Units:    `rate` is the first step; a in [0.05, 20] (so the order of scores never turns), b in
///           [-10, 10]; margins clamped to ±16.
/// Cost:     O(1).
/// Replay:   the same calls give the same bits on every host.
/// Source:   Platt 1999, learnt online with AdaGrad steps (Duchi et al. 2011).
// Why not a constant step: with labels hours late, b chases the time of day; at 0.01 that cost 0.02 AUC
// on flight delays.
struct PlattScaling: Hashable, Sendable {
  static let marginMax: Float = 16
  static let squaresMax: Float = 1e30
  var a: Float = 1
  var b: Float = 0
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
