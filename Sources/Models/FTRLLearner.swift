import Records

/// FTRL-Proximal with one rate per coordinate, in full precision: the master of a linear contender.
///
/// The weights used for scoring are those used in the gradient. `n` stops growing at `accumulatorMax`:
/// from there on a coordinate learns at the constant rate alpha / (beta + sqrt(accumulatorMax)), so that a
/// model of a drifting stream never goes numb (flight delays with immediate labels: AUC 0.937 without the
/// bound, 0.945 with it).
///
/// Shapes:   z and n per slot, interleaved; the bias sits in the last block, behind the hashed slots.
/// Units:    `label` in [0, 1]; `weight` in [0, `weightMax`], larger is clamped, other is zero.
/// Cost:     one random access an input; roots and divisions four at a time.
/// Errors:   none; an update that would not be finite is left out.
/// Replay:   the same calls give the same bits on every host.
/// Source:   McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1.
///           Differs: no L1 on the bias, the bound on n.
struct FTRLLearner: ~Copyable {
  static let weightMax: Float = 1024
  static let accumulatorMax: Float = 16
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

  /// Sum of w x over the first `count` inputs: four partial sums, input i into sum i mod 4.
  ///
  /// Leaves z, n, its root and w of each input in `inputs`, for `update`. Only input 0 may be the bias.
  func margin(_ inputs: InputBuffer, count: Int) -> Float {
    guard count > 0 else { return 0 }
    inputs.pad(from: count)
    for index in 0..<count {
      let state = table[Int(inputs.slots[index])]
      inputs.z[index] = state.x
      inputs.n[index] = state.y
    }
    let l1 = SIMD4<Float>(repeating: settings.l1)
    let beta = SIMD4<Float>(repeating: settings.beta)
    let inverse = SIMD4<Float>(repeating: alphaInverse)
    let l2 = SIMD4<Float>(repeating: settings.l2)
    var sum = SIMD4<Float>.zero
    var index = 0
    while index < count {
      let z = inputs.z.quad(index)
      let magnitude = z.replacing(with: -z, where: z .< 0) - l1
      let root = inputs.n.quad(index).squareRoot()
      inputs.root.setQuad(index, root)
      let size = magnitude / ((beta + root) * inverse + l2)
      var w = (-size).replacing(with: size, where: z .< 0)
      w.replace(with: 0, where: magnitude .<= 0)
      if index == 0 && Int(inputs.slots[0]) >= biasSlot {
        w[0] = weight(slot: Int(inputs.slots[0]))
      }
      inputs.w.setQuad(index, w)
      sum += w * inputs.values.quad(index)
      index &+= 4
    }
    return (sum.x + sum.y) + (sum.z + sum.w)
  }

  /// One example: `margin` must have been called on the same inputs just before.
  ///
  /// Inputs of one row that share a slot each add their step to it. `touch` is told every slot that changed.
  @inline(__always)
  func update(
    _ inputs: InputBuffer, count: Int, margin: Float, label: Float, weight: Float,
    touch: (Int) -> Void
  ) {
    guard weight > 0, label >= 0, label <= 1, margin.isFinite else { return }
    let bounded = max(-Self.marginMax, min(Self.marginMax, margin))
    let gradient = SIMD4(
      repeating: (Elementary.sigmoid(bounded) - label) * min(weight, Self.weightMax))
    let inverse = SIMD4<Float>(repeating: alphaInverse)
    let most = SIMD4<Float>(repeating: Self.accumulatorMax)
    var index = 0
    while index < count {
      let n = inputs.n.quad(index)
      let g = gradient * inputs.values.quad(index)
      let room = (most - n).replacing(with: 0, where: n .> most)
      let square = g * g
      let growth = square.replacing(with: room, where: square .> room)
      let sigma = ((n + growth).squareRoot() - inputs.root.quad(index)) * inverse
      inputs.z.setQuad(index, g - sigma * inputs.w.quad(index))
      inputs.n.setQuad(index, growth)
      index &+= 4
    }
    for index in 0..<count {
      let slot = Int(inputs.slots[index])
      let state = table[slot]
      let next = state + SIMD2(inputs.z[index], inputs.n[index])
      // Only finite numbers leave zero when taken from themselves.
      guard next - next == .zero, next != state else { continue }
      table[slot] = next
      touch(slot)
    }
  }
}

extension FixedBuffer<Float> {
  /// Elements index..<index+4.
  @inline(__always)
  func quad(_ index: Int) -> SIMD4<Float> {
    precondition(index >= 0 && index <= count - 4, "quad out of bounds")
    return unsafe withElements { elements in
      // SAFETY: four elements from `index` on lie within the buffer.
      unsafe UnsafeRawPointer(elements.baseAddress! + index).loadUnaligned(as: SIMD4<Float>.self)
    }
  }
  @inline(__always)
  func setQuad(_ index: Int, _ value: SIMD4<Float>) {
    precondition(index >= 0 && index <= count - 4, "quad out of bounds")
    unsafe withElements { elements in
      // SAFETY: four elements from `index` on lie within the buffer.
      unsafe UnsafeMutableRawPointer(elements.baseAddress! + index).storeBytes(
        of: value, as: SIMD4<Float>.self)
    }
  }
}
