import Checkpoints
import Kafka
import Learning
import Records
import Storage

// Where a replica begins: at its newest checkpoint, else at what was published, else at the log's beginning.
extension Replica {
  private var fingerprint: CheckpointFingerprint {
    CheckpointFingerprint(
      clusterID: context.clusterID, topic: context.settings.topics.learning,
      partition: PartitionID(0), pipeline: context.settings.name,
      settings: Digest.of([]))
  }

  /// Offset to fold from.
  func restore(attempts: Int = 3) throws(WorkerFailure) -> Int64 {
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
      // Ours only ever stand behind what was committed: this is another log, and folding it would forget in silence.
      for case .refused(.ahead(_, let next, _)) in restored.refused.map(\.reason) {
        throw .topicRecreated(
          "the topic ends before what was folded of it: it was made anew or cut topic=\(topic.topic) end=\(ends.high) folded=\(next.value)")
      }
      return try startFromPublished(ends, before: nil)
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

  /// Starts from the newest published version before `limit` from which the log goes on; where there is none, at the
  /// log's beginning, if it is still there. Whether the log confirms the version is seen at its end.
  private func startFromPublished(_ ends: Watermarks, before limit: Offset?) throws(WorkerFailure) -> Int64 {
    state = ModelState()
    ledgerParts.removeAll()
    unconfirmedBase = nil
    let index = try kafka { () throws(KafkaError) in try topic.index() }
    for manifest in index.usable(pipeline: context.settings.name, clusterID: context.clusterID) {
      guard manifest.next.value >= ends.low, manifest.next.value <= ends.high,
        limit.map({ manifest.next < $0 }) ?? true
      else { continue }
      let contents = try kafka { () throws(KafkaError) in try topic.fetch([manifest.learned, manifest.ledger]) }
      guard let learned = contents[0], let ledger = contents[1] else { continue }
      do throws(FormatError) {
        state = try ModelState(published: manifest, ledgerPart: ledger, learned: learned)
        let entry = state.ledger.kept.last { $0.version == manifest.version }
        unconfirmedBase = entry.flatMap { $0.isConfirmed ? nil : ($0.version, $0.ours, manifest.next) }
        ledgerParts[manifest.version] = ledger
      } catch {
        context.log.warning(
          "published-refused", "a published version cannot be used; an older one is tried",
          LogFields(["version": "\(manifest.version)", "reason": "\(error)"]))
        continue
      }
      context.log.notice(
        "model-fetched", "starting from a published version",
        LogFields([
          "version": "\(manifest.version)", "published_by": manifest.instance, "next": "\(manifest.next.value)",
        ]))
      return manifest.next.value
    }
    // Also where nothing is left of it: a log that begins anew would forget what was learnt, in silence.
    guard ends.low == 0 else {
      throw .unrecoverable(
        "the learning log begins at \(ends.low), and neither a checkpoint nor a published version leads to it")
    }
    return ends.low
  }

  /// The log ends and did not confirm the version that this replica started from: an older one is next.
  func startElsewhere() throws(WorkerFailure) {
    guard let base = unconfirmedBase else { return }
    context.log.warning(
      "published-unconfirmed", "the log does not confirm the published version; an older one is tried",
      LogFields(["version": "\(base.version)"]))
    let log = TopicPartition(context.settings.topics.learning, 0)
    let ends = try kafka { () throws(KafkaError) in try context.journalEnd(log) }
    reader.stop(partition: 0)
    let next = try startFromPublished(ends, before: base.next)
    try kafka { () throws(KafkaError) in try reader.start(partition: 0, at: .offset(next)) }
  }

  // MARK: Kept versions

  /// On our disk at once, with the ledger beside it; told to the log when it was not folded from history.
  func keep(_ version: ModelVersion, _ bytes: [UInt8]) {
    let ledger = state.ledgerPart()
    ledgerParts[version] = ledger
    let named = Set(state.ledger.kept.map(\.version))
    ledgerParts = ledgerParts.filter { named.contains($0.key) }
    announcedAt = announcedAt.filter { named.contains($0.key) }
    store(version, [bytes, ledger])
    // While it is doubted, the fold that takes its place says what it reached.
    guard isCaughtUp, remaking == nil, let entry = state.ledger.kept.last(where: { $0.version == version }) else { return }
    announce(entry)
  }

  /// A failure costs the disk's copy: what is told and published comes from memory.
  func store(_ version: ModelVersion, _ contents: [[UInt8]]) {
    do throws(StorageError) {
      for bytes in contents { _ = try context.blobs.put(bytes) }
    } catch {
      context.log.error(
        "kept-version-failed", "a kept version could not be written",
        LogFields(["version": "\(version)", "error": "\(error)"]))
    }
  }

  func announce(_ entry: KeptEntry) {
    announcedAt[entry.version] = context.now()
    let isFirst = state.ledger.kept.first { $0.version.lineage == entry.version.lineage }?.version == entry.version
    let charter =
      isFirst && entry.version.lineage == state.ledger.charterLineage && entry.version.lineage > Lineage(1)
      ? state.ledger.charter : nil
    outbox.announce(entry, fold: servingFold, tellsLedger: state.needsAgreement, charter: charter)
  }

  /// A kept version's learned state and its ledger, from memory or from our disk.
  func content(of entry: KeptEntry) -> (learned: [UInt8], ledger: [UInt8])? {
    // Missing or damaged: not here.
    guard let learned = state.keptBytes(entry.digest) ?? (try? context.blobs.load(entry.digest)),
      let ledger = ledgerParts[entry.version] ?? (try? context.blobs.load(entry.ledgerDigest)),
      Digest.of(ledger) == entry.ledgerDigest
    else { return nil }
    return (learned, ledger)
  }

  /// The learned state that a record returns to: from disk, or as it was published.
  func missingState(_ digest: Digest, of version: ModelVersion) throws(WorkerFailure) -> [UInt8] {
    // It is confirmed, so it was published; the markers of that transaction may still be on their way.
    let deadline = context.now() + Self.fetchNanoseconds
    while !context.isStopping {
      if let bytes = try fetchedState(digest, of: version) { return bytes }
      guard context.now() < deadline else { break }
      context.runtime.pause(milliseconds: 100)
    }
    throw .unrecoverable("the state of version \(version) is neither here nor published digest=\(digest)")
  }

  /// What the brake must serve and is not held is looked for at once, not only when the log brings the command.
  func fetchForBrake() throws(WorkerFailure) {
    guard let entry = brake.wanted?.entry, context.now() >= nextFetch else { return }
    nextFetch = context.now() + Self.patienceNanoseconds
    guard let bytes = try fetchedState(entry.agreement.confirmed?.state ?? entry.digest, of: entry.version) else { return }
    state.supply(bytes)
    brake.serveWanted(from: state)
  }

  private func fetchedState(_ digest: Digest, of version: ModelVersion) throws(WorkerFailure) -> [UInt8]? {
    if let bytes = try? context.blobs.load(digest) { return bytes }  // Not here: it was published.
    guard let bytes = try publishedState(digest) else { return nil }
    context.log.notice(
      "state-fetched", "fetched a kept version that was not held here",
      LogFields(["version": "\(version)", "digest": "\(digest)"]))
    store(version, [bytes])
    return bytes
  }

  /// A learned state as any version of it was published; nil where it is not there, or no broker answers.
  private func publishedState(_ digest: Digest) throws(WorkerFailure) -> [UInt8]? {
    do throws(KafkaError) {
      let manifest = try topic.index().usable(pipeline: context.settings.name, clusterID: context.clusterID)
        .first { $0.learned.digest == digest }
      guard let manifest else { return nil }
      return try topic.fetch([manifest.learned])[0]
    } catch {
      guard error.action == .retrySameCall else { throw .kafka(error) }
      return nil
    }
  }

  // MARK: Checkpoints

  func checkpointIfDue() {
    let every = UInt64(context.settings.checkpoints.everyMilliseconds) * 1_000_000
    guard context.now() - lastCheckpoint >= every else { return }
    writeCheckpoint()
  }

  /// None of a state that is doubted.
  func writeCheckpoint() {
    lastCheckpoint = context.now()
    guard isCaughtUp, remaking == nil, checkpointedOffset != state.ledger.offset else { return }
    // A command behind the checkpoint is not folded again, so it must have been answered.
    guard adopting.isEmpty, !outbox.hasUnsentAcks else { return }
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
    dropBlobs()
  }

  /// What the ledger lists no more is not needed again; a failure costs space.
  private func dropBlobs() {
    do throws(StorageError) {
      try context.blobs.prune(keeping: state.ledger.kept.flatMap { [$0.digest, $0.agreement.confirmed?.state ?? $0.digest, $0.ledgerDigest] })
    } catch {
      context.log.warning("blobs", "old kept versions cannot be removed", LogFields(["error": "\(error)"]))
    }
  }

  /// Sets checkpoints aside that were written after `place`: they hold what is doubted.
  func setAsideCheckpoints(after place: Offset) {
    // A directory that cannot be read gives nothing back at a restart either.
    for name in (try? context.store.list(.model, PartitionID(0))) ?? [] where name.offset.value > place.value + 1 {
      context.store.quarantine(name)
      context.log.warning(
        "checkpoint-refused", "checkpoint of a doubted model; set aside", LogFields(["name": "\(name)"]))
    }
  }
}
