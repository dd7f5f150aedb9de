import Checkpoints
import Kafka
import Learning
import Pipeline
import Records
import Storage

/// The worker's copy of the model: folds `learning`, publishes scorers to the lanes, answers commands, and
/// writes what the fold asks to be written.
///
/// Every worker folds the same log by the same code, so every replica holds the same model. A replica decides
/// nothing: what it appends (charters, claims, kept versions) counts only once it was folded. Where another's claim
/// differs from its own fold, it folds again from the last version beyond doubt, and stops if that changes nothing.
///
/// Threads: everything here runs on the replica's thread.
final class Replica {
  /// At most this often are scorers published while examples stream in.
  static let publicationNanoseconds: UInt64 = 20_000_000
  /// Records folded between two looks at the brake and the clock.
  static let recordsPerTurn = 64

  let context: WorkerContext
  var state = ModelState()
  let reader: any LogReader
  let brake: Brake
  let outbox: ReplicaOutbox
  let topic: CheckpointsTopic
  /// Whether the log was read to its end once.
  private(set) var isCaughtUp = false
  private var publishedVersion: ModelVersion?
  private var publishedOffset = Offset(-1)
  private var lastPublication: UInt64 = 0
  var lastCheckpoint: UInt64
  var checkpointedOffset = Offset(-1)
  var checkpointGeneration: UInt64 = 1
  var checkpointParent: Digest?
  /// What was taken from `checkpoints` to begin with, and the place it stands before, until the log confirms it.
  var unconfirmedBase: (version: ModelVersion, candidate: Agreement.Candidate, next: Offset)?
  /// Ledgers of kept versions at their place, while they may still have to be published.
  var ledgerParts: [ModelVersion: [UInt8]] = [:]
  /// Which fold of this worker made `state`, and the newest that it made of all.
  var servingFold: UInt8 = 1
  var newestFold: UInt8 = 1
  /// When a version that is not confirmed was announced.
  var announcedAt: [ModelVersion: UInt64] = [:]
  /// The fold that confirms where no other worker does; nil until it is needed.
  var confirming: FoldAgain?
  /// The fold that is to take the place of one that is doubted.
  var remaking: FoldAgain?
  /// Since when the fold that was made again stands against others.
  var hopelessSince: UInt64?
  /// When a state that the brake wants is next looked for.
  var nextFetch: UInt64 = 0
  /// When doubts are next looked into.
  var nextDoubts: UInt64 = 0
  /// Kept versions up to this place were made again by the fold that serves.
  var remadeThrough = Offset(-1)
  private var fault: TestFault
  /// Switches that the lanes have not all adopted yet.
  private(set) var adopting: [(generation: UInt64, ack: CommandAck)] = []
  let onReady: (ModelState) throws(WorkerFailure) -> Void

  /// `onReady` is called once, when the log was folded to its end and holds a charter.
  init(
    context: WorkerContext, onReady: @escaping (ModelState) throws(WorkerFailure) -> Void
  ) throws(WorkerFailure) {
    self.context = context
    self.onReady = onReady
    topic = CheckpointsTopic(context: context)
    fault = context.testFault
    lastCheckpoint = context.now()
    outbox = try kafka { () throws(KafkaError) in try ReplicaOutbox(context) }
    reader = try kafka { () throws(KafkaError) in try context.makeReader(context.settings.topics.learning) }
    brake = try kafka { () throws(KafkaError) in try Brake(context) }
  }

  /// Restores, catches up, and follows the log until the worker stops.
  func run() throws(WorkerFailure) {
    let start = try restore()
    try kafka { () throws(KafkaError) in try reader.start(partition: 0, at: .offset(start)) }
    while !context.isStopping {
      let folded = try turn()
      if isCaughtUp {
        publishIfDue()
        brake.look(at: state)
        try fetchForBrake()
        if let text = brake.alarm() {
          outbox.queueAlert(kind: "brake-held", text: text, version: state.version)
        }
        settleAdoptions()
        let again = try settleDoubts()
        try send()
        checkpointIfDue()
        if again { continue }
      }
      if folded == 0 { reader.wait(milliseconds: 20) }
    }
    writeCheckpoint()
  }

  // MARK: Folding

  /// Folds what the log has, up to a bound; how many records.
  private func turn() throws(WorkerFailure) -> Int {
    var folded = 0
    while folded < Self.recordsPerTurn {
      var bytes: [UInt8] = []
      var offset = Offset(-1)
      var timestamp = EventTime(milliseconds: 0)
      let taken = reader.next(timeoutMilliseconds: 0) { record in
        bytes = record.valueBytes
        offset = Offset(record.offset)
        timestamp = EventTime(milliseconds: record.timestamp)
      }
      switch taken {
      case .record:
        folded += 1
        let record = LearningLogRecord(bytes: bytes, offset: offset, timestamp: timestamp)
        let before = state.version
        let effects = try state.fold(record) { (digest, version) throws(WorkerFailure) in
          try missingState(digest, of: version)
        }
        for effect in effects { carryOut(effect, of: bytes) }
        fault.strike(state, since: before)
        if state.isRefused { try checkCharter() }
      case .endOfPartition:
        if !isCaughtUp { try reachedEnd() }
      case .nothing: return folded
      case .error(let error):
        guard error.action == .retrySameCall else { throw .kafka(error) }
        context.log.warning("learning-read", "learning log", LogFields(["error": "\(error)"]))
        return folded
      }
    }
    return folded
  }

  /// The end of the log, seen for the first time: a log without a charter gets one; otherwise we are ready.
  private func reachedEnd() throws(WorkerFailure) {
    guard state.ledger.charter != nil else {
      if !outbox.hasProposedCharter {
        context.log.info("charter-proposed", "the learning log is empty: proposing its charter")
        let charter = ModelState.charter(
          context.settings.learning, clusterID: context.clusterID)
        try kafka { () throws(KafkaError) in try outbox.propose(charter) }
      }
      return
    }
    try checkCharter()
    guard unconfirmedBase == nil else { return try startElsewhere() }
    isCaughtUp = true
    context.log.info(
      "model-ready", "model ready",
      LogFields([
        "version": "\(state.version)", "state_hash": "\(state.stateHash)",
        "offset": "\(state.ledger.offset.value)",
      ]))
    try onReady(state)
    publish()
    // Of commands that were folded on the way: what they changed is served from now on.
    for index in adopting.indices { adopting[index].generation = context.hub.generation }
    // The publisher before us may have died between keeping and publishing.
    for entry in state.ledger.kept where !entry.isConfirmed && state.ledger.isPresent(entry) { announce(entry) }
    newestFold = ownFolds.max() ?? 1
  }

  /// The logged record decides, the declaration proposes.
  private func checkCharter() throws(WorkerFailure) {
    guard let charter = state.ledger.charter else { throw .misconfigured("the learning log has no charter") }
    guard !state.isRefused, let settings = state.settings else {
      throw .misconfigured(
        "the learning log's charter cannot be folded by this build, whose own engine is '\(ModelState.engine)'; run the build that wrote it, or give the pipeline a new learning topic charter_engine='\(charter.engine)' topic=\(context.settings.topics.learning)")
    }
    guard charter.clusterID == context.clusterID else {
      throw .misconfigured(
        "the learning log's charter names another cluster charter=\(charter.clusterID) here=\(context.clusterID)")
    }
    guard settings.rowSchema == context.settings.learning.rowSchema else {
      throw .misconfigured(
        "the declared features make other columns than the charter's contenders read; a new charter needs a new learning topic")
    }
    warnIfCharterDiffers()
  }

  private func warnIfCharterDiffers() {
    if let charter = state.ledger.charter, charter.settings != context.settings.learning.canonicalBytes() {
      context.log.warning(
        "charter-differs",
        "the declared learning settings differ from the charter, which is obeyed; `millrace control charter` shows and proposes them")
    }
  }

  private func carryOut(_ effect: FoldEffect, of record: [UInt8]) {
    switch effect {
    case .ack(let id, let status, let version, let hash, let detail):
      if context.hub.pinnedBy == id {
        // Published first, under the pin: what is served when it ends must not be what it held back.
        publish()
        brake.release(command: id)
      }
      context.metrics.command(status: status.rawValue)
      guard isCaughtUp || isAwaited(id) else { return }
      outbox.queue(
        CommandAck(
          id: id, instance: context.settings.worker.instance, status: status, version: version,
          stateHash: hash, detail: detail))
      // A tag is applied when it is kept, which the fold says; what changes serving, when every lane serves it.
      if status == .accepted, changesServing(record) {
        if isCaughtUp { publish() }
        adopting.append(
          (
            context.hub.generation,
            CommandAck(
              id: id, instance: context.settings.worker.instance, status: .applied,
              version: state.version, stateHash: state.stateHash, detail: "every lane serves it")
          ))
      }
    case .keep(let version, _, let bytes):
      keep(version, bytes)
    case .switched(let version, let reason):
      context.log.notice(
        "model-switched", "model switched",
        LogFields(["version": "\(version)", "reason": reason]))
      if isCaughtUp { publish() }
      if isCaughtUp && reason == "charter" { warnIfCharterDiffers() }
    case .confirmed(let version, let candidate):
      announcedAt[version] = nil
      ledgerParts[version] = nil
      if let base = unconfirmedBase, base.version == version, base.candidate == candidate { unconfirmedBase = nil }
    case .diverged(let version, let ours, let theirs, let instance):
      tellDivergence(version, ours, theirs, instance)
    case .chartered, .missing: break  // Its record goes out with the version that it made; nothing is missing by now.
    case .alert(let kind, let text):
      context.log.warning("fold-alert", text, LogFields(["kind": kind.rawValue]))
      if isCaughtUp { outbox.queueAlert(kind: kind.rawValue, text: text, version: state.version) }
    }
  }

  /// Whether somebody may still wait for the answer to a command of the past: a process before this one may have ended
  /// between effect and answer.
  private func isAwaited(_ id: String) -> Bool {
    guard let seen = state.ledger.commands.last(where: { $0.id == id }) else { return false }
    return seen.expiresAt.milliseconds > context.wallMilliseconds()
  }

  private func changesServing(_ record: [UInt8]) -> Bool {
    guard case .command(let logged)? = try? LearningRecord.decode(record),
      let command = try? Command(parsing: logged.value), !command.isDryRun
    else { return false }  // The fold has parsed the same bytes: anything else was not accepted.
    switch command.action {
    case .rollback, .freeze, .unfreeze, .charter: return true
    case .tag, .promote: return false
    }
  }

  // MARK: Publishing

  private func publishIfDue() {
    // What is doubted is not served any newer; a switch is served all the same.
    guard remaking == nil else { return }
    guard publishedOffset != state.ledger.offset else { return }
    guard context.now() - lastPublication >= Self.publicationNanoseconds else { return }
    publish()
  }

  /// `anew`: also where the version was published before, with other bits.
  func publish(anew: Bool = false) {
    lastPublication = context.now()
    publishedOffset = state.ledger.offset
    if anew || publishedVersion != state.version, let scorers = state.scorers() {
      context.hub.publish(scorers)
      publishedVersion = state.version
    }
    context.model.withLock { $0 = ModelSnapshot(state) }
  }

  /// "Applied" is said when every lane serves the switch and no prediction by the older version is still open.
  private func settleAdoptions() {
    adopting.removeAll { entry in
      let done = context.lanes.allSatisfy { $0.resolved.load(ordering: .acquiring) >= entry.generation }
      if done { outbox.queue(entry.ack) }
      return done
    }
  }

  var isPublisher: Bool { context.lanes.contains { $0.ownsControl.load(ordering: .acquiring) } }

  func send() throws(WorkerFailure) {
    try kafka { () throws(KafkaError) in
      try outbox.send(asPublisher: isPublisher, state: state, isDoubted: remaking != nil) { content(of: $0) }
    }
  }
}
