import Kafka
import Learning
import Pipeline
import Records
import Storage

/// What the replica has to write: the first charter, claims and kept versions to `learning`, acks and alerts, and as the
/// publisher the kept versions themselves to `checkpoints`. Sent in short transactions of a producer of its own, the
/// `learning` records last.
///
/// Errors: what could not be sent stays and is sent again; receivers count the first of duplicates.
/// Threads: the replica's.
final class ReplicaOutbox {
  static let attemptsMax = 5
  /// Manifests that stay although the ledger lists their versions no more: somebody may just be starting from one.
  static let manifestsKept = 2

  /// A kept version on its way into the log: first its content, then the record that says so.
  private struct Publication {
    var entry: KeptEntry
    var charter: Charter?
    var isUploaded = false
  }
  private let context: WorkerContext
  private static let role = "replica"
  private var producer: any TransactionalWriter
  private var learning, acks, alerts, checkpoints: any OpenTopic
  private var ackQueue: [CommandAck] = []
  private var alertQueue: [Alert] = []
  /// Oldest first.
  private var publications: [Publication] = []
  private var claimQueue: [HashClaim] = []
  private(set) var hasProposedCharter = false
  /// What `checkpoints` holds; nil before this worker looked, and while another publishes.
  private var index: CheckpointIndex?

  init(_ context: WorkerContext) throws(KafkaError) {
    self.context = context
    producer = try context.makeProducer(Self.role)
    learning = try producer.open(context.settings.topics.learning)
    acks = try producer.open(context.settings.topics.acks)
    alerts = try producer.open(context.settings.topics.alerts)
    checkpoints = try producer.open(context.settings.topics.checkpoints)
  }

  /// Writes the first charter, again after an error that may pass: the fold counts the first in the log.
  func propose(_ charter: Charter) throws(KafkaError) {
    hasProposedCharter = true
    for attempt in 1... {
      do throws(KafkaError) {
        return try transaction { () throws(KafkaError) in
          try produce(learning, partition: 0, charter.record())
        }
      } catch {
        guard attempt < Self.attemptsMax, error.action != .denied, error.action != .misconfigured else { throw error }
        context.log.warning(
          "replica-transaction", "the charter could not be written; tried again",
          LogFields(["error": "\(error)"]))
      }
    }
  }

  func queue(_ ack: CommandAck) { ackQueue.append(ack) }
  var hasUnsentAcks: Bool { !ackQueue.isEmpty }

  func queueAlert(kind: String, text: String, version: ModelVersion) {
    alertQueue.append(
      Alert(
        kind: kind, pipeline: context.settings.name,
        instance: context.settings.worker.instance, text: text, version: version,
        time: EventTime(milliseconds: context.wallMilliseconds())))
  }

  func queue(_ claim: HashClaim) { claimQueue.append(claim) }

  /// Says of a kept version what this worker's fold reached, and publishes it if this worker is the publisher by then.
  func announce(_ entry: KeptEntry, fold: UInt8, tellsLedger: Bool, charter: Charter? = nil) {
    claimQueue.append(
      HashClaim(
        instance: context.settings.worker.instance, version: entry.version, stateHash: entry.digest,
        fold: tellsLedger ? fold : 1, ledgerHash: tellsLedger ? entry.ledgerDigest : .zero))
    publications.append(Publication(entry: entry, charter: charter))
  }

  /// Sends what has gathered. Only the publisher says `kept`, so that the log holds it once, and only of what everybody
  /// can fetch. While the state is doubted nothing of it is published.
  ///
  /// `content` gives a version's learned state and ledger, nil if they are not here.
  func send(
    asPublisher isPublisher: Bool, state: ModelState, isDoubted: Bool = false,
    content: (KeptEntry) -> (learned: [UInt8], ledger: [UInt8])?
  ) throws(KafkaError) {
    publications.removeAll { publication in
      let entry = state.ledger.kept.last { $0.version == publication.entry.version }
      return entry?.ours != publication.entry.ours || entry?.agreement.stored.contains(publication.entry.digest) ?? true
        || publication.entry.ledgerDigest == .zero
    }
    if !isPublisher { index = nil }
    let publishes = isPublisher && !isDoubted
    if publishes { try uploadNext(state, content) }
    let kept = publishes ? publications.filter(\.isUploaded) : []
    if ackQueue.isEmpty && alertQueue.isEmpty && claimQueue.isEmpty && kept.isEmpty { return }
    if publishes { publications.removeAll { $0.isUploaded } }
    let (sentAcks, sentAlerts, sentClaims) = (ackQueue, alertQueue, claimQueue)
    ackQueue.removeAll()
    alertQueue.removeAll()
    claimQueue.removeAll()
    do throws(KafkaError) {
      if !sentAcks.isEmpty { Failpoints.pass(.beforeAck) }
      try transaction { () throws(KafkaError) in
        for ack in sentAcks {
          try produceKeyed(acks, key: Array(ack.id.utf8), ack.json())
        }
        for alert in sentAlerts {
          try produceKeyed(alerts, key: Array(alert.kind.utf8), alert.json())
        }
        for claim in sentClaims {
          try produce(learning, partition: 0, claim.record())
        }
        for publication in kept {
          if let charter = publication.charter { try produce(learning, partition: 0, charter.record()) }
          try produce(
            learning, partition: 0,
            KeptVersion(version: publication.entry.version, digest: publication.entry.digest).record())
        }
      }
    } catch {
      ackQueue = sentAcks + ackQueue
      alertQueue = sentAlerts + alertQueue
      claimQueue = sentClaims + claimQueue
      publications = kept + publications
      try failed(error)
    }
  }

  private func failed(_ error: KafkaError) throws(KafkaError) {
    guard error.action != .denied, error.action != .misconfigured else { throw error }
    context.log.warning(
      "replica-transaction", "transaction of the replica failed; sent again",
      LogFields(["error": "\(error)"]))
  }

  // MARK: Publishing

  /// Publishes the oldest version that is not there yet: its chunks that the topic lacks, then the manifest, and
  /// tombstones for what nobody needs any more, in one transaction.
  private func uploadNext(
    _ state: ModelState, _ content: (KeptEntry) -> (learned: [UInt8], ledger: [UInt8])?
  ) throws(KafkaError) {
    guard let place = publications.firstIndex(where: { !$0.isUploaded }) else { return }
    let entry = publications[place].entry
    guard let charter = state.ledger.charter, let (learned, ledger) = content(entry) else {
      context.log.warning(
        "publish-failed", "a kept version's state is not here; another worker may publish it",
        LogFields(["version": "\(entry.version)"]))
      publications.remove(at: place)
      return
    }
    do throws(KafkaError) {
      if index == nil { index = try CheckpointsTopic(context: context).index() }
      guard var after = index else { return }
      let (learnedContent, learnedChunks) = ChunkedContent.cut(learned)
      let (ledgerContent, ledgerChunks) = ChunkedContent.cut(ledger)
      var records: [CheckpointRecord] = []
      for (digest, chunk) in zip(learnedContent.chunks + ledgerContent.chunks, learnedChunks + ledgerChunks)
      where !after.chunks.contains(digest) {
        records.append(.chunk(digest, chunk))
        after.take(.chunk(digest, []))
      }
      records.append(
        .manifest(
          CheckpointManifest(
            pipeline: context.settings.name, clusterID: context.clusterID,
            instance: context.settings.worker.instance, charter: Digest.of(charter.record()),
            version: entry.version, next: Offset(entry.place.value + 1), learned: learnedContent,
            ledger: ledgerContent)))
      after.take(records[records.count - 1])
      for retired in after.retirable(keeping: Set(state.ledger.kept.map(\.version)), newest: Self.manifestsKept) {
        records.append(retired)
        after.take(retired)
      }
      try transaction { () throws(KafkaError) in
        for record in records {
          if case .manifest = record { Failpoints.pass(.betweenChunksAndManifest) }
          try produce(record)
        }
      }
      index = after
      publications[place].isUploaded = true
    } catch {
      // What the topic holds now is to be looked at again.
      index = nil
      try failed(error)
    }
  }

  private func produce(_ record: CheckpointRecord) throws(KafkaError) {
    let key = record.key
    if let value = record.value { return try produce(checkpoints, partition: 0, key: key, value) }
    var failure: KafkaError?
    // SAFETY: the key is lent for the call, which copies it.
    unsafe key.withUnsafeBytes { key in
      do throws(KafkaError) {
        try unsafe producer.produce(
          checkpoints, partition: 0, key: key, value: nil, headers: nil, timestamp: 0, tracked: false)
      } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private func produceKeyed(
    _ topic: any OpenTopic, key: [UInt8], _ value: [UInt8]
  ) throws(KafkaError) {
    let partition = Murmur2.partition(of: key, partitions: topic.partitionCount)
    try produce(topic, partition: partition, key: key, value)
  }

  private func produce(
    _ topic: any OpenTopic, partition: Int32, key: [UInt8]? = nil, _ value: [UInt8]
  ) throws(KafkaError) {
    try producer.produce(topic, partition: partition, key: key, value: value)
  }

  /// One transaction; after any failure the producer is in a state to begin the next, or it throws.
  private func transaction(_ body: () throws(KafkaError) -> Void) throws(KafkaError) {
    if producer.isInDoubt { try recreate() }
    do throws(KafkaError) {
      try producer.begin()
      try body()
      try commit()
    } catch let met {
      let error = producer.cause(of: met)
      // Ends the transaction as well: see `LaneCommitter` for why not by an abort.
      if error.action != .denied, error.action != .misconfigured { try recreate() }
      throw error
    }
  }

  private func commit() throws(KafkaError) {
    for attempt in 1... {
      do throws(KafkaError) { return try producer.commit(timeoutMilliseconds: LaneCommitter.callMilliseconds) } catch {
        guard error.action == .retrySameCall, attempt < LaneCommitter.retriesMax else { throw error }
      }
    }
  }

  private func recreate() throws(KafkaError) {
    producer.purge()
    producer = try context.makeProducer(Self.role)
    learning = try producer.open(context.settings.topics.learning)
    acks = try producer.open(context.settings.topics.acks)
    alerts = try producer.open(context.settings.topics.alerts)
    checkpoints = try producer.open(context.settings.topics.checkpoints)
  }
}
