import Checkpoints
import Engine
import Kafka
import Learning
import Pipeline
import Records
import Storage
import Synchronization

/// What all threads of one worker share. Everything here is immutable or guards itself.
final class WorkerContext: Sendable {
  private static let initialisationsMax = 120
  private static let initialisationMilliseconds: Int32 = 5_000
  /// After so many a client is made anew: one whose own view of the cluster is stuck on a broker that is gone would be
  /// asked in vain for ever.
  private static let initialisationsOfOneClient = 6

  let settings: PipelineSettings
  let clusterID: String
  let hub = ScorerHub()
  let warm = WarmPartitions()
  let fuse: CrashFuse
  let store: CheckpointStore
  let blobs: BlobStore
  private let incarnations: ProducerIncarnations
  let trust: [Ed25519.PublicKey]
  let metrics: WorkerMeter
  let alerts = AlertBox()
  let log: LogWriter
  /// Stop once every input was read to its end and all of it is committed.
  let untilEnd: Bool
  let testFault: TestFault
  let lanes: [LaneProgress]
  /// The replica's last publication, for people; nil before the first.
  let model = Mutex<ModelSnapshot?>(nil)
  private let cluster: any Cluster
  let runtime: any Runtime
  private let clientLog: LogQueue
  private let stopping = Atomic<Bool>(false)
  /// When a refused connection was told last; 0 before the first.
  private let lastRefusal = Atomic<UInt64>(0)
  private static let refusalNanoseconds: UInt64 = 60_000_000_000

  init(
    settings: PipelineSettings, cluster: any Cluster, runtime: any Runtime, clusterID: String, clientLog: LogQueue,
    store: CheckpointStore, blobs: BlobStore, files: any FileOperations, trust: [Ed25519.PublicKey], metrics: WorkerMeter, log: LogWriter, untilEnd: Bool,
    testFault: TestFault = TestFault(nil)
  ) {
    self.untilEnd = untilEnd
    self.testFault = testFault
    self.settings = settings
    self.cluster = cluster
    self.runtime = runtime
    self.clientLog = clientLog
    self.clusterID = clusterID
    self.store = store
    incarnations = ProducerIncarnations(in: settings.checkpoints.directory, files: files)
    fuse = CrashFuse(in: settings.checkpoints.directory, files: files)
    self.blobs = blobs
    self.trust = trust
    self.metrics = metrics
    self.log = log
    lanes = (0..<settings.worker.lanes).map { LaneProgress(index: $0) }
  }

  var isStopping: Bool { stopping.load(ordering: .acquiring) }
  func stop() { stopping.store(true, ordering: .releasing) }

  /// Milliseconds since 1970, for what people read.
  func wallMilliseconds() -> Int64 { runtime.wallMilliseconds() }

  /// Monotonic nanoseconds; decides when units end and nothing else.
  func now() -> UInt64 { runtime.now() }

  func makeRing<Element>(capacity: Int) -> Ring<Element> { Ring(capacity: capacity, runtime.makeMonitor()) }

  // MARK: Clients

  func makeConsumer(lane: Int) throws(KafkaError) -> any GroupConsumer { try cluster.makeConsumer(lane: lane) }

  /// A producer ready to begin, under an id that no transaction was aborted under. What its predecessor left open is
  /// ended first, and its epoch fences whatever of it is still under way.
  func makeProducer(_ role: String) throws(KafkaError) -> any TransactionalWriter {
    let last = incarnations.last(role)
    if let last { _ = try makeProducer(role, last) }
    var number = last ?? 0
    do throws(FileFailure) { number = try incarnations.advance(role) } catch {
      log.warning(
        "producer-id", "the number of a transactional id cannot be stored; the last one serves again",
        LogFields(["role": role, "error": "\(error)"]))
    }
    return try makeProducer(role, number)
  }

  private func makeProducer(_ role: String, _ number: UInt64) throws(KafkaError) -> any TransactionalWriter {
    let id = "\(settings.name)-\(settings.worker.instance)-\(role)-\(number)"
    var producer = try cluster.makeProducer(transactionalID: id)
    for attempt in 1... {
      do throws(KafkaError) {
        // Why in short turns: a stop is heard between two of them.
        try producer.initTransactions(timeoutMilliseconds: Self.initialisationMilliseconds)
        break
      } catch {
        guard error.action == .retrySameCall, attempt < Self.initialisationsMax, !isStopping else { throw error }
      }
      if attempt % Self.initialisationsOfOneClient == 0 { producer = try cluster.makeProducer(transactionalID: id) }
    }
    return producer
  }

  func makeReader(
    _ topic: String, isolation: FetchSettings.Isolation = .readCommitted
  ) throws(KafkaError) -> any LogReader { try cluster.makeReader(topic, isolation: isolation) }

  func makeWriter() throws(KafkaError) -> any PlainWriter { try cluster.makeWriter() }

  func topics() throws(KafkaError) -> [TopicDescription] { try cluster.topics() }

  func members() throws(KafkaError) -> [GroupMember] { try cluster.members() }

  /// True bounds of a log: asked by a read_uncommitted client, since another is told the last stable offset.
  func journalEnd(_ partition: TopicPartition) throws(KafkaError) -> Watermarks {
    try makeReader(partition.topic, isolation: .readUncommitted).watermarks(partition)
  }

  // MARK: Units and states

  func makeExampleBuilder(_ plan: EnginePlan) -> ExampleBlockBuilder {
    ExampleBlockBuilder(
      schema: plan.features.rowSchema, contenderCount: plan.contenderCount,
      planDigest: plan.features.digest)
  }

  func fingerprint(plan: EnginePlan, partition: PartitionID) -> CheckpointFingerprint {
    CheckpointFingerprint(
      clusterID: clusterID, topic: plan.inputs[plan.scoredInput].topic, partition: partition,
      pipeline: settings.name, settings: plan.features.digest)
  }

  /// Offsets that commit with a unit, those of every input of its partitions and of `control`.
  func offsets(of sealed: SealedUnit) -> [PartitionOffset] {
    var offsets: [PartitionOffset] = []
    for range in sealed.unit.ranges {
      for (input, next) in range.nextOffsets.enumerated() {
        offsets.append(
          PartitionOffset(
            TopicPartition(settings.features.inputs[input].topic, range.partition.value),
            offset: next, metadata: "replay_from=\(range.replayFrom[input]) unit=\(sealed.mark)"))
      }
    }
    if let next = sealed.controlNext {
      offsets.append(PartitionOffset(TopicPartition(settings.topics.control, 0), offset: next))
    }
    return offsets
  }

  /// Writes a state that is committed by now. A failure is told and costs replay distance, never scoring.
  func write(_ name: CheckpointName, _ bytes: [UInt8]) {
    let begun = now()
    do throws(StorageError) {
      let file = try store.prepare(name, bytes)
      try store.commit(file)
      try store.retain(
        newest: settings.checkpoints.keep, of: name.kind, name.partition)
      metrics.checkpoint(
        kind: name.kind == .model ? "model" : "partition", bytes: bytes.count,
        nanoseconds: now() - begun, wallMilliseconds: wallMilliseconds())
    } catch {
      metrics.checkpointFailed()
      log.error(
        "checkpoint-failed", "checkpoint not written",
        LogFields(["name": "\(name)", "error": "\(error)"]))
    }
  }

  /// Sets a checkpoint aside whose bytes verify but whose content is no state: the one before it is next.
  func setAside(_ identity: CheckpointIdentity, because error: any Error) {
    let name = CheckpointName(identity)
    store.quarantine(name)
    log.warning(
      "checkpoint-refused", "checkpoint does not restore; set aside",
      LogFields(["name": "\(name)", "reason": "\(error)"]))
  }

  /// Passes on what the client library logged. What it could not get from the system, if so: a client without a thread
  /// waits for ever, whatever is asked of it.
  @discardableResult
  func drainClientLog() -> String? {
    let (lines, dropped) = clientLog.drain()
    var lacking: String?
    for line in lines {
      if ["THREAD", "_CRIT_SYS_RESOURCE"].contains(line.facility) { lacking = line.message }
      if line.facility == LogQueue.refusal {
        tellRefusal(line.message)
      } else if line.level <= 4 {
        log.warning(
          "kafka-client", "client",
          LogFields(["facility": line.facility, "text": line.message]))
      } else {
        log.debug(
          "kafka-client", "client",
          LogFields(["facility": line.facility, "text": line.message]))
      }
    }
    if dropped > 0 {
      log.warning(
        "kafka-client", "client log lines dropped",
        LogFields(["count": "\(dropped)"]))
    }
    return lacking
  }

  /// Brokers and worker do not trust each other any more: what is connected goes on, nothing else will. Told once a
  /// minute, since every client tries again for ever.
  private func tellRefusal(_ words: String) {
    let last = lastRefusal.load(ordering: .relaxed)
    guard last == 0 || now() - last >= Self.refusalNanoseconds else { return }
    lastRefusal.store(max(now(), 1), ordering: .relaxed)
    alert(.rightMissing, "a connection is refused, and tried again: \(words)")
  }
}
