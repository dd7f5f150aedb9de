/// Why bytes are not a JSON text of ours, and where.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Reason: Hashable, Sendable {
    case malformed, invalidUTF8, nestedTooDeep, duplicateKey
    /// A number whose nearest 64-bit float is infinite.
    case numberOutOfRange
  }
  public var reason: Reason
  /// Byte offset.
  public var at: Int
  public init(_ reason: Reason, at: Int) {
    self.reason = reason
    self.at = at
  }
  public var description: String { "\(reason) at=\(at)" }
}

/// Walks JSON text token by token. **What it accepts is the input language**; every other decoder is held to it.
///
/// Language: RFC 8259 in valid UTF-8 without byte order mark; nesting at most `depthMax`, the outermost object or
///           array being 1; `\u` escapes of surrogates only as pairs; numbers whose nearest f64 is finite.
/// Cost:     about 1 ns a byte; allocates only for numbers that a product of two exact floats does not settle.
/// Errors:   `JSONError` at the first fault; never traps.
@safe struct JSONScanner {
  static let depthMax = 32

  let base: UnsafePointer<UInt8>
  let end: Int
  var at = 0

  enum Number {
    case integer(Int64)
    /// Written without fraction and exponent, but beyond 64 bits.
    case big(Double)
    case double(Double)
  }

  /// The raw bytes between the quotes.
  struct Text {
    var start: Int
    var end: Int
    var isEscaped: Bool
  }

  /// SAFETY: `bytes` outlives the scanner.
  init(_ bytes: UnsafeBufferPointer<UInt8>) {
    unsafe base = bytes.baseAddress ?? UnsafePointer(bitPattern: 1)!
    end = bytes.count
  }

  // SAFETY: every call below has `index < end` (`index <= end - 8`), which a condition beside it checks.
  @inline(__always)
  private func byte(_ index: Int) -> UInt8 { unsafe base[index] }
  @inline(__always)
  private func word(_ index: Int) -> UInt64 {
    unsafe UInt64(
      littleEndian: UnsafeRawPointer(base).loadUnaligned(fromByteOffset: index, as: UInt64.self))
  }

  /// Throws unless all bytes are UTF-8. Called once, before anything else.
  func checkUTF8() throws(JSONError) {
    var index = 0
    while index <= end - 8,
      word(index) & 0x8080_8080_8080_8080 == 0
    { index += 8 }
    while index < end {
      let lead = byte(index)
      if lead < 0x80 {
        index += 1
        continue
      }
      let length: Int
      let second: ClosedRange<UInt8>
      switch lead {
      case 0xc2...0xdf: (length, second) = (2, 0x80...0xbf)
      case 0xe0: (length, second) = (3, 0xa0...0xbf)
      case 0xed: (length, second) = (3, 0x80...0x9f)
      case 0xe1...0xef: (length, second) = (3, 0x80...0xbf)
      case 0xf0: (length, second) = (4, 0x90...0xbf)
      case 0xf1...0xf3: (length, second) = (4, 0x80...0xbf)
      case 0xf4: (length, second) = (4, 0x80...0x8f)
      default: throw JSONError(.invalidUTF8, at: index)
      }
      guard index + length <= end, second.contains(byte(index + 1)),
        length < 3 || byte(index + 2) & 0xc0 == 0x80,
        length < 4 || byte(index + 3) & 0xc0 == 0x80
      else { throw JSONError(.invalidUTF8, at: index) }
      index += length
    }
  }

  /// The next byte that is not blank, or 0 at the end (which is valid nowhere).
  @inline(__always)
  mutating func next() -> UInt8 {
    while at < end {
      let byte = self.byte(at)
      guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
      at += 1
    }
    return 0
  }

  @inline(__always)
  mutating func expect(_ byte: UInt8) throws(JSONError) {
    guard next() == byte else { throw JSONError(.malformed, at: at) }
    at += 1
  }

  /// Throws unless only blanks are left.
  mutating func expectEnd() throws(JSONError) {
    _ = next()
    guard at == end else { throw JSONError(.malformed, at: at) }
  }

  /// Reads a string, whose opening quote is next.
  @inline(__always)
  mutating func text() throws(JSONError) -> Text {
    try expect(0x22)
    let start = at
    while at <= end - 8 {
      // Eight bytes a step: the lowest flag marks the first quote, backslash or control character. (A borrow
      // can only raise flags above a true one.)
      let ones: UInt64 = 0x0101_0101_0101_0101
      let word = self.word(at)
      let quote = word ^ (ones &* 0x22)
      let slash = word ^ (ones &* 0x5c)
      let flags =
        ((quote &- ones) & ~quote) | ((slash &- ones) & ~slash) | ((word &- ones &* 0x20) & ~word)
      let found = flags & (ones &* 0x80)
      if found == 0 {
        at += 8
        continue
      }
      at += found.trailingZeroBitCount / 8
      break
    }
    while at < end {
      let byte = self.byte(at)
      if byte == 0x22 {
        at += 1
        return Text(start: start, end: at - 1, isEscaped: false)
      }
      if byte == 0x5c { return try escapedText(from: start) }
      if byte < 0x20 { break }
      at += 1
    }
    throw JSONError(.malformed, at: at)
  }

  /// The rest of a string from its first backslash on; escapes are checked here, so that `unescape` cannot fail.
  @inline(never)
  private mutating func escapedText(from start: Int) throws(JSONError) -> Text {
    while at < end {
      let byte = self.byte(at)
      if byte == 0x22 {
        at += 1
        return Text(start: start, end: at - 1, isEscaped: true)
      }
      if byte < 0x20 { break }
      at += 1
      guard byte == 0x5c else { continue }
      guard at < end else { break }
      switch self.byte(at) {
      case 0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74: at += 1
      case 0x75:
        let unit = try hex(at + 1)
        at += 5
        if (0xdc00...0xdfff).contains(unit) { throw JSONError(.malformed, at: at - 6) }
        guard (0xd800...0xdbff).contains(unit) else { continue }
        guard at + 6 <= end, self.byte(at) == 0x5c, self.byte(at + 1) == 0x75,
          (0xdc00...0xdfff).contains(try hex(at + 2))
        else { throw JSONError(.malformed, at: at) }
        at += 6
      default: throw JSONError(.malformed, at: at)
      }
    }
    throw JSONError(.malformed, at: at)
  }

  private func hex(_ from: Int) throws(JSONError) -> UInt32 {
    guard from + 4 <= end else { throw JSONError(.malformed, at: end) }
    var value: UInt32 = 0
    for index in from..<(from + 4) {
      let digit: UInt8
      switch byte(index) {
      case let byte where byte &- 48 <= 9: digit = byte &- 48
      case let byte where (byte | 0x20) &- 97 <= 5: digit = (byte | 0x20) &- 87
      default: throw JSONError(.malformed, at: index)
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }

  /// The raw bytes of a text.
  func raw(_ text: Text) -> UnsafeBufferPointer<UInt8> {
    // SAFETY: both ends lie in the scanned bytes.
    unsafe UnsafeBufferPointer(start: base + text.start, count: text.end - text.start)
  }

  /// Writes the text, unescaped, to `out`, which has room for the raw bytes; returns its length, which is never more.
  func unescape(_ text: Text, to out: UnsafeMutablePointer<UInt8>) -> Int {
    var index = text.start
    guard text.isEscaped else {
      // SAFETY: `out` has room for the raw bytes, as the caller promises.
      unsafe out.update(from: base + index, count: text.end - text.start)
      return text.end - text.start
    }
    var length = 0
    func put(_ byte: UInt32) {
      unsafe out[length] = UInt8(truncatingIfNeeded: byte)
      length += 1
    }
    while index < text.end {
      let byte = self.byte(index)
      index += 1
      guard byte == 0x5c else {
        put(UInt32(byte))
        continue
      }
      let kind = self.byte(index)
      index += 1
      switch kind {
      case 0x62: put(0x08)
      case 0x66: put(0x0c)
      case 0x6e: put(0x0a)
      case 0x72: put(0x0d)
      case 0x74: put(0x09)
      case 0x75:
        // `escapedText` has checked the digits and the pairing.
        var scalar = (try? hex(index)) ?? 0xfffd
        index += 4
        if (0xd800...0xdbff).contains(scalar) {
          let low = (try? hex(index + 2)) ?? 0xdc00
          scalar = 0x10000 + ((scalar - 0xd800) << 10) + (low - 0xdc00)
          index += 6
        }
        if scalar < 0x80 {
          put(scalar)
        } else if scalar < 0x800 {
          put(0xc0 | scalar >> 6)
          put(0x80 | scalar & 63)
        } else if scalar < 0x10000 {
          put(0xe0 | scalar >> 12)
          put(0x80 | scalar >> 6 & 63)
          put(0x80 | scalar & 63)
        } else {
          put(0xf0 | scalar >> 18)
          put(0x80 | scalar >> 12 & 63)
          put(0x80 | scalar >> 6 & 63)
          put(0x80 | scalar & 63)
        }
      default: put(UInt32(kind))
      }
    }
    return length
  }

  /// Reads a number, whose first byte is next.
  @inline(__always)
  mutating func number() throws(JSONError) -> Number {
    let start = at
    var isNegative = false
    if at < end, byte(at) == 0x2d {
      isNegative = true
      at += 1
    }
    let firstDigit = at
    var mantissa: UInt64 = 0
    while at < end {
      let digit = byte(at) &- 48
      guard digit <= 9 else { break }
      mantissa = mantissa &* 10 &+ UInt64(digit)
      at += 1
    }
    let whole = at - firstDigit
    guard whole > 0, whole == 1 || byte(firstDigit) != 48 else {
      throw JSONError(.malformed, at: whole > 0 ? firstDigit + 1 : at)
    }
    var places = 0
    var isInteger = true
    if at < end, byte(at) == 0x2e {
      isInteger = false
      at += 1
      let first = at
      while at < end {
        let digit = byte(at) &- 48
        guard digit <= 9 else { break }
        mantissa = mantissa &* 10 &+ UInt64(digit)
        at += 1
      }
      places = at - first
      guard places > 0 else { throw JSONError(.malformed, at: at) }
    }
    var exponent = 0
    if at < end, byte(at) | 0x20 == 0x65 {
      isInteger = false
      at += 1
      var isNegativeExponent = false
      if at < end, byte(at) == 0x2b || byte(at) == 0x2d {
        isNegativeExponent = byte(at) == 0x2d
        at += 1
      }
      let first = at
      while at < end {
        let digit = byte(at) &- 48
        guard digit <= 9 else { break }
        if exponent < 100_000 { exponent = exponent * 10 + Int(digit) }
        at += 1
      }
      guard at > first else { throw JSONError(.malformed, at: at) }
      if isNegativeExponent { exponent = -exponent }
    }
    // Up to 18 digits the mantissa has not wrapped.
    if whole + places <= 18 {
      if isInteger {
        return .integer(isNegative ? -Int64(mantissa) : Int64(mantissa))
      }
      let power = exponent - places
      if mantissa <= 1 << 53, power >= -22, power <= 22 {
        // Both factors are exact, so one rounding gives the nearest float (Clinger 1990).
        let magnitude = Double(mantissa)
        let value =
          power < 0 ? magnitude / Self.powers[-power] : magnitude * Self.powers[power]
        return .double(isNegative ? -value : value)
      }
    }
    return try slowNumber(from: start, isInteger: isInteger)
  }

  private static let powers: InlineArray<23, Double> = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
  ]

  @inline(never)
  private func slowNumber(from start: Int, isInteger: Bool) throws(JSONError) -> Number {
    // SAFETY: both ends lie in the text.
    let text = unsafe String(
      decoding: UnsafeBufferPointer(start: base + start, count: at - start), as: UTF8.self)
    if isInteger, let value = Int64(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else { throw JSONError(.numberOutOfRange, at: start) }
    return isInteger ? .big(value) : .double(value)
  }

  /// Reads `true`, `false` or `null`, whose first byte is next; returns that byte.
  @inline(__always)
  mutating func literal() throws(JSONError) -> UInt8 {
    let start = at
    guard end - at >= 4 else { throw JSONError(.malformed, at: at) }
    let four =
      UInt32(byte(at)) | UInt32(byte(at + 1)) << 8 | UInt32(byte(at + 2)) << 16
      | UInt32(byte(at + 3)) << 24
    switch four {
    case 0x6575_7274, 0x6c6c_756e: at += 4
    case 0x736c_6166:
      guard end - at >= 5, byte(at + 4) == 0x65 else { throw JSONError(.malformed, at: at) }
      at += 5
    default: throw JSONError(.malformed, at: at)
    }
    return byte(start)
  }

  /// Validates one value and passes over it; `depth` is that of what holds it.
  mutating func skip(depth: Int) throws(JSONError) {
    switch next() {
    case 0x22: _ = try text()
    case 0x7b:
      guard depth < Self.depthMax else { throw JSONError(.nestedTooDeep, at: at) }
      at += 1
      if next() == 0x7d {
        at += 1
        return
      }
      while true {
        _ = next()
        _ = try text()
        try expect(0x3a)
        try skip(depth: depth + 1)
        if next() == 0x2c {
          at += 1
          continue
        }
        return try expect(0x7d)
      }
    case 0x5b:
      guard depth < Self.depthMax else { throw JSONError(.nestedTooDeep, at: at) }
      at += 1
      if next() == 0x5d {
        at += 1
        return
      }
      while true {
        try skip(depth: depth + 1)
        if next() == 0x2c {
          at += 1
          continue
        }
        return try expect(0x5d)
      }
    case 0x2d, 0x30...0x39: _ = try number()
    default: _ = try literal()
    }
  }
}
