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
/// nothing: what it appends (the first charter, claims, kept versions) counts only once it was folded.
///
/// Threads: everything here runs on the replica's thread.
final class Replica {
  /// At most this often are scorers published while examples stream in.
  static let publicationNanoseconds: UInt64 = 20_000_000
  /// Records folded between two looks at the brake and the clock.
  static let recordsPerTurn = 64

  let context: WorkerContext
  private(set) var state = ModelState()
  private let reader: any LogReader
  private let brake: Brake
  private let outbox: ReplicaOutbox
  /// Whether the log was read to its end once.
  private(set) var isCaughtUp = false
  private var publishedVersion: ModelVersion?
  private var publishedOffset = Offset(-1)
  private var lastPublication: UInt64 = 0
  private var lastCheckpoint: UInt64
  private var checkpointedOffset = Offset(-1)
  private var checkpointGeneration: UInt64 = 1
  private var checkpointParent: Digest?
  /// Switches that the lanes have not all adopted yet.
  private var adopting: [(generation: UInt64, ack: CommandAck)] = []
  private let onReady: (ModelState) throws(WorkerFailure) -> Void

  /// `onReady` is called once, when the log was folded to its end and holds a charter.
  init(
    context: WorkerContext, onReady: @escaping (ModelState) throws(WorkerFailure) -> Void
  ) throws(WorkerFailure) {
    self.context = context
    self.onReady = onReady
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
        if let text = brake.alarm() {
          outbox.queueAlert(kind: "brake-held", text: text, version: state.version)
        }
        settleAdoptions()
        checkpointIfDue()
        try send()
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
        for effect in state.fold(bytes, offset: offset, timestamp: timestamp) {
          carryOut(effect, of: bytes)
        }
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
    isCaughtUp = true
    context.log.info(
      "model-ready", "model ready",
      LogFields([
        "version": "\(state.version)", "state_hash": "\(state.stateHash)",
        "offset": "\(state.ledger.offset.value)",
      ]))
    try onReady(state)
    publish()
    outbox.queueUnstored(state)
  }

  /// The logged record decides, the declaration proposes.
  private func checkCharter() throws(WorkerFailure) {
    guard !state.isRefused, let charter = state.ledger.charter, let settings = state.settings else {
      throw .misconfigured("the learning log's charter is for another build; see the alert above")
    }
    guard charter.clusterID == context.clusterID else {
      throw .misconfigured(
        "the learning log's charter names another cluster charter=\(charter.clusterID) here=\(context.clusterID)")
    }
    guard settings.rowSchema == context.settings.learning.rowSchema else {
      throw .misconfigured(
        "the declared features make other columns than the charter's contenders read; a new charter needs a new learning topic")
    }
    if charter.settings != context.settings.learning.canonicalBytes() {
      context.log.warning(
        "charter-differs",
        "the declared learning settings differ from the charter, which is obeyed")
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
      guard isCaughtUp else { return }
      outbox.queue(
        CommandAck(
          id: id, instance: context.settings.worker.instance, status: status, version: version,
          stateHash: hash, detail: detail))
      // A tag is applied when it is kept, which the fold says; what changes serving, when every lane serves it.
      if status == .accepted, changesServing(record) {
        publish()
        adopting.append(
          (
            context.hub.generation,
            CommandAck(
              id: id, instance: context.settings.worker.instance, status: .applied,
              version: state.version, stateHash: state.stateHash, detail: "every lane serves it")
          ))
      }
    case .keep(let version, let digest, let bytes):
      outbox.store(version: version, digest: digest, bytes: bytes, announce: isCaughtUp)
    case .switched(let version, let reason):
      context.log.notice(
        "model-switched", "model switched",
        LogFields(["version": "\(version)", "reason": reason]))
      if isCaughtUp { publish() }
    case .diverged(let version, let ours, let theirs, let instance):
      let text =
        "claim instance=\(instance ?? "publisher") version=\(version) theirs=\(theirs.state) ours=\(ours.state)"
      context.log.warning("fold-alert", text, LogFields(["kind": FoldAlert.diverged.rawValue]))
      if isCaughtUp { outbox.queueAlert(kind: FoldAlert.diverged.rawValue, text: text, version: state.version) }
    case .confirmed, .chartered: break
    case .missing(let digest, let version):
      // Every state that the ledger names is held.
      context.log.error("state-missing", "a kept state is not held", LogFields(["version": "\(version)", "digest": "\(digest)"]))
    case .alert(let kind, let text):
      context.log.warning("fold-alert", text, LogFields(["kind": kind.rawValue]))
      if isCaughtUp { outbox.queueAlert(kind: kind.rawValue, text: text, version: state.version) }
    }
  }

  private func changesServing(_ record: [UInt8]) -> Bool {
    guard case .command(let logged)? = try? LearningRecord.decode(record),
      let command = try? Command(parsing: logged.value), !command.isDryRun
    else { return false }  // The fold has parsed the same bytes: anything else was not accepted.
    switch command.action {
    case .rollback, .freeze, .unfreeze: return true
    case .tag, .promote, .charter: return false
    }
  }

  // MARK: Publishing

  private func publishIfDue() {
    guard publishedOffset != state.ledger.offset else { return }
    guard context.now() - lastPublication >= Self.publicationNanoseconds else { return }
    publish()
  }

  private func publish() {
    lastPublication = context.now()
    publishedOffset = state.ledger.offset
    if publishedVersion != state.version, let scorers = state.scorers() {
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

  private func send() throws(WorkerFailure) {
    let isPublisher = context.lanes.contains { $0.ownsControl.load(ordering: .acquiring) }
    try kafka { () throws(KafkaError) in try outbox.send(asPublisher: isPublisher, state: state) }
  }

  // MARK: Checkpoints

  private var fingerprint: CheckpointFingerprint {
    CheckpointFingerprint(
      clusterID: context.clusterID, topic: context.settings.topics.learning,
      partition: PartitionID(0), pipeline: context.settings.name,
      settings: Digest.of([]))
  }

  /// Offset to fold from.
  private func restore(attempts: Int = 3) throws(WorkerFailure) -> Int64 {
    let topic = TopicPartition(context.settings.topics.learning, 0)
    let ends = try kafka { () throws(KafkaError) in try context.journalEnd(topic) }
    let point = RestorePoint(
      kind: .model, fingerprint: fingerprint, inputs: [],
      log: LogBounds(
        topic: topic.topic, earliest: Offset(ends.low), committed: Offset(ends.high)))
    let restored: RestoredCheckpoint
    do throws(StorageError) {
      restored = try context.store.restore(at: point, knownSections: ["model"])
    } catch {
      throw .storage("\(error)")
    }
    for refused in restored.refused {
      context.log.warning(
        "checkpoint-refused", "checkpoint refused",
        LogFields(["name": "\(refused.name)", "reason": "\(refused.reason)"]))
    }
    checkpointGeneration = restored.generationNext
    guard let checkpoint = restored.checkpoint else {
      // Also where nothing is left of it: a log that begins anew would forget what was learnt, in silence.
      guard ends.low == 0 else {
        throw .unrecoverable(
          "the learning log begins at \(ends.low) and no checkpoint leads to it")
      }
      return ends.low
    }
    do {
      var section = try checkpoint.reader("model")
      state = try ModelState(restoring: &section)
    } catch {
      guard attempts > 0 else { throw .storage("model checkpoint does not restore: \(error)") }
      context.setAside(checkpoint.identity, because: error)
      return try restore(attempts: attempts - 1)
    }
    checkpointParent = checkpoint.id
    checkpointedOffset = state.ledger.offset
    return checkpoint.identity.logNext.value
  }

  private func checkpointIfDue() {
    let every = UInt64(context.settings.checkpoints.everyMilliseconds) * 1_000_000
    guard context.now() - lastCheckpoint >= every else { return }
    writeCheckpoint()
  }

  private func writeCheckpoint() {
    lastCheckpoint = context.now()
    guard isCaughtUp, checkpointedOffset != state.ledger.offset else { return }
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: .model, fingerprint: fingerprint, inputs: [],
        logNext: Offset(state.ledger.offset.value + 1), generation: checkpointGeneration,
        parent: checkpointParent))
    var section = ByteWriter()
    state.encode(into: &section)
    writer.add("model", section.bytes)
    let (bytes, id) = writer.encode()
    checkpointGeneration += 1
    checkpointParent = id
    checkpointedOffset = state.ledger.offset
    context.write(CheckpointName(writer.identity), bytes)
  }
}
