/// Reads a YAML tree by the table: types, ranges, unknown and missing keys, defaults.
///
/// Errors:   all faults are collected; a value with a fault becomes `.invalid` and reading goes on.
/// Cost:     linear in the tree. Depth is bounded by `YAMLReader.depthMax`.
struct ConfigurationReader {
  let surroundings: Surroundings
  /// What `<pipeline>` stands for in defaults.
  var pipeline = "pipeline"
  var faults: [ConfigurationFault] = []

  init(surroundings: Surroundings) { self.surroundings = surroundings }

  mutating func read(_ root: YAMLNode) -> ConfigurationItem {
    if case .scalar(let scalar)? = root.value(of: "pipeline")?.content,
      TextRule.pipelineName.fault(in: scalar.text) == nil
    {
      pipeline = scalar.text
    }
    return read(root, as: ConfigurationTable.root, path: "")
  }

  private mutating func refuse(
    _ code: FaultCode, _ node: YAMLNode, _ path: String, _ message: String, hint: String = ""
  ) -> ConfigurationItem.Content {
    faults.append(ConfigurationFault(code, at: node.place, path: path, message, hint: hint))
    return .invalid
  }

  mutating func readRecord(
    _ node: YAMLNode, _ keys: [ConfigurationKey], _ path: String
  ) -> ConfigurationItem {
    read(node, as: .record(keys), path: path)
  }

  private mutating func read(
    _ node: YAMLNode, as type: ConfigurationType, path: String
  ) -> ConfigurationItem {
    var offset: Int?
    if case .scalar(let scalar) = node.content { offset = scalar.textOffset }
    return ConfigurationItem(
      content: content(node, type, path), place: node.place, path: path, textOffset: offset)
  }

  private mutating func content(
    _ node: YAMLNode, _ type: ConfigurationType, _ path: String
  ) -> ConfigurationItem.Content {
    if case .scalar(let scalar) = node.content, scalar.isUnusable { return .invalid }
    switch type {
    case .record(let keys):
      guard case .mapping(let entries) = node.content else { return mistyped(node, type, path) }
      return record(node, entries, keys, path)
    case .list(let itemType, let atLeast):
      guard case .sequence(let nodes) = node.content else { return mistyped(node, type, path) }
      if nodes.count < atLeast {
        return refuse(.outOfRange, node, path, "'\(path)' needs at least \(atLeast) entry")
      }
      var items: [ConfigurationItem] = []
      for (index, item) in nodes.enumerated() {
        items.append(read(item, as: itemType, path: "\(path)[\(index)]"))
      }
      return .list(items)
    case .map(let valueType, let names):
      guard case .mapping(let entries) = node.content else { return mistyped(node, type, path) }
      if entries.isEmpty { return refuse(.outOfRange, node, path, "'\(path)' needs at least 1 entry") }
      var members: [ConfigurationItem.Member] = []
      for entry in entries {
        let inner = "\(path).\(entry.key)"
        if let fault = names.fault(in: entry.key) {
          faults.append(ConfigurationFault(.invalidValue, at: entry.keyPlace, path: inner, fault))
        }
        members.append(
          .init(
            name: entry.key, namePlace: entry.keyPlace,
            item: read(entry.value, as: valueType, path: inner)))
      }
      return .record(members)
    case .properties:
      guard case .mapping(let entries) = node.content else { return mistyped(node, type, path) }
      return .record(
        entries.map { entry in
          .init(
            name: entry.key, namePlace: entry.keyPlace,
            item: read(entry.value, as: .text(.any), path: "\(path).\(entry.key)"))
        })
    case .secret: return secret(node, path)
    case .field: return field(node, path)
    case .range: return range(node, path)
    default:
      guard case .scalar(let scalar) = node.content, !scalar.isNull else {
        return mistyped(node, type, path)
      }
      return single(node, scalar, type, path)
    }
  }

  private mutating func mistyped(
    _ node: YAMLNode, _ type: ConfigurationType, _ path: String
  ) -> ConfigurationItem.Content {
    let expected = "\(type.isRecord ? "a" : "a value:") \(type.summary)"
    return refuse(
      .wrongType, node, path,
      path.isEmpty
        ? "a configuration is a mapping, not \(node.kindName)"
        : "'\(path)' must be \(expected), not \(node.kindName)")
  }

  private mutating func single(
    _ node: YAMLNode, _ scalar: YAMLScalar, _ type: ConfigurationType, _ path: String
  ) -> ConfigurationItem.Content {
    let text = scalar.text
    switch type {
    case .text(let rule):
      if let fault = rule.fault(in: text) { return refuse(.invalidValue, node, path, "'\(path)': \(fault)") }
      return .text(text)
    case .expression: return .text(text)
    case .boolean:
      guard scalar.isPlain, text == "true" || text == "false" else {
        return refuse(.wrongType, node, path, "'\(path)' must be true or false, not '\(text)'")
      }
      return .boolean(text == "true")
    case .integer(let bounds):
      guard scalar.isPlain, Self.isNumeric(text, fraction: false) else {
        return refuse(.wrongType, node, path, "'\(path)' must be an integer, not '\(text)'")
      }
      guard let value = Int(text), bounds.contains(value) else {
        return refuse(
          .outOfRange, node, path,
          "'\(path)' must be between \(bounds.lowerBound) and \(bounds.upperBound), not \(text)")
      }
      return .integer(value)
    case .number(let bounds, let open):
      guard scalar.isPlain, Self.isNumeric(text, fraction: true), let value = Double(text) else {
        return refuse(.wrongType, node, path, "'\(path)' must be a number, not '\(text)'")
      }
      let inside =
        bounds.contains(value) && !(open && (value == bounds.lowerBound || value == bounds.upperBound))
      guard inside else {
        return refuse(
          .outOfRange, node, path,
          "'\(path)' must be \(open ? "strictly " : "")between \(bounds.lowerBound) and \(bounds.upperBound), not \(text)")
      }
      return .number(value)
    case .duration(let bounds):
      guard let value = DurationText.milliseconds(text) else {
        return refuse(
          .wrongType, node, path, "'\(path)' must be a duration, not '\(text)'",
          hint: "a whole number with its unit, such as 100ms, 30s, 10m, 36h or 5d")
      }
      guard bounds.contains(value) else {
        return refuse(
          .outOfRange, node, path,
          "'\(path)' must be between \(DurationText.text(bounds.lowerBound)) and \(DurationText.text(bounds.upperBound)), not \(text)")
      }
      return .duration(value)
    case .choice(let words, let refused):
      if words.contains(text) { return .text(text) }
      if let why = refused[text] {
        return refuse(.unsupportedValue, node, path, "'\(path)' cannot be '\(text)': \(why)",
          hint: "use \(words.joined(separator: ", "))")
      }
      let close = didYouMean(text, among: words)
      return refuse(.invalidValue, node, path, "'\(path)' cannot be '\(text)'",
        hint: close.isEmpty ? "one of \(words.joined(separator: ", "))" : close)
    case .secret, .field, .range, .list, .map, .properties, .record:
      preconditionFailure("not a single value")
    }
  }

  /// JSON's numbers, with a leading sign: no `inf`, `nan`, hexadecimals or underscores.
  private static func isNumeric(_ text: String, fraction: Bool) -> Bool {
    var digits = false
    for byte in text.utf8 {
      switch byte {
      case 0x30...0x39: digits = true
      case 0x2d, 0x2b: break
      case 0x2e, 0x65, 0x45: if !fraction { return false }
      default: return false
      }
    }
    return digits
  }

  private mutating func record(
    _ node: YAMLNode, _ entries: [YAMLEntry], _ keys: [ConfigurationKey], _ path: String
  ) -> ConfigurationItem.Content {
    for entry in entries where !keys.contains(where: { $0.name == entry.key }) {
      let inside = path.isEmpty ? "" : " in '\(path)'"
      faults.append(
        ConfigurationFault(
          .unknownKey, at: entry.keyPlace, path: Self.join(path, entry.key),
          "unknown key '\(entry.key)'\(inside)", hint: didYouMean(entry.key, among: keys.map(\.name))))
    }
    var members: [ConfigurationItem.Member] = []
    for key in keys {
      let inner = Self.join(path, key.name)
      // A key set to null is as good as not written: that is how a later file takes a value back.
      if let entry = entries.first(where: { $0.key == key.name }), !entry.value.isNull {
        members.append(
          .init(
            name: key.name, namePlace: entry.keyPlace,
            item: read(entry.value, as: key.type, path: inner)))
        continue
      }
      switch key.presence {
      case .optional: break
      case .required:
        let written = entries.first { $0.key == key.name }
        faults.append(
          ConfigurationFault(
            .missingKey, at: written?.keyPlace ?? node.place, path: inner,
            "'\(inner)' is missing", hint: "\(key.type.summary): \(key.doc)"))
      case .standard(let text):
        let place = Place(.standard)
        members.append(
          .init(
            name: key.name, namePlace: place,
            item: read(standard(text, key.type, inner), as: key.type, path: inner)))
      }
    }
    return .record(members)
  }

  private mutating func standard(
    _ text: String, _ type: ConfigurationType, _ path: String
  ) -> YAMLNode {
    let place = Place(.standard)
    switch text {
    case "{}": return YAMLNode(.mapping([]), at: place)
    case "[]": return YAMLNode(.sequence([]), at: place)
    default: break
    }
    var plain = true
    if case .expression = type { plain = false }
    var node = YAMLNode(
      .scalar(YAMLScalar(text: text.replacing("<pipeline>", with: pipeline), isPlain: plain)),
      at: place)
    let before = faults.count
    Substitution.fill(&node, from: surroundings.variables, faults: &faults)
    for index in before..<faults.count {
      faults[index].path = path
      faults[index].message = "'\(path)' is not given, and \(faults[index].message)"
      faults[index].hint = "set '\(path)' or the variable"
    }
    return node
  }

  private mutating func secret(_ node: YAMLNode, _ path: String) -> ConfigurationItem.Content {
    let hint = "put it in a file and write {file: name}, or {env: NAME}"
    guard case .mapping(let entries) = node.content else {
      // Never says what was written: it may be the secret itself.
      return refuse(.inlineSecret, node, path, "'\(path)' must refer to the secret, not contain it", hint: hint)
    }
    guard entries.count == 1, let entry = entries.first, entry.key == "file" || entry.key == "env",
      case .scalar(let scalar) = entry.value.content, !scalar.text.isEmpty
    else {
      return refuse(.wrongType, node, path, "'\(path)' must be {file: name} or {env: NAME}", hint: hint)
    }
    if entry.key == "env" {
      guard Substitution.isName(scalar.text) else {
        return refuse(.inlineSecret, entry.value, path, "'\(path).env' must be the name of a variable")
      }
      return .secret(.environment(name: scalar.text))
    }
    return .secret(.file(name: scalar.text, directory: Self.directory(entry.value.place)))
  }

  /// Relative files are meant from the file that names them; those of overrides from the working directory.
  static func directory(_ place: Place) -> String {
    if case .file(let path) = place.source { return Path.directory(of: path) }
    return ""
  }

  private mutating func range(_ node: YAMLNode, _ path: String) -> ConfigurationItem.Content {
    guard case .sequence(let nodes) = node.content, nodes.count == 2 else {
      return refuse(.wrongType, node, path, "'\(path)' must be [lowest, highest]")
    }
    let bounds = -1e15...1e15
    let low = read(nodes[0], as: .number(bounds, open: false), path: "\(path)[0]")
    let high = read(nodes[1], as: .number(bounds, open: false), path: "\(path)[1]")
    if let a = low.number, let b = high.number, a >= b {
      return refuse(.outOfRange, node, path, "'\(path)' must rise: \(a) is not below \(b)")
    }
    return .list([low, high])
  }

  static func join(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

extension ConfigurationType {
  var isRecord: Bool {
    if case .record = self { return true }
    return false
  }
}
