/// Puts together one line of the log, as JSON or as text.
///
/// Every value is cut to `valueBytesMax` bytes and the line takes no further field beyond `lineBytesMax`, so
/// that it stays within what a pipe takes in one piece.
struct LogLine {
  static let valueBytesMax = 1024
  static let lineBytesMax = 2048
  private static let secretWords = ["password", "passwd", "secret", "token", "credential", "private"]

  private var bytes: [UInt8] = []
  private let json: Bool
  private let secrets: [[UInt8]]

  init(json: Bool, secrets: [[UInt8]]) {
    self.json = json
    self.secrets = secrets
    bytes.reserveCapacity(256)
  }

  mutating func begin(time: Int64, level: LogLevel, message: String) {
    let stamp = Self.timestamp(time)
    if json {
      append("{\"ts\":\"\(stamp)\",\"level\":\"\(level.name)\",\"msg\":")
      appendQuoted(clean(message))
    } else {
      let name = level.name.uppercased()
      append(stamp.dropFirst(11))
      append(" \(name)\(String(repeating: " ", count: 8 - name.utf8.count))")
      appendPrintable(clean(message))
    }
  }

  mutating func add(_ key: String, _ value: LogValue) {
    guard bytes.count < Self.lineBytesMax else { return }
    if json { append(",") } else { append(" ") }
    if json {
      appendQuoted(Array(key.utf8))
      append(":")
    } else {
      appendPrintable(Array(key.utf8))
      append("=")
    }
    let lower = key.lowercased()
    guard !Self.secretWords.contains(where: { lower.contains($0) }) else {
      append(json ? "\"***\"" : "***")
      return
    }
    switch value {
    case .text(let text): appendText(clean(text))
    case .integer(let number): append(String(number))
    // JSON knows no infinities.
    case .number(let number): number.isFinite ? append("\(number)") : appendText(Array("\(number)".utf8))
    case .boolean(let flag): append(flag ? "true" : "false")
    }
  }

  mutating func end() -> [UInt8] {
    if json { append("}") }
    bytes.append(0x0A)
    return bytes
  }

  /// Without secrets, then cut at a whole character. In this order: a cut must not save half a secret
  /// from being seen.
  private func clean(_ text: String) -> [UInt8] {
    var source = Array(text.utf8)
    for secret in secrets where source.count >= secret.count {
      var result: [UInt8] = []
      var at = 0
      while at < source.count {
        if source[at] == secret[0], source.count - at >= secret.count,
          source[at..<(at + secret.count)].elementsEqual(secret)
        {
          result += Array("***".utf8)
          at += secret.count
        } else {
          result.append(source[at])
          at += 1
        }
      }
      source = result
    }
    guard source.count > Self.valueBytesMax else { return source }
    var end = Self.valueBytesMax
    while end > 0 && source[end] & 0xC0 == 0x80 { end -= 1 }
    return source[..<end] + Array("…".utf8)
  }

  private mutating func append(_ text: some StringProtocol) { bytes.append(contentsOf: text.utf8) }

  private mutating func appendText(_ value: [UInt8]) {
    // Text that could be taken for two fields is quoted also for people.
    let plain = !value.isEmpty && value.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3D && $0 != 0x7F }
    if json || !plain { appendQuoted(value) } else { bytes += value }
  }

  private mutating func appendQuoted(_ value: [UInt8]) {
    bytes.append(0x22)
    for byte in value {
      switch byte {
      case 0x22: append("\\\"")
      case 0x5C: append("\\\\")
      case 0x0A: append("\\n")
      case 0x0D: append("\\r")
      case 0x09: append("\\t")
      case 0..<0x20, 0x7F:
        let digits = Array("0123456789abcdef".utf8)
        append("\\u00")
        bytes.append(digits[Int(byte >> 4)])
        bytes.append(digits[Int(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(0x22)
  }

  /// Control characters would let a message forge lines or steer the terminal.
  private mutating func appendPrintable(_ value: [UInt8]) {
    for byte in value { bytes.append(byte < 0x20 || byte == 0x7F ? 0x20 : byte) }
  }

  /// `2013-07-01T18:00:00.250Z` of milliseconds since 1970.
  ///
  /// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
  static func timestamp(_ milliseconds: Int64) -> String {
    func floored(_ a: Int64, _ b: Int64) -> (quotient: Int64, remainder: Int64) {
      let (q, r) = a.quotientAndRemainder(dividingBy: b)
      return r < 0 ? (q - 1, r + b) : (q, r)
    }
    func padded(_ value: Int64, _ width: Int) -> String {
      let digits = String(value)
      return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
    let (days, inDay) = floored(milliseconds, 86_400_000)
    let (era, dayOfEra) = floored(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
      + "\(padded(inDay / 3_600_000, 2)):\(padded(inDay / 60_000 % 60, 2)):"
      + "\(padded(inDay / 1000 % 60, 2)).\(padded(inDay % 1000, 3))Z"
  }
}
