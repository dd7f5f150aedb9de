import Learning
import Pipeline
import Records

/// `millrace check`: findings on stdout, one pipeline after the other.
func check(_ invocation: Invocation) throws -> ExitCode {
  let paths = invocation.arguments
  guard paths.isEmpty || invocation.texts("config").isEmpty else {
    throw UsageFault(
      message: "'check' takes paths or --config, not both",
      hint: "paths are pipelines of their own, several --config are merged into one", verb: ["check"])
  }
  let pipelines =
    try paths.isEmpty ? [invocation.pipeline()] : paths.map { try invocation.pipeline(files: [$0]) }
  let denied = invocation.has("deny-warnings")
  func isGood(_ loaded: LoadedPipeline) -> Bool {
    loaded.settings != nil && (!denied || loaded.faults.isEmpty)
  }
  switch invocation.text("format") ?? (invocation.wantsJSON ? "json" : "text") {
  case "json":
    let reports = pipelines.map { loaded in
      JSONText.object(
        [
          ("valid", .bool(isGood(loaded))), ("faults", .array(loaded.faults.map(\.json))),
        ] + facts(loaded).map { ($0.name, $0.value) })
    }
    invocation.output.result(
      JSONText.object([
        ("valid", .bool(pipelines.allSatisfy(isGood))), ("pipelines", .array(reports)),
      ]).encoded(pretty: true))
  case "sarif":
    invocation.output.result(
      ConfigurationFaults.sarif(pipelines.flatMap(\.faults)).encoded(pretty: true))
  default:
    for loaded in pipelines {
      for fault in loaded.faults {
        invocation.output.result(invocation.colorsResult ? coloured(fault) : fault.text)
      }
      guard !invocation.isQuiet else { continue }
      let facts = facts(loaded).map { "\($0.name)=\($0.text)" }.joined(separator: " ")
      let verdict = isGood(loaded) ? "valid" : "invalid"
      invocation.output.result(facts.isEmpty ? verdict : "\(verdict): \(facts)")
    }
  }
  return pipelines.allSatisfy(isGood) ? .done : .badConfiguration
}

private struct Fact {
  var name: String
  var value: JSONText
  var text: String {
    if case .string(let text) = value { return text }
    return value.encoded()
  }
}

/// What came of a pipeline, in words that other tools use too.
private func facts(_ loaded: LoadedPipeline) -> [Fact] {
  guard let settings = loaded.settings, let plan = loaded.plan else { return [] }
  func count(_ name: String, _ count: Int) -> Fact { Fact(name: name, value: .integer(Int64(count))) }
  return [
    Fact(name: "pipeline", value: .string(settings.name)),
    count("inputs", settings.features.inputs.count),
    count("windows", settings.features.windows.count),
    count("features", settings.features.features.count),
    count("contenders", settings.learning.contenders.count),
    Fact(name: "plan", value: .string(String(plan.digest.description.prefix(16)))),
  ]
}

private func coloured(_ fault: ConfigurationFault) -> String {
  let tag = "\(fault.severity)[\(fault.code.rawValue)]"
  return fault.text.replacing(
    tag, with: "\u{1b}[1;\(fault.code.isWarning ? "33" : "31")m\(tag)\u{1b}[0m", maxReplacements: 1)
}
