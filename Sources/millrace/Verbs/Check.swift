import Kafka
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
  var pipelines =
    try paths.isEmpty ? [invocation.pipeline()] : paths.map { try invocation.pipeline(files: [$0]) }
  for index in pipelines.indices {
    pipelines[index].faults += libraryFaults(pipelines[index], LibraryVersion.current)
  }
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
        ] + facts(loaded).map { ($0.name, $0.value) }
          + [("derived", .array((loaded.plan?.describe() ?? []).map { .string($0) }))])
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
      guard loaded.settings != nil else { continue }
      for line in loaded.plan?.describe() ?? [] { invocation.output.result("  \(line)") }
    }
  }
  return pipelines.allSatisfy(isGood) ? .done : .badConfiguration
}

/// What the client library that is loaded here would make of a configuration.
func libraryFaults(_ loaded: LoadedPipeline, _ library: LibraryVersion) -> [ConfigurationFault] {
  guard let settings = loaded.settings, let root = loaded.effective else { return [] }
  func warning(_ path: String, _ message: String, _ hint: String) -> ConfigurationFault {
    ConfigurationFault(.unsafeLibrary, at: root.nearest(to: path).place, path: path, message, hint: hint)
  }
  var faults: [ConfigurationFault] = []
  if let refusal = library.refusal { faults.append(warning("kafka", refusal, "the worker will not start with it")) }
  if let mechanism = settings.kafka.security.mechanism, mechanism.hasPrefix("SCRAM-"), library.hasBrokenSCRAM {
    faults.append(
      warning(
        "kafka.security.mechanism",
        "librdkafka \(library) fails \(mechanism) against brokers from 3.7.2, 3.8.1 and 3.9 on",
        "librdkafka 2.6.1 or later; or PLAIN over TLS, or a client certificate"))
  }
  return faults
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
    Fact(name: "learning", value: .string(String(settings.learningDigest.description.prefix(16)))),
    Fact(name: "plan", value: .string(String(plan.digest.description.prefix(16)))),
  ]
}

private func coloured(_ fault: ConfigurationFault) -> String {
  let tag = "\(fault.severity)[\(fault.code.rawValue)]"
  return fault.text.replacing(
    tag, with: "\u{1b}[1;\(fault.code.isWarning ? "33" : "31")m\(tag)\u{1b}[0m", maxReplacements: 1)
}
