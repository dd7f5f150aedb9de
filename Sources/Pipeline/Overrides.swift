/// Single values laid over the files: `MILLRACE_SECTION_KEY` variables, then `--set path=value`.
enum Overrides {
  /// Every setting that a variable can give: single values at fixed places, with the variable's name.
  static let variables: [(name: String, path: String)] = {
    var found: [(String, String)] = []
    func walk(_ type: ConfigurationType, _ path: String) {
      switch type {
      case .record(let keys):
        for key in keys { walk(key.type, ConfigurationReader.join(path, key.name)) }
      case .map, .properties, .field, .range, .secret: break
      case .list(let item, _):
        // A list of records has no fixed places; one of words can be given whole.
        if !item.isRecord { found.append((variableName(path), path)) }
      // Why not the form's version: a file says which form it is written in, nobody else can.
      case _ where path == "version": break
      default: found.append((variableName(path), path))
      }
    }
    walk(ConfigurationTable.root, "")
    return found
  }()

  /// `delivery.transaction.records` is `MILLRACE_DELIVERY_TRANSACTION_RECORDS`.
  static func variableName(_ path: String) -> String {
    "MILLRACE_" + path.uppercased().replacing(".", with: "_")
  }

  /// Lays the variables upon the tree, in the table's order.
  static func apply(
    variables present: [String: String], to root: inout YAMLNode,
    faults: inout [ConfigurationFault]
  ) {
    for (name, path) in variables {
      guard let text = present[name] else { continue }
      apply(text, path: path, source: .environment(name), to: &root, faults: &faults)
    }
    // Other programs may have variables of that prefix; only what looks like a setting is told.
    let known = variables.map(\.name)
    var sections: [String] = []
    if case .record(let keys) = ConfigurationTable.root {
      sections = keys.filter(\.type.isRecord).map { variableName($0.name) + "_" }
    }
    for name in present.keys.sorted() where name.hasPrefix("MILLRACE_") && !known.contains(name) {
      let isNear = closestName(to: name.dropFirst(9).description, among: known.map { String($0.dropFirst(9)) }) != nil
      guard isNear || sections.contains(where: { name.hasPrefix($0) }) else { continue }
      faults.append(
        ConfigurationFault(
          .unknownVariable, at: Place(.environment(name)), "the variable \(name) names no setting",
          hint: didYouMean(name, among: known)))
    }
  }

  /// Lays one `path=value` upon the tree.
  static func apply(
    assignment: String, to root: inout YAMLNode, faults: inout [ConfigurationFault]
  ) {
    guard let equals = assignment.firstIndex(of: "="), equals > assignment.startIndex else {
      faults.append(
        ConfigurationFault(
          .badOverride, at: Place(.override(assignment)), "an override is written path=value"))
      return
    }
    let path = String(assignment[..<equals])
    apply(
      String(assignment[assignment.index(after: equals)...]), path: path, source: .override(path),
      to: &root, faults: &faults)
  }

  /// The value is YAML too, so lists and mappings can be given.
  private static func apply(
    _ text: String, path: String, source: Place.Source, to root: inout YAMLNode,
    faults: inout [ConfigurationFault]
  ) {
    let (parsed, problems) = YAMLReader.read(Array(text.utf8), source: source)
    guard problems.isEmpty else {
      faults += problems
      return
    }
    let value =
      parsed ?? YAMLNode(.scalar(YAMLScalar(text: "", isPlain: false)), at: Place(source))
    guard let steps = steps(path, source, &faults) else { return }
    insert(value, steps[...], into: &root, path: path, faults: &faults)
  }

  /// Checks a path against the table. Behind a mapping of properties the whole rest is one key.
  private static func steps(
    _ path: String, _ source: Place.Source, _ faults: inout [ConfigurationFault]
  ) -> [ConfigurationPath.Step]? {
    func refuse(_ message: String, _ hint: String = "") -> [ConfigurationPath.Step]? {
      faults.append(ConfigurationFault(.badOverride, at: Place(source), path: path, message, hint: hint))
      return nil
    }
    let written = ConfigurationPath.steps(path)
    guard !written.isEmpty else { return refuse("'\(path)' is not a path of keys") }
    var type = ConfigurationTable.root
    var walked = ""
    for (index, step) in written.enumerated() {
      switch (type, step) {
      case (.record(let keys), .key(let name)):
        guard let key = keys.first(where: { $0.name == name }) else {
          return refuse(
            "there is no key '\(name)'\(walked.isEmpty ? "" : " in '\(walked)'")",
            didYouMean(name, among: keys.map(\.name)))
        }
        type = key.type
        walked = ConfigurationReader.join(walked, name)
      case (.map(let value, _), .key(let name)):
        type = value
        walked += ".\(name)"
      case (.list(let item, _), .index(let place)):
        type = item
        walked += "[\(place)]"
      case (.properties, .key):
        let rest = path.dropFirst(walked.count + 1)
        return Array(written[..<index]) + [.key(String(rest))]
      case (.secret, .key(let name)):
        type = .text(.any)
        walked += ".\(name)"
      case (.field, .key(let name)):
        type = .text(.any)
        walked += ".\(name)"
      default: return refuse("'\(path)' leads nowhere: '\(walked)' is \(type.summary)")
      }
    }
    return written
  }

  private static func insert(
    _ value: YAMLNode, _ steps: ArraySlice<ConfigurationPath.Step>, into node: inout YAMLNode,
    path: String, faults: inout [ConfigurationFault]
  ) {
    guard let step = steps.first else {
      node.merge(value)
      return
    }
    switch (step, node.content) {
    case (.key(let name), .mapping(var entries)):
      if let index = entries.firstIndex(where: { $0.key == name }) {
        entries[index].keyPlace = value.place
        if steps.count > 1, case .scalar = entries[index].value.content {
          entries[index].value = YAMLNode(.mapping([]), at: value.place)
        }
        insert(value, steps.dropFirst(), into: &entries[index].value, path: path, faults: &faults)
      } else {
        var inner = YAMLNode(.mapping([]), at: value.place)
        insert(value, steps.dropFirst(), into: &inner, path: path, faults: &faults)
        entries.append(YAMLEntry(key: name, keyPlace: value.place, value: inner))
      }
      node.content = .mapping(entries)
    case (.index(let index), .sequence(var items)) where items.indices.contains(index):
      insert(value, steps.dropFirst(), into: &items[index], path: path, faults: &faults)
      node.content = .sequence(items)
    case (.index(let index), _):
      faults.append(
        ConfigurationFault(
          .badOverride, at: value.place, path: path, "'\(path)': there is no entry \(index)",
          hint: "entries count from 0; give a whole list to replace it"))
    case (.key, _):
      node = YAMLNode(.mapping([]), at: value.place)
      insert(value, steps, into: &node, path: path, faults: &faults)
    }
  }
}
