import Records

// The loops under `RegisterProgram.run`: 32 lanes, no branch on data where it can be helped.
// SAFETY, for all of them: the caller vouches for 32 lanes behind every pointer.

extension RegisterProgram {
  /// NaN where `x` is infinite; also turns -0 into 0.
  @inline(__always) static func finite(_ x: Double) -> Double { x + (x - x) }
  /// 0 where the operands are known, else NaN. Operands are finite or NaN.
  @inline(__always) static func unknown(_ a: Double, _ b: Double) -> Double { (a - a) + (b - b) }
  @inline(__always) static func unknown(_ a: Double) -> Double { a - a }

  @inline(__always) static func each(
    _ to: UnsafeMutablePointer<Double>, _ a: UnsafeMutablePointer<Double>,
    _ body: (Double) -> Double
  ) {
    for lane in 0..<RegisterFile.lanes { unsafe to[lane] = body(a[lane]) }
  }
  @inline(__always) static func each(
    _ to: UnsafeMutablePointer<Double>, _ a: UnsafeMutablePointer<Double>,
    _ b: UnsafeMutablePointer<Double>, _ body: (Double, Double) -> Double
  ) {
    for lane in 0..<RegisterFile.lanes { unsafe to[lane] = body(a[lane], b[lane]) }
  }
  @inline(__always) static func each(
    _ to: UnsafeMutablePointer<Double>, _ a: UnsafeMutablePointer<Double>,
    _ b: UnsafeMutablePointer<Double>, _ c: UnsafeMutablePointer<Double>,
    _ body: (Double, Double, Double) -> Double
  ) {
    for lane in 0..<RegisterFile.lanes { unsafe to[lane] = body(a[lane], b[lane], c[lane]) }
  }

  static func load(_ to: UnsafeMutablePointer<Double>, _ batch: InputBatch, _ at: Int) {
    unsafe batch.numbers.withElements { values in
      unsafe batch.presence.withElements { presence in
        let (values, presence) = unsafe (values.baseAddress! + at, presence.baseAddress! + at)
        for lane in 0..<RegisterFile.lanes {
          unsafe to[lane] =
            presence[lane] == Presence.present.rawValue ? finite(values[lane]) : .nan
        }
      }
    }
  }

  static func load(_ to: UnsafeMutablePointer<UInt64>, _ batch: InputBatch, _ at: Int) {
    unsafe batch.hashes.withElements { values in
      unsafe batch.presence.withElements { flags in
        let (values, flags) = unsafe (values.baseAddress! + at, flags.baseAddress! + at)
        for lane in 0..<RegisterFile.lanes {
          unsafe to[lane] =
            flags[lane] == Presence.present.rawValue ? present(values[lane]) : 0
        }
      }
    }
  }

  static func bucket(
    _ to: UnsafeMutablePointer<Double>, _ a: UnsafeMutablePointer<Double>,
    _ edges: UnsafeBufferPointer<Double>
  ) {
    for lane in 0..<RegisterFile.lanes {
      let x = unsafe a[lane]
      var below = 0
      for index in 0..<edges.count { unsafe below += edges[index] <= x ? 1 : 0 }
      unsafe to[lane] = Double(below) + unknown(x)
    }
  }

  /// Beyond this the milliseconds of a float are no longer whole, and no date is meant.
  static let instantMax = 0x1p53

  static func localTime(
    _ to: UnsafeMutablePointer<Double>, _ a: UnsafeMutablePointer<Double>, _ zone: TimeZoneRules
  ) {
    // One search serves all records between two changes of the offset: usually the whole batch.
    var (from, until, shift) = (Int64.max, Int64.min, 0.0)
    for lane in 0..<RegisterFile.lanes {
      let x = unsafe a[lane]
      guard x.magnitude <= instantMax else {
        unsafe to[lane] = .nan
        continue
      }
      let instant = Int64(x.rounded(.down))
      if instant < from || instant >= until {
        let found = zone.interval(at: instant)
        (from, until, shift) = (found.from, found.until, Double(found.offset) * 1000)
      }
      unsafe to[lane] = x + shift
    }
  }

  /// `body` of the local day; NaN of NaN.
  @inline(__always) static func date(_ local: Double, _ body: (Int64) -> Double) -> Double {
    guard local.magnitude <= 0x1p54 else { return .nan }
    return body(Calendar.floorDivide(Int64(local.rounded(.down)), 86_400_000))
  }

  @inline(__always) static func clock(
    _ local: Double, _ unit: Int64, _ count: Int64
  ) -> Double {
    guard local.magnitude <= 0x1p54 else { return .nan }
    let units = Calendar.floorDivide(Int64(local.rounded(.down)), unit)
    return Double(units - Calendar.floorDivide(units, count) * count)
  }
}
