import Records

extension FeaturePlan {
  /// Compiles a declaration. `zones` gives the rules of a named time zone, nil for an unknown one.
  ///
  /// Errors: every fault of the declaration at once, each with its path and, in an expression, its
  ///         column. A feature without expression has its faults at `features[i].name`, the label's
  ///         expression at `labels.target`.
  public static func compile(
    _ settings: FeatureSettings, zones: @escaping (String) -> TimeZoneRules?
  ) -> Result<FeaturePlan, FeatureFaults> {
    var compiler = PlanCompiler(settings, zones: zones)
    compiler.checkInputs()
    guard compiler.faults.isEmpty else { return .failure(FeatureFaults(faults: compiler.faults)) }
    compiler.checkWindows()
    compiler.compileFeatures()
    compiler.compileTarget()
    guard compiler.faults.isEmpty else { return .failure(FeatureFaults(faults: compiler.faults)) }
    return .success(compiler.plan())
  }
}

/// Collects faults and expressions, then builds the plan.
struct PlanCompiler {
  let settings: FeatureSettings
  var faults: [FeatureFault] = []
  /// One graph per input.
  var inputs: [ExpressionCompiler]
  var windows: [Window] = []
  var features: [Feature] = []
  /// Node in the label input's graph; -1 without labels.
  var target: Int32 = -1

  /// A window declaration after its checks.
  struct Window {
    var pane: Int64 = 1
    var sizes: [Int64] = []
    /// Nodes in the graph of `from`; -1: none.
    var key: Int32 = -1
    var filter: Int32 = -1
    var value: Int32 = -1
    /// Node in the graph of the scored input.
    var readKey: Int32 = -1
    var fixedPoint = FixedPoint(resolution: 1, range: 0...0, bounds: ValueBounds())!
    var parts = WindowLayout.Parts()
    var lateness: Int64 = 0
  }
  struct Feature {
    var node: Int32
    var kind: RowColumn.Kind
  }

  init(_ settings: FeatureSettings, zones: @escaping (String) -> TimeZoneRules?) {
    self.settings = settings
    inputs = settings.inputs.enumerated().map { index, schema in
      ExpressionCompiler(
        input: schema, windows: index == settings.scoredInput ? Self.scopes(settings) : nil,
        zones: zones)
    }
  }

  /// What features may name, faulty windows included, so that one fault does not cause others.
  private static func scopes(_ settings: FeatureSettings) -> [WindowScope] {
    settings.windows.map {
      WindowScope(
        name: $0.name, aggregates: $0.aggregates, sizesMilliseconds: $0.sizesMilliseconds.sorted())
    }
  }

  mutating func fault(_ path: String, _ message: String, hint: String = "", column: Int? = nil) {
    faults.append(FeatureFault(path: path, column: column, message: message, hint: hint))
  }

  /// Compiles an expression of an input; a fault is noted and gives nil.
  mutating func expression(
    _ text: String, input: Int, path: String, windows allowed: Bool = false
  ) -> ExpressionCompiler.Operand? {
    inputs[input].windowsAllowed = allowed
    do throws(ExpressionFault) {
      return try inputs[input].compile(text)
    } catch {
      fault(path, error.message, hint: error.hint, column: error.column)
      return nil
    }
  }

  mutating func checkInputs() {
    if !settings.inputs.indices.contains(settings.scoredInput) {
      fault("predict.on", "no input is scored")
    }
    if let label = settings.labelInput, !settings.inputs.indices.contains(label) {
      fault("labels.from", "no such input")
    }
    if settings.labelInput == settings.scoredInput {
      fault(
        "labels.from", "labels in the scored input are not supported yet",
        hint: "write them to a topic of their own")
    }
    for (index, input) in settings.inputs.enumerated() {
      if input.latenessMilliseconds < 0
        || input.latenessMilliseconds > WindowLayout.sizeMillisecondsMax
      {
        fault("inputs[\(index)].late_after", "lateness is between 0 and 1000d")
      }
      if input.fields.count > 4096 { fault("inputs[\(index)].fields", "more than 4096 fields") }
    }
  }

  // MARK: features and target

  mutating func compileFeatures() {
    if settings.features.isEmpty { fault("features", "at least one feature is needed") }
    var names: Set<String> = []
    var ids: Set<UInt64> = []
    for (index, feature) in settings.features.enumerated() {
      let path = "features[\(index)]"
      if feature.name.isEmpty {
        fault("\(path).name", "a feature needs a name")
      } else if !names.insert(feature.name).inserted {
        fault("\(path).name", "feature '\(feature.name)' is declared twice")
      } else if !ids.insert(RowColumn(name: feature.name, kind: feature.kind).id).inserted {
        fault("\(path).name", "the id of '\(feature.name)' is taken", hint: "choose another name")
      }
      if feature.kind == .category, feature.missing == .zero {
        fault(
          "\(path).missing", "a category has no zero",
          hint: "write coalesce(…, 'none') to give missing a category of its own")
      }
      let schema = settings.inputs[settings.scoredInput]
      let operand: ExpressionCompiler.Operand?
      let place: String
      if feature.expression.isEmpty {
        place = "\(path).name"
        if let field = schema.index(of: feature.name) {
          operand = inputs[settings.scoredInput].field(field)
        } else {
          operand = nil
          fault(
            place, "input '\(schema.name)' has no field '\(feature.name)'",
            hint: {
              let near = NameHints.nearest(feature.name, among: schema.fields.map(\.name))
              return near.isEmpty ? "give the feature an expr" : near
            }())
        }
      } else {
        place = "\(path).expr"
        operand = expression(
          feature.expression, input: settings.scoredInput, path: place, windows: true)
      }
      guard let operand else { continue }
      switch (feature.kind, operand.type) {
      case (.number, .number), (.number, .boolean):
        features.append(Feature(node: operand.node, kind: .number))
      case (.category, .category), (.category, .number), (.category, .boolean):
        let node = inputs[settings.scoredInput].asCategory(operand)
        features.append(Feature(node: node, kind: .category))
      case (_, .time):
        fault(
          "\(path).type", "a time cannot be a feature by itself",
          hint: "use hour(x, 'UTC') or the difference of two times")
      case (.number, .category):
        fault("\(path).type", "declared a number, but it is a category", hint: "type: category")
      }
    }
  }

  mutating func compileTarget() {
    guard let label = settings.labelInput else {
      if !settings.target.isEmpty { fault("labels.target", "a target needs an input with labels") }
      return
    }
    guard !settings.target.isEmpty else {
      fault("labels.target", "labels need a target", hint: "for example arr_delay > 15")
      return
    }
    guard let operand = expression(settings.target, input: label, path: "labels.target") else {
      return
    }
    if operand.type == .boolean {
      target = operand.node
    } else {
      fault(
        "labels.target", "the target must be true or false, found \(operand.type.article)",
        hint: operand.type == .number ? "compare it, for example \(settings.target) > 0" : "",
        column: 0)
    }
  }
}
