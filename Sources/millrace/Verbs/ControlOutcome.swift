import Pipeline
import Records
import Worker

/// What a command came to, in words for people, as JSON, and as an exit code.
struct ControlOutcome {
  let report: ControlReport
  /// Words after `millrace control` that take the command back; nil where nothing can or need be.
  let undo: [String]?

  init(_ report: ControlReport, undo: [String]?) {
    self.report = report
    self.undo = undo
  }

  var exitCode: ExitCode {
    switch report.acks.verdict {
    case .complete: .done
    case .rejected: .refused
    case .waiting: .timedOut
    }
  }

  private var isDone: Bool { exitCode == .done }

  /// The version that served before, as far as the answers tell it, and the one after.
  var versions: (old: ModelVersion?, new: ModelVersion?) {
    let accepted = report.acks.accepted
    let new = accepted?.version ?? report.acks.all.last { $0.version != nil }?.version
    switch report.command.action {
    case .rollback: return (accepted.flatMap { Self.version(after: "from", in: $0.detail) }, new)
    case .charter: return (accepted.flatMap { Self.version(after: "at", in: $0.detail) }, new)
    default: return (new, new)
    }
  }

  /// A version in "returned from 7.184201 to 7.150000, served as …", as the fold words it.
  static func version(after word: Substring, in detail: String) -> ModelVersion? {
    let words = detail.split(separator: " ")
    guard let at = words.firstIndex(of: word), at + 1 < words.count else { return nil }
    let next = words[at + 1]
    return ModelVersion(next.hasSuffix(",") ? next.dropLast() : next)
  }

  var change: String {
    let (old, new) = versions
    let from = old?.description ?? "?"
    let to = new?.description ?? "?"
    if report.command.isDryRun { return "nothing was changed (dry run)" }
    if isUnchanged { return "nothing was changed, \(report.acks.accepted?.detail ?? "")" }
    return switch report.command.action {
    case .rollback(let target, let then):
      "version \(from) → \(to), the state of \(reached(target)); learning \(then == .freeze ? "frozen" : "goes on")"
    case .freeze: "learning → frozen at \(to)"
    case .unfreeze: "frozen → learning from \(to)"
    case .tag(let name): "version \(to) → kept as '\(name)'"
    case .charter: "version \(from) → \(to), under the new charter"
    case .promote: "version \(from) → \(to)"
    }
  }

  /// `1.5000 (good)`.
  private func reached(_ target: RollbackTarget) -> String {
    let found = report.acks.accepted.flatMap { Self.version(after: "to", in: $0.detail) }
    guard let found, target != .version(found) else { return "\(target)" }
    return "\(found) (\(target))"
  }

  /// The fold says so of a freeze of what is frozen.
  private var isUnchanged: Bool { report.acks.accepted?.detail.hasPrefix("already") ?? false }

  /// `2/2 applied`.
  var tally: String {
    "\(report.acks.endedCount)/\(report.acks.instances.count) \(report.acks.goal.rawValue)"
  }

  /// The closing lines.
  var summary: [String] {
    switch report.acks.verdict {
    case .complete:
      var lines = ["\(change): \(tally)"]
      if let undo {
        lines.append("undo: millrace control \(undo.map(Self.quoted).joined(separator: " "))")
        if case .rollback = report.command.action {
          lines.append("      (to the newest version kept before this command; what was learnt after that one is not held)")
        }
      }
      return lines
    case .rejected(let acks):
      let lines = acks.map { "rejected by \($0.instance): \($0.detail)" }
      guard acks.contains(where: { $0.detail.hasPrefix("not kept") }) else { return lines }
      return lines + ["`millrace control status` lists the versions and tags that are kept"]
    case .waiting(let missing):
      let who = missing.isEmpty ? "any worker: none is in the group" : missing.joined(separator: ", ")
      return ["no answer in time from \(who): \(tally)"]
    }
  }

  var notes: [String] {
    var notes: [String] = []
    if !report.acks.disagreeing.isEmpty {
      notes.append("replicas hold different states: \(report.acks.disagreeing.joined(separator: ", "))")
    }
    if case .waiting = report.acks.verdict {
      let expiry = report.command.expiresAt.rfc3339
      notes.append("the command stands in the log and still takes effect once a worker reads it, until \(expiry) id=\(report.command.id)")
    }
    return notes
  }

  var json: JSONText {
    func text(_ value: String?) -> JSONText { value.map { .string($0) } ?? .null }
    let outcome =
      switch report.acks.verdict {
      case .complete: report.acks.goal.rawValue
      case .rejected: "rejected"
      case .waiting: "incomplete"
      }
    let missing: [String] = if case .waiting(let names) = report.acks.verdict { names } else { [] }
    let acks = report.acks.all.map { ack in
      JSONText.object([
        ("instance", .string(ack.instance)), ("status", .string(ack.status.rawValue)),
        ("version", text(ack.version?.description)), ("state_hash", text(ack.stateHash?.description)),
        ("detail", .string(ack.detail)),
      ])
    }
    return .object([
      ("id", .string(report.command.id)), ("kind", .string(report.command.action.kind)),
      ("pipeline", .string(report.command.pipeline)), ("cluster_id", .string(report.command.clusterID)),
      ("issuer", .string(report.command.issuer)), ("key_id", .string(report.command.keyID)),
      ("dry_run", .bool(report.command.isDryRun)),
      ("control_offset", report.offset.map { .integer($0) } ?? .null),
      ("outcome", .string(outcome)),
      ("old_version", text(versions.old?.description)), ("new_version", text(versions.new?.description)),
      ("expected", .array(report.acks.expected.sorted().map { .string($0) })),
      ("missing", .array(missing.map { .string($0) })),
      ("disagreeing", .array(report.acks.disagreeing.map { .string($0) })),
      ("acks", .array(acks)),
      ("undo", undo.map { .array((["millrace", "control"] + $0).map { .string($0) }) } ?? .null),
    ])
  }

  /// As a shell reads it back.
  static func quoted(_ word: String) -> String {
    let plain = !word.isEmpty
      && word.unicodeScalars.allSatisfy {
        ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
          || "-_./:=@%+,".unicodeScalars.contains($0)
      }
    return plain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
  }
}

/// The words that take a command back, with the flags that reach the same workers.
///
/// Of a rollback: to the newest version kept before it, found by the broker's time of the command. What was learnt
/// between that version and the rollback is not held by anybody, so no command brings it back.
func undoArguments(_ report: ControlReport, _ invocation: Invocation) -> [String]? {
  guard !report.command.isDryRun, case .complete = report.acks.verdict else { return nil }
  let words: [String]
  switch report.command.action {
  case .rollback:
    guard let time = report.timestamp else { return nil }
    words = ["rollback", "--to", time.rfc3339, "--then", "continue"]
  case .freeze:
    // Nothing changed, nothing to take back.
    if report.acks.accepted?.detail.hasPrefix("already") == true { return nil }
    words = ["unfreeze"]
  case .unfreeze:
    if report.acks.accepted?.detail.hasPrefix("already") == true { return nil }
    words = ["freeze"]
  case .tag, .promote, .charter: return nil
  }
  var flags = ["--reason", "undo \(report.command.id)"]
  if let key = invocation.text("key") { flags += ["--key", key] }
  for name in ["config", "set", "env-file"] {
    for value in invocation.texts(name) { flags += ["--\(name)", value] }
  }
  return words + flags
}
