/// JSON Schema 2020-12 of the configuration, generated from the table that parses it.
///
/// Editors check and complete by it. What only the parser can know (expressions, names of inputs,
/// contradictions) is not in it. Numbers and booleans may also be texts with a `${VARIABLE}`.
public enum ConfigurationSchema {
  public static func document() -> JSONText {
    guard case .object(let root) = schema(ConfigurationTable.root) else { return .null }
    return .object(
      [
        ("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
        ("$id", .string("urn:millrace:pipeline:1")), ("title", .string("Millrace pipeline")),
      ] + root)
  }

  private static func schema(_ type: ConfigurationType) -> JSONText {
    switch type {
    case .text(let rule):
      guard let pattern = rule.pattern else { return .object([("type", .string("string"))]) }
      return text(pattern)
    case .expression:
      return .object([("type", .array([.string("string"), .string("number"), .string("boolean")]))])
    case .integer(let bounds):
      return orVariable([
        ("type", .string("integer")), ("minimum", .integer(Int64(bounds.lowerBound))),
        ("maximum", .integer(Int64(bounds.upperBound))),
      ])
    case .number(let bounds, let open):
      let prefix = open ? "exclusiveM" : "m"
      return orVariable([
        ("type", .string("number")), ("\(prefix)inimum", .number(bounds.lowerBound)),
        ("\(prefix)aximum", .number(bounds.upperBound)),
      ])
    case .boolean: return orVariable([("type", .string("boolean"))])
    case .duration: return text("^[0-9]+(ms|s|m|h|d)$")
    case .choice(let words, _): return orVariable([("enum", .array(words.map { .string($0) }))])
    case .secret:
      func reference(_ key: String) -> JSONText {
        record([ConfigurationKey(key, .text(.any), .required, "")])
      }
      return .object([("oneOf", .array([reference("file"), reference("env")]))])
    case .field:
      return .object([
        (
          "anyOf",
          .array([
            .object([("type", .string("string")), ("pattern", .string(FieldForm.pattern))]),
            record(FieldForm.keys),
          ])
        )
      ])
    case .range:
      return .object([
        ("type", .string("array")), ("items", .object([("type", .string("number"))])),
        ("minItems", .integer(2)), ("maxItems", .integer(2)),
      ])
    case .list(let item, let atLeast):
      return .object([
        ("type", .string("array")), ("items", schema(item)), ("minItems", .integer(Int64(atLeast))),
      ])
    case .map(let value, let names):
      var members: [(String, JSONText)] = [
        ("type", .string("object")), ("additionalProperties", schema(value)),
        ("minProperties", .integer(1)),
      ]
      if let pattern = names.pattern {
        members.append(("propertyNames", .object([("pattern", .string(pattern))])))
      }
      return .object(members)
    case .properties:
      return .object([
        ("type", .string("object")),
        (
          "additionalProperties",
          .object([("type", .array(["string", "number", "boolean"].map { .string($0) }))])
        ),
      ])
    case .record(let keys): return record(keys)
    }
  }

  private static func record(_ keys: [ConfigurationKey]) -> JSONText {
    let properties = keys.map { key -> (String, JSONText) in
      guard case .object(var members) = schema(key.type) else { return (key.name, .bool(true)) }
      if !key.doc.isEmpty { members.insert(("description", .string(key.doc)), at: 0) }
      if case .standard(let text) = key.presence, let value = standard(text, key.type) {
        members.append(("default", value))
      }
      // Null takes back what an earlier file said, so it is allowed wherever a key may be left out.
      guard key.presence != .required else { return (key.name, .object(members)) }
      return (
        key.name,
        .object([("anyOf", .array([.object(members), .object([("type", .string("null"))])]))])
      )
    }
    let required = keys.filter { $0.presence == .required }.map { JSONText.string($0.name) }
    return .object([
      ("type", .string("object")), ("properties", .object(properties)),
      ("required", .array(required)), ("additionalProperties", .bool(false)),
    ])
  }

  private static func standard(_ text: String, _ type: ConfigurationType) -> JSONText? {
    switch type {
    case .record, .list, .map, .properties, .expression: nil
    case .integer: Int64(text).map { .integer($0) }
    case .number: Double(text).map { .number($0) }
    case .boolean: .bool(text == "true")
    default: .string(text)
    }
  }

  private static func text(_ pattern: String) -> JSONText {
    .object([("type", .string("string")), ("pattern", .string("\(pattern)|\\$\\{"))])
  }
  private static func orVariable(_ members: [(String, JSONText)]) -> JSONText {
    let variable = JSONText.object([("type", .string("string")), ("pattern", .string("\\$\\{"))])
    return .object([("anyOf", .array([.object(members), variable]))])
  }
}

/// One line of the reference table of the configuration.
public struct ConfigurationField: Sendable, Equatable {
  /// `inputs.<name>.topic`, `features[].expr`.
  public var path: String
  public var type: String
  /// `required`, `optional` or the default itself.
  public var presence: String
  public var doc: String
  /// The variable that can give it; empty where none can.
  public var variable: String

  /// Every key, in the table's order.
  public static func all() -> [ConfigurationField] {
    var fields: [ConfigurationField] = []
    let variables = Dictionary(
      uniqueKeysWithValues: Overrides.variables.map { ($0.path, $0.name) })
    func walk(_ type: ConfigurationType, _ path: String) {
      switch type {
      case .record(let keys):
        for key in keys {
          let inner = ConfigurationReader.join(path, key.name)
          let presence =
            switch key.presence {
            case .required: "required"
            case .optional: "optional"
            case .standard(let text): text
            }
          fields.append(
            ConfigurationField(
              path: inner, type: key.type.summary, presence: presence, doc: key.doc,
              variable: variables[inner] ?? ""))
          walk(key.type, inner)
        }
      case .list(let item, _): walk(item, "\(path)[]")
      case .map(let value, _): walk(value, "\(path).<name>")
      case .field:
        walk(.record(FieldForm.keys), path)
      default: break
      }
    }
    walk(ConfigurationTable.root, "")
    return fields
  }
}
