import Pipeline
import Records
import Worker

/// `millrace account`: what became of every record, and whether it adds up.
func account(_ invocation: Invocation) throws -> ExitCode {
  let (settings, features) = try invocation.pipeline().compiled()
  var workers = invocation.texts("worker")
  var notes: [String] = []
  if workers.isEmpty, let listen = settings.adminListen, listen.port > 0 {
    // The console that the declaration names, if a worker is there.
    let address = "http://\(listen)"
    do throws(HTTPFailure) {
      _ = try httpGet(address, path: "/livez", timeoutSeconds: 2)
      workers = [address]
    } catch {
      notes.append("no worker is compared: \(error)")
    }
  }
  let bar = ProgressLine("counting", invocation)
  defer { bar.end() }
  var report: AccountReport
  do {
    report = try TopicAccount(
      settings: settings, features: features, surroundings: try invocation.filledSurroundings(),
      directory: try stateDirectory(invocation), partition: invocation.integer("partition").map { Int32($0) },
      workers: workers
    ).run(progress: bar.show)
  } catch let error as HTTPFailure {
    throw Failure(.timedOut, "\(error)")
  } catch let error as JSONError {
    throw Failure(.timedOut, "a worker's status cannot be read: \(error)")
  } catch {
    throw logFailure(error, settings)
  }
  bar.end()
  report.notes = notes + report.notes
  if invocation.wantsJSON {
    invocation.output.result(report.json.encoded(pretty: true))
  } else {
    for line in report.lines { invocation.output.result(line) }
    for note in report.notes { invocation.note(note) }
  }
  if !report.isBalanced { return .failed }
  if let lost = report.partitions.first(where: { $0.unreachable != nil }) {
    throw Failure(.badData, "partition \(lost.partition) is out of reach: \(lost.unreachable ?? "")")
  }
  return .done
}

extension AccountReport {
  var lines: [String] {
    var lines: [String] = []
    for part in partitions {
      if let why = part.unreachable {
        lines.append("partition \(part.partition): out of reach: \(why)")
        continue
      }
      let word = switch part.worker {
      case .equal: "; the worker's counts are the same"
      case .different: "; THE WORKER'S COUNTS DIFFER"
      case .notAsked, .otherStart, .notSeen: ""
      }
      lines.append("partition \(part.partition): \(part.isBalanced ? "adds up" : "DOES NOT ADD UP"); \(part.begun)\(word)")
      for input in part.inputs {
        let states = input.outcomes.counts.filter { $0.count > 0 }.map { "\($0.count) \($0.state.rawValue)" }
        lines.append("  \(input.name): \(input.consumed) consumed = \(states.isEmpty ? "0" : states.joined(separator: " + "))")
      }
      if !part.inputs.isEmpty {
        lines.append("  predictions: \(part.waitingPredictions) wait for their label, \(part.expiredPredictions) expired")
      }
      for check in part.checks where !check.holds {
        lines.append("  DIFFERS: \(check.what): expected \(check.expected), found \(check.found)")
      }
    }
    lines.append(isBalanced ? "everything adds up" : "something does not add up")
    return lines
  }

  var json: JSONText {
    .object([
      ("balanced", .bool(isBalanced)),
      ("partitions", .array(partitions.map { part in
        .object([
          ("partition", .integer(Int64(part.partition))), ("begun", .string(part.begun)),
          ("balanced", .bool(part.isBalanced)),
          ("unreachable", part.unreachable.map { .string($0) } ?? .null),
          ("inputs", .array(part.inputs.map { input in
            .object([
              ("name", .string(input.name)), ("topic", .string(input.topic)),
              ("consumed", .integer(Int64(input.consumed))), ("next_offset", .integer(input.next)),
              ("outcomes", .object(input.outcomes.counts.map { ($0.state.rawValue, .integer(Int64($0.count))) })),
            ])
          })),
          ("waiting_predictions", .integer(Int64(part.waitingPredictions))),
          ("expired_predictions", .integer(Int64(part.expiredPredictions))),
          ("worker", .string("\(part.worker)")),
          ("checks", .array(part.checks.map { check in
            .object([
              ("what", .string(check.what)), ("expected", .integer(Int64(check.expected))),
              ("found", .integer(Int64(check.found))), ("holds", .bool(check.holds)),
            ])
          })),
        ])
      })),
      ("notes", .array(notes.map { .string($0) })),
    ])
  }
}
