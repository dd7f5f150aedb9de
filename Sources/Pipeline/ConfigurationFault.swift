/// Where a piece of configuration was written.
public struct Place: Hashable, Sendable, CustomStringConvertible {
  public enum Source: Hashable, Sendable {
    case file(String)
    /// A variable `MILLRACE_…`.
    case environment(String)
    /// An override `--set path=…`; the text is the path.
    case override(String)
    /// Nowhere: the built-in default.
    case standard
  }
  public var source: Source
  /// Both count from 1; columns are characters.
  public var line: Int
  public var column: Int

  public init(_ source: Source, line: Int = 1, column: Int = 1) {
    self.source = source
    self.line = line
    self.column = column
  }

  public var description: String {
    switch source {
    case .file(let path): "\(path):\(line):\(column)"
    case .environment(let name): "environment \(name)"
    case .override(let path): "--set \(path)"
    case .standard: "built-in default"
    }
  }
}

/// Every fault a configuration can have. The codes are stable: texts may change, what a code means may not.
public enum FaultCode: String, Sendable, CaseIterable {
  case unreadableFile = "MR001"
  case syntax = "MR002"
  case invalidText = "MR003"
  case unsupportedYAML = "MR004"
  case duplicateKey = "MR005"
  case tooLarge = "MR006"
  case unsetVariable = "MR007"
  case badOverride = "MR008"
  case unknownKey = "MR010"
  case missingKey = "MR011"
  case wrongType = "MR012"
  case invalidValue = "MR013"
  case outOfRange = "MR014"
  case inlineSecret = "MR015"
  case unsupportedValue = "MR016"
  case unknownInput = "MR020"
  case unknownField = "MR021"
  case unusableField = "MR022"
  case expression = "MR023"
  case duplicateName = "MR024"
  case topicTwice = "MR025"
  case contradiction = "MR026"
  case ownedProperty = "MR027"
  case unknownFeature = "MR028"
  case scopeUnstated = "MR029"
  case unusableKey = "MR030"
  case unknownVariable = "MR101"
  case openTransport = "MR102"
  case noTrustedKeys = "MR103"
  case unsafeLibrary = "MR104"

  /// Faults from MR100 on are warnings: the worker starts with them.
  public var isWarning: Bool { rawValue >= "MR100" }

  public var meaning: String {
    switch self {
    case .unreadableFile: "a configuration file cannot be read"
    case .syntax: "the text is not YAML"
    case .invalidText: "the bytes are not UTF-8 text"
    case .unsupportedYAML: "YAML that configurations may not use: anchors, aliases, tags, several documents"
    case .duplicateKey: "a mapping has the same key twice"
    case .tooLarge: "the text is larger or deeper than any pipeline"
    case .unsetVariable: "a ${VARIABLE} is not set and has no default"
    case .badOverride: "an override names no place in the configuration"
    case .unknownKey: "no such key"
    case .missingKey: "a key that must be there is not"
    case .wrongType: "a value of another type is expected"
    case .invalidValue: "the value is not one of those allowed"
    case .outOfRange: "the value is outside its range"
    case .inlineSecret: "a secret stands in the configuration itself"
    case .unsupportedValue: "a value that is known but not offered"
    case .unknownInput: "no input of that name is declared"
    case .unknownField: "the input declares no field of that name"
    case .unusableField: "a field of another type is needed here"
    case .expression: "an expression or window cannot be compiled"
    case .duplicateName: "two things have the same name"
    case .topicTwice: "one topic serves two purposes"
    case .contradiction: "two settings contradict each other"
    case .ownedProperty: "a client property that the worker sets itself"
    case .unknownFeature: "no feature of that name is declared"
    case .scopeUnstated: "a window not by the message key must say its scope"
    case .unusableKey: "a trusted key cannot be used"
    case .unknownVariable: "a variable MILLRACE_… that names no setting"
    case .openTransport: "an unencrypted connection to another machine"
    case .unsafeLibrary: "the Kafka client library cannot do what is asked of it"
    case .noTrustedKeys: "no trusted keys, so every command will be refused"
    }
  }
}

/// One thing wrong in a configuration, at its place.
public struct ConfigurationFault: Error, Hashable, Sendable {
  public var code: FaultCode
  public var place: Place
  /// Path of keys, such as `inputs.schedules.id`; empty where no key is meant.
  public var path: String
  public var message: String
  /// What to do about it; empty if nothing better is known.
  public var hint: String

  public init(
    _ code: FaultCode, at place: Place, path: String = "", _ message: String, hint: String = ""
  ) {
    self.code = code
    self.place = place
    self.path = path
    self.message = message
    self.hint = hint
  }

  public var severity: String { code.isWarning ? "warning" : "error" }

  /// `file:line:col: error[MR012]: message (hint: …)`.
  public var text: String {
    let hint = hint.isEmpty ? "" : " (hint: \(hint))"
    return "\(place): \(severity)[\(code.rawValue)]: \(message)\(hint)"
  }

  /// The same as one JSON object.
  public var json: JSONText {
    var file: JSONText = .null
    if case .file(let path) = place.source { file = .string(path) }
    let isFile = file != .null
    return .object([
      ("code", .string(code.rawValue)), ("severity", .string(severity)), ("file", file),
      ("line", isFile ? .integer(Int64(place.line)) : .null),
      ("column", isFile ? .integer(Int64(place.column)) : .null),
      ("place", .string(place.description)), ("path", .string(path)),
      ("message", .string(message)), ("hint", .string(hint)),
    ])
  }
}

/// All that is wrong with a configuration, in reading order.
public struct ConfigurationFaults: Error, Sendable, Equatable, CustomStringConvertible {
  public var faults: [ConfigurationFault]
  public init(_ faults: [ConfigurationFault]) { self.faults = faults }
  public var description: String { faults.map(\.text).joined(separator: "\n") }

  /// SARIF 2.1.0, for code hosts that show findings beside the line.
  public static func sarif(_ faults: [ConfigurationFault]) -> JSONText {
    let rules = FaultCode.allCases.map { code in
      JSONText.object([
        ("id", .string(code.rawValue)),
        ("shortDescription", .object([("text", .string(code.meaning))])),
      ])
    }
    let results = faults.map { fault in
      var members: [(String, JSONText)] = [
        ("ruleId", .string(fault.code.rawValue)), ("level", .string(fault.severity)),
        (
          "message",
          .object([
            ("text", .string(fault.message + (fault.hint.isEmpty ? "" : " Hint: \(fault.hint)")))
          ])
        ),
      ]
      if case .file(let path) = fault.place.source {
        let region = JSONText.object([
          ("startLine", .integer(Int64(fault.place.line))),
          ("startColumn", .integer(Int64(fault.place.column))),
        ])
        let physical = JSONText.object([
          ("artifactLocation", .object([("uri", .string(path))])), ("region", region),
        ])
        members.append(("locations", .array([.object([("physicalLocation", physical)])])))
      }
      return JSONText.object(members)
    }
    let driver = JSONText.object([("name", .string("millrace")), ("rules", .array(rules))])
    return .object([
      ("$schema", .string("https://json.schemastore.org/sarif-2.1.0.json")),
      ("version", .string("2.1.0")),
      (
        "runs",
        .array([.object([("tool", .object([("driver", driver)])), ("results", .array(results))])])
      ),
    ])
  }
}

/// The closest of `candidates` to what was written, if close enough to be meant.
///
/// Cost:     O(|written| · |candidate|) each.
/// Source:   restricted Damerau-Levenshtein distance; at most a third of the letters may differ.
public func closestName(to written: String, among candidates: some Sequence<String>) -> String? {
  let from = Array(written.lowercased().unicodeScalars.prefix(64))
  var best: (distance: Int, name: String)?
  for candidate in candidates {
    let to = Array(candidate.lowercased().unicodeScalars.prefix(64))
    var rows = [[Int]](repeating: Array(0...to.count), count: from.count + 1)
    for i in stride(from: 1, through: from.count, by: 1) {
      rows[i][0] = i
      for j in stride(from: 1, through: to.count, by: 1) {
        var cost = min(
          rows[i - 1][j] + 1, rows[i][j - 1] + 1,
          rows[i - 1][j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1))
        if i > 1, j > 1, from[i - 1] == to[j - 2], from[i - 2] == to[j - 1] {
          cost = min(cost, rows[i - 2][j - 2] + 1)
        }
        rows[i][j] = cost
      }
    }
    let distance = rows[from.count][to.count]
    if distance <= max(1, max(from.count, to.count) / 3), distance < (best?.distance ?? .max) {
      best = (distance, candidate)
    }
  }
  return best?.name
}

func didYouMean(_ written: String, among candidates: some Sequence<String>) -> String {
  closestName(to: written, among: candidates).map { "did you mean '\($0)'?" } ?? ""
}
