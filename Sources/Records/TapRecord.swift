/// One line of a raw tap: a record of a topic with everything that Kafka keeps of it.
///
///     {"topic":"…","partition":0,"offset":7,"timestamp":1357046520000,"key":"<base64>"|null,"value":"<base64>"|null,
///      "headers":[["name","<base64>"|null],…]}
///
/// The members may come in any order; each exactly once, and no other.
public struct TapRecord: Sendable, Equatable {
  public struct Header: Sendable, Equatable {
    public var name: String
    public var value: [UInt8]?
    public init(_ name: String, _ value: [UInt8]?) {
      self.name = name
      self.value = value
    }
  }
  public var topic: String
  public var partition: Int32
  public var offset: Int64
  public var timestamp: Int64
  public var key: [UInt8]?
  public var value: [UInt8]?
  public var headers: [Header]

  public init(
    topic: String, partition: Int32, offset: Int64, timestamp: Int64, key: [UInt8]?,
    value: [UInt8]?, headers: [Header] = []
  ) {
    self.topic = topic
    self.partition = partition
    self.offset = offset
    self.timestamp = timestamp
    self.key = key
    self.value = value
    self.headers = headers
  }

  /// Why a line is not a record of a raw tap.
  public struct Fault: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String
  }

  /// Which record a line holds, without its contents.
  public struct Position: Sendable, Equatable {
    public var topic: String
    public var partition: Int32
    public var offset: Int64
  }

  public init(parsing line: [UInt8]) throws(Fault) {
    let object = try Self.members(line)
    let position = try Self.position(object)
    topic = position.topic
    partition = position.partition
    offset = position.offset
    guard case .integer(let time)? = object["timestamp"]?.kind else {
      throw Fault(description: "'timestamp' is not an integer")
    }
    timestamp = time
    key = try Self.bytes(object["key"], "key")
    value = try Self.bytes(object["value"], "value")
    guard let member = object["headers"], member.kind == .array,
      case .array(let list)? = try? JSONValue(parsing: Array(line[member.range]))
    else { throw Fault(description: "'headers' is not a list") }
    headers = []
    for entry in list {
      guard let pair = entry.array, pair.count == 2, let name = pair[0].string else {
        throw Fault(description: "a header is not a pair of name and value")
      }
      if pair[1].isNull {
        headers.append(Header(name, nil))
      } else if let text = pair[1].string, let bytes = Base64.decode(text) {
        headers.append(Header(name, bytes))
      } else {
        throw Fault(description: "the value of header '\(name)' is not base64")
      }
    }
  }

  public static func position(parsing line: [UInt8]) throws(Fault) -> Position {
    try position(try members(line))
  }

  private static func members(_ line: [UInt8]) throws(Fault) -> JSONMembers {
    let object: JSONMembers
    do throws(JSONError) {
      object = try JSONMembers(scanning: line)
    } catch {
      throw Fault(description: "not a JSON object: \(error)")
    }
    if let twice = object.duplicate { throw Fault(description: "'\(twice)' is given twice") }
    let known = ["topic", "partition", "offset", "timestamp", "key", "value", "headers"]
    for member in object.members {
      let name = String(decoding: member.name, as: UTF8.self)
      guard known.contains(name) else { throw Fault(description: "unknown member '\(name)'") }
    }
    if let missing = known.first(where: { object[$0] == nil }) {
      throw Fault(description: "'\(missing)' is missing")
    }
    return object
  }

  private static func position(_ object: JSONMembers) throws(Fault) -> Position {
    guard let topic = object["topic"], topic.kind == .string else {
      throw Fault(description: "'topic' is not a string")
    }
    guard case .integer(let number)? = object["partition"]?.kind, let partition = Int32(exactly: number),
      partition >= 0
    else { throw Fault(description: "'partition' is not a partition") }
    guard case .integer(let offset)? = object["offset"]?.kind, offset >= 0 else {
      throw Fault(description: "'offset' is not an offset")
    }
    return Position(
      topic: String(decoding: topic.text, as: UTF8.self), partition: partition, offset: offset)
  }

  private static func bytes(_ member: JSONMembers.Member?, _ name: String) throws(Fault) -> [UInt8]? {
    guard let member, member.kind != .null else { return nil }
    guard member.kind == .string,
      let bytes = Base64.decode(String(decoding: member.text, as: UTF8.self))
    else { throw Fault(description: "'\(name)' is not base64") }
    return bytes
  }

  /// The line, without its end.
  public func write(into writer: inout JSONWriter) {
    func base64(_ bytes: [UInt8]?) {
      if let bytes { writer.value(Base64.encode(bytes)) } else { writer.null() }
    }
    writer.beginObject()
    writer.key("topic")
    writer.value(topic)
    writer.key("partition")
    writer.value(Int(partition))
    writer.key("offset")
    writer.value(offset)
    writer.key("timestamp")
    writer.value(timestamp)
    writer.key("key")
    base64(key)
    writer.key("value")
    base64(value)
    writer.key("headers")
    writer.beginArray()
    for header in headers {
      writer.beginArray()
      writer.value(header.name)
      base64(header.value)
      writer.endArray()
    }
    writer.endArray()
    writer.endObject()
  }
}
