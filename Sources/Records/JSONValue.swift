/// A JSON document as a tree, for commands, status and files: never for events.
///
/// Accepts:  the input language of `JSONScanner`; a name given twice in one object is refused too. Members keep
///           their order.
/// Numbers:  `integer` if written without fraction and exponent and within 64 bits, else `number`.
/// Errors:   `JSONError` with the byte offset.
public enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([Member])

  public struct Member: Hashable, Sendable {
    public var name: String
    public var value: JSONValue
    public init(_ name: String, _ value: JSONValue) {
      self.name = name
      self.value = value
    }
  }

  public init(parsing bytes: [UInt8]) throws(JSONError) {
    // Why a result: closures over pointers rethrow, and the type of the error would be lost.
    let result: Result<JSONValue, JSONError> = unsafe bytes.withUnsafeBufferPointer { buffer in
      // SAFETY: the scanner does not outlive the closure that lends the buffer.
      var scanner = unsafe JSONScanner(buffer)
      do throws(JSONError) {
        try scanner.checkUTF8()
        let value = try Self.read(&scanner, depth: 0)
        try scanner.expectEnd()
        return .success(value)
      } catch {
        return .failure(error)
      }
    }
    self = try result.get()
  }
  public init(parsing text: String) throws(JSONError) { try self.init(parsing: Array(text.utf8)) }

  private static func read(_ scanner: inout JSONScanner, depth: Int) throws(JSONError) -> JSONValue {
    switch scanner.next() {
    case 0x22: return .string(try string(&scanner))
    case 0x7b:
      guard depth < JSONScanner.depthMax else { throw JSONError(.nestedTooDeep, at: scanner.at) }
      scanner.at += 1
      var members: [Member] = []
      if scanner.next() == 0x7d {
        scanner.at += 1
        return .object([])
      }
      var names: Set<[UInt8]> = []
      while true {
        _ = scanner.next()
        let at = scanner.at
        let name = try string(&scanner)
        // Why bytes: `String` equality is canonical equivalence, under which distinct names may be equal.
        guard names.insert(Array(name.utf8)).inserted else {
          throw JSONError(.duplicateKey, at: at)
        }
        try scanner.expect(0x3a)
        members.append(Member(name, try read(&scanner, depth: depth + 1)))
        if scanner.next() == 0x2c {
          scanner.at += 1
          continue
        }
        try scanner.expect(0x7d)
        return .object(members)
      }
    case 0x5b:
      guard depth < JSONScanner.depthMax else { throw JSONError(.nestedTooDeep, at: scanner.at) }
      scanner.at += 1
      var elements: [JSONValue] = []
      if scanner.next() == 0x5d {
        scanner.at += 1
        return .array([])
      }
      while true {
        elements.append(try read(&scanner, depth: depth + 1))
        if scanner.next() == 0x2c {
          scanner.at += 1
          continue
        }
        try scanner.expect(0x5d)
        return .array(elements)
      }
    case 0x2d, 0x30...0x39:
      switch try scanner.number() {
      case .integer(let value): return .integer(value)
      case .big(let value), .double(let value): return .number(value)
      }
    default:
      switch try scanner.literal() {
      case 0x74: return .bool(true)
      case 0x66: return .bool(false)
      default: return .null
      }
    }
  }

  private static func string(_ scanner: inout JSONScanner) throws(JSONError) -> String {
    let text = try scanner.text()
    return unsafe String(unsafeUninitializedCapacity: max(text.end - text.start, 1)) { buffer in
      // SAFETY: unescaped text is never longer than its raw bytes, for which the capacity was asked.
      unsafe scanner.unescape(text, to: buffer.baseAddress!)
    }
  }

  // MARK: Reading

  /// The value of the member `name`; nil if there is none or this is no object.
  public subscript(name: String) -> JSONValue? { members?.first { $0.name == name }?.value }
  public var isNull: Bool { self == .null }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
  /// The number, whichever way it is written.
  public var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  public var members: [Member]? { if case .object(let value) = self { value } else { nil } }

  // MARK: Writing

  public func write(into writer: inout JSONWriter) {
    switch self {
    case .null: writer.null()
    case .bool(let value): writer.value(value)
    case .integer(let value): writer.value(value)
    case .number(let value): writer.value(value)
    case .string(let value): writer.value(value)
    case .array(let elements):
      writer.beginArray()
      for element in elements { element.write(into: &writer) }
      writer.endArray()
    case .object(let members):
      writer.beginObject()
      for member in members {
        writer.key(member.name)
        member.value.write(into: &writer)
      }
      writer.endObject()
    }
  }
  /// Compact text, members in their order.
  public var bytes: [UInt8] {
    var writer = JSONWriter()
    write(into: &writer)
    return writer.bytes
  }
}
