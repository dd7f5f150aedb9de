import Checkpoints
import Kafka
import Learning
import Pipeline
import Records
import Storage

/// What can be learnt of a pipeline's workers without asking them: their last words, and the log they fold.
public struct ControlStatus {
  public struct LastWord: Sendable {
    public var ack: CommandAck
    public var time: EventTime
  }
  /// In the group now.
  public var live: [String]
  /// The newest answer of each instance among the last ones on the topic, by instance.
  public var lastWords: [LastWord]
  /// `learning`, folded here; nil if that cannot be done, and then `obstacle` says why.
  public var model: ModelState?
  public var obstacle: String?
  /// How far the fold came, and where the log ended when it was asked.
  public var foldedNext: Int64
  public var logEnd: Int64

  public var isComplete: Bool { obstacle == nil && foldedNext >= logEnd }
}

/// Answers read back, at most.
private let tailRecords: Int64 = 10_000

/// Reads answers and the learning log; sends nothing and writes nothing.
///
/// Cost: the fold starts at the newest usable checkpoint of the state directory if this machine has one, else at the
///       log's beginning; it ends at the log's end or at the time-out, whichever comes first.
public func readControlStatus(
  _ settings: PipelineSettings, _ surroundings: Surroundings, timeoutMilliseconds: Int64
) throws -> ControlStatus {
  let client = try ResolvedSecurity(settings.kafka, surroundings)
    .clientSettings(bootstrap: settings.kafka.bootstrap, clientID: "millrace-status")
  let admin = try Admin(client)
  // First what fails soonest where no broker answers.
  let clusterID = try admin.clusterID()
  let deadline = Monotonic.nanoseconds() &+ UInt64(max(timeoutMilliseconds, 0)) &* 1_000_000
  var status = ControlStatus(
    live: try liveInstances(settings, admin).sorted(),
    lastWords: try lastWords(settings.topics.acks, client, deadline), foldedNext: 0, logEnd: 0)
  try fold(settings, client, clusterID: clusterID, deadline, into: &status)
  return status
}

private func millisecondsLeft(_ deadline: UInt64) -> Int32 {
  let now = Monotonic.nanoseconds()
  return now >= deadline ? 0 : Int32(clamping: (deadline - now) / 1_000_000)
}

private func lastWords(
  _ topic: String, _ client: ClientSettings, _ deadline: UInt64
) throws(KafkaError) -> [ControlStatus.LastWord] {
  let reader = try Reader(client, topic: topic)
  var words: [String: ControlStatus.LastWord] = [:]
  for partition in 0..<(try reader.partitionCount()) {
    let bounds = try reader.watermarks(TopicPartition(topic, partition))
    try reader.start(partition: partition, at: .offset(max(bounds.low, bounds.high - tailRecords)))
    try reader.read(
      partition: partition, through: bounds.high, timeoutMilliseconds: millisecondsLeft(deadline)
    ) { record in
      let value = bytes(of: record)
      guard let ack = CommandAck(parsing: value) else { return }  // Not an answer.
      let time = EventTime(milliseconds: record.timestamp)
      if let known = words[ack.instance], time < known.time { return }
      words[ack.instance] = ControlStatus.LastWord(ack: ack, time: time)
    }
    reader.stop(partition: partition)
  }
  return words.values.sorted { $0.ack.instance < $1.ack.instance }
}

private func fold(
  _ settings: PipelineSettings, _ client: ClientSettings, clusterID: String, _ deadline: UInt64,
  into status: inout ControlStatus
) throws(KafkaError) {
  let topic = TopicPartition(settings.topics.learning, 0)
  let reader = try Reader(client, topic: topic.topic)
  let bounds = try reader.watermarks(topic)
  status.logEnd = bounds.high
  let point = RestorePoint(
    kind: .model,
    fingerprint: CheckpointFingerprint(
      clusterID: clusterID, topic: topic.topic, partition: PartitionID(0), pipeline: settings.name,
      settings: Digest.of([])),
    inputs: [],
    log: LogBounds(topic: topic.topic, earliest: Offset(bounds.low), committed: Offset(bounds.high)))
  let state: ModelState
  if let restored = newestModel(settings.checkpoints.directory, at: point) {
    state = restored.state
    status.foldedNext = restored.identity.logNext.value
  } else {
    guard bounds.low == 0 else {
      status.obstacle =
        "the learning log begins at \(bounds.low), and no checkpoint that leads to it is in \(settings.checkpoints.directory)"
      return
    }
    state = ModelState()
  }
  status.model = state
  guard status.foldedNext < bounds.high else { return }
  try reader.start(partition: 0, at: .offset(status.foldedNext))
  do throws(KafkaError) {
    try reader.read(
      partition: 0, through: bounds.high, timeoutMilliseconds: millisecondsLeft(deadline)
    ) { record in
      guard record.offset < bounds.high else { return }
      guard status.obstacle == nil else { return }
      // Effects are for workers to carry out.
      let effects = state.fold(
        bytes(of: record), offset: Offset(record.offset),
        timestamp: EventTime(milliseconds: record.timestamp))
      if case .missing(_, let version)? = effects.first {
        status.obstacle = "a record returns to version \(version), whose state is not in the checkpoint that the fold began with"
      }
    }
  } catch {
    guard error.code == KafkaCode.timedOut else { throw error }
  }
  status.foldedNext = reader.position(partition: 0) ?? status.foldedNext
}

/// A model as a checkpoint holds it.
public struct RestoredModel {
  public var state: ModelState
  public var identity: CheckpointIdentity
  public var name: CheckpointName
}

/// The newest checkpoint of a model that can be read, and may be used at `point` if one is given. Changes nothing on
/// disk and needs no lock: a running worker replaces files as a whole.
public func newestModel(_ directory: String, at point: RestorePoint? = nil) -> RestoredModel? {
  let store = CheckpointStore(directory)
  // A directory that cannot be read holds nothing for us; damaged files are passed over: older ones may do.
  guard let names = try? store.list(.model, PartitionID(0)) else { return nil }
  for name in names.reversed() {
    guard let checkpoint = try? store.load(name) else { continue }
    if let point, refusal(of: checkpoint.identity, at: point) != nil { continue }
    guard let state = try? restoredModel(checkpoint) else { continue }
    return RestoredModel(state: state, identity: checkpoint.identity, name: name)
  }
  return nil
}

/// The model of a verified checkpoint, every field of it checked.
public func restoredModel(_ checkpoint: Checkpoint) throws -> ModelState {
  var section = try checkpoint.reader("model")
  return try ModelState(restoring: &section)
}
