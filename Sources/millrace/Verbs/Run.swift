import Console
import Glibc
import Pipeline
import Synchronization
import Worker

/// `millrace run`: the worker and its console, until a signal.
func run(_ invocation: Invocation) throws -> ExitCode {
  // Before any thread is started, so that all inherit it.
  Worker.blockStopSignals()
  let loaded = try invocation.pipeline()
  let (settings, plan) = try loaded.compiled()
  let log = LogWriter(
    pipeline: settings.name, instance: settings.worker.instance,
    level: LogLevel(invocation.logLevel) ?? .info, format: invocation.logsJSON ? .json : .text)
  for fault in loaded.faults { log.warning("configuration", fault.text) }
  do throws(WorkerFailure) { try FileDescriptors.secure(lanes: settings.worker.lanes) } catch {
    throw refusal(error, log, invocation)
  }
  // The console first: a port in use is told before anything is waited for or locked.
  let starting = StartingWorker()
  let console = try settings.adminListen.map { try startConsole($0.description, starting, log, isSaid: invocation.logsJSON) }
  defer { console?.stop() }
  let facts = try invocation.filledSurroundings()
  let worker: Worker
  do {
    let build = WorkerBuild(version: BuildFacts.version, commit: BuildFacts.commit)
    guard
      let made = try waitingForBrokers(log, {
        try Worker(
          settings: settings, features: plan, surroundings: facts, log: log, build: build,
          untilEnd: invocation.has("until-end"))
      })
    else { return .done }
    worker = made
  } catch let failure as WorkerFailure {
    throw refusal(failure, log, invocation)
  }
  starting.worker.withLock { $0 = worker }
  return ExitCode(rawValue: worker.run()) ?? .bug
}

/// Tells why the worker does not start.
private func refusal(_ failure: WorkerFailure, _ log: LogWriter, _ invocation: Invocation) -> Failure {
  log.error("refused", "cannot start", LogFields([("error", .text(failure.description))]))
  log.flush()
  // Off a terminal every line is JSON, and this one has been said.
  return Failure(ExitCode(rawValue: failure.exitCode) ?? .bug, failure.description, isSaid: invocation.logsJSON)
}

/// How long brokers that do not answer are waited for before the service manager is asked for another start.
private let brokerWaitSeconds = 60

/// Makes the worker, again and again while no broker answers; nil where a signal ended the waiting.
private func waitingForBrokers(_ log: LogWriter, _ make: () throws -> Worker) throws -> Worker? {
  let begin = ContinuousClock.now
  while true {
    do {
      return try make()
    } catch WorkerFailure.unreachable(let why) {
      let waited = Int(begin.duration(to: .now).components.seconds)
      if Worker.takeStopSignal() {
        log.notice("stopped", "stopped while waiting for a broker")
        log.flush()
        return nil
      }
      guard waited < brokerWaitSeconds else {
        throw WorkerFailure.unreachable("\(why) waited_seconds=\(waited)")
      }
      log.warning(
        "waiting-for-brokers", "no broker answers; asking again",
        LogFields([
          ("reason", .text(why)), ("waited_seconds", .text("\(waited)")),
          ("limit_seconds", .text("\(brokerWaitSeconds)")),
        ]))
      log.flush()
      sleep(1)
    }
  }
}

/// The worker once there is one; the console listens before.
private final class StartingWorker: Sendable {
  let worker = Mutex<Worker?>(nil)
  var made: Worker? { worker.withLock { $0 } }
}

private func startConsole(
  _ address: String, _ starting: StartingWorker, _ log: LogWriter, isSaid: Bool
) throws -> ConsoleServer {
  @Sendable func health(_ holds: Bool?, _ waiting: String) -> Health {
    guard let holds else { return .failing("waiting for the brokers") }
    return holds ? .ok : .failing(waiting)
  }
  do throws(ConsoleError) {
    let server = try ConsoleServer(
      ConsoleAddress(address),
      sources: ConsoleSources(
        metrics: { starting.made?.metricsText() ?? [] },
        // Waiting for a broker is progress: no restart would help.
        live: { health(starting.made?.isLive ?? true, "stopping") },
        ready: { health(starting.made?.isReady, "model or assignment is not there yet") },
        started: { health(starting.made?.isStarted, "the learning log is being folded") },
        status: { starting.made?.statusJSON() ?? Array(#"{"state":"starting"}"#.utf8) },
        summary: { starting.made?.summary() ?? [("state", "waiting for the brokers")] }))
    log.info("console", "console listens", LogFields([("address", .text("\(server.address)"))]))
    return server
  } catch {
    log.error("refused", "cannot start", LogFields([("error", .text("\(error)"))]))
    log.flush()
    throw Failure(error.isTransient ? .timedOut : .badConfiguration, "\(error)", isSaid: isSaid)
  }
}
