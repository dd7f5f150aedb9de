import Records

/// The fixed grid that turns a number of any scale into inputs.
///
/// A float's bits without the sign, less those of 2^-24, count along the line "exponent, then mantissa":
/// a monotone, continuous, piecewise-linear stand-in for the logarithm. Knots every 2^-bits of an octave
/// are then shifts of that integer. What is smaller than 2^-24 is zero, which both signs share.
enum Grid {
  /// Knots an octave, as powers of two, of the hat functions.
  static let coarseBits: UInt32 = 0
  static let fineBits: UInt32 = 4
  /// Cells an octave of the tokens that are crossed.
  static let cellBits: UInt32 = 1
  static let inputsPerNumber = 4
  static let missingCode: UInt64 = 0x6d69_7373_696e_6721
  private static let origin: UInt32 = (127 - 24) << 23

  @inline(__always)
  private static func position(_ x: Float) -> UInt32 {
    let bits = x.bitPattern & 0x7fff_ffff
    return bits > origin ? bits &- origin : 0
  }

  /// Code of knot `knot` on the side of `x`'s sign.
  @inline(__always)
  private static func code(_ knot: UInt32, _ x: Float, _ bits: UInt32) -> UInt64 {
    let sign: UInt32 = knot == 0 ? 0 : x.bitPattern >> 31
    return UInt64(knot) | UInt64(sign) << 32 | UInt64(bits &+ 1) << 33
  }

  /// Which coarse cell holds `x`.
  @inline(__always)
  static func cell(_ x: Float) -> UInt64 {
    let shift = 23 &- cellBits
    return code((position(x) &+ (1 &<< (shift &- 1))) &>> shift, x, cellBits) | 1 << 40
  }

  /// Writes the hats around `x` at both resolutions from place `at`; returns the place behind them.
  @inline(__always)
  static func encode(
    _ x: Float, key: UInt64, shift: UInt64, into inputs: InputBuffer, at: Int
  ) -> Int {
    hat(x, bits: coarseBits, key: key, shift: shift, into: inputs, at: at)
    hat(x, bits: fineBits, key: key, shift: shift, into: inputs, at: at &+ 2)
    return at &+ 4
  }

  @inline(__always)
  private static func hat(
    _ x: Float, bits: UInt32, key: UInt64, shift: UInt64, into inputs: InputBuffer, at: Int
  ) {
    let place = position(x)
    let drop = 23 &- bits
    let knot = place &>> drop
    // 2^-drop as a float turns the low bits into the part of the way to the next knot, exactly.
    let part = Float(place & ((1 &<< drop) &- 1)) * Float(bitPattern: (127 &- drop) << 23)
    inputs.slots[at] = UInt32(
      truncatingIfNeeded: RowEncoder.mix(key, code(knot, x, bits)) &>> shift)
    inputs.values[at] = 1 - part
    inputs.slots[at &+ 1] = UInt32(
      truncatingIfNeeded: RowEncoder.mix(key, code(knot &+ 1, x, bits)) &>> shift)
    inputs.values[at &+ 1] = part
  }
}
