import Engine
import Learning
import Records

extension OfflineReport {
  /// The report for people, line by line.
  public var lines: [String] {
    let a = accounting
    var lines = [
      "pipeline \(pipeline)  partitions \(partitions)  model \(version)  state \(stateHash.description.prefix(16))",
      "records  " + records.map { "\($0.input) \(Self.grouped($0.count))" }.joined(separator: "  "),
      "events   scored \(Self.grouped(a.eventsScored))  duplicate \(Self.grouped(a.eventsDuplicate))  dead-lettered \(Self.grouped(a.eventsDeadLettered))",
      "labels   joined \(Self.grouped(a.labelsJoined))  correction \(Self.grouped(a.labelsCorrection))  duplicate \(Self.grouped(a.labelsDuplicate))  late \(Self.grouped(a.labelsLate))  orphan \(Self.grouped(a.labelsOrphan))  rejected \(Self.grouped(a.labelsRejected))  early \(Self.grouped(UInt64(earlyLabels)))",
      "waiting  \(Self.grouped(UInt64(waiting)))  expired \(Self.grouped(a.predictionsExpired))  examples \(Self.grouped(examples))",
      "others   observed \(Self.grouped(a.recordsObserved))  rejected \(Self.grouped(a.recordsRejected))",
    ]
    for entry in rejections {
      lines.append("         \(entry.input) \(entry.reason.code) \(Self.grouped(entry.count))")
    }
    lines.append(imbalances.isEmpty ? "sums     inputs = sum of states" : "sums     WRONG")
    lines += imbalances.map { "         \($0)" }
    lines += [""] + table
    lines += [
      "",
      "windows  \(Self.grouped(UInt64(windowKeys))) keys  \(Self.grouped(UInt64(windowBytes))) bytes  \(Self.fixed(bytesPerKey, 0)) a key",
      "speed    \(Self.grouped(UInt64(recordsPerSecond))) records/s  \(Self.grouped(UInt64(eventsPerSecond))) scored events/s  in \(Self.fixed(seconds, 1)) s",
    ]
    return lines
  }

  /// Progressive metrics: every prediction was made before its label was learnt.
  private var table: [String] {
    let head = ["contender", "examples", "log-loss", "AUC", "Brier", "calibration", "int8 gap max", "mean"]
    let rows = contenders.map { contender in
      [
        contender.name, Self.grouped(contender.summary.count), Self.fixed(contender.summary.logLoss, 4),
        Self.fixed(contender.summary.auc, 4), Self.fixed(contender.summary.brier, 4),
        Self.fixed(contender.summary.calibrationError, 4), Self.fixed(Double(contender.gap.probabilityMax), 5),
        Self.fixed(contender.gap.probabilityMean, 5),
      ]
    }
    let widths = head.indices.map { column in ([head] + rows).map { $0[column].count }.max() ?? 0 }
    return ([head] + rows).map { row in
      row.enumerated().map { column, text in
        let blanks = String(repeating: " ", count: widths[column] - text.count)
        return column == 0 ? text + blanks : blanks + text
      }.joined(separator: "  ")
    }
  }

  /// `1,234,567`.
  static func grouped(_ number: UInt64) -> String {
    let digits = Array(String(number))
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0 && (digits.count - index) % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return text
  }

  /// A number with so many decimals; `-` where there is none.
  static func fixed(_ value: Double, _ decimals: Int) -> String {
    guard value.isFinite, value.magnitude < 1e15 else { return "-" }
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let whole = (value.magnitude * scale).rounded()
    let sign = value < 0 && whole > 0 ? "-" : ""
    let integer = UInt64(whole / scale)
    guard decimals > 0 else { return "\(sign)\(UInt64(whole))" }
    let rest = String(UInt64(whole) - integer * UInt64(scale))
    return "\(sign)\(integer).\(String(repeating: "0", count: decimals - rest.count))\(rest)"
  }

  /// One JSON object.
  public func write(into json: inout JSONWriter) {
    let a = accounting
    func counts(_ name: String, _ entries: [(String, UInt64)]) {
      json.key(name)
      json.beginObject()
      for (key, value) in entries {
        json.key(key)
        json.value(value)
      }
      json.endObject()
    }
    json.beginObject()
    json.key("pipeline")
    json.value(pipeline)
    json.key("partitions")
    json.value(partitions)
    json.key("version")
    json.value(version.description)
    json.key("state_hash")
    json.value(stateHash.description)
    counts("records", records.map { ($0.input, $0.count) })
    counts(
      "events",
      [("scored", a.eventsScored), ("duplicate", a.eventsDuplicate), ("dead_lettered", a.eventsDeadLettered)])
    counts(
      "labels",
      [
        ("joined", a.labelsJoined), ("correction", a.labelsCorrection), ("duplicate", a.labelsDuplicate),
        ("late", a.labelsLate), ("orphan", a.labelsOrphan), ("rejected", a.labelsRejected),
        ("early", UInt64(earlyLabels)),
      ])
    counts("others", [("observed", a.recordsObserved), ("rejected", a.recordsRejected)])
    counts(
      "predictions",
      [("made", predictions), ("expired", a.predictionsExpired), ("waiting", UInt64(waiting))])
    json.key("examples")
    json.value(examples)
    json.key("rejections")
    json.beginArray()
    for entry in rejections {
      json.beginObject()
      json.key("input")
      json.value(entry.input)
      json.key("reason")
      json.value(entry.reason.code)
      json.key("count")
      json.value(entry.count)
      json.endObject()
    }
    json.endArray()
    json.key("imbalances")
    json.beginArray()
    for text in imbalances { json.value(text) }
    json.endArray()
    json.key("contenders")
    json.beginArray()
    for contender in contenders {
      json.beginObject()
      json.key("name")
      json.value(contender.name)
      json.key("examples")
      json.value(contender.summary.count)
      json.key("positives")
      json.value(contender.summary.positives)
      json.key("log_loss")
      json.value(contender.summary.logLoss)
      json.key("auc")
      json.value(contender.summary.auc)
      json.key("brier")
      json.value(contender.summary.brier)
      json.key("calibration_error")
      json.value(contender.summary.calibrationError)
      json.key("compression_gap_max")
      json.value(contender.gap.probabilityMax)
      json.key("compression_gap_mean")
      json.value(contender.gap.probabilityMean)
      json.endObject()
    }
    json.endArray()
    json.key("window_keys")
    json.value(windowKeys)
    json.key("window_bytes")
    json.value(windowBytes)
    json.key("window_bytes_per_key")
    json.value(bytesPerKey)
    json.key("seconds")
    json.value(seconds)
    json.key("records_per_second")
    json.value(recordsPerSecond)
    json.key("scored_events_per_second")
    json.value(eventsPerSecond)
    json.endObject()
  }
}
