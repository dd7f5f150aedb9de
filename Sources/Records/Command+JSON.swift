/// Why bytes are not a command. `id` is the command's own, where it could be read, so that its sender hears of it.
public struct CommandFault: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Reason: Hashable, Sendable {
    case tooLong
    case notJSON(JSONError)
    case notAnObject
    case unknownKey(String)
    case missingKey(String)
    case wrongType(String)
    case badValue(String)
  }
  public var reason: Reason
  public var id: String?
  public init(_ reason: Reason, id: String? = nil) {
    self.reason = reason
    self.id = id
  }
  public var description: String {
    switch reason {
    case .tooLong: "command is too long bytes_max=\(Command.byteCountMax)"
    case .notJSON(let error): "command is not json: \(error)"
    case .notAnObject: "command is not an object"
    case .unknownKey(let key): "unknown member key=\(key)"
    case .missingKey(let key): "missing member key=\(key)"
    case .wrongType(let key): "wrong type key=\(key)"
    case .badValue(let key): "value not allowed key=\(key)"
    }
  }
}

extension Command {
  static let keys = [
    "id", "pipeline", "cluster_id", "kind", "args", "issuer", "key_id", "reason", "issued_at",
    "expires_at", "expect_lineage", "dry_run",
  ]

  /// One strict parse: exactly the known members, each of its type and once; nothing is guessed.
  ///
  /// Errors:   `CommandFault` for anything else; never traps.
  public init(parsing bytes: [UInt8]) throws(CommandFault) {
    guard bytes.count <= Self.byteCountMax else { throw CommandFault(.tooLong) }
    let root: JSONValue
    do {
      root = try JSONValue(parsing: bytes)
    } catch {
      throw CommandFault(.notJSON(error))
    }
    guard let members = root.members else { throw CommandFault(.notAnObject) }
    let id = root["id"]?.string.flatMap { Self.isID($0) ? $0 : nil }
    if let unknown = members.first(where: { !Self.keys.contains($0.name) }) {
      throw CommandFault(.unknownKey(unknown.name), id: id)
    }
    let fields = Fields(root: root, id: id)
    self.id = try fields.text("id", max: 128)
    guard id != nil else { throw CommandFault(.badValue("id")) }
    pipeline = try fields.text("pipeline", max: 256)
    clusterID = try fields.text("cluster_id", max: 256)
    issuer = try fields.text("issuer", max: 256)
    keyID = try fields.text("key_id", max: 256)
    reason = try fields.text("reason", max: 2048)
    issuedAt = try fields.time("issued_at")
    expiresAt = try fields.time("expires_at")
    guard issuedAt < expiresAt else { throw CommandFault(.badValue("expires_at"), id: id) }
    switch root["expect_lineage"] {
    case nil, .null?: expectLineage = nil
    case .integer(let value)?:
      guard let lineage = UInt32(exactly: value) else {
        throw CommandFault(.badValue("expect_lineage"), id: id)
      }
      expectLineage = Lineage(lineage)
    default: throw CommandFault(.wrongType("expect_lineage"), id: id)
    }
    switch root["dry_run"] {
    case nil: isDryRun = false
    case .bool(let value)?: isDryRun = value
    default: throw CommandFault(.wrongType("dry_run"), id: id)
    }
    guard let args = root["args"] else { throw CommandFault(.missingKey("args"), id: id) }
    guard args.members != nil else { throw CommandFault(.wrongType("args"), id: id) }
    action = try Self.action(try fields.text("kind", max: 64), args, id)
  }

  private static func action(
    _ kind: String, _ args: JSONValue, _ id: String?
  ) throws(CommandFault) -> Action {
    func only(_ keys: [String]) throws(CommandFault) {
      if let unknown = args.members?.first(where: { !keys.contains($0.name) }) {
        throw CommandFault(.unknownKey("args." + unknown.name), id: id)
      }
    }
    func text(_ key: String) throws(CommandFault) -> String {
      guard let value = args[key] else { throw CommandFault(.missingKey("args." + key), id: id) }
      guard let text = value.string else { throw CommandFault(.wrongType("args." + key), id: id) }
      return text
    }
    switch kind {
    case "rollback":
      try only(["to", "then"])
      guard let target = RollbackTarget(try text("to")) else {
        throw CommandFault(.badValue("args.to"), id: id)
      }
      guard let after = AfterRollback(rawValue: try text("then")) else {
        throw CommandFault(.badValue("args.then"), id: id)
      }
      return .rollback(to: target, then: after)
    case "freeze":
      try only([])
      return .freeze
    case "unfreeze":
      try only([])
      return .unfreeze
    case "tag":
      try only(["name"])
      let name = try text("name")
      guard RollbackTarget.isTag(name) else { throw CommandFault(.badValue("args.name"), id: id) }
      return .tag(name: name)
    case "promote": return .promote(args: args)
    case "charter": return .charter(args: args)
    default: throw CommandFault(.badValue("kind"), id: id)
    }
  }

  /// Printable ASCII without blanks, 1 to 128.
  static func isID(_ text: String) -> Bool {
    let bytes = text.utf8
    return (1...128).contains(bytes.count) && bytes.allSatisfy { (33...126).contains($0) }
  }

  private struct Fields {
    let root: JSONValue
    let id: String?

    func text(_ key: String, max: Int) throws(CommandFault) -> String {
      guard let value = root[key] else { throw CommandFault(.missingKey(key), id: id) }
      guard let text = value.string else { throw CommandFault(.wrongType(key), id: id) }
      guard text.utf8.count <= max else { throw CommandFault(.badValue(key), id: id) }
      return text
    }
    func time(_ key: String) throws(CommandFault) -> EventTime {
      guard let time = EventTime(rfc3339: try text(key, max: 64)) else {
        throw CommandFault(.badValue(key), id: id)
      }
      return time
    }
  }

  /// The bytes to sign and send.
  public func json() -> [UInt8] {
    var writer = JSONWriter(capacity: 512)
    writer.beginObject()
    writer.key("id")
    writer.value(id)
    writer.key("pipeline")
    writer.value(pipeline)
    writer.key("cluster_id")
    writer.value(clusterID)
    writer.key("kind")
    writer.value(action.kind)
    writer.key("args")
    switch action {
    case .rollback(let target, let then):
      writer.beginObject()
      writer.key("to")
      writer.value(target.description)
      writer.key("then")
      writer.value(then.rawValue)
      writer.endObject()
    case .tag(let name):
      writer.beginObject()
      writer.key("name")
      writer.value(name)
      writer.endObject()
    case .freeze, .unfreeze:
      writer.beginObject()
      writer.endObject()
    case .promote(let args), .charter(let args): args.write(into: &writer)
    }
    writer.key("issuer")
    writer.value(issuer)
    writer.key("key_id")
    writer.value(keyID)
    writer.key("reason")
    writer.value(reason)
    writer.key("issued_at")
    writer.value(issuedAt)
    writer.key("expires_at")
    writer.value(expiresAt)
    writer.key("expect_lineage")
    if let lineage = expectLineage { writer.value(Int64(lineage.value)) } else { writer.null() }
    writer.key("dry_run")
    writer.value(isDryRun)
    writer.endObject()
    return writer.bytes
  }
}
