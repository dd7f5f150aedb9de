/// One line of a play file: a record of an input, and when it is sent.
///
///     {"input":"<input>","time":<ms>,"value":{…}}                 the object's bytes are the payload, as written
///     {"input":"<input>","time":<ms>,"raw":"<text>","key":"<key>"}  the text is the payload, for bytes that are no JSON
///
/// `time` is milliseconds since 1970: the record's Kafka timestamp. `key` is optional in both forms; without it the key is
/// the text of the input's key field. Any other member, a name given twice and any other type are refused.
public struct PlayRecord: Sendable, Equatable {
  public var input: String
  public var time: Int64
  public var payload: [UInt8]
  /// The key that the line gives; nil: see `key(field:)`.
  public var statedKey: [UInt8]?
  private var isObject: Bool

  /// Why a line is not a record of a play file.
  public struct Fault: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String
  }

  public init(parsing line: [UInt8]) throws(Fault) {
    let object: JSONMembers
    do throws(JSONError) {
      object = try JSONMembers(scanning: line)
    } catch {
      throw Fault(description: "not a JSON object: \(error)")
    }
    if let twice = object.duplicate { throw Fault(description: "'\(twice)' is given twice") }
    var input: String?
    var time: Int64?
    var payload: [UInt8]?
    var isObject = false
    var key: [UInt8]?
    for member in object.members {
      let name = String(decoding: member.name, as: UTF8.self)
      switch (name, member.kind) {
      case ("input", .string): input = String(decoding: member.text, as: UTF8.self)
      case ("time", .integer(let value)): time = value
      case ("value", .object), ("raw", .string):
        guard payload == nil else { throw Fault(description: "'value' and 'raw' exclude each other") }
        isObject = member.kind == .object
        payload = isObject ? Array(line[member.range]) : member.text
      case ("key", .string): key = member.text
      case ("input", _), ("raw", _), ("key", _): throw Fault(description: "'\(name)' is not a string")
      case ("time", _): throw Fault(description: "'time' is not a whole number of milliseconds")
      case ("value", _): throw Fault(description: "'value' is not an object")
      default: throw Fault(description: "unknown member '\(name)'")
      }
    }
    guard let input else { throw Fault(description: "'input' is missing") }
    guard let time else { throw Fault(description: "'time' is missing") }
    guard let payload else { throw Fault(description: "neither 'value' nor 'raw' is there") }
    self.input = input
    self.time = time
    self.payload = payload
    self.isObject = isObject
    statedKey = key
  }

  /// The message key: the one that the line gives, else the text of the payload's member `field`; nil where there is none.
  public func key(field: String?) -> [UInt8]? {
    if let statedKey { return statedKey }
    // A payload that no longer scans has no key; why it cannot be read is told where it is decoded.
    guard let field, isObject, let member = (try? JSONMembers(scanning: payload))?[field] else { return nil }
    switch member.kind {
    case .string: return member.text
    case .integer, .number, .bool: return Array(payload[member.range])
    case .null, .array, .object: return nil
    }
  }
}
