import Records

/// The inputs of one encoded row, and the room a learner works in.
///
/// Shapes:   `slots[i]`, `values[i]` for i below the count that `RowEncoder.encode` returned; the width is a
///           multiple of 4, so that kernels may take four inputs at a time.
/// Threads:  owned by one thread at a time.
final class InputBuffer {
  let width: Int
  let slots: FixedBuffer<UInt32>
  let values: FixedBuffer<Float>
  /// Per present column of the encoder the token that crosses are made of.
  let tokens: FixedBuffer<UInt64>
  /// Learner's room: z, n, sqrt(n) and w of each input; z and n become their steps.
  let z: FixedBuffer<Float>
  let n: FixedBuffer<Float>
  let root: FixedBuffer<Float>
  let w: FixedBuffer<Float>

  init(width: Int, columns: Int) {
    let padded = (width + 3) / 4 * 4
    self.width = padded
    slots = FixedBuffer(repeating: 0, count: padded)
    values = FixedBuffer(repeating: 0, count: padded)
    tokens = FixedBuffer(repeating: 0, count: columns)
    z = FixedBuffer(repeating: 0, count: padded)
    n = FixedBuffer(repeating: 0, count: padded)
    root = FixedBuffer(repeating: 0, count: padded)
    w = FixedBuffer(repeating: 0, count: padded)
  }

  /// Makes the inputs from `count` up to the next multiple of 4 count for nothing.
  @inline(__always)
  func pad(from count: Int) {
    var index = count
    while index & 3 != 0 {
      values[index] = 0
      z[index] = 0
      n[index] = 0
      index &+= 1
    }
  }
}
