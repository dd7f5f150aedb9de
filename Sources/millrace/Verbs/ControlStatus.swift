import Learning
import Pipeline
import Records
import Worker

/// `millrace control status`: what workers last said, and what the learning log says. Asks nobody anything.
func controlStatus(_ invocation: Invocation) throws -> ExitCode {
  let settings = try invocation.pipeline().get()
  let status: ControlStatus
  do {
    status = try readControlStatus(
      settings, try invocation.filledSurroundings(),
      timeoutMilliseconds: invocation.milliseconds("timeout") ?? 10_000)
  } catch {
    throw failure(error, settings)
  }
  let lag = max(0, status.logEnd - status.foldedNext)
  if invocation.wantsJSON {
    invocation.output.result(
      JSONText.object([
        ("pipeline", .string(settings.name)),
        ("workers", .array(workers(status))),
        ("learning", .object([
          ("folded_next", .integer(status.foldedNext)), ("end", .integer(status.logEnd)),
          ("complete", .bool(status.isComplete)),
          ("obstacle", status.obstacle.map { .string($0) } ?? .null),
          ("model", status.model.map { ModelReport($0).json } ?? .null),
        ])),
      ]).encoded(pretty: true))
  } else {
    var table = TextTable(["instance", "in group", "last said", "at", "version", "state", "about"])
    for name in Set(status.live + status.lastWords.map(\.ack.instance)).sorted() {
      let word = status.lastWords.first { $0.ack.instance == name }
      table.add([
        name, status.live.contains(name) ? "yes" : "no", word?.ack.status.rawValue ?? "-",
        word?.time.rfc3339 ?? "-", word?.ack.version?.description ?? "-",
        word?.ack.stateHash.map { String($0.description.prefix(12)) } ?? "-", word?.ack.detail ?? "",
      ])
    }
    for line in table.lines { invocation.output.result(line) }
    invocation.output.result("")
    if let obstacle = status.obstacle {
      invocation.output.result("learning: \(obstacle)")
    } else if let model = status.model {
      for line in ModelReport(model).lines { invocation.output.result(line) }
      invocation.output.result("learning log folded to \(status.foldedNext) of \(status.logEnd)")
    }
    invocation.note("workers speak when commanded: a row is that worker's answer then, not its state now. The model is this machine's own fold of the log.")
  }
  guard status.isComplete else {
    throw Failure(
      status.obstacle == nil ? .timedOut : .badData,
      status.obstacle ?? "the learning log was not folded to its end in time, \(lag) records are left; more --timeout helps")
  }
  return .done
}

private func workers(_ status: ControlStatus) -> [JSONText] {
  Set(status.live + status.lastWords.map(\.ack.instance)).sorted().map { name in
    let word = status.lastWords.first { $0.ack.instance == name }
    func text(_ value: String?) -> JSONText { value.map { .string($0) } ?? .null }
    return .object([
      ("instance", .string(name)), ("in_group", .bool(status.live.contains(name))),
      ("last_status", text(word?.ack.status.rawValue)), ("last_command", text(word?.ack.id)),
      ("last_time", text(word?.time.rfc3339)), ("version", text(word?.ack.version?.description)),
      ("state_hash", text(word?.ack.stateHash?.description)), ("detail", text(word?.ack.detail)),
    ])
  }
}
