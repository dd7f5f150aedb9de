/// What a value of the configuration may be. One table of these parses, documents and generates the schema.
public indirect enum ConfigurationType: Sendable {
  case text(TextRule)
  /// An expression over fields and windows; compiled later, by Features.
  case expression
  case integer(ClosedRange<Int>)
  /// Strictly between the bounds where `open`.
  case number(ClosedRange<Double>, open: Bool)
  case boolean
  /// A count and a unit, such as `100ms 30s 10m 36h 5d`; bounds in milliseconds.
  case duration(ClosedRange<Int64>)
  /// One of these words; or a word known elsewhere, which is refused with the reason given.
  case choice([String], refused: [String: String])
  /// `{file: name}` or `{env: NAME}`, never the value itself.
  case secret
  /// A field's type: `string`, `number!`, `time(seconds)`, or a mapping with `type`, `unit`, `required`.
  case field
  /// `[lowest, highest]`.
  case range
  case list(ConfigurationType, atLeast: Int)
  /// Free names, each with a value of the same type.
  case map(ConfigurationType, names: TextRule)
  /// Dotted names with single values, passed on as text.
  case properties
  case record([ConfigurationKey])

  /// For the reference table.
  public var summary: String {
    switch self {
    case .text(let rule): rule.rawValue
    case .expression: "expression"
    case .integer(let range): "integer \(range.lowerBound)…\(range.upperBound)"
    case .number(let range, let open):
      open ? "number in (\(range.lowerBound), \(range.upperBound))" : "number \(range.lowerBound)…\(range.upperBound)"
    case .boolean: "true | false"
    case .duration(let range):
      "duration \(DurationText.text(range.lowerBound))…\(DurationText.text(range.upperBound))"
    case .choice(let words, _): words.joined(separator: " | ")
    case .secret: "{file: name} | {env: NAME}"
    case .field: "field type"
    case .range: "[lowest, highest]"
    case .list(let item, _): "list of \(item.summary)"
    case .map(let value, _): "mapping of names to \(value.summary)"
    case .properties: "mapping of property names to values"
    case .record: "mapping"
    }
  }
}

/// A key of a record, with what is needed to parse, document and complete it.
public struct ConfigurationKey: Sendable {
  public enum Presence: Sendable, Equatable {
    case required
    case optional
    /// The default as YAML; `<pipeline>` in it stands for the pipeline's name.
    case standard(String)
  }
  public var name: String
  public var type: ConfigurationType
  public var presence: Presence
  /// One sentence.
  public var doc: String

  public init(_ name: String, _ type: ConfigurationType, _ presence: Presence, _ doc: String) {
    self.name = name
    self.type = type
    self.presence = presence
    self.doc = doc
  }
}

/// What a text must look like. The raw value is what people call it.
public enum TextRule: String, Sendable {
  case any = "text"
  case identifier = "name"
  case pipelineName = "pipeline name"
  case instance = "instance name"
  case topic = "topic"
  case bootstrap = "host:port,…"
  case path = "path"
  case listenAddress = "host:port"

  /// For the JSON Schema; nil where any text will do.
  public var pattern: String? {
    switch self {
    case .any, .path: nil
    case .identifier: "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
    case .pipelineName: "^[a-z0-9][a-z0-9._-]{0,47}$"
    case .instance: "^[A-Za-z0-9._-]{1,48}$"
    case .topic: "^[A-Za-z0-9._-]{1,249}$"
    case .bootstrap: "^[^,\\s]+:[0-9]{1,5}(,[^,\\s]+:[0-9]{1,5})*$"
    case .listenAddress: "^[^\\s]+:[0-9]{1,5}$"
    }
  }

  /// What is wrong with a text; nil if it will do.
  func fault(in text: String) -> String? {
    let bytes = text.utf8
    func isWord(_ byte: UInt8) -> Bool {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
      default: false
      }
    }
    func all(_ extra: String, from least: Int, to most: Int) -> Bool {
      (least...most).contains(bytes.count)
        && bytes.allSatisfy { isWord($0) || extra.utf8.contains($0) }
    }
    if text.unicodeScalars.contains(where: { $0.value < 0x20 }) {
      return "control characters are not allowed"
    }
    switch self {
    case .any: return nil
    case .path: return text.isEmpty ? "a path cannot be empty" : nil
    case .identifier:
      let good = all("-", from: 1, to: 64) && !(0x30...0x39).contains(bytes.first ?? 0) && bytes.first != 0x2d
      return good ? nil : "'\(text)' is not a name: letters, digits, _ and -, not beginning with a digit"
    case .pipelineName:
      let good =
        all(".-", from: 1, to: 48) && text == text.lowercased()
        && ![0x2e, 0x2d, 0x5f].contains(bytes.first ?? 0)
      return good ? nil : "'\(text)' is not a pipeline name: up to 48 of a-z, 0-9, '.', '_' and '-'"
    case .instance:
      return all(".-", from: 1, to: 48)
        ? nil : "'\(text)' is not an instance name: up to 48 letters, digits, '.', '_' and '-'"
    case .topic:
      return all(".-", from: 1, to: 249) && text != "." && text != ".."
        ? nil : "'\(text)' is not a topic name: up to 249 letters, digits, '.', '_' and '-'"
    case .bootstrap:
      let parts = text.split(separator: ",", omittingEmptySubsequences: false)
      let good = parts.allSatisfy {
        PipelineSettings.ListenAddress(String($0)).map { $0.port > 0 } ?? false
      }
      return good ? nil : "'\(text)' is not a list of host:port"
    case .listenAddress:
      return PipelineSettings.ListenAddress(text) == nil ? "'\(text)' is not host:port" : nil
    }
  }
}

/// Durations as people write them: a whole number and its unit.
public enum DurationText {
  private static let units: [(name: String, milliseconds: Int64)] = [
    ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
  ]
  /// Milliseconds of `36h`; nil for anything else, signs, blanks and overflow included.
  public static func milliseconds(_ text: String) -> Int64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int64(digits), let unit = units.first(where: { $0.name == text[digits.endIndex...] })
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.milliseconds)
    return overflow ? nil : product
  }
  /// The shortest text that reads as this many milliseconds.
  public static func text(_ milliseconds: Int64) -> String {
    if milliseconds == 0 { return "0s" }
    for unit in units where milliseconds % unit.milliseconds == 0 {
      return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
    return "\(milliseconds)ms"
  }
}
