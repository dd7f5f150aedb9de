import Console
import Glibc
import Pipeline
import Worker

/// `millrace run`: the worker and its console, until a signal.
func run(_ invocation: Invocation) throws -> ExitCode {
  // Before any thread is started, so that all inherit it.
  Worker.blockStopSignals()
  let loaded = try invocation.pipeline()
  let settings = try loaded.get()
  for fault in loaded.faults { invocation.note(fault.text) }
  guard let plan = loaded.plan else { throw Failure(.bug, "a valid pipeline without a plan") }
  let log = LogWriter(
    pipeline: settings.name, instance: settings.worker.instance,
    level: LogLevel(invocation.logLevel) ?? .info, format: invocation.logsJSON ? .json : .text)
  let worker: Worker
  do {
    worker = try Worker(
      settings: settings, features: plan, surroundings: try invocation.filledSurroundings(),
      log: log, build: WorkerBuild(version: BuildFacts.version, commit: BuildFacts.commit),
      untilEnd: invocation.has("until-end"))
  } catch let failure as WorkerFailure {
    log.error("refused", "cannot start", LogFields([("error", .text(failure.description))]))
    throw Failure(ExitCode(rawValue: failure.exitCode) ?? .bug, failure.description)
  }
  let console = try settings.adminListen.map { try startConsole($0.description, worker, log) }
  defer { console?.stop() }
  return ExitCode(rawValue: worker.run()) ?? .bug
}

private func startConsole(
  _ address: String, _ worker: Worker, _ log: LogWriter
) throws -> ConsoleServer {
  @Sendable func health(_ holds: Bool, _ waiting: String) -> Health {
    holds ? .ok : .failing(waiting)
  }
  do throws(ConsoleError) {
    let server = try ConsoleServer(
      ConsoleAddress(address),
      sources: ConsoleSources(
        metrics: { worker.metricsText() },
        live: { health(worker.isLive, "stopping") },
        ready: { health(worker.isReady, "model or assignment is not there yet") },
        started: { health(worker.isStarted, "the learning log is being folded") },
        status: { worker.statusJSON() }, summary: { worker.summary() }))
    log.info("console", "console listens", LogFields([("address", .text("\(server.address)"))]))
    return server
  } catch {
    throw Failure(.badConfiguration, "\(error)")
  }
}
