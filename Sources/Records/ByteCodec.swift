/// Why bytes that should follow one of our formats do not.
public struct FormatError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Reason: Hashable, Sendable {
    case truncated, badMagic, unsupportedVersion, badChecksum, invalidValue, trailingBytes
  }
  public var reason: Reason
  /// Byte offset at which reading stopped.
  public var at: Int
  /// Which field or section, in the words of the format's head comment.
  public var field: StaticString

  public init(_ reason: Reason, at: Int, field: StaticString = "") {
    self.reason = reason
    self.at = at
    self.field = field
  }
  public static func == (a: Self, b: Self) -> Bool { a.reason == b.reason && a.at == b.at }
  public func hash(into hasher: inout Hasher) {
    hasher.combine(reason)
    hasher.combine(at)
  }
  public var description: String { "\(reason) field=\(field) at=\(at)" }
}

/// Appends little-endian values to bytes it owns. The twin of `ByteReader`.
public struct ByteWriter: Sendable {
  public var bytes: [UInt8]
  @inlinable public init(capacity: Int = 0) {
    bytes = []
    bytes.reserveCapacity(capacity)
  }

  @inlinable public var count: Int { bytes.count }

  @inlinable public mutating func write<T: FixedWidthInteger>(_ value: T) {
    var rest = value.littleEndian
    for _ in 0..<(T.bitWidth / 8) {
      bytes.append(UInt8(truncatingIfNeeded: rest))
      if T.bitWidth > 8 { rest >>= 8 }
    }
  }
  @inlinable public mutating func write(_ value: Float) { write(value.bitPattern) }
  @inlinable public mutating func write(_ value: Double) { write(value.bitPattern) }
  @inlinable public mutating func write(_ value: Bool) { bytes.append(value ? 1 : 0) }

  /// LEB128: seven bits a byte, lowest first.
  @inlinable public mutating func writeVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }
  /// Zigzag, so that small negative numbers stay short.
  @inlinable public mutating func writeSignedVarint(_ value: Int64) {
    writeVarint(UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }
  @inlinable public mutating func write(raw: [UInt8]) { bytes.append(contentsOf: raw) }
  @inlinable public mutating func write(raw: ArraySlice<UInt8>) { bytes.append(contentsOf: raw) }
  /// A varint length, then the bytes.
  @inlinable public mutating func write(sized: [UInt8]) {
    writeVarint(UInt64(sized.count))
    bytes.append(contentsOf: sized)
  }
  /// A varint length, then UTF-8.
  @inlinable public mutating func write(_ text: String) {
    writeVarint(UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }
}

/// Reads what `ByteWriter` wrote; every length is checked against what is there before it is believed.
///
/// Errors: `FormatError` with the place; never traps, whatever the bytes.
public struct ByteReader: Sendable {
  @usableFromInline let bytes: [UInt8]
  @usableFromInline var place: Int
  @usableFromInline let end: Int
  @inlinable public var position: Int { place }

  public init(_ bytes: [UInt8]) {
    self.bytes = bytes
    place = 0
    end = bytes.count
  }
  public init(_ slice: ArraySlice<UInt8>) { self.init(Array(slice)) }

  @inlinable public var remaining: Int { end - position }
  @inlinable public var isAtEnd: Bool { position == end }

  @inlinable public mutating func read<T: FixedWidthInteger>(
    _: T.Type, _ field: StaticString = ""
  ) throws(FormatError) -> T {
    let width = T.bitWidth / 8
    guard remaining >= width else { throw FormatError(.truncated, at: position, field: field) }
    var value: T = 0
    for index in 0..<width {
      value |= T(truncatingIfNeeded: bytes[position + index]) << T(truncatingIfNeeded: 8 * index)
    }
    place += width
    return value
  }
  @inlinable public mutating func readFloat(_ field: StaticString = "") throws(FormatError) -> Float {
    Float(bitPattern: try read(UInt32.self, field))
  }
  @inlinable public mutating func readDouble(_ field: StaticString = "") throws(FormatError) -> Double {
    Double(bitPattern: try read(UInt64.self, field))
  }
  @inlinable public mutating func readBool(_ field: StaticString = "") throws(FormatError) -> Bool {
    let at = position
    switch try read(UInt8.self, field) {
    case 0: return false
    case 1: return true
    default: throw FormatError(.invalidValue, at: at, field: field)
    }
  }
  @inlinable public mutating func readVarint(_ field: StaticString = "") throws(FormatError) -> UInt64 {
    let start = position
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let byte = try read(UInt8.self, field)
      if shift == 63 && byte > 1 { throw FormatError(.invalidValue, at: start, field: field) }
      value |= UInt64(byte & 0x7f) << shift
      if byte & 0x80 == 0 { return value }
      shift += 7
      if shift > 63 { throw FormatError(.invalidValue, at: start, field: field) }
    }
  }
  @inlinable public mutating func readSignedVarint(_ field: StaticString = "") throws(FormatError) -> Int64 {
    let raw = try readVarint(field)
    return Int64(bitPattern: (raw >> 1) ^ (0 &- (raw & 1)))
  }
  /// A varint that counts things of at least `itemBytes` bytes each, so that no count exceeds what is left.
  @inlinable public mutating func readCount(
    itemBytes: Int = 1, _ field: StaticString = ""
  ) throws(FormatError) -> Int {
    let at = position
    let raw = try readVarint(field)
    guard raw <= UInt64(remaining / max(itemBytes, 1)) else {
      throw FormatError(.truncated, at: at, field: field)
    }
    return Int(raw)
  }
  public mutating func readRaw(
    _ count: Int, _ field: StaticString = ""
  ) throws(FormatError) -> [UInt8] {
    guard count >= 0, remaining >= count else {
      throw FormatError(.truncated, at: position, field: field)
    }
    defer { place += count }
    return Array(bytes[position..<(position + count)])
  }
  public mutating func readSized(_ field: StaticString = "") throws(FormatError) -> [UInt8] {
    try readRaw(try readCount(field), field)
  }
  public mutating func readString(_ field: StaticString = "") throws(FormatError) -> String {
    let at = position
    let raw = try readSized(field)
    guard let text = String(validating: raw, as: UTF8.self) else {
      throw FormatError(.invalidValue, at: at, field: field)
    }
    return text
  }
  /// Throws unless everything was read.
  public func expectEnd() throws(FormatError) {
    guard isAtEnd else { throw FormatError(.trailingBytes, at: position) }
  }
}
