import Kafka
import Learning
import Pipeline
import Records
import Storage

/// What the replica has to write: the first charter, claims and kept versions to `learning`, acks and alerts.
/// Sent in short transactions of a producer of its own, the `learning` records last.
///
/// Errors: what could not be sent stays and is sent again; receivers count the first of duplicates.
/// Threads: the replica's.
final class ReplicaOutbox {
  static let attemptsMax = 5
  private let context: WorkerContext
  private static let role = "replica"
  private var producer: any TransactionalWriter
  private var learning, acks, alerts: any OpenTopic
  private var ackQueue: [CommandAck] = []
  private var alertQueue: [Alert] = []
  /// Versions to announce, oldest first.
  private var keptQueue: [(version: ModelVersion, digest: Digest)] = []
  private var claimQueue: [HashClaim] = []
  private(set) var hasProposedCharter = false
  private let blobs: BlobStore

  init(_ context: WorkerContext) throws(KafkaError) {
    self.context = context
    producer = try context.makeProducer(Self.role)
    learning = try producer.open(context.settings.topics.learning)
    acks = try producer.open(context.settings.topics.acks)
    alerts = try producer.open(context.settings.topics.alerts)
    blobs = context.blobs
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

  func queueAlert(kind: String, text: String, version: ModelVersion) {
    alertQueue.append(
      Alert(
        kind: kind, pipeline: context.settings.name,
        instance: context.settings.worker.instance, text: text, version: version,
        time: EventTime(milliseconds: context.wallMilliseconds())))
  }

  /// A state to keep: on our disk at once; told to the log when it was not folded from history.
  func store(version: ModelVersion, digest: Digest, bytes: [UInt8], announce: Bool) {
    do throws(StorageError) {
      _ = try blobs.put(bytes)
      Failpoints.pass(.betweenChunksAndManifest)
      if announce { self.announce(version, digest) }
    } catch {
      context.log.error(
        "kept-version-failed", "a kept version could not be written",
        LogFields(["version": "\(version)", "error": "\(error)"]))
    }
  }

  /// Versions that the log lists as made but not as stored: the publisher before us may have died between.
  func queueUnstored(_ state: ModelState) {
    for entry in state.ledger.kept where !entry.isStored { announce(entry.version, entry.digest) }
  }

  private func announce(_ version: ModelVersion, _ digest: Digest) {
    claimQueue.append(
      HashClaim(
        instance: context.settings.worker.instance, version: version, stateHash: digest))
    keptQueue.append((version, digest))
  }

  /// Sends what has gathered. Only the publisher says `kept`, so that the log holds it once.
  func send(asPublisher isPublisher: Bool, state: ModelState) throws(KafkaError) {
    keptQueue.removeAll { queued in
      state.ledger.kept.first { $0.version == queued.version }?.isStored ?? true
    }
    let kept = isPublisher ? keptQueue : []
    if ackQueue.isEmpty && alertQueue.isEmpty && claimQueue.isEmpty && kept.isEmpty { return }
    if isPublisher { keptQueue.removeAll() }
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
        for entry in kept {
          try produce(
            learning, partition: 0,
            KeptVersion(version: entry.version, digest: entry.digest).record())
        }
      }
    } catch {
      ackQueue = sentAcks + ackQueue
      alertQueue = sentAlerts + alertQueue
      claimQueue = sentClaims + claimQueue
      if isPublisher { keptQueue = kept + keptQueue }
      guard error.action != .denied, error.action != .misconfigured else { throw error }
      context.log.warning(
        "replica-transaction", "transaction of the replica failed; sent again",
        LogFields(["error": "\(error)"]))
    }
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
    } catch {
      switch error.action {
      case .abortAndResend, .quarantineRecord, .rejoinGroup:
        try producer.abort()
        try recreate()
      case .denied, .misconfigured: break
      default: try recreate()
      }
      throw error
    }
  }

  private func commit() throws(KafkaError) {
    for attempt in 1... {
      do throws(KafkaError) { return try producer.commit() } catch {
        guard error.action == .retrySameCall, attempt < 20 else { throw error }
      }
    }
  }

  private func recreate() throws(KafkaError) {
    producer.purge()
    producer = try context.makeProducer(Self.role)
    learning = try producer.open(context.settings.topics.learning)
    acks = try producer.open(context.settings.topics.acks)
    alerts = try producer.open(context.settings.topics.alerts)
  }
}
