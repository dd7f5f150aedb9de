/// Every series that a worker exports. Names carry the prefix `millrace_`, except the standard `process_*`;
/// each series carries `pipeline`.
///
/// Series whose label values are known from the start exist from the start, with zero, so that a rate over
/// them is right from the first event.
public struct WorkerMetrics: Sendable {
  public let registry: MetricRegistry

  // Identity
  public let buildInfo: MetricFamily<Gauge>
  public let state: MetricFamily<Gauge>
  // Flow
  public let recordsConsumed: MetricFamily<Counter>
  public let consumedBytes: MetricFamily<Counter>
  public let recordsProduced: MetricFamily<Counter>
  public let recordsRejected: MetricFamily<Counter>
  public let consumerLagRecords: MetricFamily<Gauge>
  public let watermarkTimestampSeconds: MetricFamily<Gauge>
  public let partitionRecords: MetricFamily<Gauge>
  public let partitionRecordsConsumed: MetricFamily<Gauge>
  // Time
  public let stageDurationSeconds: MetricFamily<Histogram>
  public let endToEndLatencySeconds: MetricFamily<Histogram>
  // State
  public let windowKeys: MetricFamily<Gauge>
  public let lateEvents: MetricFamily<Counter>
  public let memoryBytes: MetricFamily<Gauge>
  // Durability
  public let checkpoints: MetricFamily<Counter>
  public let checkpointDurationSeconds: MetricFamily<Histogram>
  public let checkpointBytes: MetricFamily<Gauge>
  public let checkpointLastSuccessTimestampSeconds: MetricFamily<Gauge>
  public let restoreDurationSeconds: MetricFamily<Gauge>
  public let transactions: MetricFamily<Counter>
  public let rebalances: MetricFamily<Counter>
  public let assignedPartitions: MetricFamily<Gauge>
  // Model
  public let predictions: MetricFamily<Counter>
  public let modelLineage: MetricFamily<Gauge>
  public let modelSequence: MetricFamily<Gauge>
  public let learnerUpdates: MetricFamily<Counter>
  public let learningFrozen: MetricFamily<Gauge>
  // Truth
  public let labels: MetricFamily<Counter>
  public let examples: MetricFamily<Counter>
  public let events: MetricFamily<Counter>
  public let predictionsExpired: MetricFamily<Counter>
  public let pendingPredictions: MetricFamily<Gauge>
  public let modelLogLoss: MetricFamily<Gauge>
  public let modelBrier: MetricFamily<Gauge>
  public let modelAUC: MetricFamily<Gauge>
  // Control
  public let controlCommands: MetricFamily<Counter>
  // Bad states
  public let alerts: MetricFamily<Counter>
  public let stableOffsetStalledSeconds: MetricFamily<Gauge>
  public let inputPartitioner: MetricFamily<Gauge>

  public enum State: String, CaseIterable, Sendable {
    case starting, restoring, rebalancing, running, paused, draining
  }
  public static let labelStates = ["joined", "duplicate", "correction", "late", "orphan", "rejected"]
  public static let exampleStates = ["applied", "quarantined", "frozen"]
  public static let eventStates = ["scored", "duplicate", "dead_lettered", "shed"]
  public static let stages = ["decode", "window", "score", "learn", "encode", "produce"]

  public init(
    pipeline: String, version: String, commit: String, librdkafka: String,
    registry: MetricRegistry? = nil
  ) {
    let registry = registry ?? MetricRegistry(commonLabels: [("pipeline", pipeline)])
    self.registry = registry
    func counter(
      _ name: String, _ help: String, _ labels: [String] = [], seriesMax: Int = 256
    ) -> MetricFamily<Counter> {
      registry.counter("millrace_" + name, help, labels: labels, seriesMax: seriesMax)
    }
    func gauge(
      _ name: String, _ help: String, _ labels: [String] = [], seriesMax: Int = 256
    ) -> MetricFamily<Gauge> {
      registry.gauge("millrace_" + name, help, labels: labels, seriesMax: seriesMax)
    }
    func histogram(
      _ name: String, _ help: String, _ labels: [String] = [], bounds: [Double]
    ) -> MetricFamily<Histogram> {
      registry.histogram("millrace_" + name, help, labels: labels, bounds: bounds)
    }

    buildInfo = gauge(
      "build_info", "Always 1; what is running is in the labels.",
      ["version", "commit", "librdkafka"])
    state = gauge("state", "1 for the state the worker is in, 0 for the others.", ["state"])
    recordsConsumed = counter("records_consumed_total", "Records taken from Kafka.", ["topic"])
    consumedBytes = counter("consumed_bytes_total", "Payload bytes taken from Kafka.", ["topic"])
    recordsProduced = counter(
      "records_produced_total", "Records handed to Kafka, by what became of them.",
      ["topic", "result"])
    recordsRejected = counter(
      "records_rejected_total", "Records that could not be used, by stage and reason.",
      ["topic", "stage", "reason"])
    consumerLagRecords = gauge(
      "consumer_lag_records", "Offsets between the next record to take and the end of the partition.",
      ["topic", "partition"], seriesMax: 4096)
    watermarkTimestampSeconds = gauge(
      "watermark_timestamp_seconds", "Largest event time seen, less the allowed lateness.",
      ["topic", "partition"], seriesMax: 4096)

    partitionRecords = gauge(
      "partition_records",
      "What became of the records of a partition since its first one; the states add up to partition_records_consumed.",
      ["topic", "partition", "state"], seriesMax: 16_384)
    partitionRecordsConsumed = gauge(
      "partition_records_consumed", "Records of a partition that were taken since its first one.",
      ["topic", "partition"], seriesMax: 4096)

    stageDurationSeconds = histogram(
      "stage_duration_seconds", "Time one batch spends in a stage.", ["stage"],
      bounds: [1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 1])
    endToEndLatencySeconds = histogram(
      "end_to_end_latency_seconds", "From taking a unit's first record to its commit, for every event it scored.",
      bounds: [0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60])

    windowKeys = gauge("window_keys", "Keys in memory, by window.", ["window"])
    lateEvents = counter(
      "late_events_total", "Records too old for every pane of a window, by what was done with them.",
      ["window", "action"])
    memoryBytes = gauge("memory_bytes", "Memory held by a kind of state.", ["kind"])

    checkpoints = counter("checkpoints_total", "Checkpoints, by result.", ["result"])
    checkpointDurationSeconds = histogram(
      "checkpoint_duration_seconds", "From the start of a checkpoint to its durable name.",
      bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60])
    checkpointBytes = gauge("checkpoint_bytes", "Size of the newest checkpoint.", ["kind"])
    checkpointLastSuccessTimestampSeconds = gauge(
      "checkpoint_last_success_timestamp_seconds", "When the last checkpoint became durable; 0 before.")
    restoreDurationSeconds = gauge(
      "restore_duration_seconds", "Time the last restore of a partition took, replay included.")
    transactions = counter("transactions_total", "Kafka transactions, by result.", ["result"])
    rebalances = counter("rebalances_total", "Changes of the assignment.")
    assignedPartitions = gauge("assigned_partitions", "Partitions of the scored input held now.")

    predictions = counter(
      "predictions_total", "Predictions made.", ["model", "role", "decision"])
    modelLineage = gauge("model_lineage", "Lineage of the served model version.")
    modelSequence = gauge("model_sequence", "Sequence of the served model version.")
    learnerUpdates = counter(
      "learner_updates_total", "Learning steps, by result.", ["result"])
    learningFrozen = gauge("learning_frozen", "1 while learning is frozen.")

    labels = counter("labels_total", "Labels, by what became of them.", ["state"])
    examples = counter(
      "examples_total", "Joined examples folded, by what became of them.", ["state"])
    events = counter("events_total", "Scored-input records, by what became of them.", ["state"])
    predictionsExpired = counter(
      "predictions_expired_total", "Predictions whose label did not come within the horizon.")
    pendingPredictions = gauge("pending_predictions", "Predictions that wait for their label.")
    modelLogLoss = gauge(
      "model_log_loss", "Test-then-train log loss over a window of labelled examples.",
      ["model", "window"])
    modelBrier = gauge(
      "model_brier", "Test-then-train Brier score over a window of labelled examples.",
      ["model", "window"])
    modelAUC = gauge(
      "model_auc", "Test-then-train area under the ROC curve over a window of labelled examples.",
      ["model", "window"])
    controlCommands = counter(
      "control_commands_total", "Commands seen, by what became of them.", ["command", "status"])

    alerts = counter("alerts_total", "Alerts raised by this worker, by kind.", ["kind"])
    stableOffsetStalledSeconds = gauge(
      "stable_offset_stalled_seconds",
      "For how long the last stable offset of a log has stood still behind its end; 0 where it does not.",
      ["topic", "partition"], seriesMax: 4096)
    inputPartitioner = gauge(
      "input_partitioner", "1 for the partitioner that the producers of an input were found to use.",
      ["topic", "partitioner"])

    buildInfo(version, commit, librdkafka).set(1)
    for kind in AlertKind.allCases { _ = alerts(kind.rawValue) }
    for value in Self.labelStates { _ = labels(value) }
    for value in Self.exampleStates { _ = examples(value) }
    for value in Self.eventStates { _ = events(value) }
    for value in ["applied", "clipped", "skipped"] { _ = learnerUpdates(value) }
    for value in ["ok", "failed"] { _ = checkpoints(value) }
    for value in ["committed", "aborted", "fenced"] { _ = transactions(value) }
    for value in ["windows", "pending"] { _ = memoryBytes(value) }
    setState(.starting)
    ProcessMetrics.declare(in: registry)
  }

  public func setState(_ new: State) {
    // The new state first: a scrape in between sees two, never none.
    state(new.rawValue).set(1)
    for other in State.allCases where other != new { state(other.rawValue).set(0) }
  }
}
