import Kafka
import Pipeline
import Records
import Worker

/// `millrace verify`: published predictions computed again from the topics.
func verify(_ invocation: Invocation) throws -> ExitCode {
  let (settings, features) = try invocation.pipeline().compiled()
  var options = Verification.Options()
  if let text = invocation.text("scored-by") {
    guard let version = ModelVersion(text) else {
      throw UsageFault(message: "--scored-by: '\(text)' is no version", hint: "lineage.sequence, as in 2.18002", verb: ["verify"])
    }
    options.version = version
  }
  options.eventID = invocation.text("id")
  options.partition = invocation.integer("partition").map { Int32($0) }
  options.limit = invocation.integer("limit").map { UInt64($0) }
  let bar = ProgressLine("verifying", invocation)
  defer { bar.end() }
  let report: VerificationReport
  do {
    report = try Verification(
      settings: settings, features: features, surroundings: try invocation.filledSurroundings(),
      directory: try stateDirectory(invocation), options: options
    ).run(progress: bar.show)
  } catch {
    throw logFailure(error, settings)
  }
  bar.end()
  if invocation.wantsJSON {
    invocation.output.result(report.json.encoded(pretty: true))
  } else {
    for line in report.lines { invocation.output.result(line) }
  }
  if report.differing > 0 { return .failed }
  let lost = report.partitions.filter { $0.unreachable != nil }
  if report.equal == 0, report.equalByJournal > 0 || !lost.isEmpty {
    throw Failure(.badData, "the logs no longer reach back to anything that could be computed again")
  }
  return .done
}

/// A fault of logs that are read back as an exit code and a message.
func logFailure(_ error: any Error, _ settings: PipelineSettings) -> any Error {
  switch error {
  case LogFault.kafka(let cause): failure(cause, settings)
  case LogFault.beyondReach(let why), LogFault.unfit(let why): Failure(.badData, why)
  case LogFault.stalled(let why): Failure(.timedOut, why)
  default: failure(error, settings)
  }
}

extension VerificationReport {
  var lines: [String] {
    var lines: [String] = []
    for part in partitions {
      let number = "partition \(part.partition)"
      if let why = part.unreachable {
        lines.append("\(number): out of reach: \(why)")
        continue
      }
      var line = "\(number): \(part.differing == 0 ? "equal" : "DIFFERS"): \(part.equal) equal"
      if part.equalByJournal > 0 { line += ", \(part.equalByJournal) equal by the journal's scores (their version is out of reach)" }
      if part.foreign > 0 { line += ", \(part.foreign) of an earlier declaration not compared" }
      if part.differing > 0 { line += ", \(part.differing) not" }
      line += "; \(part.begun)"
      if let from = part.from, from > 0 { line += ", events from offset \(from) on" }
      lines.append(line)
      if let first = part.first { lines += first.lines }
    }
    if let modelStart { lines.append("model versions: \(modelStart)") }
    lines.append(
      "\(differing == 0 ? "equal" : "different"): \(equal + equalByJournal) predictions of \(partitions.count) partitions equal, \(differing) not; \(versions) versions served, \(learningRecords) learning records folded\(isCut ? "; stopped at the limit" : "")")
    return lines
  }

  var json: JSONText {
    .object([
      ("equal", .bool(differing == 0)), ("predictions_equal", .integer(Int64(equal))),
      ("predictions_equal_by_journal", .integer(Int64(equalByJournal))),
      ("predictions_differing", .integer(Int64(differing))), ("versions", .integer(Int64(versions))),
      ("versions_held_max", .integer(Int64(versionsHeldMax))),
      ("learning_records", .integer(Int64(learningRecords))),
      ("version", model.map { .string("\($0.version)") } ?? .null),
      ("state_hash", model.map { .string("\($0.stateHash)") } ?? .null),
      ("model_start", modelStart.map { .string($0) } ?? .null), ("cut_at_limit", .bool(isCut)),
      ("partitions", .array(partitions.map { part in
        .object([
          ("partition", .integer(Int64(part.partition))), ("begun", .string(part.begun)),
          ("from_event_offset", part.from.map { .integer($0) } ?? .null),
          ("equal", .integer(Int64(part.equal))), ("equal_by_journal", .integer(Int64(part.equalByJournal))),
          ("differing", .integer(Int64(part.differing))), ("earlier_declaration", .integer(Int64(part.foreign))),
          ("journal_records", .integer(Int64(part.journalRecords))),
          ("unreachable", part.unreachable.map { .string($0) } ?? .null),
          ("first_difference", part.first?.json ?? .null),
        ])
      })),
    ])
  }
}

extension PredictionDifference {
  var lines: [String] {
    func text(_ value: Int64?) -> String { value.map(String.init) ?? "-" }
    var lines = [
      "  first: \(kind.rawValue)\(field.map { " field=\($0)" } ?? "") offset=\(text(offset)) event_id=\(eventID ?? "-") event_offset=\(text(sourceOffset))"
    ]
    if let published { lines.append("    published \(published)") }
    if let computed { lines.append("    computed  \(computed)") }
    if let detail { lines.append("    \(detail)") }
    return lines
  }

  var json: JSONText {
    func text(_ value: String?) -> JSONText { value.map { .string($0) } ?? .null }
    return .object([
      ("kind", .string(kind.rawValue)), ("partition", .integer(Int64(partition))),
      ("offset", offset.map { .integer($0) } ?? .null), ("event_offset", sourceOffset.map { .integer($0) } ?? .null),
      ("event_id", text(eventID)), ("field", text(field)), ("published", text(published)),
      ("computed", text(computed)), ("detail", text(detail)),
    ])
  }
}
