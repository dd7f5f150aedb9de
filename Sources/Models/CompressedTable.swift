import Records

/// The weights that score: one signed byte each, with one f32 scale per block of 64 slots.
///
/// A block is a pure function of the master's (z, n): scale = max|w| / 127, q = w / scale rounded half to
/// even. So any order of publications ends in the same bytes.
///
/// Shapes:   `blockSlots` weights a block; 1.0625 bytes a slot.
/// Units:    |w - q scale| <= scale / 2 = max|w in block| / 254.
/// Threads:  owned by one thread while it changes; frozen once inside a `Scorer`.
struct CompressedTable: ~Copyable {
  static let blockSlots = 64
  static let blockBits = 6

  let weights: FixedBuffer<Int8>
  let scales: FixedBuffer<Float>
  /// The weights of the block being written.
  private let room = FixedBuffer<Float>(repeating: 0, count: blockSlots)

  init(slotCount: Int) {
    precondition(slotCount % Self.blockSlots == 0)
    weights = FixedBuffer(repeating: 0, count: slotCount)
    scales = FixedBuffer(repeating: 0, count: slotCount / Self.blockSlots)
  }

  init(copying other: borrowing CompressedTable) {
    weights = FixedBuffer(repeating: 0, count: other.weights.count)
    scales = FixedBuffer(repeating: 0, count: other.scales.count)
    weights.copy(from: other.weights, at: 0, to: 0, count: weights.count)
    scales.copy(from: other.scales, at: 0, to: 0, count: scales.count)
  }

  /// Nearest integer, halves to even, for |x| <= 2^22; needs no library call.
  @inline(__always)
  static func roundHalfEven(_ x: Float) -> Float { (x + 0x1.8p23) - 0x1.8p23 }

  /// Writes block `block` from the master's weights.
  func quantise(block: Int, from learner: borrowing FTRLLearner) {
    let start = block << Self.blockBits
    var largest: Float = 0
    for index in 0..<Self.blockSlots {
      let w = learner.weight(slot: start + index)
      room[index] = w
      largest = max(largest, w.magnitude)
    }
    let scale = largest / 127
    // Weights whose scale would be subnormal are nothing, and would not divide well.
    let isNothing = scale < .leastNormalMagnitude
    scales[block] = isNothing ? 0 : scale
    for index in 0..<Self.blockSlots {
      let q = isNothing ? 0 : Self.roundHalfEven(room[index] / scale)
      weights[start + index] = Int8(max(-127, min(127, q)))
    }
  }

  /// The scoring kernel, plain: four partial sums, input i into sum i mod 4.
  func marginPlain(_ inputs: InputBuffer, count: Int) -> Float {
    var sums = SIMD4<Float>.zero
    for index in 0..<count {
      let slot = Int(inputs.slots[index])
      let w = Float(weights[slot]) * scales[slot >> Self.blockBits]
      sums[index & 3] += w * inputs.values[index]
    }
    return (sums.x + sums.y) + (sums.z + sums.w)
  }

  /// The scoring kernel; equal to `marginPlain` bit for bit.
  func margin(_ inputs: InputBuffer, count: Int) -> Float {
    precondition(count <= inputs.width)
    // SAFETY: below, input indices lie under `count`, which is at most the width of both buffers; slots
    // are checked against the table, whose scales are as many as its blocks.
    return unsafe inputs.slots.withElements { slots in
      unsafe inputs.values.withElements { values in
        unsafe weights.withElements { weights in
          unsafe scales.withElements { scales in
            let q = weights.baseAddress!
            let s = scales.baseAddress!
            let ix = slots.baseAddress!
            let xs = values.baseAddress!
            let limit = UInt32(truncatingIfNeeded: weights.count)
            @inline(__always) func term(_ index: Int) -> Float {
              let slot = unsafe ix[index]
              precondition(slot < limit)
              // SAFETY: the slot was just checked.
              return unsafe Float(q[Int(slot)]) * s[Int(slot >> UInt32(Self.blockBits))] * xs[index]
            }
            var a: Float = 0
            var b: Float = 0
            var c: Float = 0
            var d: Float = 0
            var index = 0
            while index &+ 4 <= count {
              a += term(index)
              b += term(index &+ 1)
              c += term(index &+ 2)
              d += term(index &+ 3)
              index &+= 4
            }
            if index < count { a += term(index) }
            if index &+ 1 < count { b += term(index &+ 1) }
            if index &+ 2 < count { c += term(index &+ 2) }
            return (a + b) + (c + d)
          }
        }
      }
    }
  }
}
