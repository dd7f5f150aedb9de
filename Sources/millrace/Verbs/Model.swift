import Learning
import Models
import Pipeline
import Records
import Storage
import Worker

/// The directory that `--directory` names, else that of the configuration.
func stateDirectory(_ invocation: Invocation) throws -> String {
  if let named = invocation.text("directory") { return named }
  return try invocation.pipeline().get().checkpoints.directory
}

/// The newest model that can be read, and a line for each damaged file that was passed over.
private func newest(_ invocation: Invocation) throws -> (model: RestoredModel, damaged: [String]) {
  let directory = try stateDirectory(invocation)
  let damaged = try CheckpointSurvey(directory).files.filter { $0.name.hasPrefix("m") && $0.fault != nil }
    .map { "\($0.name): \($0.fault ?? "")" }
  guard let model = newestModel(directory) else {
    for line in damaged { invocation.output.note(line) }
    throw Failure(
      damaged.isEmpty ? .storage : .failed, "no model can be read in this directory directory=\(directory)")
  }
  return (model, damaged)
}

private func ended(_ damaged: [String], _ invocation: Invocation) -> ExitCode {
  for line in damaged { invocation.output.note(line) }
  return damaged.isEmpty ? .done : .failed
}

func modelList(_ invocation: Invocation) throws -> ExitCode {
  let (model, damaged) = try newest(invocation)
  let report = ModelReport(model.state)
  let blobs = BlobSurvey(try stateDirectory(invocation))
  if invocation.wantsJSON {
    invocation.output.result(
      JSONText.object([
        ("checkpoint", .string(model.name.description)), ("version", .string(model.state.version.description)),
        ("frozen", .bool(model.state.ledger.isFrozen)),
        ("kept", .array(report.kept.map(ModelReport.json))),
        ("damaged", .array(damaged.map { .string($0) })),
      ]).encoded(pretty: true))
  } else {
    var table = TextTable(ModelReport.keptHead + ["file"])
    for entry in report.kept { table.add(ModelReport.keptRow(entry) + [blobs.word(entry.digest)]) }
    for line in table.lines { invocation.output.result(line) }
    invocation.note("as of \(model.name): version \(model.state.version), \(model.state.ledger.isFrozen ? "frozen" : "learning")")
  }
  return ended(damaged, invocation)
}

func modelInspect(_ invocation: Invocation) throws -> ExitCode {
  guard let wanted = invocation.arguments.first else { preconditionFailure("the argument was checked") }
  let (model, damaged) = try newest(invocation)
  let state = model.state
  let isPresent = ModelVersion(wanted) == state.version
  let entry = state.ledger.kept.last {
    $0.version == ModelVersion(wanted) || $0.tags.contains(wanted)
  }
  guard isPresent || entry != nil else {
    throw Failure(.failed, "no such version is kept version=\(wanted); `millrace model ls` lists them")
  }
  let version = entry?.version ?? state.version
  let digest = entry?.digest ?? state.stateHash
  let bytes = entry.flatMap { state.keptBytes($0.digest) }
  // A state that can be listed but not read back would fail the rollback that needs it.
  let isReadable = entry.map { state.scorers(of: $0) != nil } ?? true
  let report = ModelReport(state)
  let contenders = state.settings?.contenders ?? []
  if invocation.wantsJSON {
    invocation.output.result(
      JSONText.object([
        ("version", .string(version.description)), ("present", .bool(version == state.version)),
        ("state_hash", .string(digest.description)), ("readable", .bool(isReadable)),
        ("bytes", bytes.map { .integer(Int64($0.count)) } ?? .null),
        ("kept", entry.map(ModelReport.json) ?? .null),
        ("contenders", .array(contenders.map { contender in
          .object([("name", .string(contender.name)), ("kind", .string(kind(contender)))])
        })),
        ("metrics_of_lineage", .integer(Int64(state.ledger.lineage.value))), ("metrics", report.metricsJSON),
      ]).encoded(pretty: true))
  } else {
    invocation.output.result("version \(version)\(version == state.version ? " (present)" : "")")
    invocation.output.result("state   \(digest)")
    if let entry {
      invocation.output.result("tags    \(entry.tags.isEmpty ? "-" : entry.tags.joined(separator: ", "))")
      invocation.output.result("kept    at \(entry.timestamp.rfc3339), log offset \(entry.offset.value), \(entry.isConfirmed ? "confirmed" : entry.isStored ? "stored" : "not stored yet")")
      invocation.output.result("size    \(bytes?.count ?? 0) bytes, \(isReadable ? "readable" : "NOT READABLE")")
    }
    var table = TextTable(["contender", "learner"])
    for contender in contenders { table.add([contender.name, kind(contender)]) }
    for line in [""] + table.lines { invocation.output.result(line) }
    invocation.output.result("")
    for line in report.metricLines { invocation.output.result(line) }
    invocation.note("metrics are those of the present lineage \(state.ledger.lineage.value), up to version \(state.version); none are kept by version")
  }
  let code = ended(damaged, invocation)
  return isReadable ? code : .failed
}

private func kind(_ contender: ContenderSettings) -> String {
  switch contender.kind {
  case .baseRate: "base rate"
  case .ftrl(_, let encoding): "FTRL-Proximal, 2^\(encoding.hashBits) slots, served as int8"
  }
}
