import Features

/// What came of reading a configuration: the settings if nothing is wrong, and everything there is to say.
public struct LoadedPipeline: Sendable {
  /// Nil if there is an error among the faults.
  public var settings: PipelineSettings?
  /// Errors and warnings, in reading order.
  public var faults: [ConfigurationFault]
  /// The windows and features of the settings, compiled; there whenever the settings are.
  public var plan: FeaturePlan?
  /// Every value with its origin, defaults included; nil where no file could be read.
  public var effective: ConfigurationItem?

  public var errors: [ConfigurationFault] { faults.filter { !$0.code.isWarning } }

  /// The settings with what they compile to, or all that is wrong.
  public func compiled() throws(ConfigurationFaults) -> (settings: PipelineSettings, plan: FeaturePlan) {
    guard let settings, let plan else { throw ConfigurationFaults(errors) }
    return (settings, plan)
  }

  /// The settings, or all that is wrong.
  public func get() throws(ConfigurationFaults) -> PipelineSettings {
    guard let settings else { throw ConfigurationFaults(errors) }
    return settings
  }
}

/// Reads configurations: files, then variables, then overrides; the later wins, mappings merge key by key.
public enum PipelineLoader {
  /// - Parameters:
  ///   - files: in order, at least one.
  ///   - overrides: `path=value`, in order.
  public static func load(
    files: [String], overrides: [String] = [], surroundings: Surroundings = .process()
  ) -> LoadedPipeline {
    precondition(!files.isEmpty, "a configuration needs a file")
    var faults: [ConfigurationFault] = []
    var tree: YAMLNode?
    for file in files {
      let source = Place.Source.file(file)
      switch surroundings.read(file) {
      case .failure(let error):
        faults.append(
          ConfigurationFault(
            .unreadableFile, at: Place(source), "the file cannot be read: \(error.reason)",
            hint: "--config names the file, or a directory with a pipeline.yaml"))
      case .success(let bytes):
        let (node, problems) = YAMLReader.read(bytes, source: source)
        faults += problems
        guard var node else {
          if problems.isEmpty {
            faults.append(ConfigurationFault(.wrongType, at: Place(source), "the file is empty"))
          }
          continue
        }
        guard case .mapping = node.content else {
          faults.append(
            ConfigurationFault(
              .wrongType, at: node.place, "a configuration is a mapping, not \(node.kindName)"))
          continue
        }
        Substitution.fill(&node, from: surroundings.variables, faults: &faults)
        if tree == nil { tree = node } else { tree?.merge(node) }
      }
    }
    // Where a file could not be read whole, what it would have said is unknown: more faults would be guesses.
    guard var tree, !faults.contains(where: { Self.hidesMore.contains($0.code) }) else {
      return LoadedPipeline(settings: nil, faults: faults, plan: nil, effective: nil)
    }
    Overrides.apply(variables: surroundings.variables, to: &tree, faults: &faults)
    for assignment in overrides { Overrides.apply(assignment: assignment, to: &tree, faults: &faults) }

    var reader = ConfigurationReader(surroundings: surroundings)
    let root = reader.read(tree)
    faults += reader.faults
    var builder = SettingsBuilder(root: root, surroundings: surroundings)
    let settings = builder.build()
    faults += builder.faults
    let compiled = compile(settings.features, root, faults, surroundings)
    faults += compiled.faults
    if !faults.contains(where: { !$0.code.isWarning }) {
      // The fold has the last word on what it can be made of.
      let place = root.nearest(to: "model")
      faults += settings.learning.faults.map {
        ConfigurationFault(.contradiction, at: place.place, path: place.path, $0)
      }
    }

    let files = Dictionary(uniqueKeysWithValues: Set(files).map { ($0, files.firstIndex(of: $0)!) })
    faults.sort { order($0, files) < order($1, files) }
    let failed = faults.contains { !$0.code.isWarning }
    return LoadedPipeline(
      settings: failed ? nil : settings, faults: faults, plan: failed ? nil : compiled.plan,
      effective: root)
  }

  /// Compiles windows, features and target, and brings the plan's faults back to their places.
  ///
  /// Not tried where something they are made of could not be read: what is missing would be reported
  /// a second time as something unknown.
  private static func compile(
    _ settings: FeatureSettings, _ root: ConfigurationItem, _ known: [ConfigurationFault],
    _ surroundings: Surroundings
  ) -> (plan: FeaturePlan?, faults: [ConfigurationFault]) {
    let parts = ["inputs", "windows", "features", "predict.on", "labels", "window_keys_max"]
    let unreadable = known.contains { fault in
      !fault.code.isWarning && !harmless.contains(fault.code)
        && parts.contains { fault.path == $0 || fault.path.hasPrefix("\($0).") || fault.path.hasPrefix("\($0)[") }
    }
    if unreadable { return (nil, []) }
    let zones = ZoneFiles(surroundings)
    switch FeaturePlan.compile(settings, zones: { zones.rules($0) }) {
    case .success(let plan): return (plan, [])
    case .failure(let failure):
      let told = Set(known.map(\.path))
      return (
        nil, failure.faults.filter { !told.contains($0.path) }.map { placed($0, in: root) }
      )
    }
  }

  /// Faults that leave inputs, windows and features as they were declared.
  private static let harmless: Set<FaultCode> = [
    .unknownKey, .duplicateName, .topicTwice, .scopeUnstated,
  ]

  private static func placed(
    _ fault: FeatureFault, in root: ConfigurationItem
  ) -> ConfigurationFault {
    let item = root.nearest(to: fault.path)
    var place = item.place
    var message = "'\(fault.path)': \(fault.message)"
    if let column = fault.column {
      if let offset = item.textOffset {
        place.column += offset + column
      } else {
        message += " at character \(column + 1)"
      }
    }
    return ConfigurationFault(.expression, at: place, path: item.path, message, hint: fault.hint)
  }

  private static let hidesMore: Set<FaultCode> = [
    .unreadableFile, .syntax, .invalidText, .unsupportedYAML, .tooLarge,
  ]

  /// Files in their order, then variables, overrides and defaults.
  private static func order(
    _ fault: ConfigurationFault, _ files: [String: Int]
  ) -> (Int, String, Int, Int, String, String) {
    let rank: Int
    let name: String
    switch fault.place.source {
    case .file(let path): (rank, name) = (files[path] ?? 0, "")
    case .environment(let variable): (rank, name) = (1 << 20, variable)
    case .override(let path): (rank, name) = (1 << 21, path)
    case .standard: (rank, name) = (1 << 22, "")
    }
    return (rank, name, fault.place.line, fault.place.column, fault.code.rawValue, fault.path)
  }
}
