import Engine
import Learning
import Models
import Records

/// What came of a run over files: what became of every record, and how good every contender was.
public struct OfflineReport: Sendable {
  public struct Contender: Sendable {
    public var name: String
    public var summary: ScoreMetrics.Summary
    public var gap: CompressionGap
  }
  public var pipeline: String
  public var partitions: Int
  public var version: ModelVersion
  public var stateHash: Digest
  public var accounting: Accounting
  /// Records consumed per input, by name.
  public var records: [(input: String, count: UInt64)]
  public var rejections: [(input: String, reason: DeadLetterReason, count: UInt64)]
  /// Events still without a label, and labels without an event.
  public var waiting: Int
  public var earlyLabels: Int
  public var predictions: UInt64
  public var examples: UInt64
  public var contenders: [Contender]
  public var windowKeys: Int
  public var windowBytes: Int
  public var seconds: Double
  /// Sums that do not come out, each with its numbers. Empty: every record has come to exactly one end.
  public var imbalances: [String]

  public var bytesPerKey: Double { windowKeys == 0 ? 0 : Double(windowBytes) / Double(windowKeys) }
  public var recordCount: UInt64 { records.reduce(0) { $0 + $1.count } }
  public var recordsPerSecond: Double { seconds > 0 ? Double(recordCount) / seconds : 0 }
  public var eventsPerSecond: Double { seconds > 0 ? Double(accounting.eventsScored) / seconds : 0 }
}

extension OfflineSession {
  /// The state of affairs at a unit's end.
  public func report(seconds: Double) -> OfflineReport {
    let state = model.state
    var accounting = Accounting()
    var counts = Array(repeating: UInt64(0), count: plan.inputs.count)
    for engine in engines {
      accounting += engine.accounting
      for input in counts.indices { counts[input] += engine.recordCounts[input] }
    }
    var rejected: [(input: String, reason: DeadLetterReason, count: UInt64)] = []
    for (input, byReason) in rejections.enumerated() {
      for (reason, count) in byReason.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        rejected.append((plan.inputs[input].name, reason, count))
      }
    }
    var report = OfflineReport(
      pipeline: settings.name, partitions: engines.count, version: state.version,
      stateHash: state.stateHash, accounting: accounting,
      records: zip(plan.inputs, counts).map { ($0.name, $1) }, rejections: rejected,
      waiting: engines.reduce(0) { $0 + $1.waitingCount },
      earlyLabels: engines.reduce(0) { $0 + $1.earlyLabelCount }, predictions: predictionCount,
      examples: state.ledger.sequence.value,
      contenders: state.contenderNames.enumerated().map { index, name in
        OfflineReport.Contender(
          name: name, summary: state.summary(index, .sinceSwitch), gap: model.gaps[index])
      },
      windowKeys: engines.reduce(0) { $0 + $1.windowCounters.keys.reduce(0, +) },
      windowBytes: engines.reduce(0) { $0 + $1.windowStateBytes }, seconds: seconds, imbalances: [])
    report.imbalances = imbalances(report, counts)
    return report
  }

  private func imbalances(_ report: OfflineReport, _ counts: [UInt64]) -> [String] {
    let a = report.accounting
    var wrong: [String] = []
    func check(_ what: String, _ whole: UInt64, _ parts: [UInt64]) {
      let sum = parts.reduce(0, &+)
      if whole != sum { wrong.append("\(what): \(whole) are not \(parts.map(String.init).joined(separator: " + "))") }
    }
    check("events", counts[plan.scoredInput], [a.eventsScored, a.eventsDuplicate, a.eventsDeadLettered])
    check("predictions", report.predictions, [a.eventsScored])
    if let label = plan.labelInput, label != plan.scoredInput {
      check(
        "labels", counts[label],
        [
          a.labelsJoined, a.labelsCorrection, a.labelsDuplicate, a.labelsLate, a.labelsOrphan,
          a.labelsRejected, UInt64(report.earlyLabels),
        ])
      check("scored events", a.eventsScored, [a.labelsJoined, a.predictionsExpired, UInt64(report.waiting)])
      let negatives = plan.join.atHorizon == .negative ? a.predictionsExpired : 0
      check("examples", report.examples, [a.labelsJoined, a.labelsCorrection, negatives])
    }
    let others = counts.indices.filter { $0 != plan.scoredInput && $0 != plan.labelInput }
    check("other records", others.reduce(0) { $0 + counts[$1] }, [a.recordsObserved, a.recordsRejected])
    return wrong
  }
}
