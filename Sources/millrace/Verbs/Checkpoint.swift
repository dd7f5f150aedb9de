import Checkpoints
import Learning
import Pipeline
import Records
import Storage
import Worker

func checkpointList(_ invocation: Invocation) throws -> ExitCode {
  let survey = try CheckpointSurvey(try stateDirectory(invocation))
  if invocation.wantsJSON {
    invocation.output.result(JSONText.array(survey.files.map(\.json)).encoded(pretty: true))
  } else {
    var table = TextTable(["file", "kind", "partition", "log next", "bytes", "inputs", "state"])
    for file in survey.files {
      let identity = file.checkpoint?.identity
      table.add([
        file.name, identity.map { "\($0.kind)" } ?? "-",
        identity.map { "\($0.fingerprint.partition.value)" } ?? "-",
        identity.map { "\($0.logNext.value)" } ?? "-", "\(file.byteCount)",
        identity.map { $0.inputs.map { "\($0.next.value)" }.joined(separator: " ") } ?? "-",
        file.fault ?? "good",
      ])
    }
    for line in table.lines { invocation.output.result(line) }
    if survey.files.isEmpty { invocation.note("no checkpoints directory=\(survey.directory)") }
  }
  return survey.files.contains { $0.fault != nil } ? .failed : .done
}

func checkpointInspect(_ invocation: Invocation) throws -> ExitCode {
  guard let path = invocation.arguments.first else { preconditionFailure("the argument was checked") }
  let file = try SurveyedFile(path: path)
  guard let checkpoint = file.checkpoint else {
    if invocation.wantsJSON { invocation.output.result(file.json.encoded(pretty: true)) }
    throw Failure(.failed, "\(file.fault ?? "unreadable") path=\(path)")
  }
  if invocation.wantsJSON {
    invocation.output.result(file.json.encoded(pretty: true))
    return file.fault == nil ? .done : .failed
  }
  let identity = checkpoint.identity
  var facts = TextTable(["", ""])
  facts.add(["kind", "\(identity.kind)"])
  facts.add(["id", "\(checkpoint.id)"])
  facts.add(["parent", identity.parent?.description ?? "-"])
  facts.add(["pipeline", identity.fingerprint.pipeline])
  facts.add(["cluster", identity.fingerprint.clusterID])
  facts.add(["topic", "\(identity.fingerprint.topic)[\(identity.fingerprint.partition.value)]"])
  facts.add(["settings", "\(identity.fingerprint.settings)"])
  facts.add(["log next", "\(identity.logNext.value)"])
  facts.add(["generation", "\(identity.generation)"])
  for input in identity.inputs { facts.add(["input", "\(input.topic) next \(input.next.value)"]) }
  for section in checkpoint.sections {
    facts.add(["section", "\(section.name), \(section.bytes.count) bytes\(section.required ? "" : ", optional")"])
  }
  for line in facts.lines.dropFirst() { invocation.output.result(line) }
  if let model = file.model {
    invocation.output.result("")
    for line in ModelReport(model).lines { invocation.output.result(line) }
  }
  if let fault = file.fault { throw Failure(.failed, "\(fault) path=\(path)") }
  return .done
}

func checkpointVerify(_ invocation: Invocation) throws -> ExitCode {
  var files: [SurveyedFile] = []
  var blobs: [BlobSurvey.Blob] = []
  if invocation.arguments.isEmpty {
    let directory = try stateDirectory(invocation)
    files = try CheckpointSurvey(directory).files
    blobs = BlobSurvey(directory).blobs
  } else {
    files = try invocation.arguments.map { try SurveyedFile(path: $0) }
  }
  let bad = files.count { $0.fault != nil } + blobs.count { $0.fault != nil }
  if invocation.wantsJSON {
    invocation.output.result(
      JSONText.object([
        ("checkpoints", .array(files.map(\.json))),
        ("kept_states", .array(blobs.map { blob in
          .object([
            ("digest", .string(blob.name)), ("bytes", .integer(Int64(blob.byteCount))),
            ("fault", blob.fault.map { .string($0) } ?? .null),
          ])
        })), ("bad", .integer(Int64(bad))),
      ]).encoded(pretty: true))
  } else {
    for file in files { invocation.output.result("\(file.fault == nil ? "good" : "BAD ")  \(file.name)\(file.fault.map { "  \($0)" } ?? "")") }
    for blob in blobs { invocation.output.result("\(blob.fault == nil ? "good" : "BAD ")  blobs/\(blob.name)\(blob.fault.map { "  \($0)" } ?? "")") }
    invocation.note("\(files.count + blobs.count) files, \(bad) bad")
  }
  return bad == 0 ? .done : .failed
}
