internal import CSimdJSON

/// Appends JSON text to memory of its own, which it keeps: after the first use nothing is allocated.
///
/// Use:      `beginObject()`, then `key` and a value for each member, `endObject()`. Commas are its business,
///           the nesting is the caller's. Documents written one after the other lie back to back, so one writer
///           can hold all outputs of a unit; `count` before and after tells where each lies.
/// Numbers:  the shortest decimal that reads back as the same bits, `Float` as a float; whole numbers below 2^53
///           (2^24) without exponent; negative zero is `-0.0`. JSON has no other numbers, so NaN and
///           infinities are written as `null`.
/// Text:     `"`, `\` and control characters are escaped, all else is written as it is: UTF-8 in, UTF-8 out.
/// Times:    RFC 3339 with milliseconds (`RFC3339`).
/// Cost:     about 25 ns a double, 1 ns a byte of text.
/// Errors:   none.
@safe public struct JSONWriter: ~Copyable {
  private var base: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  /// Bytes written since the last `clear()`.
  public private(set) var count = 0
  private var depth = 0
  private var needsComma = false

  public init(capacity: Int = 1024) {
    self.capacity = max(capacity, 64)
    unsafe base = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
  }

  deinit { unsafe base.deallocate() }

  /// Forgets everything; keeps the memory.
  public mutating func clear() { truncate(to: 0) }

  /// Forgets what was written behind `count`, which stood between two documents: drops an unfinished one.
  public mutating func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "truncate beyond the end")
    self.count = count
    depth = 0
    needsComma = false
  }

  // MARK: What was written

  /// The bytes, lent for the duration of `body`.
  public func withBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    // SAFETY: `count` bytes are initialised and live while `self` is borrowed.
    try unsafe body(UnsafeRawBufferPointer(start: base, count: count))
  }
  public var bytes: [UInt8] { unsafe withBytes { unsafe Array($0) } }
  public var text: String { unsafe withBytes { unsafe String(decoding: $0, as: UTF8.self) } }

  // MARK: Structure

  public mutating func beginObject() { open(0x7b) }
  public mutating func endObject() { close(0x7d) }
  public mutating func beginArray() { open(0x5b) }
  public mutating func endArray() { close(0x5d) }

  /// The name of the member that follows; it must need no escapes.
  public mutating func key(_ name: StaticString) {
    precondition(name.hasPointerRepresentation, "a key of one scalar is spelt as a String")
    // SAFETY: a static string with pointer representation lives forever.
    let bytes = unsafe UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    reserve(bytes.count + 4)
    if needsComma { put(0x2c) }
    put(0x22)
    unsafe copy(bytes)
    put(0x22)
    put(0x3a)
    needsComma = false
  }
  public mutating func key(_ name: String) {
    value(name)
    reserve(1)
    put(0x3a)
    needsComma = false
  }
  /// A line end after a document, for files of one document a line.
  public mutating func newline() {
    reserve(1)
    put(0x0a)
  }

  // MARK: Values

  public mutating func value(_ text: String) {
    var copy = text
    copy.withUTF8 { unsafe value(utf8: UnsafeRawBufferPointer($0)) }
  }
  /// Text as its UTF-8 bytes, which are believed to be valid.
  public mutating func value(utf8 text: UnsafeRawBufferPointer) {
    reserve(text.count * 6 + 3)
    begin()
    put(0x22)
    // SAFETY: `at + 8 <= text.count`, then `at < text.count`; six bytes are reserved for each byte of text.
    var at = 0
    while at <= text.count - 8 {
      // Eight bytes a step while none of them needs an escape; the tests are those of `JSONScanner.text`.
      let ones: UInt64 = 0x0101_0101_0101_0101
      let word = unsafe text.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      let quote = word ^ (ones &* 0x22)
      let slash = word ^ (ones &* 0x5c)
      let flags =
        ((quote &- ones) & ~quote) | ((slash &- ones) & ~slash) | ((word &- ones &* 0x20) & ~word)
      guard flags & (ones &* 0x80) == 0 else { break }
      unsafe UnsafeMutableRawPointer(base + count).storeBytes(of: word, as: UInt64.self)
      count += 8
      at += 8
    }
    while at < text.count {
      let byte = unsafe text[at]
      at += 1
      if byte >= 0x20 && byte != 0x22 && byte != 0x5c { put(byte) } else { escape(byte) }
    }
    put(0x22)
    needsComma = true
  }
  public mutating func value(_ number: Int) { value(Int64(number)) }
  public mutating func value(_ number: Int64) {
    reserve(24)
    begin()
    if number < 0 { put(0x2d) }
    digits(number.magnitude)
    needsComma = true
  }
  public mutating func value(_ number: UInt64) {
    reserve(24)
    begin()
    digits(number)
    needsComma = true
  }
  public mutating func value(_ number: Double) {
    guard number.isFinite else { return null() }
    if number == number.rounded(.towardZero), abs(number) < 0x1p53 { return whole(number) }
    reserve(36)
    begin()
    // SAFETY: at most 32 bytes are written and 36 are reserved.
    unsafe count += mr_format_double(number, base + count)
    needsComma = true
  }
  public mutating func value(_ number: Float) {
    guard number.isFinite else { return null() }
    if number == number.rounded(.towardZero), abs(number) < 0x1p24 { return whole(Double(number)) }
    reserve(36)
    begin()
    // SAFETY: as above.
    unsafe count += mr_format_float(number, base + count)
    needsComma = true
  }
  public mutating func value(_ flag: Bool) { raw(flag ? "true" : "false") }
  public mutating func null() { raw("null") }
  public mutating func value(_ time: EventTime) {
    reserve(RFC3339.byteCountMax + 4)
    begin()
    put(0x22)
    // SAFETY: `byteCountMax` bytes are reserved.
    unsafe count += RFC3339.write(time.milliseconds, to: base + count)
    put(0x22)
    needsComma = true
  }
  /// A value that is JSON text already.
  public mutating func value(json: [UInt8]) {
    reserve(json.count + 1)
    begin()
    unsafe json.withUnsafeBytes { unsafe copy($0) }
    needsComma = true
  }

  // MARK: Helpers

  private mutating func open(_ bracket: UInt8) {
    reserve(2)
    begin()
    put(bracket)
    depth += 1
    needsComma = false
  }
  private mutating func close(_ bracket: UInt8) {
    precondition(depth > 0, "nothing to close")
    reserve(1)
    put(bracket)
    depth -= 1
    needsComma = depth > 0
  }
  private mutating func begin() {
    if needsComma && depth > 0 { put(0x2c) }
  }
  private mutating func whole(_ number: Double) {
    if number == 0 && number.sign == .minus { return raw("-0.0") }
    value(Int64(number))
  }
  private mutating func raw(_ text: StaticString) {
    reserve(8)
    begin()
    // SAFETY: called with ASCII literals of at most five bytes.
    unsafe copy(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    needsComma = true
  }
  private mutating func digits(_ number: UInt64) {
    var left = number
    var places = 1
    while left >= 10 {
      left /= 10
      places += 1
    }
    left = number
    for place in stride(from: count + places - 1, through: count, by: -1) {
      // SAFETY: callers reserve 24 bytes; 64 bits have at most 20 digits.
      unsafe base[place] = 48 + UInt8(truncatingIfNeeded: left % 10)
      left /= 10
    }
    count += places
  }
  private mutating func escape(_ byte: UInt8) {
    put(0x5c)
    switch byte {
    case 0x22, 0x5c: put(byte)
    case 0x08: put(0x62)
    case 0x09: put(0x74)
    case 0x0a: put(0x6e)
    case 0x0c: put(0x66)
    case 0x0d: put(0x72)
    default:
      put(0x75)
      put(0x30)
      put(0x30)
      put(byte < 16 ? 0x30 : 0x31)
      let low = byte & 15
      put(low < 10 ? 48 + low : 87 + low)
    }
  }
  /// Invariant: the caller has reserved the byte.
  private mutating func put(_ byte: UInt8) {
    // SAFETY: reserved by the caller.
    unsafe base[count] = byte
    count += 1
  }
  /// Invariant: the caller has reserved the bytes.
  private mutating func copy(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    // SAFETY: reserved by the caller; a source never lies in this writer's memory.
    unsafe UnsafeMutableRawPointer(base + count).copyMemory(from: start, byteCount: bytes.count)
    count += bytes.count
  }
  private mutating func reserve(_ more: Int) {
    if capacity - count < more { grow(more) }
  }
  @inline(never)
  private mutating func grow(_ more: Int) {
    let larger = max(capacity * 2, count + more)
    // SAFETY: the first `count` bytes are initialised; the old memory is freed once.
    let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    unsafe fresh.update(from: base, count: count)
    unsafe base.deallocate()
    unsafe base = fresh
    capacity = larger
  }
}
