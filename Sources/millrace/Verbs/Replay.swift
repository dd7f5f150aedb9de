import Features
import Pipeline
import Records
import Worker

/// `millrace replay`: a pipeline over files, without a broker; or a live run computed again from its taps.
func replay(_ invocation: Invocation) throws -> ExitCode {
  let (settings, features) = try invocation.pipeline().compiled()
  let files = invocation.texts("input")
  let writer = LineWriter(invocation.output)
  let bar = ProgressLine("replaying", invocation)
  defer { bar.end() }
  do {
    if try isRawTap(files[0]) { return try recompute(files, settings, features, writer, bar, invocation) }
    guard invocation.text("against") == nil else {
      throw Failure(.usage, "--against compares with a live run: --input takes its taps then")
    }
    var options = OfflineReplay.Options()
    options.partitions = invocation.integer("partitions") ?? 1
    options.unitRecords = invocation.integer("unit") ?? options.unitRecords
    options.emission = invocation.text("emit").flatMap { OfflineReplay.Emission(rawValue: $0) }
    options.from = try instant("from", invocation)
    options.to = try instant("to", invocation)
    let run = OfflineReplay(settings: settings, features: features, options: options)
    let report = try run.run(files, write: writer.write, progress: bar.show)
    writer.flush()
    bar.end()
    var text = report.lines.joined(separator: "\n") + "\n"
    if invocation.wantsJSON {
      var json = JSONWriter()
      report.write(into: &json)
      text = json.text + "\n"
    }
    // What was asked for is the result; the report then is for people beside it.
    if options.emission == nil {
      invocation.output.write(text)
    } else if !invocation.isQuiet {
      invocation.output.writeNote(text)
    }
    return .done
  } catch let fault as OfflineFault {
    writer.flush()
    bar.end()
    switch fault {
    case .unreadable, .badLine, .unfit: throw Failure(.badData, "\(fault)")
    case .unbalanced: throw Failure(.bug, "records have gone astray: \(fault)")
    }
  }
}

private func instant(_ flag: String, _ invocation: Invocation) throws -> Int64? {
  guard let text = invocation.text(flag) else { return nil }
  guard let time = EventTime(rfc3339: text) else {
    throw Failure(.usage, "--\(flag): '\(text)' is not a time such as 2013-07-01T18:00:00Z")
  }
  return time.milliseconds
}

/// A live run computed again from its taps.
private func recompute(
  _ files: [String], _ settings: PipelineSettings, _ features: FeaturePlan, _ writer: LineWriter, _ bar: ProgressLine,
  _ invocation: Invocation
) throws -> ExitCode {
  for flag in ["partitions", "unit", "from", "to"] where invocation.text(flag) != nil {
    throw Failure(.usage, "--\(flag) makes no sense for taps: the run itself has decided it")
  }
  if let emission = invocation.text("emit"), emission != "predictions" {
    throw Failure(.usage, "of a live run only predictions can be emitted: --emit predictions")
  }
  let published = try invocation.text("against").map { try TapIndex([$0]) }
  let run = Verification(settings: settings, features: features, taps: try TapIndex(files), published: published)
  let emits = invocation.text("emit") != nil
  let report: VerificationReport
  do {
    report = try run.run(emit: { if emits { writer.line($0) } }, progress: bar.show)
  } catch {
    writer.flush()
    throw logFailure(error, settings)
  }
  writer.flush()
  bar.end()
  let text = invocation.wantsJSON
    ? report.json.encoded(pretty: false) + "\n"
    : report.replayLines(isCompared: published != nil).joined(separator: "\n") + "\n"
  // What was asked for is the result; the report then is for people beside it.
  if !emits {
    invocation.output.write(text)
  } else if !invocation.isQuiet {
    invocation.output.writeNote(text)
  }
  if report.differing > 0 { return .failed }
  if report.equal == 0 {
    throw Failure(.badData, "nothing could be computed again: do the taps and the declaration belong together?")
  }
  return .done
}

extension VerificationReport {
  fileprivate func replayLines(isCompared: Bool) -> [String] {
    guard differing == 0, equalByJournal == 0, foreign == 0, partitions.allSatisfy({ $0.unreachable == nil }) else {
      return lines
    }
    var lines = [
      "equal: \(equal) predictions of \(partitions.count) partitions, every score bit for bit the one that was served"
    ]
    if isCompared { lines.append("equal: \(equal) published predictions, byte for byte") }
    if let model { lines.append("model \(model.version)  state \(model.stateHash)") }
    lines.append(
      "from \(journalRecords) journal and \(learningRecords) learning records, \(versions) versions served")
    return lines
  }
}

/// Gathers lines for stdout, so that each does not cost a call of the system.
final class LineWriter {
  private let output: Output
  private var buffer: [UInt8] = []
  init(_ output: Output) {
    self.output = output
    buffer.reserveCapacity(1 << 17)
  }
  /// Bytes that hold whole lines.
  func write(_ bytes: [UInt8]) {
    buffer.append(contentsOf: bytes)
    if buffer.count >= 1 << 16 { flush() }
  }
  func line(_ bytes: [UInt8]) {
    buffer.append(contentsOf: bytes)
    write([0x0a])
  }
  func flush() {
    if !buffer.isEmpty { output.write(String(decoding: buffer, as: UTF8.self)) }
    buffer.removeAll(keepingCapacity: true)
  }
}

/// One line on stderr that is drawn anew: `replaying  [#####.....] 52 %  1200000 records  41000/s`.
/// Off a terminal: a line of its own each ten seconds.
final class ProgressLine {
  private let title: String
  private let invocation: Invocation
  private let isTerminal: Bool
  private var nextSeconds: Double
  private var isDrawn = false

  init(_ title: String, _ invocation: Invocation) {
    self.title = title
    self.invocation = invocation
    isTerminal = invocation.output.noteIsTerminal
    nextSeconds = isTerminal ? 0.2 : 10
  }

  func show(_ progress: OfflineReplay.Progress) {
    guard !invocation.isQuiet, progress.seconds >= nextSeconds else { return }
    nextSeconds = progress.seconds + (isTerminal ? 0.2 : 10)
    var text = "\(title)  "
    let rate = Int(Double(progress.records) / max(progress.seconds, 0.001))
    if let share = progress.share {
      let filled = min(max(Int(share * 20), 0), 20)
      text += "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: 20 - filled) + "] \(Int(share * 100)) %  "
    }
    text += "\(progress.records) records  \(rate)/s"
    if let share = progress.share, share > 0.01, share < 1 {
      text += "  ETA \(Int(progress.seconds / share * (1 - share)) + 1) s"
    }
    if isTerminal {
      invocation.output.writeNote("\r\u{1b}[K\(text)")
      isDrawn = true
    } else {
      invocation.output.note(text)
    }
  }

  /// Takes the line away.
  func end() {
    if isDrawn { invocation.output.writeNote("\r\u{1b}[K") }
    isDrawn = false
  }
}
