/// What a window declaration comes to: pane width, number of panes, steps of the value, bytes a key.
///
/// A window of size s read at time t covers the panes that begin after t - s, up to the one that
/// holds t: between s less one pane, and s. A pane is the smallest time that windows tell apart.
struct WindowLayout: Sendable, Hashable {
  /// Which parts of a pane are kept.
  struct Parts: Sendable, Hashable {
    var sum = false
    var squares = false
    var minimum = false
    var maximum = false
    var last = false
  }

  let paneMilliseconds: Int64
  /// Panes of the ring: the longest size, the lateness, and one since neither begins on a pane.
  let paneCount: Int
  /// Ascending, in panes.
  let sizePanes: [Int]
  let parts: Parts

  // Bytes from the start of a pane; each pane starts with the count of records (UInt32).
  let sumAt: Int
  let squaresAt: Int
  let minimumAt: Int
  let maximumAt: Int
  let lastTimeAt: Int
  let lastOffsetAt: Int
  let lastValueAt: Int
  let paneBytes: Int

  // A key's block: key u64, newest pane i64, totals per size (count u64, sum i64, squares u128), panes.
  static let totalsAt = 16
  let totalBytes: Int
  let panesAt: Int
  /// A multiple of 64.
  let blockBytes: Int

  static let paneCountMax = 2048
  /// A time within a pane fits 32 bits.
  static let paneMillisecondsMax: Int64 = 1 << 31
  /// Longest window: 1000 days.
  static let sizeMillisecondsMax: Int64 = 86_400_000_000

  init(
    paneMilliseconds: Int64, sizesMilliseconds: [Int64], latenessMilliseconds: Int64, parts: Parts
  ) {
    self.paneMilliseconds = paneMilliseconds
    self.parts = parts
    sizePanes = sizesMilliseconds.map { Int($0 / paneMilliseconds) }
    paneCount = Self.paneCount(
      pane: paneMilliseconds, largest: sizesMilliseconds[sizesMilliseconds.count - 1],
      lateness: latenessMilliseconds)
    var bytes = 4
    func place(_ width: Int, _ wanted: Bool) -> Int {
      guard wanted else { return -1 }
      defer { bytes += width }
      return bytes
    }
    sumAt = place(8, parts.sum)
    squaresAt = place(16, parts.squares)
    minimumAt = place(4, parts.minimum)
    maximumAt = place(4, parts.maximum)
    lastTimeAt = place(4, parts.last)
    lastOffsetAt = place(8, parts.last)
    lastValueAt = place(4, parts.last)
    paneBytes = bytes
    totalBytes = 8 + (parts.sum ? 8 : 0) + (parts.squares ? 16 : 0)
    panesAt = Self.totalsAt + sizePanes.count * totalBytes
    blockBytes = (panesAt + paneCount * paneBytes + 63) / 64 * 64
  }

  static func paneCount(pane: Int64, largest: Int64, lateness: Int64) -> Int {
    Int(largest / pane + (lateness + pane - 1) / pane + 1)
  }

  /// A width that divides all sizes: about twelve panes in the smallest, at most 128 in the largest
  /// where the sizes allow it.
  static func derivedPane(sizesMilliseconds: [Int64]) -> Int64 {
    func divisor(_ a: Int64, _ b: Int64) -> Int64 { b == 0 ? a : divisor(b, a % b) }
    let common = sizesMilliseconds.reduce(0, divisor)
    let (smallest, largest) = (sizesMilliseconds.min()!, sizesMilliseconds.max()!)
    for parts in stride(from: Int64(12), to: 1, by: -1)
    where common % parts == 0 && largest / common <= 128 / parts
      && smallest / common * parts <= 12
    { return common / parts }
    return common
  }
}

/// How a window's value becomes a whole number of steps: sums of steps are exact in any order.
struct FixedPoint: Sendable, Hashable {
  var resolution: Double
  var lower: Double
  var upper: Double
  /// Which of them the declaration left open.
  var isResolutionDerived: Bool
  var isRangeDerived: Bool

  /// Steps stay within ±2^30: a pane of 2^32 records sums to less than 2^62.
  static let stepsMax = 0x1p30

  /// Nil where range and resolution do not fit `stepsMax`.
  init?(resolution: Double?, range: ClosedRange<Double>?, bounds: ValueBounds) {
    isResolutionDerived = resolution == nil
    isRangeDerived = range == nil
    if let range {
      (lower, upper) = (range.lowerBound, range.upperBound)
    } else if bounds.isFinite {
      (lower, upper) = (bounds.lower, bounds.upper)
    } else {
      // Nothing is known: a million with a thousandth, or a billion whole.
      let reach = resolution.map { $0 * 0x1p29 } ?? (bounds.isInteger ? 0x1p29 : 0x1p20)
      lower = max(bounds.lower, -reach)
      upper = min(bounds.upper, reach)
      if lower > upper { (lower, upper) = (-reach, reach) }
    }
    let reach = max(lower.magnitude, upper.magnitude)
    if let resolution {
      self.resolution = resolution
    } else if bounds.isInteger, reach <= Self.stepsMax {
      self.resolution = 1
    } else {
      // A power of two, so that conversions are exact: 24 to 30 bits for the largest value.
      let exponent = reach > 0 ? Int(reach.exponent) + 1 : 0
      self.resolution = Double(sign: .plus, exponent: max(exponent - 30, -1000), significand: 1)
      if bounds.isFinite || range != nil {
        self.resolution = Double(sign: .plus, exponent: max(exponent - 24, -1000), significand: 1)
      }
    }
    guard self.resolution > 0, self.resolution.isFinite, lower.isFinite, upper.isFinite,
      lower <= upper, reach / self.resolution <= Self.stepsMax
    else { return nil }
  }

  /// Rounds to the nearest step, ties to even; `value` is finite.
  @inline(__always) static func steps(
    _ value: Double, lower: Double, upper: Double, resolution: Double
  ) -> Int32 {
    let clamped = value < lower ? lower : (value > upper ? upper : value)
    // Adding 1.5 * 2^52 leaves no bits for a fraction; steps are far below 2^51.
    return Int32((clamped / resolution + 6_755_399_441_055_744) - 6_755_399_441_055_744)
  }
}
