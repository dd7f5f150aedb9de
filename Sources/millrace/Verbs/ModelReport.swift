import Learning
import Models
import Pipeline
import Records

/// A folded model, for people and as JSON.
struct ModelReport {
  let state: ModelState
  init(_ state: ModelState) { self.state = state }

  private var ledger: Ledger { state.ledger }

  /// Newest first.
  var kept: [KeptEntry] { ledger.kept.reversed() }

  static let keptHead = ["version", "tags", "confirmed", "state", "log offset", "at"]
  static func keptRow(_ entry: KeptEntry) -> [String] {
    [
      entry.version.description, entry.tags.isEmpty ? "-" : entry.tags.joined(separator: ","),
      entry.isConfirmed ? "yes" : "no", String(entry.digest.description.prefix(12)),
      "\(entry.offset.value)", entry.timestamp.rfc3339,
    ]
  }

  var lines: [String] {
    guard ledger.charter != nil else { return ["the learning log has no charter yet"] }
    guard !state.isRefused else { return ["the charter in the learning log is for another build"] }
    var lines = [
      "version \(state.version)  lineage \(ledger.lineage.value)  \(ledger.isFrozen ? "frozen" : "learning")  state \(state.stateHash.description.prefix(12))"
    ]
    lines.append("")
    var table = TextTable(Self.keptHead)
    for entry in kept { table.add(Self.keptRow(entry)) }
    lines += table.lines + [""]
    return lines + metricLines
  }

  /// Metrics of the present lineage by contender, the champion first.
  var metricLines: [String] {
    var table = TextTable([
      "contender", "labels", "log-loss", "AUC", "Brier", "calibration", "last 1000: log-loss", "AUC",
    ])
    for (index, name) in state.contenderNames.enumerated() {
      let whole = state.summary(index, .sinceSwitch)
      let last = state.summary(index, .newest1k)
      table.add([
        index == 0 ? "\(name) (serves)" : name, "\(whole.count)", fixed(whole.logLoss, 4), fixed(whole.auc, 4),
        fixed(whole.brier, 4), fixed(whole.calibrationError, 4), fixed(last.logLoss, 4), fixed(last.auc, 4),
      ])
    }
    return table.lines
  }

  static func json(_ entry: KeptEntry) -> JSONText {
    .object([
      ("version", .string(entry.version.description)), ("tags", .array(entry.tags.map { .string($0) })),
      ("stored", .bool(entry.isStored)), ("confirmed", .bool(entry.isConfirmed)),
      ("state_hash", .string(entry.digest.description)),
      ("log_offset", .integer(entry.offset.value)), ("time", .string(entry.timestamp.rfc3339)),
    ])
  }

  var metricsJSON: JSONText {
    func numbers(_ summary: ScoreMetrics.Summary) -> JSONText {
      .object([
        ("labels", .integer(Int64(clamping: summary.count))), ("log_loss", .number(summary.logLoss)),
        ("auc", .number(summary.auc)), ("brier", .number(summary.brier)),
        ("calibration_error", .number(summary.calibrationError)),
      ])
    }
    return .array(
      state.contenderNames.enumerated().map { index, name in
        .object([
          ("name", .string(name)), ("champion", .bool(index == 0)),
          ("since_switch", numbers(state.summary(index, .sinceSwitch))),
          ("newest_1k", numbers(state.summary(index, .newest1k))),
          ("newest_10k", numbers(state.summary(index, .newest10k))),
        ])
      })
  }

  var json: JSONText {
    guard ledger.charter != nil, !state.isRefused else {
      return .object([("charter", .string(ledger.charter == nil ? "missing" : "refused"))])
    }
    return .object([
      ("charter", .string("folded")), ("version", .string(state.version.description)),
      ("lineage", .integer(Int64(ledger.lineage.value))),
      ("sequence", .integer(Int64(clamping: ledger.sequence.value))), ("frozen", .bool(ledger.isFrozen)),
      ("state_hash", .string(state.stateHash.description)), ("kept", .array(kept.map(Self.json))),
      ("contenders", metricsJSON),
    ])
  }
}
