import Kafka
import Pipeline
import Records
import Worker

func controlRollback(_ invocation: Invocation) throws -> ExitCode {
  guard let text = invocation.text("to") else { preconditionFailure("--to is required") }
  guard let target = RollbackTarget(text) else {
    throw UsageFault(
      message: "'--to \(text)' is no target",
      hint: "previous, a version such as 7.184201, a tag, or a time such as 2013-01-18T12:00:00Z",
      verb: invocation.verb.path)
  }
  let then = AfterRollback(rawValue: invocation.text("then") ?? "freeze") ?? .freeze
  return try command(.rollback(to: target, then: then), invocation)
}

func controlFreeze(_ invocation: Invocation) throws -> ExitCode { try command(.freeze, invocation) }
func controlUnfreeze(_ invocation: Invocation) throws -> ExitCode { try command(.unfreeze, invocation) }

func controlTag(_ invocation: Invocation) throws -> ExitCode {
  guard let name = invocation.arguments.first else { preconditionFailure("the argument was checked") }
  guard RollbackTarget.isTag(name) else {
    throw UsageFault(
      message: "'\(name)' cannot be a tag",
      hint: "1 to 64 letters, digits, '.', '_' and '-', beginning with a letter; not 'previous'",
      verb: invocation.verb.path)
  }
  return try command(.tag(name: name), invocation)
}

/// Shows how the declared learning settings differ from the charter in force, and proposes them under its lineage.
func controlCharter(_ invocation: Invocation) throws -> ExitCode {
  let settings = try invocation.pipeline().get()
  let status: ControlStatus
  do {
    status = try readControlStatus(
      settings, try invocation.filledSurroundings(),
      timeoutMilliseconds: invocation.milliseconds("timeout") ?? 30_000)
  } catch {
    throw failure(error, settings)
  }
  guard status.isComplete, let model = status.model, let present = model.settings else {
    throw Failure(
      .badData, status.obstacle ?? "the learning log holds no charter that this program folds, or was not read to its end in time")
  }
  let declared = settings.learning
  guard declared.rowSchema == present.rowSchema else {
    throw Failure(
      .badConfiguration, "the declared features make other columns than the charter's: that needs a new learning topic")
  }
  let changes = declared.changes(from: present)
  guard !changes.isEmpty else {
    invocation.note("the declared learning settings are in force version=\(model.version)")
    return .done
  }
  for change in changes { invocation.note(change) }
  let proposal = CharterProposal(settings: declared.canonicalBytes(), rowSchema: declared.rowSchema)
  guard proposal.settings.count <= CharterProposal.settingsByteCountMax else {
    throw Failure(
      .badConfiguration,
      "the settings are too long for a command bytes=\(proposal.settings.count) most=\(CharterProposal.settingsByteCountMax)")
  }
  return try command(.charter(args: proposal.args), invocation, expecting: model.version.lineage)
}

/// Signs, sends, waits, reports. 77: a worker refused; 75: answers are missing.
private func command(
  _ action: Command.Action, _ invocation: Invocation, expecting lineage: Lineage? = nil
) throws -> ExitCode {
  guard let keyPath = invocation.text("key"), let reason = invocation.text("reason") else {
    preconditionFailure("--key and --reason are required")
  }
  guard !reason.allSatisfy(\.isWhitespace), reason.utf8.count <= 2_048 else {
    throw UsageFault(
      message: "'--reason' needs 1 to 2048 bytes", hint: "it stands in the audit log", verb: invocation.verb.path)
  }
  let settings = try invocation.pipeline().get()
  let surroundings = try invocation.filledSurroundings()
  let key = try readOperatorKey(keyPath)
  noteDistrust(of: key.publicKey, settings, surroundings, invocation)
  let request = ControlRequest(
    action: action, issuer: operatorName(), reason: reason,
    expectLineage: invocation.integer("expect-lineage").map { Lineage(UInt32($0)) } ?? lineage,
    isDryRun: invocation.has("dry-run"),
    timeoutMilliseconds: invocation.milliseconds("timeout") ?? 30_000)
  let report: ControlReport
  do {
    report = try sendCommand(
      request, key: key, settings: settings, surroundings: surroundings,
      onAck: { if !invocation.wantsJSON { invocation.output.result(ackLine($0)) } })
  } catch {
    throw failure(error, settings)
  }
  let outcome = ControlOutcome(report, undo: undoArguments(report, invocation))
  if invocation.wantsJSON {
    invocation.output.result(outcome.json.encoded())
  } else {
    for line in outcome.summary { invocation.output.result(line) }
  }
  for note in outcome.notes { invocation.output.note(note) }
  return outcome.exitCode
}

/// Said before sending, since the answer would only be a refusal. Not an error: the workers' configuration counts.
private func noteDistrust(
  of key: Ed25519.PublicKey, _ settings: PipelineSettings, _ surroundings: Surroundings,
  _ invocation: Invocation
) {
  let trusted = settings.trustedKeyPaths.contains { path in
    guard case .success(let bytes) = surroundings.read(path),
      let known = try? Ed25519.PublicKey(pem: String(decoding: bytes, as: UTF8.self))
    else { return false }  // What cannot be read here may be there for the workers.
    return known == key
  }
  if !trusted {
    invocation.note("this configuration does not trust the key, its workers would refuse the command key_id=\(key.keyID)")
  }
}

/// `worker-1  applied  2.5000  3f9a0c11d2e4  every lane serves it`.
func ackLine(_ ack: CommandAck) -> String {
  let hash = ack.stateHash.map { String($0.description.prefix(12)) } ?? "-"
  func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
  let line = [
    padded(ack.instance, 16), padded(ack.status.rawValue, 8), padded(ack.version?.description ?? "-", 12),
    padded(hash, 12),
  ].joined(separator: "  ")
  return ack.detail.isEmpty ? line : "\(line)  \(ack.detail)"
}

/// An error of brokers, secrets or disk as an exit code and a message.
func failure(_ error: any Error, _ settings: PipelineSettings) -> any Error {
  switch error {
  case let error as KafkaError:
    let code = ExitCode(rawValue: WorkerFailure.kafka(error).exitCode) ?? .bug
    guard code == .unreachable else { return Failure(code, error.description) }
    return Failure(
      code, "no broker answers bootstrap=\(settings.kafka.bootstrap) reason=\(error.message) error=\(error.name)")
  case let failure as WorkerFailure:
    return Failure(ExitCode(rawValue: failure.exitCode) ?? .bug, failure.description)
  default: return error
  }
}
