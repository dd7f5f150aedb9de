/// Headers of one record in one run of bytes, so that they can be carried without a list of strings.
///
/// Layout:   per header a varint name length, the name's UTF-8, a varint of 0 (no value) or 1 + the value's
///           length, the value. No header count: the bytes end.
/// Cost:     none beyond the bytes; `removeAll` keeps their memory.
public struct HeaderBlock: Hashable, Sendable {
  public private(set) var bytes: [UInt8] = []
  public init() {}
  public init(bytes: [UInt8]) { self.bytes = bytes }

  public var isEmpty: Bool { bytes.isEmpty }

  public mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  public mutating func append(_ name: String, _ value: [UInt8]?) {
    if let value {
      // SAFETY: bytes have no padding.
      unsafe append(name: name.utf8Span.span.bytes, value: value.span.bytes)
    } else {
      unsafe append(name: name.utf8Span.span.bytes, value: nil)
    }
  }
  public mutating func append(_ name: String, _ value: String) {
    // SAFETY: as above.
    unsafe append(name: name.utf8Span.span.bytes, value: value.utf8Span.span.bytes)
  }
  public mutating func append(name: RawSpan, value: RawSpan?) {
    appendVarint(UInt64(name.byteCount))
    append(name)
    guard let value else {
      appendVarint(0)
      return
    }
    appendVarint(UInt64(value.byteCount) + 1)
    append(value)
  }

  private mutating func append(_ span: RawSpan) {
    // SAFETY: the bytes are copied while they are lent.
    unsafe span.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
  }
  private mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  /// The headers as text and bytes, for tests and tools; nil if the bytes are not a block.
  public var list: [(name: String, value: [UInt8]?)]? {
    var list: [(name: String, value: [UInt8]?)] = []
    let whole = unsafe Self.forEach(in: bytes.span.bytes) { name, value in
      // SAFETY: the bytes are copied while they are lent.
      let text = unsafe name.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
      if let value {
        list.append((text, unsafe value.withUnsafeBytes { unsafe Array($0) }))
      } else {
        list.append((text, nil))
      }
    }
    return whole ? list : nil
  }

  /// Lends every header; false, after those before it, when the bytes stop being a block.
  public static func forEach(in block: RawSpan, _ body: (_ name: RawSpan, _ value: RawSpan?) -> Void) -> Bool {
    var at = 0
    let end = block.byteCount
    func varint() -> Int? {
      var value: UInt64 = 0
      var shift: UInt64 = 0
      while at < end, shift < 35 {
        // SAFETY: `at` is below the span's count.
        let byte = unsafe block.unsafeLoad(fromByteOffset: at, as: UInt8.self)
        at += 1
        value |= UInt64(byte & 0x7f) << shift
        if byte & 0x80 == 0 { return Int(value) }
        shift += 7
      }
      return nil
    }
    while at < end {
      guard let nameLength = varint(), nameLength <= end - at else { return false }
      let name = block.extracting(at..<(at + nameLength))
      at += nameLength
      guard let mark = varint(), mark - 1 <= end - at else { return false }
      if mark == 0 {
        body(name, nil)
      } else {
        body(name, block.extracting(at..<(at + mark - 1)))
        at += mark - 1
      }
    }
    return true
  }
}
