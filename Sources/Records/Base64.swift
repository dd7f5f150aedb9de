/// Base64 with the standard alphabet and padding; one text for each byte string and no other.
///
/// Errors:   `decode` is nil for blanks, line ends, missing or excess padding and non-zero trailing bits.
/// Source:   RFC 4648 section 4, read strictly (sections 3.2, 3.3 and 3.5).
public enum Base64 {
  private static let alphabet = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  public static func encode(_ bytes: [UInt8]) -> String {
    var result: [UInt8] = []
    result.reserveCapacity((bytes.count + 2) / 3 * 4)
    var at = 0
    while at < bytes.count {
      let left = bytes.count - at
      let group =
        UInt32(bytes[at]) << 16 | (left > 1 ? UInt32(bytes[at + 1]) << 8 : 0)
        | (left > 2 ? UInt32(bytes[at + 2]) : 0)
      result.append(alphabet[Int(group >> 18)])
      result.append(alphabet[Int(group >> 12 & 63)])
      result.append(left > 1 ? alphabet[Int(group >> 6 & 63)] : 61)
      result.append(left > 2 ? alphabet[Int(group & 63)] : 61)
      at += 3
    }
    return String(decoding: result, as: UTF8.self)
  }

  public static func decode(_ text: some StringProtocol) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count % 4 == 0 else { return nil }
    var result: [UInt8] = []
    result.reserveCapacity(characters.count / 4 * 3)
    var at = 0
    while at < characters.count {
      let isLast = at + 4 == characters.count
      let padding =
        !isLast || characters[at + 3] != 61 ? 0 : (characters[at + 2] == 61 ? 2 : 1)
      var group: UInt32 = 0
      for index in 0..<4 {
        var bits: UInt32 = 0
        if index < 4 - padding {
          guard let value = value(of: characters[at + index]) else { return nil }
          bits = value
        }
        group = group << 6 | bits
      }
      // The bits that padding cuts off must be zero, or two texts would mean the same bytes.
      guard group & (padding == 2 ? 0xffff : padding == 1 ? 0xff : 0) == 0 else { return nil }
      result.append(UInt8(truncatingIfNeeded: group >> 16))
      if padding < 2 { result.append(UInt8(truncatingIfNeeded: group >> 8)) }
      if padding < 1 { result.append(UInt8(truncatingIfNeeded: group)) }
      at += 4
    }
    return result
  }

  private static func value(of character: UInt8) -> UInt32? {
    switch character {
    case 65...90: UInt32(character) - 65
    case 97...122: UInt32(character) - 71
    case 48...57: UInt32(character) + 4
    case 43: 62
    case 47: 63
    default: nil
    }
  }
}
