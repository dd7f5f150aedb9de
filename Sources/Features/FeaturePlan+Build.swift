import Records

extension PlanCompiler {
  /// Builds the plan of a declaration without faults.
  func plan() -> FeaturePlan {
    let scored = inputs[settings.scoredInput]
    let lanes = Int32(RegisterFile.lanes)
    let used = settings.windows.indices.filter { index in
      scored.windowResults.contains { $0.window == index }
    }

    // After the windows: every feature that depends on one.
    let depends = scored.graph.dependsOnWindows
    let after = RegisterProgram(
      graph: scored.graph, outputs: features.map(\.node).filter { depends[Int($0)] },
      afterWindows: true)

    // Before: features without windows, what the program above takes over, keys, marks, the label.
    var programs: [InputPlan] = []
    for (index, input) in inputs.enumerated() {
      var outputs: [Int32] = []
      if index == settings.scoredInput {
        outputs += features.map(\.node).filter { !depends[Int($0)] } + after.carried
        outputs += used.map { windows[$0].readKey }
      }
      let observed = used.filter { settings.windows[$0].from == index }
      for window in observed.map({ windows[$0] }) {
        outputs += [window.key, window.filter, window.value].filter { $0 >= 0 }
      }
      if index == settings.labelInput, target >= 0 { outputs.append(target) }
      let program = RegisterProgram(graph: input.graph, outputs: outputs, afterWindows: false)
      func place(_ node: Int32) -> Int32 { node < 0 ? -1 : program.registers[Int(node)] * lanes }
      programs.append(
        InputPlan(
          program: program,
          observers: observed.map { declaration in
            let window = windows[declaration]
            return WindowObserver(
              window: Int32(used.firstIndex(of: declaration)!), key: place(window.key),
              filter: place(window.filter), value: place(window.value),
              lower: window.fixedPoint.lower, upper: window.fixedPoint.upper,
              resolution: window.fixedPoint.resolution)
          },
          readKeys: index == settings.scoredInput ? used.map { place(windows[$0].readKey) } : [],
          target: index == settings.labelInput ? place(target) : -1))
    }

    let before = programs[settings.scoredInput].program
    let plans = used.map { declaration in
      windowPlan(declaration, after)
    }
    let schema = RowSchema(
      zip(settings.features, features).map { RowColumn(name: $0.name, kind: $1.kind) })
    var plain: [RowOutput] = []
    var windowed: [RowOutput] = []
    for (index, feature) in features.enumerated() {
      let isWindowed = depends[Int(feature.node)]
      let output = RowOutput(
        from: (isWindowed ? after : before).registers[Int(feature.node)] * lanes,
        place: Int32(schema.places[index]), column: Int32(index),
        isCategory: feature.kind == .category,
        missingMark: settings.features[index].missing == .indicator ? 1 : 0,
        stride: Int32(
          feature.kind == .category ? schema.categoryCount : schema.numberCount),
        maskStride: Int32(schema.columns.count))
      if isWindowed { windowed.append(output) } else { plain.append(output) }
    }
    return FeaturePlan(
      settings: settings, rowSchema: schema, digest: digest(used),
      windowColumnNames: windowed.map { settings.features[Int($0.column)].name },
      description: describe(used, plans), inputs: programs, windows: plans, afterWindows: after,
      carried: after.carried.map { node in
        RegisterMove(
          from: before.registers[Int(node)] * lanes, to: after.registers[Int(node)] * lanes,
          isCategory: scored.graph.nodes[Int(node)].operation.isCategory)
      },
      plainOutputs: plain, windowOutputs: windowed)
  }

  private func layout(_ declaration: Int) -> WindowLayout {
    let window = windows[declaration]
    return WindowLayout(
      paneMilliseconds: window.pane, sizesMilliseconds: window.sizes,
      latenessMilliseconds: window.lateness, parts: window.parts)
  }

  private func windowPlan(_ declaration: Int, _ after: RegisterProgram) -> WindowPlan {
    let scored = inputs[settings.scoredInput]
    let columns = after.windowNodes.compactMap { node -> WindowPlan.Column? in
      let result = scored.windowResults[Int(scored.graph.nodes[Int(node)].immediate)]
      guard result.window == declaration else { return nil }
      return WindowPlan.Column(
        aggregate: result.aggregate, size: result.size,
        to: after.registers[Int(node)] * Int32(RegisterFile.lanes))
    }
    return WindowPlan(
      declaration: declaration, from: settings.windows[declaration].from,
      layout: layout(declaration), fixedPoint: windows[declaration].fixedPoint,
      sizesMilliseconds: windows[declaration].sizes, columns: columns)
  }

  // MARK: for people

  private func describe(_ used: [Int], _ plans: [WindowPlan]) -> [String] {
    var lines: [String] = []
    for (index, declared) in settings.windows.enumerated() {
      let window = windows[index]
      guard used.contains(index) else {
        lines.append("window \(declared.name): no feature uses it, so it is not kept")
        continue
      }
      let layout = layout(index)
      let sizes = window.sizes.map(DurationText.format).joined(separator: " ")
      var line =
        "window \(declared.name): \(sizes) of \(settings.inputs[declared.from].name) by "
        + declared.by.joined(separator: ", ")
        + ", \(layout.paneCount) panes of \(DurationText.format(window.pane))"
        + (declared.paneMilliseconds == nil ? " (derived)" : "")
      if window.value >= 0 {
        let fixed = window.fixedPoint
        line += ", value from \(fixed.lower) to \(fixed.upper)"
          + (fixed.isRangeDerived ? " (derived)" : "") + " in steps of \(fixed.resolution)"
          + (fixed.isResolutionDerived ? " (derived)" : "")
      }
      line += ", \(layout.blockBytes) bytes a key, at most \(settings.windowKeysMax) keys a partition"
      lines.append(line)
    }
    let windowed = features.filter {
      inputs[settings.scoredInput].graph.dependsOnWindows[Int($0.node)]
    }.count
    lines.append("row: \(features.count) features, \(windowed) of them from windows")
    return lines
  }

  // MARK: fingerprint

  /// Everything that decides what a row holds, in a fixed order. Version first: a change of meaning
  /// of any part changes it.
  private func digest(_ used: [Int]) -> Digest {
    var writer = ByteWriter()
    writer.write("millrace.features")
    writer.writeVarint(1)
    func optional(_ value: Int?) { writer.writeSignedVarint(Int64(value ?? -1)) }
    writer.writeVarint(UInt64(settings.inputs.count))
    for input in settings.inputs {
      writer.write(input.name)
      writer.writeVarint(UInt64(input.fields.count))
      for field in input.fields {
        writer.write(field.name)
        writer.write(field.type.rawValue)
        writer.write(field.timeUnit.rawValue)
        writer.write(field.required)
      }
      optional(input.idField)
      optional(input.keyField)
      optional(input.eventTimeField)
      writer.write(input.latenessMilliseconds)
      writer.write(input.futureMillisecondsMax)
    }
    optional(settings.scoredInput)
    optional(settings.labelInput)
    writer.write(settings.target)
    writer.writeVarint(UInt64(used.count))
    for index in used {
      let (declared, window) = (settings.windows[index], windows[index])
      writer.write(declared.name)
      writer.writeVarint(UInt64(declared.from))
      writer.writeVarint(UInt64(declared.by.count))
      for name in declared.by { writer.write(name) }
      writer.write(declared.value)
      writer.write(declared.filter)
      writer.writeVarint(UInt64(window.sizes.count))
      for size in window.sizes { writer.write(size) }
      writer.write(window.pane)
      let aggregates = Aggregate.allCases.filter(declared.aggregates.contains)
      writer.writeVarint(UInt64(aggregates.count))
      for aggregate in aggregates { writer.write(aggregate.rawValue) }
      writer.write(window.fixedPoint.resolution)
      writer.write(window.fixedPoint.lower)
      writer.write(window.fixedPoint.upper)
    }
    writer.writeVarint(UInt64(settings.features.count))
    for feature in settings.features {
      writer.write(feature.name)
      writer.write(feature.expression)
      writer.write(feature.kind.rawValue)
      writer.write(feature.missing.rawValue)
    }
    writer.writeVarint(UInt64(settings.windowKeysMax))
    for input in inputs {
      writer.writeVarint(UInt64(input.graph.zones.count))
      for zone in input.graph.zones {
        writer.write(zone.name)
        zone.rules.encode(into: &writer)
      }
    }
    return Digest.of(writer.bytes)
  }
}
