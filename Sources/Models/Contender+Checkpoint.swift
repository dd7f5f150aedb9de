import Records

// Format 1 of a contender's state, little-endian:
//   u8 format = 1, u32 ModelsVersion, u8 kind (0 linear, 1 base rate), u64 shape
//   f32 a, f32 b, f32 sum of squared gradients of a, of b (calibration; 1, 0, 0, 0 where none learnt)
//   base rate: f64 positives, f64 total
//   linear:    runs of touched slots in rising order: varint untouched slots before it,
//              varint length >= 1, then that many (f32 z, f32 n); a length of 0 ends them.
// `shape` covers kind, hash bits, columns, indicators, crosses, alpha and beta: whatever gives z and n
// their meaning. One state has one encoding: runs are maximal, the end follows a gap of 0.

extension Contender {
  static let format: UInt8 = 1

  var shape: UInt64 {
    guard case .ftrl(let ftrl, _) = settings.kind else { return Hash64.hash("base rate") }
    return Hash64.combine(
      encoder.fingerprint,
      UInt64(ftrl.alpha.bitPattern) << 32 | UInt64(ftrl.beta.bitPattern))
  }

  /// Appends the state; equal states give equal bytes.
  ///
  /// Cost:     8 bytes a touched slot, a few a gap.
  public func encode(into writer: inout ByteWriter) {
    writer.write(Self.format)
    writer.write(ModelsVersion.current)
    writer.write(UInt8(isLinear ? 0 : 1))
    writer.write(shape)
    writer.write(calibration.a)
    writer.write(calibration.b)
    writer.write(calibration.aSquares)
    writer.write(calibration.bSquares)
    guard isLinear else {
      writer.write(baseRate.positives)
      writer.write(baseRate.total)
      return
    }
    let count = learner.table.count
    var at = 0
    while true {
      let gapStart = at
      while at < count && !isTouched(at) { at += 1 }
      if at == count { break }
      let start = at
      while at < count && isTouched(at) { at += 1 }
      writer.writeVarint(UInt64(start - gapStart))
      writer.writeVarint(UInt64(at - start))
      for slot in start..<at {
        writer.write(learner.table[slot].x)
        writer.write(learner.table[slot].y)
      }
    }
    writer.writeVarint(0)
    writer.writeVarint(0)
  }

  private func isTouched(_ slot: Int) -> Bool {
    let state = learner.table[slot]
    return (state.x.bitPattern | state.y.bitPattern) != 0
  }

  /// Replaces the state by one that `encode` wrote for the same shape.
  ///
  /// Errors:   `FormatError` for anything else; the state is then as it was.
  public func restore(from reader: inout ByteReader) throws(FormatError) {
    var trial = reader
    _ = try read(from: &trial, apply: false)
    let (calibration, baseRate) = try read(from: &reader, apply: true)
    self.calibration = calibration
    self.baseRate = baseRate
    markAll()
  }

  /// Reads and checks everything; writes the learner's table only when told to.
  private func read(
    from reader: inout ByteReader, apply: Bool
  ) throws(FormatError) -> (PlattScaling, BaseRate) {
    var at = reader.position
    guard try reader.read(UInt8.self, "format") == Self.format else {
      throw FormatError(.unsupportedVersion, at: at, field: "format")
    }
    at = reader.position
    guard try reader.read(UInt32.self, "models version") == ModelsVersion.current else {
      throw FormatError(.unsupportedVersion, at: at, field: "models version")
    }
    at = reader.position
    guard try reader.read(UInt8.self, "kind") == (isLinear ? 0 : 1) else {
      throw FormatError(.invalidValue, at: at, field: "kind")
    }
    at = reader.position
    guard try reader.read(UInt64.self, "shape") == shape else {
      throw FormatError(.invalidValue, at: at, field: "shape")
    }
    at = reader.position
    let platt = PlattScaling(
      a: try reader.readFloat("a"), b: try reader.readFloat("b"),
      aSquares: try reader.readFloat("a squares"), bSquares: try reader.readFloat("b squares"))
    guard platt.isValid else { throw FormatError(.invalidValue, at: at, field: "calibration") }
    if !isLinear {
      at = reader.position
      guard
        let rate = BaseRate(
          positives: try reader.readDouble("positives"), total: try reader.readDouble("total"))
      else { throw FormatError(.invalidValue, at: at, field: "base rate") }
      return (platt, rate)
    }
    if apply { learner.table.fill(.zero) }
    let count = learner.table.count
    var slot = 0
    var isFirst = true
    while true {
      at = reader.position
      let gap = try reader.readShortestVarint("gap")
      let length = try reader.readShortestVarint("run")
      if length == 0 {
        guard gap == 0 else { throw FormatError(.invalidValue, at: at, field: "end") }
        return (platt, BaseRate())
      }
      guard gap > 0 || isFirst, gap < UInt64(count - slot),
        length <= UInt64(count - slot) - gap
      else { throw FormatError(.invalidValue, at: at, field: "run") }
      isFirst = false
      slot += Int(gap)
      for _ in 0..<Int(length) {
        at = reader.position
        let z = try reader.readFloat("z")
        let n = try reader.readFloat("n")
        guard z.isFinite, n.isFinite, n.sign == .plus, (z.bitPattern | n.bitPattern) != 0 else {
          throw FormatError(.invalidValue, at: at, field: "slot")
        }
        if apply { learner.table[slot] = SIMD2(z, n) }
        slot += 1
      }
    }
  }
}

extension PlattScaling {
  /// Whether `learn` could have left these values.
  var isValid: Bool {
    a >= 0.05 && a <= 20 && b >= -10 && b <= 10 && aSquares >= 0 && aSquares <= Self.squaresMax
      && bSquares >= 0 && bSquares <= Self.squaresMax
  }
}

extension ByteReader {
  /// A varint without needless bytes, so that one state has one encoding.
  fileprivate mutating func readShortestVarint(
    _ field: StaticString
  ) throws(FormatError) -> UInt64 {
    let at = position
    let value = try readVarint(field)
    let bits = max(1, UInt64.bitWidth - value.leadingZeroBitCount)
    guard position - at == (bits + 6) / 7 else {
      throw FormatError(.invalidValue, at: at, field: field)
    }
    return value
  }
}
