import Engine
import Features
import Glibc
import Kafka
import Learning
import Pipeline
import Records
import Storage
import Synchronization

/// Which build runs, for metrics and logs.
public struct WorkerBuild: Sendable {
  public var version: String
  public var commit: String
  public init(version: String, commit: String) {
    self.version = version
    self.commit = commit
  }
}

/// The worker: lanes, model replica and their lifecycle.
///
/// Life:    checks the cluster against the declaration, folds the learning log to its end, then runs its
///          lanes until it is told to stop or cannot go on. A second signal ends the process at once.
/// Threads: one fold and one commit thread a lane, one for the replica; the caller's waits.
public final class Worker: Sendable {
  let context: WorkerContext
  private let features: FeaturePlan
  private let failed = Mutex<WorkerFailure?>(nil)
  private let plan = Mutex<EnginePlan?>(nil)

  /// Looks at cluster and disk; every fault of the cluster at once.
  public init(
    settings: PipelineSettings, features: FeaturePlan, surroundings: Surroundings, log: LogWriter,
    build: WorkerBuild, untilEnd: Bool = false
  ) throws {
    self.features = features
    try Failpoints.announce(log)
    let security = try ResolvedSecurity(settings.kafka, surroundings)
    let trust = try readTrustedKeys(settings.trustedKeyPaths, surroundings)
    let check = security.clientSettings(bootstrap: settings.kafka.bootstrap, clientID: "\(settings.name).check")
    for warning in check.warnings { log.warning("client-library", warning) }
    let clientLog = LogQueue()
    let cluster = KafkaCluster(settings, security, log: clientLog)
    let clusterID = try Self.checked(cluster, settings, clientLog)
    let files: any FileOperations = Failpoints.armed == nil ? POSIXFiles() : FailingFiles()
    let store: CheckpointStore
    let blobs: BlobStore
    do {
      store = try CheckpointStore.open(
        settings.checkpoints.directory, owner: "\(settings.name) \(settings.worker.instance)", files: files)
      blobs = try BlobStore(in: settings.checkpoints.directory, files: files)
    } catch {
      throw WorkerFailure.storage("\(error)")
    }
    context = WorkerContext(
      settings: settings, cluster: cluster, runtime: SystemRuntime(), clusterID: clusterID, clientLog: clientLog,
      store: store, blobs: blobs, files: POSIXFiles(), trust: trust,
      metrics: WorkerMeter(settings, windowNames: features.windowNames, build), log: log, untilEnd: untilEnd,
      testFault: TestFault(surroundings.variables[TestFault.variable]))
  }

  /// On a cluster, a system and a disk of the caller's.
  init(context: WorkerContext, features: FeaturePlan) {
    self.context = context
    self.features = features
  }

  /// The cluster's id, once its topics were compared with the declaration. Where no broker answers, the failure says
  /// what the client library met.
  private static func checked(
    _ cluster: KafkaCluster, _ settings: PipelineSettings, _ clientLog: LogQueue
  ) throws(WorkerFailure) -> String {
    let id: String
    let existing: [TopicDescription]
    do throws(KafkaError) {
      id = try cluster.clusterID()
      existing = try cluster.topics()
    } catch {
      guard error.action == .retrySameCall else { throw WorkerFailure.kafka(error).namingRights(settings) }
      let met = clientLog.drain().lines.last { $0.level <= 4 }?.message
      // A broker that expects TLS hangs up on plain text, and the library says nothing of it.
      let guess = settings.kafka.security.transport.usesTLS ? "" : "; one that expects TLS answers nothing else: kafka.security.protocol=\(settings.kafka.security.transport.rawValue)"
      throw .unreachable(
        "no broker answers bootstrap=\(settings.kafka.bootstrap) reason=\(met ?? error.description + guess)")
    }
    let faults = topicFaults(settings, existing: existing)
    guard faults.isEmpty else { throw .misconfigured(faults.joined(separator: "\n")) }
    return id
  }

  /// Runs until stopped; the process's exit code.
  public func run() -> Int32 {
    let signals = StopSignals()
    context.log.info(
      "starting", "starting",
      LogFields([
        "cluster": context.clusterID, "lanes": "\(context.lanes.count)",
        "librdkafka": "\(LibraryVersion.current)",
      ]))
    if context.settings.delivery.mode == .atLeastOnce {
      context.log.notice(
        "delivery", "predictions are delivered at least once: a failure may publish one again; learning stays exactly-once")
    }
    let threads: [any RunningThread]
    do {
      threads = try startThreads()
    } catch {
      context.log.error("threads", "no thread can be started", LogFields(["error": "\(error)"]))
      return WorkerFailure.exhaustedExitCode
    }
    while !context.isStopping {
      if let signal = signals.next(timeoutMilliseconds: 200) {
        context.log.notice("draining", "draining", LogFields(["signal": "\(signal)"]))
        context.stop()
      }
      if let lacking = context.drainClientLog() {
        context.log.error("exhausted", "the system gives no more threads or memory", LogFields(["reason": lacking]))
        context.log.flush()
        // Why at once: clients that lack a thread cannot be closed either. What is not committed is made again.
        _exit(WorkerFailure.exhaustedExitCode)
      }
    }
    // From here on a second signal ends the process at once: that is a crash, which recovery survives.
    signals.exitOnNext()
    for thread in threads { thread.join() }
    context.drainClientLog()
    if let failure {
      context.log.error("stopped", "stopped by a failure", LogFields(["error": "\(failure)"]))
      context.log.flush()
      return failure.exitCode
    }
    context.fuse.clear()
    context.log.info("stopped", "drained and stopped")
    context.log.flush()
    return 0
  }

  /// Blocks SIGTERM and SIGINT in the calling thread and all it starts; `run` takes them. To be called first.
  public static func blockStopSignals() { StopSignals.block() }

  /// Whether one of the two signals has come since last asked, for programs that poll.
  public static func takeStopSignal() -> Bool {
    let signals = StopSignals()
    guard signals.next(timeoutMilliseconds: 0) != nil else { return false }
    signals.exitOnNext()
    return true
  }

  /// Asks the worker to drain and return from `run`.
  public func stop() { context.stop() }

  /// Why it stopped by itself; nil where it was told to.
  var failure: WorkerFailure? { failed.withLock { $0 } }

  /// Ends the worker, and tells why; of several reasons the first one counts.
  private func fail(_ why: WorkerFailure) {
    let named = why.namingRights(context.settings)
    let isFirst = failed.withLock { failed in
      defer { failed = failed ?? named }
      return failed == nil
    }
    if isFirst, let kind = named.alertKind { context.alert(kind, "the worker stops: \(named)") }
    context.stop()
  }

  /// Starts replica and lanes; the caller joins them once the worker stops.
  func startThreads() throws(ThreadFailure) -> [any RunningThread] {
    var threads: [any RunningThread] = []
    do throws(ThreadFailure) {
      threads.append(
        try context.runtime.startThread("watch") { [self] in
          LogWatch(context) { [self] in fail($0) }.run()
        })
      threads.append(try context.runtime.startThread("replica") { [self] in runReplica() })
      for lane in context.lanes {
        threads.append(try context.runtime.startThread("lane-\(lane.index)") { [self] in runLane(lane) })
      }
    } catch {
      // Those that run are joined before they are let go.
      context.stop()
      for thread in threads { thread.join() }
      throw error
    }
    return threads
  }

  private func runReplica() {
    do throws(WorkerFailure) {
      let replica = try Replica(context: context) { [self] (state) throws(WorkerFailure) in
        let made = try enginePlan(state)
        plan.withLock { $0 = made }
      }
      try replica.run()
    } catch {
      fail(error)
    }
  }

  /// The rows that the charter's contenders read must be among those this pipeline makes.
  private func enginePlan(_ state: ModelState) throws(WorkerFailure) -> EnginePlan {
    EnginePlan(
      features: features, join: context.settings.join,
      threshold: Float(context.settings.decisionThreshold),
      contenderCount: state.contenderNames.count)
  }

  /// Sessions one after the other: each makes its state again from the logs.
  private func runLane(_ progress: LaneProgress) {
    while !context.isStopping, plan.withLock({ $0 }) == nil { context.runtime.pause(milliseconds: 10) }
    guard let plan = plan.withLock({ $0 }) else { return }
    var restarts = LaneRestarts()
    while !context.isStopping {
      let began = context.now()
      let end: LaneEnd
      do throws(WorkerFailure) {
        end = try Lane(context: context, plan: plan, progress: progress).run()
      } catch {
        end = .failed(error)
      }
      switch end {
      case .stopped:
        progress.update { $0.phase = .stopped }
        // With `untilEnd`, the lane that ends last ends the worker.
        if context.lanes.allSatisfy({ $0.snapshot.phase == .stopped }) { context.stop() }
        return
      case .rejoin(let why): again(.superseded(why))
      case .failed(let why): again(why)
      }
      /// Pauses before the next session, or ends the worker.
      func again(_ failure: WorkerFailure) {
        switch restarts.decide(after: failure, began: began, now: context.now()) {
        case .again(let reason, let pause): beginAnew(progress, reason, pauseMilliseconds: pause)
        case .againIfAlone(let reason, let why):
          progress.update { $0.phase = .starting }
          guard isAlone(progress) else { return fail(why) }
          beginAnew(progress, reason, pauseMilliseconds: 0)
        case .fail(let why): fail(why)
        }
      }
    }
  }

  private func beginAnew(_ progress: LaneProgress, _ reason: String, pauseMilliseconds: UInt32) {
    context.log.warning(
      "rejoin", "dropping what is uncommitted and joining again",
      LogFields(["reason": reason, "lane": "\(progress.index)"]))
    progress.update { $0.phase = .starting }
    context.runtime.pause(milliseconds: pauseMilliseconds)
  }

  /// Looks at the group until it is sure whether another process bears the lane's name; true also where the worker is
  /// told to stop meanwhile.
  private func isAlone(_ progress: LaneProgress) -> Bool {
    let name = context.settings.worker.memberName(lane: progress.index)
    context.log.warning(
      "fenced-again", "fenced twice within a minute; looking whether another process bears the name",
      LogFields(["member": name]))
    var watch = NamesakeWatch(sessionMilliseconds: context.settings.worker.sessionTimeoutMilliseconds)
    while !context.isStopping {
      do throws(KafkaError) {
        let id = try context.members().first { $0.instanceID == name }?.id
        switch watch.observe(id, now: context.now()) {
        case .lookAgain: break
        case .alone: return true
        case .another: return false
        }
      } catch {
        // Whoever may not ask is as careful as if there was another.
        guard error.action == .retrySameCall else { return false }
        watch.missed()
      }
      context.runtime.pause(milliseconds: Self.namesakeLookMilliseconds)
    }
    return true
  }
  private static let namesakeLookMilliseconds: UInt32 = 500
}
