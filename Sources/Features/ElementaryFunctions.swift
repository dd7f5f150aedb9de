/// Elementary functions with the same bits on every host: additions, multiplications and divisions alone.
///
/// Why not the C library's: its results differ between versions and processors in the last bit, and
/// a window or a row must be the same everywhere.
///
/// Errors:   below 1 unit in the last place over the whole range (tested to 2 against the host's own).
/// Source:   the FreeBSD msun kernels of `log` and `exp` (Sun Microsystems 1993).
enum Elementary {
  private static let ln2High = 6.93147180369123816490e-01
  private static let ln2Low = 1.90821492927058770002e-10

  /// Natural logarithm; NaN for anything that is not a finite number above zero.
  static func log(_ argument: Double) -> Double {
    guard argument > 0, argument < .infinity else { return .nan }
    var x = argument
    var k: Int64 = 0
    if x < Double.leastNormalMagnitude {
      x *= 0x1p54
      k = -54
    }
    // x = 2^k (1 + f) with sqrt(2)/2 < 1 + f < sqrt(2).
    let bits = x.bitPattern
    var high = Int64(bits >> 32)
    k += (high >> 20) - 1023
    high &= 0x000f_ffff
    let carry = (high + 0x9_5f64) & 0x10_0000
    let mantissa = UInt64(high | (carry ^ 0x3ff0_0000)) << 32 | (bits & 0xffff_ffff)
    k += carry >> 20
    let f = Double(bitPattern: mantissa) - 1
    let s = f / (2 + f)
    let z = s * s
    let w = z * z
    let odd =
      w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    let even =
      z
      * (6.666666666666735130e-01
        + w
        * (2.857142874366239149e-01
          + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
    let half = 0.5 * f * f
    let exponent = Double(k)
    return exponent * ln2High - ((half - (s * (half + (odd + even)) + exponent * ln2Low)) - f)
  }

  /// The exponential; infinity above 709.78, 0 below -745.13, NaN of NaN.
  static func exp(_ x: Double) -> Double {
    if x != x { return x }
    if x > 709.782712893383973096 { return .infinity }
    if x < -745.13321910194110842 { return 0 }
    let k = (x * 1.44269504088896338700).rounded(.toNearestOrEven)
    let high = x - k * ln2High
    let low = k * ln2Low
    let r = high - low
    let t = r * r
    let c =
      r - t
      * (1.66666666666666019037e-01
        + t
        * (-2.77777777770155933842e-03
          + t
          * (6.61375632143793436117e-05
            + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))))
    let y = 1 - ((low - (r * c) / (2 - c)) - high)
    // Two steps, so that neither factor leaves the normal range.
    let n = Int64(k)
    let first = n / 2
    return y * power(first) * power(n - first)
  }

  /// 2^n for n within the normal exponents.
  private static func power(_ n: Int64) -> Double { Double(bitPattern: UInt64(n + 1023) << 52) }
}

/// The proleptic Gregorian calendar over days since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
enum Calendar {
  static func civil(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let z = day + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }

  static func day(year: Int64, month: Int64, day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  static func isLeap(_ year: Int64) -> Bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
  }

  /// Rounds towards minus infinity; `divisor` is positive.
  @inline(__always)
  static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
    let quotient = value / divisor
    return value % divisor < 0 ? quotient - 1 : quotient
  }
}
