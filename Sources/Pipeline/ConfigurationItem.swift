/// A value of the configuration after parsing: typed, defaults filled in, each with the place it comes from.
public struct ConfigurationItem: Sendable {
  public indirect enum Content: Sendable {
    /// A fault was reported here; reading on must not report another.
    case invalid
    case text(String)
    case integer(Int)
    case number(Double)
    case boolean(Bool)
    /// Milliseconds.
    case duration(Int64)
    case secret(SecretReference)
    case list([ConfigurationItem])
    case record([Member])
  }
  public struct Member: Sendable {
    public var name: String
    public var namePlace: Place
    public var item: ConfigurationItem
  }
  public var content: Content
  public var place: Place
  /// Path of keys, such as `inputs.schedules.topic` or `features[2].expr`.
  public var path: String
  /// Columns from the place to the first character of a text; nil where they do not run side by side.
  public var textOffset: Int?

  // The accessors below give a neutral value where a fault was reported: settings made from it are
  // never handed out, and other faults can still be found.

  public subscript(_ key: String) -> ConfigurationItem? {
    guard case .record(let members) = content else { return nil }
    return members.first { $0.name == key }?.item
  }
  public var isInvalid: Bool {
    if case .invalid = content { return true }
    return false
  }
  public var members: [Member] {
    if case .record(let members) = content { return members }
    return []
  }
  public var items: [ConfigurationItem] {
    if case .list(let items) = content { return items }
    return []
  }
  public var text: String? {
    if case .text(let text) = content { return text }
    return nil
  }
  public var integer: Int? {
    if case .integer(let value) = content { return value }
    return nil
  }
  public var number: Double? {
    if case .number(let value) = content { return value }
    return nil
  }
  public var boolean: Bool? {
    if case .boolean(let value) = content { return value }
    return nil
  }
  public var milliseconds: Int64? {
    if case .duration(let value) = content { return value }
    return nil
  }
  public var secret: SecretReference? {
    if case .secret(let value) = content { return value }
    return nil
  }
  public var texts: [String] { items.compactMap(\.text) }

  /// The item at a path such as `windows[0].value`, or the deepest one on the way to it.
  /// A number in brackets also counts the members of a mapping.
  public func nearest(to path: String) -> ConfigurationItem {
    var here = self
    for step in ConfigurationPath.steps(path) {
      let next: ConfigurationItem?
      switch (step, here.content) {
      case (.key(let key), .record): next = here[key]
      case (.index(let index), .list(let items)):
        next = items.indices.contains(index) ? items[index] : nil
      case (.index(let index), .record(let members)):
        next = members.indices.contains(index) ? members[index].item : nil
      default: next = nil
      }
      guard let next else { return here }
      here = next
    }
    return here
  }

  /// Every single value, lists of them whole, in the table's order.
  public func leaves() -> [ConfigurationItem] {
    switch content {
    case .record(let members): members.flatMap { $0.item.leaves() }
    case .list(let items) where items.contains { !$0.members.isEmpty }: items.flatMap { $0.leaves() }
    default: [self]
    }
  }

  /// The whole as YAML that reads back to itself; with `origin`, each value is followed by where it comes from.
  public func yaml(origin: Bool = false) -> String {
    var out = ""
    write(into: &out, indent: 0, origin: origin)
    return out
  }

  private func write(into out: inout String, indent: Int, origin: Bool) {
    let blanks = String(repeating: " ", count: indent)
    for member in members {
      out += blanks + Self.scalar(member.name, isKey: true) + ":"
      member.item.writeValue(into: &out, indent: indent, origin: origin)
    }
  }

  private func writeValue(into out: inout String, indent: Int, origin: Bool) {
    switch content {
    // A field's type is one thing, however it was written.
    case .record(let members) where !members.isEmpty && !path.contains(".fields."):
      out += "\n"
      write(into: &out, indent: indent + 2, origin: origin)
    case .list(let items) where items.contains { if case .record = $0.content { true } else { false } }:
      out += "\n"
      for item in items {
        out += String(repeating: " ", count: indent + 2) + "-"
        var inner = ""
        item.write(into: &inner, indent: indent + 4, origin: origin)
        out += " " + inner.drop { $0 == " " }
      }
    default:
      out += " " + inline + (origin ? "  # \(place)" : "") + "\n"
    }
  }

  private var inline: String {
    switch content {
    case .invalid: "null"
    case .text(let text): Self.scalar(text, isKey: false)
    case .integer(let value): String(value)
    case .number(let value): "\(value)"
    case .boolean(let value): String(value)
    case .duration(let value): DurationText.text(value)
    case .secret(let reference): reference.description
    case .list(let items): "[" + items.map(\.inline).joined(separator: ", ") + "]"
    case .record(let members):
      "{" + members.map { "\(Self.scalar($0.name, isKey: true)): \($0.item.inline)" }.joined(separator: ", ") + "}"
    }
  }

  /// Plain where nothing could be misread, in double quotes otherwise.
  private static func scalar(_ text: String, isKey: Bool) -> String {
    let plain =
      !text.isEmpty && (isKey || !looksTyped(text))
      && text.utf8.allSatisfy {
        switch $0 {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f, 0x2e, 0x2f, 0x2d, 0x21, 0x28, 0x29: true
        default: false
        }
      } && !"-!/.".contains(text.first!)
    if plain { return text }
    var quoted = ""
    JSONText.quote(text.replacing("${", with: "$${"), into: &quoted)
    return quoted
  }
  private static func looksTyped(_ text: String) -> Bool {
    Double(text) != nil || ["true", "false", "null"].contains(text.lowercased())
  }

  /// The same as JSON; durations and secrets as they are written in YAML.
  public func json() -> JSONText {
    switch content {
    case .invalid: .null
    case .text(let text): .string(text)
    case .integer(let value): .integer(Int64(value))
    case .number(let value): .number(value)
    case .boolean(let value): .bool(value)
    case .duration(let value): .string(DurationText.text(value))
    case .secret(.file(let name, _)): .object([("file", .string(name))])
    case .secret(.environment(let name)): .object([("env", .string(name))])
    case .list(let items): .array(items.map { $0.json() })
    case .record(let members): .object(members.map { ($0.name, $0.item.json()) })
    }
  }
}

/// `a.b[3].c` taken apart. What cannot be a path gives no further steps.
enum ConfigurationPath {
  enum Step: Equatable {
    case key(String)
    case index(Int)
  }
  static func steps(_ path: String) -> [Step] {
    var steps: [Step] = []
    for part in path.split(separator: ".", omittingEmptySubsequences: true) {
      let pieces = part.split(separator: "[", omittingEmptySubsequences: false)
      if let name = pieces.first, !name.isEmpty { steps.append(.key(String(name))) }
      for piece in pieces.dropFirst() {
        guard piece.hasSuffix("]"), let index = Int(piece.dropLast()), index >= 0 else { return steps }
        steps.append(.index(index))
      }
    }
    return steps
  }
}
