import Kafka
import Pipeline
import Records
import Synchronization

/// States of the cluster and the logs that people should hear of. The raw value is the key on topic `alerts`.
enum AlertKind: String, Sendable, CaseIterable {
  /// An open transaction holds back the last stable offset of a log.
  case stableOffsetStalled = "lso-stalled"
  case partitionsChanged = "partitions-changed"
  /// A log ends before what was read of it, or holds another record where one was read.
  case topicRecreated = "topic-recreated"
  case partitionerMismatch = "partitioner-mismatch"
  case labelsOrphaned = "labels-orphaned"
  /// The group's offsets are gone; the journal supplied them.
  case offsetsExpired = "offsets-expired"
  /// A state cannot be made from what is left of the logs, or they contradict each other.
  case logsUnfit = "logs-unfit"
  case rightMissing = "right-missing"
  /// The worker has stopped by itself, for another reason.
  case stopped = "worker-stopped"
}

/// Alerts on their way to the topic: raised by any thread, sent by the watch.
///
/// Bound: `countMax` wait at most; the newest are dropped, and the log has told them all.
final class AlertBox: Sendable {
  static let countMax = 1_000
  private let waiting = Mutex<[(kind: AlertKind, text: String)]>([])

  func raise(_ kind: AlertKind, _ text: String) {
    waiting.withLock { if $0.count < Self.countMax { $0.append((kind, text)) } }
  }

  func take() -> [(kind: AlertKind, text: String)] {
    waiting.withLock { waiting in
      defer { waiting = [] }
      return waiting
    }
  }

  /// What could not be sent goes first the next time.
  func putBack(_ alerts: [(kind: AlertKind, text: String)]) {
    waiting.withLock { $0 = Array((alerts + $0).prefix(Self.countMax)) }
  }
}

extension WorkerContext {
  /// Tells people: in the log at once, and on topic `alerts` as soon as that can be written.
  func alert(_ kind: AlertKind, _ text: String) {
    log.warning("alert", text, LogFields(["kind": kind.rawValue]))
    metrics.alerted(kind)
    alerts.raise(kind, text)
  }
}

/// Writes alerts, outside of any transaction: they must not wait for one, least of all those that tell of one.
///
/// Errors: what cannot be written stays in the box.
final class AlertWriter {
  private let context: WorkerContext
  private var open: (writer: any PlainWriter, topic: any OpenTopic)?
  private static let patienceMilliseconds: Int32 = 5_000

  init(_ context: WorkerContext) { self.context = context }

  func send() {
    let alerts = context.alerts.take()
    guard !alerts.isEmpty else { return }
    do throws(KafkaError) {
      let (writer, topic) = try opened()
      for alert in alerts { try produce(alert, writer, topic) }
      try writer.flush(timeoutMilliseconds: Self.patienceMilliseconds)
    } catch {
      open = nil
      context.alerts.putBack(alerts)
      context.log.warning(
        "alerts-unsent", "alerts cannot be written yet", LogFields(["count": "\(alerts.count)", "error": "\(error)"]))
    }
  }

  private func opened() throws(KafkaError) -> (any PlainWriter, any OpenTopic) {
    if let open { return open }
    let writer = try context.makeWriter()
    let topic = try writer.open(context.settings.topics.alerts, timeoutMilliseconds: Self.patienceMilliseconds)
    open = (writer, topic)
    return (writer, topic)
  }

  private func produce(
    _ alert: (kind: AlertKind, text: String), _ writer: any PlainWriter, _ topic: any OpenTopic
  ) throws(KafkaError) {
    let key = Array(alert.kind.rawValue.utf8)
    let value = Alert(
      kind: alert.kind.rawValue, pipeline: context.settings.name, instance: context.settings.worker.instance,
      text: alert.text, version: context.model.withLock { $0?.version },
      time: EventTime(milliseconds: context.wallMilliseconds())
    ).json()
    try writer.produce(
      topic, partition: Murmur2.partition(of: key, partitions: max(topic.partitionCount, 1)), key: key, value: value)
  }
}
