import Records

// TZif, RFC 8536 / RFC 9636. Big-endian. A header of 44 bytes:
//   magic "TZif" | version (0, '2', '3' or '4') | 15 zero bytes
//   six counts of 32 bits: isutc, isstd, leap, time, type, char
// then a data block: times (4 bytes each in version 1, else 8), one type index each, types of
// 6 bytes (offset i32, isdst u8, name u8), names, leap seconds (time + 4 bytes), isstd, isutc.
// From version 2 on a second header and block with 8-byte times follow, then a footer:
// '\n', the POSIX TZ rule for later times (may be empty), '\n'. Leap seconds are not applied.

extension TimeZoneRules {
  /// Reads a compiled zone file of any version.
  ///
  /// Errors: `FormatError` with the place; never traps, whatever the bytes.
  public init(tzif bytes: [UInt8]) throws(FormatError) {
    var reader = BigEndianReader(bytes)
    let first = try TZifHeader(&reader)
    guard first.version > 0 else {
      self = try first.block(&reader, timeBytes: 4, footer: false)
      return
    }
    try reader.skip(first.blockBytes(timeBytes: 4), "version 1 block")
    let second = try TZifHeader(&reader)
    self = try second.block(&reader, timeBytes: 8, footer: true)
  }
}

/// Big-endian reading with every length checked.
private struct BigEndianReader {
  let bytes: [UInt8]
  var position = 0
  init(_ bytes: [UInt8]) { self.bytes = bytes }

  func need(_ count: Int, _ field: StaticString) throws(FormatError) {
    guard count >= 0, bytes.count - position >= count else {
      throw FormatError(.truncated, at: position, field: field)
    }
  }
  mutating func skip(_ count: Int, _ field: StaticString) throws(FormatError) {
    try need(count, field)
    position += count
  }
  mutating func read(_ count: Int, _ field: StaticString) throws(FormatError) -> UInt64 {
    try need(count, field)
    var value: UInt64 = 0
    for _ in 0..<count {
      value = value << 8 | UInt64(bytes[position])
      position += 1
    }
    return value
  }
}

private struct TZifHeader {
  var version: UInt8
  var isUTC, isStandard, leap, time, type, names: Int

  init(_ reader: inout BigEndianReader) throws(FormatError) {
    guard try reader.read(4, "magic") == 0x545A_6966 else {
      throw FormatError(.badMagic, at: reader.position, field: "magic")
    }
    version = UInt8(try reader.read(1, "version"))
    guard version == 0 || (0x32...0x39).contains(version) else {
      throw FormatError(.unsupportedVersion, at: reader.position, field: "version")
    }
    try reader.skip(15, "header")
    isUTC = Int(try reader.read(4, "count"))
    isStandard = Int(try reader.read(4, "count"))
    leap = Int(try reader.read(4, "count"))
    time = Int(try reader.read(4, "count"))
    type = Int(try reader.read(4, "count"))
    names = Int(try reader.read(4, "count"))
  }

  func blockBytes(timeBytes: Int) -> Int {
    time * (timeBytes + 1) + type * 6 + names + leap * (timeBytes + 4) + isStandard + isUTC
  }

  func block(
    _ reader: inout BigEndianReader, timeBytes: Int, footer: Bool
  ) throws(FormatError) -> TimeZoneRules {
    try reader.need(blockBytes(timeBytes: timeBytes), "data block")
    guard type > 0 else { throw FormatError(.invalidValue, at: reader.position, field: "types") }
    var times: [Int64] = []
    for _ in 0..<time {
      let raw = try reader.read(timeBytes, "time")
      times.append(timeBytes == 8 ? Int64(bitPattern: raw) : Int64(Int32(truncatingIfNeeded: raw)))
    }
    var indices: [Int] = []
    for _ in 0..<time {
      let index = Int(try reader.read(1, "type index"))
      guard index < type else {
        throw FormatError(.invalidValue, at: reader.position, field: "type index")
      }
      indices.append(index)
    }
    var offsets: [Int32] = []
    for _ in 0..<type {
      offsets.append(Int32(truncatingIfNeeded: try reader.read(4, "offset")))
      try reader.skip(2, "type")
    }
    try reader.skip(names + leap * (timeBytes + 4) + isStandard + isUTC, "data block")
    let rule = footer ? try Self.footer(&reader) : nil

    // Instants beyond what milliseconds hold say nothing about any record.
    var transitions: [Int64] = []
    var changes: [Int32] = []
    var initial = offsets[0]
    for (at, index) in zip(times, indices) {
      guard at > -(1 << 52) else {
        initial = offsets[index]
        continue
      }
      guard at < 1 << 52 else { break }
      transitions.append(at * 1000)
      changes.append(offsets[index])
    }
    guard
      let rules = TimeZoneRules(
        transitions: transitions, offsets: changes, initialOffset: initial, rule: rule)
    else { throw FormatError(.invalidValue, at: reader.position, field: "transitions") }
    return rules
  }

  private static func footer(_ reader: inout BigEndianReader) throws(FormatError) -> YearlyRule? {
    let start = reader.position
    guard try reader.read(1, "footer") == 10 else {
      throw FormatError(.invalidValue, at: start, field: "footer")
    }
    var text: [UInt8] = []
    while true {
      let byte = UInt8(try reader.read(1, "footer"))
      if byte == 10 { break }
      text.append(byte)
    }
    if text.isEmpty { return nil }
    var parser = PosixRuleParser(text)
    guard let rule = parser.rule() else {
      throw FormatError(.invalidValue, at: start, field: "footer")
    }
    return rule
  }
}

/// `EST5EDT,M3.2.0,M11.1.0/2` and its kin; hours up to ±167 as RFC 8536 allows.
struct PosixRuleParser {
  private let text: [UInt8]
  private var at = 0
  init(_ text: [UInt8]) { self.text = text }

  mutating func rule() -> YearlyRule? {
    guard name(), let west = time(hoursMax: 24) else { return nil }
    let standard = Int32(-west)
    if at == text.count {
      return YearlyRule(standard: standard, daylight: standard, starts: nil, ends: nil)
    }
    guard name() else { return nil }
    var daylight = standard + 3600
    if at < text.count, text[at] != 0x2C {
      guard let west = time(hoursMax: 24) else { return nil }
      daylight = Int32(-west)
    }
    guard take(0x2C), let starts = change(), take(0x2C), let ends = change(), at == text.count
    else { return nil }
    return YearlyRule(standard: standard, daylight: daylight, starts: starts, ends: ends)
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard at < text.count, text[at] == byte else { return false }
    at += 1
    return true
  }

  /// `EST` or `<+0330>`.
  private mutating func name() -> Bool {
    if take(0x3C) {
      while at < text.count, text[at] != 0x3E { at += 1 }
      return take(0x3E)
    }
    let start = at
    while at < text.count, (0x41...0x5A).contains(text[at] & 0xDF) { at += 1 }
    return at - start >= 3
  }

  private mutating func number(max: Int64) -> Int64? {
    let start = at
    var value: Int64 = 0
    while at < text.count, (0x30...0x39).contains(text[at]), at - start < 4 {
      value = value * 10 + Int64(text[at] - 0x30)
      at += 1
    }
    return at > start && value <= max ? value : nil
  }

  /// `[+-]hh[:mm[:ss]]` in seconds.
  private mutating func time(hoursMax: Int64) -> Int64? {
    let negative = take(0x2D)
    if !negative { _ = take(0x2B) }
    guard let hours = number(max: hoursMax) else { return nil }
    var seconds = hours * 3600
    if take(0x3A) {
      guard let minutes = number(max: 59) else { return nil }
      seconds += minutes * 60
      if take(0x3A) {
        guard let rest = number(max: 59) else { return nil }
        seconds += rest
      }
    }
    return negative ? -seconds : seconds
  }

  private mutating func change() -> YearlyRule.Change? {
    let day: YearlyRule.Change.Day
    if take(0x4D) {
      guard let month = number(max: 12), month > 0, take(0x2E), let week = number(max: 5), week > 0,
        take(0x2E), let weekday = number(max: 6)
      else { return nil }
      day = .monthWeekDay(month, week, weekday)
    } else if take(0x4A) {
      guard let n = number(max: 365), n > 0 else { return nil }
      day = .julian(n)
    } else {
      guard let n = number(max: 365) else { return nil }
      day = .ordinal(n)
    }
    var seconds: Int64 = 7200
    if take(0x2F) {
      guard let given = time(hoursMax: 167) else { return nil }
      seconds = given
    }
    return YearlyRule.Change(day: day, seconds: seconds)
  }
}
