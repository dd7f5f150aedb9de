/// Event times as text, read strictly and written with milliseconds and `Z`.
///
/// Accepted: `YYYY-MM-DDTHH:MM:SS[.digits](Z|±HH:MM)`, upper case, a date that exists. Digits beyond the
///           milliseconds are cut off. Second 60 only where leap seconds are put, at the end of 30 June or
///           31 December in UTC; it counts as the second that follows, as in POSIX time.
/// Written:  24 bytes for the years 0000 to 9999; `±YYYYYY-…` beyond, as ECMA-262 has it, which is not read.
/// Source:   RFC 3339 section 5.6; days from the civil calendar as in Howard Hinnant's "chrono-compatible
///           low-level date algorithms".
public enum RFC3339 {
  /// Milliseconds since 1970 furthest from it that a time may be: ±100 million days, the range of ECMA-262.
  public static let millisecondsMax: Int64 = 8_640_000_000_000_000
  /// Longest text that `write` appends.
  static let byteCountMax = 27

  /// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
  static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  /// The inverse of `days`.
  static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }

  static func monthDays(year: Int64, month: Int64) -> Int64 {
    switch month {
    case 4, 6, 9, 11: 30
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    default: 31
    }
  }

  /// Milliseconds since 1970; nil for anything but the texts above.
  static func parse(_ text: UnsafeRawBufferPointer) -> Int64? {
    let count = text.count
    guard count >= 20 else { return nil }
    // -1 for anything that is not two digits; `at + 1` is always below `count` where this is called.
    func pair(_ at: Int) -> Int64 {
      let high = unsafe text[at] &- 48
      let low = unsafe text[at + 1] &- 48
      return high <= 9 && low <= 9 ? Int64(high) * 10 + Int64(low) : -1
    }
    // SAFETY: twenty bytes are there; the buffer checks further indices in debug builds and `at` is compared.
    guard unsafe text[4] == 45, unsafe text[7] == 45, unsafe text[10] == 84, unsafe text[13] == 58,
      unsafe text[16] == 58
    else { return nil }
    let century = pair(0)
    let yearOfCentury = pair(2)
    let month = pair(5)
    let day = pair(8)
    let hour = pair(11)
    let minute = pair(14)
    let second = pair(17)
    guard century >= 0, yearOfCentury >= 0, (1...12).contains(month), day >= 1, (0...23).contains(hour),
      (0...59).contains(minute), (0...60).contains(second)
    else { return nil }
    let year = century * 100 + yearOfCentury
    guard day <= monthDays(year: year, month: month) else { return nil }
    var at = 19
    var milliseconds: Int64 = 0
    if unsafe text[at] == 46 {
      at += 1
      let start = at
      var scale: Int64 = 100
      while at < count {
        let digit = unsafe text[at] &- 48
        guard digit <= 9 else { break }
        milliseconds += Int64(digit) * scale
        scale /= 10
        at += 1
      }
      guard at > start, at < count else { return nil }
    }
    var offsetMinutes: Int64 = 0
    switch unsafe text[at] {
    case 90:
      guard at + 1 == count else { return nil }
    case 43, 45:
      guard at + 6 == count, unsafe text[at + 3] == 58 else { return nil }
      let hours = pair(at + 1)
      let minutes = pair(at + 4)
      guard (0...23).contains(hours), (0...59).contains(minutes) else { return nil }
      offsetMinutes = hours * 60 + minutes
      if unsafe text[at] == 45 { offsetMinutes = -offsetMinutes }
    default: return nil
    }
    let days = days(year: year, month: month, day: day)
    let seconds = days * 86_400 + hour * 3600 + (minute - offsetMinutes) * 60 + second
    if second == 60 {
      // Where it may stand, the second after it opens 1 July or 1 January.
      guard seconds % 86_400 == 0 else { return nil }
      let next = civil(days: seconds / 86_400)
      guard next.day == 1, next.month == 1 || next.month == 7 else { return nil }
    }
    return seconds * 1000 + milliseconds
  }

  /// Appends the text; `milliseconds` beyond the range are held to its end. Returns the number of bytes.
  static func write(_ milliseconds: Int64, to out: UnsafeMutablePointer<UInt8>) -> Int {
    let held = min(max(milliseconds, -millisecondsMax), millisecondsMax)
    var day = held / 86_400_000
    var rest = held % 86_400_000
    if rest < 0 {
      rest += 86_400_000
      day -= 1
    }
    let date = civil(days: day)
    var at = 0
    // SAFETY (all stores): the caller gives `byteCountMax` bytes, and the fields below add up to at most that.
    func pair(_ value: Int64, at: Int) {
      let tens = UInt8(truncatingIfNeeded: UInt32(truncatingIfNeeded: value) / 10)
      unsafe out[at] = 48 + tens
      unsafe out[at + 1] = 48 + UInt8(truncatingIfNeeded: value) &- tens &* 10
    }
    var year = date.year
    if year < 0 || year > 9999 {
      unsafe out[0] = year < 0 ? 45 : 43
      year = abs(year)
      pair(year / 10_000, at: 1)
      at = 3
    }
    pair(year / 100 % 100, at: at)
    pair(year % 100, at: at + 2)
    unsafe out[at + 4] = 45
    pair(date.month, at: at + 5)
    unsafe out[at + 7] = 45
    pair(date.day, at: at + 8)
    unsafe out[at + 10] = 84
    let second = rest / 1000
    pair(second / 3600, at: at + 11)
    unsafe out[at + 13] = 58
    pair(second / 60 % 60, at: at + 14)
    unsafe out[at + 16] = 58
    pair(second % 60, at: at + 17)
    unsafe out[at + 19] = 46
    let milli = rest % 1000
    unsafe out[at + 20] = 48 + UInt8(truncatingIfNeeded: milli / 100)
    pair(milli % 100, at: at + 21)
    unsafe out[at + 23] = 90
    at += 24
    return at
  }
}

extension EventTime: CustomStringConvertible {
  /// Reads RFC 3339 text as `RFC3339` says; nil for anything else.
  public init?(rfc3339 text: String) {
    var copy = text
    let parsed = copy.withUTF8 { unsafe RFC3339.parse(UnsafeRawBufferPointer($0)) }
    guard let parsed else { return nil }
    self.init(milliseconds: parsed)
  }

  /// RFC 3339 with milliseconds, in UTC.
  public var rfc3339: String {
    unsafe String(unsafeUninitializedCapacity: RFC3339.byteCountMax + 1) { buffer in
      // SAFETY: the buffer has at least the capacity asked for, which is not zero.
      unsafe RFC3339.write(milliseconds, to: buffer.baseAddress!)
    }
  }

  public var description: String { rfc3339 }
}
