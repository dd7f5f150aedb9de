/// Elementary functions that give the same bits on every host; the platform's own differ between libraries.
///
/// Cost:     a handful of multiplications each; no table, no allocation, no library call.
/// Errors:   none; every argument has an answer. Stated errors are maxima against the exact value.
/// Replay:   additions and multiplications in written order, never fused.
public enum Elementary {
  @usableFromInline static let log2e = 1.4426950408889634
  /// ln 2 in two parts; the first has 21 trailing zero bits, so that `k * ln2High` is exact.
  @usableFromInline static let ln2High = 6.93147180369123816490e-01
  @usableFromInline static let ln2Low = 1.90821492927058770002e-10

  /// e^x within 2 ulp for x in [-708, 709]; 0 below, +infinity above, NaN for NaN.
  public static func exp(_ x: Double) -> Double {
    if !(x >= -708) { return x.isNaN ? x : 0 }
    if x > 709 { return .infinity }
    // Adding and taking away 1.5 * 2^52 rounds to the nearest integer, halves to even.
    let k = (x * log2e + 0x1.8p52) - 0x1.8p52
    let r = (x - k * ln2High) - k * ln2Low
    // |r| <= 0.347: the next term, r^14 / 14!, is below 5e-18.
    var s = 1.0 / 6_227_020_800
    s = s * r + 1.0 / 479_001_600
    s = s * r + 1.0 / 39_916_800
    s = s * r + 1.0 / 3_628_800
    s = s * r + 1.0 / 362_880
    s = s * r + 1.0 / 40_320
    s = s * r + 1.0 / 5_040
    s = s * r + 1.0 / 720
    s = s * r + 1.0 / 120
    s = s * r + 1.0 / 24
    s = s * r + 1.0 / 6
    s = s * r + 0.5
    s = s * r * r + r
    return (1 + s) * Double(bitPattern: UInt64(bitPattern: Int64(k) + 1023) << 52)
  }

  /// e^x within 2 ulp for x in [-87, 88]; 0 below, +infinity above, NaN for NaN.
  public static func exp(_ x: Float) -> Float {
    if !(x >= -87) { return x.isNaN ? x : 0 }
    if x > 88 { return .infinity }
    let k = (x * 1.44269504 + 0x1.8p23) - 0x1.8p23
    let r = (x - k * 0.693359375) - k * -2.12194440e-4
    // |r| <= 0.347: the next term, r^8 / 8!, is below 6e-9.
    var s: Float = 1.0 / 5040
    s = s * r + 1.0 / 720
    s = s * r + 1.0 / 120
    s = s * r + 1.0 / 24
    s = s * r + 1.0 / 6
    s = s * r + 0.5
    s = s * r * r + r
    return (1 + s) * Float(bitPattern: UInt32(bitPattern: Int32(k) + 127) << 23)
  }

  /// Natural logarithm within 2 ulp for normal x; -infinity at and below 0 and for subnormals.
  public static func log(_ x: Double) -> Double {
    if !(x >= Double.leastNormalMagnitude) { return x.isNaN ? x : -.infinity }
    if x == .infinity { return x }
    // m in [sqrt(1/2), sqrt(2)) keeps the series short and exact around x = 1.
    let bits = x.bitPattern &- 0x3fe6_a09e_667f_3bcd
    let e = Int64(bitPattern: bits) >> 52
    let m = Double(bitPattern: x.bitPattern &- UInt64(bitPattern: e << 52))
    let f = m - 1
    let s = f / (2 + f)
    let q = s * s
    // |s| <= 0.172: the next term, 2 s^25 / 25, is below 7e-21.
    var t = 2.0 / 23
    t = t * q + 2.0 / 21
    t = t * q + 2.0 / 19
    t = t * q + 2.0 / 17
    t = t * q + 2.0 / 15
    t = t * q + 2.0 / 13
    t = t * q + 2.0 / 11
    t = t * q + 2.0 / 9
    t = t * q + 2.0 / 7
    t = t * q + 2.0 / 5
    t = t * q + 2.0 / 3
    // 2 s = f - s f, which keeps the bits that s lost in its division.
    let k = Double(e)
    return k * ln2High - ((s * (f - t * q) - k * ln2Low) - f)
  }

  public static func log(_ x: Float) -> Float { Float(log(Double(x))) }

  /// 1 / (1 + e^-x), within 4 ulp for |x| <= 80, monotone limits 0 and 1.
  public static func sigmoid(_ x: Double) -> Double {
    if x >= 0 { return 1 / (1 + exp(-x)) }
    let e = exp(x)
    return e / (1 + e)
  }

  /// 1 / (1 + e^-x), within 4 ulp for |x| <= 80, limits 0 and 1; NaN for NaN.
  public static func sigmoid(_ x: Float) -> Float {
    if x >= 0 { return 1 / (1 + exp(-x)) }
    let e = exp(x)
    return e / (1 + e)
  }

  /// ln(p / (1 - p)) after clamping p to [1e-7, 1 - 1e-7].
  public static func logit(_ p: Double) -> Double {
    let q = min(max(p, 1e-7), 1 - 1e-7)
    return log(q / (1 - q))
  }

  /// Cross entropy in nats of a label in [0, 1] under probability `p`, clamped to [1e-7, 1 - 1e-7].
  public static func logLoss(probability p: Double, label: Double) -> Double {
    let q = min(max(p, 1e-7), 1 - 1e-7)
    return -(label * log(q) + (1 - label) * log(1 - q))
  }
}
