/// The members of one JSON object as they stand in its bytes: no tree, no value written anew.
///
/// Accepts:  one object of the input language of `JSONScanner` and nothing around it but blanks. Names may come
///           twice; `duplicate` tells.
/// Cost:     one pass, one small allocation a member.
/// Errors:   `JSONError` with the byte offset; anything that is no object is `malformed`.
public struct JSONMembers: Sendable {
  public enum Kind: Sendable, Hashable {
    case null, bool(Bool), integer(Int64)
    /// Written with fraction or exponent, or beyond 64 bits.
    case number
    case string, array, object
  }
  public struct Member: Sendable {
    public var name: [UInt8]
    public var kind: Kind
    /// Where the value stands, quotes and brackets included.
    public var range: Range<Int>
    /// Unescaped text of a string; empty for all else.
    public var text: [UInt8]
  }

  public private(set) var members: [Member] = []

  public init(scanning bytes: [UInt8]) throws(JSONError) {
    // Why a result: closures over pointers rethrow, and the type of the error would be lost.
    let result: Result<[Member], JSONError> = unsafe bytes.withUnsafeBufferPointer { buffer in
      // SAFETY: the scanner does not outlive the closure that lends the buffer.
      var scanner = unsafe JSONScanner(buffer)
      do throws(JSONError) {
        try scanner.checkUTF8()
        let members = try Self.read(&scanner)
        try scanner.expectEnd()
        return .success(members)
      } catch {
        return .failure(error)
      }
    }
    members = try result.get()
  }

  /// The first member of that name.
  public subscript(name: String) -> Member? {
    members.first { $0.name.elementsEqual(name.utf8) }
  }

  /// A name that comes twice.
  public var duplicate: String? {
    var seen = Set<[UInt8]>()
    return members.first { !seen.insert($0.name).inserted }.map { String(decoding: $0.name, as: UTF8.self) }
  }

  private static func read(_ scanner: inout JSONScanner) throws(JSONError) -> [Member] {
    var members: [Member] = []
    try scanner.expect(0x7b)
    if scanner.next() == 0x7d {
      scanner.at += 1
      return []
    }
    while true {
      _ = scanner.next()
      let name = try text(&scanner)
      try scanner.expect(0x3a)
      let first = scanner.next()
      let start = scanner.at
      var kind: Kind
      var value: [UInt8] = []
      switch first {
      case 0x22:
        value = try text(&scanner)
        kind = .string
      case 0x7b, 0x5b:
        try scanner.skip(depth: 1)
        kind = first == 0x7b ? .object : .array
      case 0x2d, 0x30...0x39:
        if case .integer(let integer) = try scanner.number() {
          kind = .integer(integer)
        } else {
          kind = .number
        }
      default:
        switch try scanner.literal() {
        case 0x74: kind = .bool(true)
        case 0x66: kind = .bool(false)
        default: kind = .null
        }
      }
      members.append(Member(name: name, kind: kind, range: start..<scanner.at, text: value))
      if scanner.next() == 0x2c {
        scanner.at += 1
        continue
      }
      try scanner.expect(0x7d)
      return members
    }
  }

  private static func text(_ scanner: inout JSONScanner) throws(JSONError) -> [UInt8] {
    let text = try scanner.text()
    let room = text.end - text.start
    return unsafe Array(unsafeUninitializedCapacity: room) { buffer, count in
      guard let base = buffer.baseAddress else { return }
      // SAFETY: unescaped text is never longer than its raw bytes, for which the capacity was asked.
      count = unsafe scanner.unescape(text, to: base)
    }
  }
}
