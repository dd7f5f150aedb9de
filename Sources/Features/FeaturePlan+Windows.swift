import Records

extension PlanCompiler {
  mutating func checkWindows() {
    if settings.windowKeysMax < 1 || settings.windowKeysMax > 1 << 30 {
      fault("windows", "the most keys of a window are between 1 and 2^30")
    }
    var names: Set<String> = []
    for (index, declared) in settings.windows.enumerated() {
      let path = "windows[\(index)]"
      if !Self.isIdentifier(declared.name) {
        fault(
          "\(path).name", "'\(declared.name)' cannot be named in expressions",
          hint: "letters, digits and _, no digit first")
      } else if !names.insert(declared.name).inserted {
        fault("\(path).name", "window '\(declared.name)' is declared twice")
      }
      var window = Window()
      checkTimes(declared, path, &window)
      checkAggregates(declared, path, &window)
      if settings.inputs.indices.contains(declared.from) {
        checkSource(declared, path, &window)
      } else {
        fault("\(path).from", "no such input")
      }
      windows.append(window)
    }
  }

  private static func isIdentifier(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard let first = bytes.first, !(0x30...0x39).contains(first) else { return false }
    return !ExpressionParser.words.contains(name)
      && bytes.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5A).contains($0 & 0xDF) || $0 == 0x5F
      }
  }

  private mutating func checkTimes(
    _ declared: WindowDeclaration, _ path: String, _ window: inout Window
  ) {
    window.sizes = declared.sizesMilliseconds.sorted()
    let isInside = window.sizes.allSatisfy { $0 > 0 && $0 <= WindowLayout.sizeMillisecondsMax }
    if window.sizes.isEmpty || !isInside {
      fault("\(path).sizes", "a window needs sizes, each above 0 and at most 1000d")
      return
    }
    if Set(window.sizes).count < window.sizes.count {
      fault("\(path).sizes", "the same size stands twice")
    }
    let pane =
      declared.paneMilliseconds ?? WindowLayout.derivedPane(sizesMilliseconds: window.sizes)
    if pane <= 0 || pane > WindowLayout.paneMillisecondsMax {
      fault(
        "\(path).pane", "a pane is between 1ms and \(WindowLayout.paneMillisecondsMax / 86_400_000)d",
        hint: declared.paneMilliseconds == nil ? "declare a pane that divides all sizes" : "")
      return
    }
    if let size = window.sizes.first(where: { $0 % pane != 0 }) {
      fault(
        "\(path).pane",
        "the size \(DurationText.format(size)) is not a multiple of the pane \(DurationText.format(pane))")
    }
    window.pane = pane
    if settings.inputs.indices.contains(declared.from) {
      // An event that is late by its own input's allowance still reads whole windows.
      window.lateness = max(
        settings.inputs[declared.from].latenessMilliseconds,
        settings.inputs[settings.scoredInput].latenessMilliseconds)
    }
    let largest = window.sizes[window.sizes.count - 1]
    let panes = (largest + window.lateness) / pane
    if panes > Int64(WindowLayout.paneCountMax) {
      fault(
        "\(path).sizes", "needs \(panes) panes a key, more than \(WindowLayout.paneCountMax)",
        hint: "a wider pane, or long sizes in a window of their own")
    }
  }

  private mutating func checkAggregates(
    _ declared: WindowDeclaration, _ path: String, _ window: inout Window
  ) {
    if declared.aggregates.isEmpty { fault("\(path).aggregates", "a window needs aggregates") }
    for aggregate in declared.aggregates {
      switch aggregate {
      case .count: break
      case .sum, .mean: window.parts.sum = true
      case .std:
        window.parts.sum = true
        window.parts.squares = true
      case .min: window.parts.minimum = true
      case .max: window.parts.maximum = true
      case .last, .sinceLast: window.parts.last = true
      }
      let needsValue = aggregate != .count && aggregate != .sinceLast
      if needsValue, declared.value.isEmpty {
        fault("\(path).value", "'\(aggregate.rawValue)' needs a value")
      }
    }
  }

  private mutating func checkSource(
    _ declared: WindowDeclaration, _ path: String, _ window: inout Window
  ) {
    if declared.from == settings.labelInput, declared.from != settings.scoredInput {
      fault(
        "\(path).from", "windows over the labels' input are not supported yet",
        hint: "read the same topic as a further input")
    }
    let source = settings.inputs[declared.from]
    let scored = settings.inputs[settings.scoredInput]
    if declared.by.isEmpty { fault("\(path).by", "a window needs a field to count by") }
    for name in declared.by {
      let own = key(name, declared.from, path, &window.key)
      if declared.from == settings.scoredInput {
        window.readKey = window.key
        continue
      }
      let read = key(name, settings.scoredInput, path, &window.readKey)
      if let own, let read, own != read {
        fault(
          "\(path).by",
          "'\(name)' is a \(own) in '\(source.name)' but a \(read) in '\(scored.name)'")
      }
    }
    if !declared.filter.isEmpty,
      let operand = expression(declared.filter, input: declared.from, path: "\(path).filter")
    {
      window.filter = operand.node
      if operand.type != .boolean {
        fault(
          "\(path).filter", "a filter must be true or false, found \(operand.type.article)",
          column: 0)
      }
    }
    checkValue(declared, path, &window)
  }

  /// Adds a field to a key; the type by which the two sides of a window must agree.
  private mutating func key(
    _ name: String, _ input: Int, _ path: String, _ key: inout Int32
  ) -> FieldType? {
    let schema = settings.inputs[input]
    guard let field = schema.index(of: name) else {
      fault(
        "\(path).by", "input '\(schema.name)' has no field '\(name)'",
        hint: NameHints.nearest(name, among: schema.fields.map(\.name)))
      return nil
    }
    let category = inputs[input].asCategory(inputs[input].field(field))
    key = key < 0 ? category : inputs[input].add(.combine, key, category)
    let type = schema.fields[field].type
    return type == .integer ? .number : type
  }

  private mutating func checkValue(
    _ declared: WindowDeclaration, _ path: String, _ window: inout Window
  ) {
    if let resolution = declared.resolution, !(resolution > 0 && resolution.isFinite) {
      fault("\(path).resolution", "a resolution is above 0")
      return
    }
    if let range = declared.range, !(range.lowerBound.isFinite && range.upperBound.isFinite) {
      fault("\(path).range", "a range has finite ends")
      return
    }
    guard !declared.value.isEmpty else {
      if declared.resolution != nil { fault("\(path).resolution", "there is no value") }
      if declared.range != nil { fault("\(path).range", "there is no value") }
      return
    }
    guard
      let operand = expression(declared.value, input: declared.from, path: "\(path).value")
    else { return }
    guard operand.type == .number || operand.type == .boolean else {
      fault(
        "\(path).value", "a value is a number, found \(operand.type.article)",
        hint: operand.type == .category ? "count by it instead" : "", column: 0)
      return
    }
    window.value = operand.node
    let bounds = inputs[declared.from].bounds(operand.node)
    guard
      let fixedPoint = FixedPoint(
        resolution: declared.resolution, range: declared.range, bounds: bounds)
    else {
      fault(
        "\(path).resolution", "the range holds more than 2^30 steps",
        hint: "a coarser resolution, or clamp the value")
      return
    }
    window.fixedPoint = fixedPoint
  }
}
