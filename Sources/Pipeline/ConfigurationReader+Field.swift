import Records

/// Types of fields, in the short form and the long one.
///
///     flight_id: string            a JSON string; may be missing
///     dep_delay: number!           a record without it is a dead letter
///     departed_at: time            RFC 3339 text
///     booked_at: time(seconds)     a number of seconds since 1970
///     paid: {type: boolean, required: true}
enum FieldForm {
  static let types: [(name: String, type: FieldType)] = [
    ("string", .string), ("number", .number), ("integer", .integer), ("boolean", .boolean),
    ("time", .time),
  ]
  static let units: [(name: String, unit: TimeUnit)] = [
    ("rfc3339", .rfc3339), ("seconds", .seconds), ("milliseconds", .milliseconds),
    ("microseconds", .microseconds),
  ]
  static let keys = [
    ConfigurationKey("type", .choice(types.map(\.name), refused: [:]), .required, "How the value is read."),
    ConfigurationKey("unit", .choice(units.map(\.name), refused: [:]), .optional, "What a time is written in; rfc3339 without it."),
    ConfigurationKey("required", .boolean, .standard("false"), "Whether a record without the field is a dead letter."),
  ]
  static let pattern =
    "^(string|number|integer|boolean|time(\\((rfc3339|seconds|milliseconds|microseconds)\\))?)!?$"

  /// The short form taken apart.
  static func parse(_ text: String) -> (type: String, unit: String?, required: Bool)? {
    var rest = text[...]
    let required = rest.hasSuffix("!")
    if required { rest = rest.dropLast() }
    guard rest.hasSuffix(")") else { return (String(rest), nil, required) }
    guard let open = rest.firstIndex(of: "(") else { return nil }
    return (String(rest[..<open]), String(rest[rest.index(after: open)...].dropLast()), required)
  }

  /// The declaration of a field that was read without a fault.
  static func declaration(_ member: ConfigurationItem.Member) -> FieldDeclaration? {
    guard let name = member.item["type"]?.text,
      let type = types.first(where: { $0.name == name })?.type
    else { return nil }
    let unit = member.item["unit"]?.text
    return FieldDeclaration(
      name: member.name, type: type,
      timeUnit: units.first { $0.name == unit }?.unit ?? .rfc3339,
      required: member.item["required"]?.boolean ?? false)
  }
}

extension ConfigurationReader {
  /// Either form becomes the long one.
  mutating func field(_ node: YAMLNode, _ path: String) -> ConfigurationItem.Content {
    func fault(_ message: String, _ hint: String) -> ConfigurationFault {
      ConfigurationFault(.wrongType, at: node.place, path: path, message, hint: hint)
    }
    let long: YAMLNode
    switch node.content {
    case .mapping: long = node
    case .scalar(let scalar):
      guard let form = FieldForm.parse(scalar.text) else {
        faults.append(fault("'\(path)' is not a field type: '\(scalar.text)'", "such as string, number! or time(seconds)"))
        return .invalid
      }
      guard FieldForm.types.contains(where: { $0.name == form.type }) else {
        let close = didYouMean(form.type, among: FieldForm.types.map(\.name))
        faults.append(
          fault(
            "'\(path)' has the unknown type '\(form.type)'",
            close.isEmpty ? "one of \(FieldForm.types.map(\.name).joined(separator: ", "))" : close))
        return .invalid
      }
      func entry(_ key: String, _ text: String) -> YAMLEntry {
        YAMLEntry(
          key: key, keyPlace: node.place,
          value: YAMLNode(.scalar(YAMLScalar(text: text, isPlain: true)), at: node.place))
      }
      var entries = [entry("type", form.type), entry("required", String(form.required))]
      if let unit = form.unit { entries.append(entry("unit", unit)) }
      long = YAMLNode(.mapping(entries), at: node.place)
    case .sequence:
      faults.append(fault("'\(path)' must be a field type, not a list", "such as string, number! or time(seconds)"))
      return .invalid
    }
    let item = readRecord(long, FieldForm.keys, path)
    guard let type = item["type"]?.text else { return .invalid }
    if type != "time", let unit = item["unit"] {
      faults.append(
        ConfigurationFault(
          .contradiction, at: unit.place, path: unit.path,
          "'\(path)' has a unit, but only times have one", hint: "drop the unit, or make it a time"))
      return .invalid
    }
    return item.content
  }
}
