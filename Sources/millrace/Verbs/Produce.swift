import Glibc
import Kafka
import Pipeline
import Records
import Worker

/// `millrace produce`: plays a file; progress on a terminal, one line at the end.
func produce(_ invocation: Invocation) throws -> ExitCode {
  let settings = try invocation.pipeline().get()
  let path = invocation.arguments[0]
  var options = PlayOptions()
  switch invocation.text("speed") {
  case "max": options.speed = nil
  default: options.speed = invocation.number("speed") ?? 1
  }
  options.rate = invocation.number("rate")
  if let until = invocation.text("until") {
    guard let time = EventTime(rfc3339: until) else {
      throw UsageFault(
        message: "--until is no time: \(until)", hint: "RFC 3339, as in 2013-01-18T12:00:00Z",
        verb: ["produce"])
    }
    options.until = time.milliseconds
  }
  options.input = invocation.text("input")
  let signals = StopRequest()
  let showsProgress = invocation.output.noteIsTerminal && !invocation.isQuiet
  do {
    let security = try ResolvedSecurity(settings.kafka, try invocation.filledSurroundings())
    let done = try playFile(
      path, into: settings.features.inputs,
      security.clientSettings(clientID: "\(settings.name).produce"), options,
      shouldStop: { signals.isAsked }
    ) { progress in
      guard showsProgress else { return }
      let time = progress.time.map { EventTime(milliseconds: $0).rfc3339 } ?? "-"
      invocation.output.writeNote("\r\(progress.records) records, at \(time), \(progress.behindMilliseconds) ms behind ")
    }
    if showsProgress { invocation.output.writeNote("\n") }
    invocation.output.result(
      invocation.wantsJSON
        ? JSONText.object([
          ("records", .integer(Int64(done.records))), ("bytes", .integer(Int64(done.bytes))),
          ("milliseconds", .integer(done.elapsedMilliseconds)),
        ]).encoded()
        : "records=\(done.records) bytes=\(done.bytes) seconds=\(Double(done.elapsedMilliseconds) / 1e3)")
    return .done
  } catch let error as PlayFailure {
    switch error.reason {
    case .line: throw Failure(.badData, "\(path): \(error)")
    case .kafka(let cause): throw failure(cause, settings)
    case .file: throw Failure(.usage, "\(error)")
    }
  } catch {
    throw failure(error, settings)
  }
}

/// `millrace tap`: prints records of a topic as they are.
func tap(_ invocation: Invocation) throws -> ExitCode {
  let settings = try invocation.pipeline().get()
  let name = invocation.arguments[0]
  let topic = settings.features.inputs.first { $0.name == name }?.topic ?? name
  var options = TapOptions()
  options.raw = invocation.has("raw")
  options.limit = invocation.integer("limit")
  options.untilEnd = invocation.has("until-end")
  switch invocation.text("from") {
  case "beginning": options.from = .beginning
  case "end", nil: options.from = .end
  case .some: options.from = invocation.integer("from").map { .offset(Int64($0)) } ?? .end
  }
  let signals = StopRequest()
  do {
    let security = try ResolvedSecurity(settings.kafka, try invocation.filledSurroundings())
    _ = try tapTopic(
      topic, security.clientSettings(clientID: "\(settings.name).tap"), options,
      shouldStop: { signals.isAsked }
    ) { line in invocation.output.write(String(decoding: line, as: UTF8.self)) }
    return .done
  } catch {
    throw failure(error, settings)
  }
}

/// SIGTERM and SIGINT as a question that a loop asks.
struct StopRequest {
  init() { Worker.blockStopSignals() }
  /// Whether one has come; the next one then ends the process.
  var isAsked: Bool { Worker.takeStopSignal() }
}
