import Records

/// FTRL-Proximal with one rate per coordinate, in full precision: the master of a linear contender.
///
/// The weights used for scoring are those used in the gradient. `n` stops growing at `accumulatorMax`:
/// from there on a coordinate learns at the constant rate alpha / (beta + sqrt(accumulatorMax)), so that a
/// model of a drifting stream never goes numb.
///
/// Shapes:   z and n per slot, interleaved; the bias sits in the last block, behind the hashed slots.
/// Units:    `label` in [0, 1]; `weight` in [0, `weightMax`], larger is clamped, other is zero.
/// Cost:     a random access and about 3 ns an input.
/// Errors:   none; an update that would not be finite is left out.
/// Replay:   the same calls give the same bits on every host.
/// Source:   McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1.
///           Differs: no L1 on the bias, the bound on n.
struct FTRLLearner: ~Copyable {
  static let weightMax: Float = 1024
  static let accumulatorMax: Float = 1e30
  /// Margins are clamped to this before the sigmoid, so that no probability is 0 or 1.
  static let marginMax: Float = 30

  let settings: FTRLSettings
  /// (z, n) per slot.
  let table: FixedBuffer<SIMD2<Float>>
  let biasSlot: Int
  private let alphaInverse: Float

  init(settings: FTRLSettings, slotCount: Int) {
    self.settings = settings
    biasSlot = slotCount
    alphaInverse = 1 / settings.alpha
    table = FixedBuffer(repeating: .zero, count: slotCount + CompressedTable.blockSlots)
  }

  /// The weight that a coordinate's state stands for.
  @inline(__always)
  func weight(_ state: SIMD2<Float>, l1: Float) -> Float {
    let z = state.x
    let magnitude = z.magnitude - l1
    let divisor = (settings.beta + state.y.squareRoot()) * alphaInverse + settings.l2
    let size = magnitude / divisor
    return magnitude <= 0 ? 0 : (z < 0 ? size : -size)
  }

  /// Weight of slot `slot`, as scored by the master.
  func weight(slot: Int) -> Float {
    weight(table[slot], l1: slot >= biasSlot ? 0 : settings.l1)
  }

  /// Sum of w x over the first `count` inputs; leaves z, n and w of each in `inputs`.
  func margin(_ inputs: InputBuffer, count: Int) -> Float {
    var sum = SIMD4<Float>.zero
    for index in 0..<count {
      let slot = Int(inputs.slots[index])
      let state = table[slot]
      inputs.z[index] = state.x
      inputs.n[index] = state.y
      let w = weight(state, l1: slot >= biasSlot ? 0 : settings.l1)
      inputs.w[index] = w
      sum[index & 3] += w * inputs.values[index]
    }
    return (sum.x + sum.y) + (sum.z + sum.w)
  }

  /// One example: `margin` must have been called on the same inputs just before.
  ///
  /// `touch` is told every slot whose state changed.
  @inline(__always)
  func update(
    _ inputs: InputBuffer, count: Int, margin: Float, label: Float, weight: Float,
    touch: (Int) -> Void
  ) {
    guard weight > 0, label >= 0, label <= 1, margin.isFinite else { return }
    let bounded = max(-Self.marginMax, min(Self.marginMax, margin))
    let gradient = (Elementary.sigmoid(bounded) - label) * min(weight, Self.weightMax)
    for index in 0..<count {
      let x = inputs.values[index]
      if x == 0 { continue }
      let slot = Int(inputs.slots[index])
      // Why again from the table: two inputs of one row may share a slot.
      let state = table[slot]
      let g = gradient * x
      let n = min(state.y + g * g, max(state.y, Self.accumulatorMax))
      let sigma = (n.squareRoot() - state.y.squareRoot()) * alphaInverse
      let z = state.x + (g - sigma * inputs.w[index])
      guard z.isFinite, n.isFinite else { continue }
      table[slot] = SIMD2(z, n)
      touch(slot)
    }
  }
}
