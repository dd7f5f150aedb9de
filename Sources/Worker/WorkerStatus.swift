import Engine
import Features
import Kafka
import Learning
import Pipeline
import Records

/// One look at the model, taken by the replica when it publishes.
struct ModelSnapshot: Sendable {
  struct Contender: Sendable {
    var name: String
    var isChampion: Bool
    var sinceSwitch, newest1k, newest10k: ScoreMetrics.Summary
  }
  var version: ModelVersion
  var isFrozen: Bool
  var counters: FoldCounters
  var contenders: [Contender]
  var kept: [KeptEntry]
  var stateHash: Digest?

  init(_ state: ModelState) {
    version = state.version
    isFrozen = state.ledger.isFrozen
    counters = state.ledger.counters
    contenders = state.contenderNames.enumerated().map { index, name in
      Contender(
        name: name, isChampion: index == 0, sinceSwitch: state.summary(index, .sinceSwitch),
        newest1k: state.summary(index, .newest1k), newest10k: state.summary(index, .newest10k))
    }
    kept = state.ledger.kept
    stateHash = state.ledger.kept.last { $0.version == state.version }?.digest
  }
}

extension Worker {
  /// Whether the process is alive and not stopping.
  public var isLive: Bool { !context.isStopping }
  /// Whether the model is folded and every lane has its assignment.
  public var isReady: Bool {
    !context.isStopping && context.hub.generation > 0
      && context.lanes.allSatisfy { lane in
        lane.isReady.load(ordering: .acquiring) && lane.snapshot.phase != .restoring
          && lane.snapshot.partitions.allSatisfy { $0.restoreRemaining == 0 }
      }
  }
  /// Whether starting is over: the learning log was folded to its end once.
  public var isStarted: Bool { context.hub.generation > 0 }

  /// Text exposition of all series.
  public func metricsText() -> [UInt8] {
    let lanes = context.lanes.map(\.snapshot)
    context.metrics.collect(
      lanes: lanes, model: context.model.withLock { $0 },
      phase: WorkerMetrics.State(rawValue: phase(lanes)) ?? .starting)
    return context.metrics.metrics.registry.exposition()
  }

  /// A page for people: rows of name and value, a name without value begins a section.
  public func summary() -> [(name: String, value: String)] {
    let lanes = context.lanes.map(\.snapshot)
    var totals = PartitionTotals(inputs: context.settings.features.inputs.count)
    var lag: Int64?
    for partition in lanes.flatMap(\.partitions) {
      totals.add(partition)
      for case (let next, let end?) in zip(partition.nextOffsets, partition.ends) {
        lag = (lag ?? 0) + max(0, end - next)
      }
    }
    let counts = totals.accounting
    let now = context.now()
    var rows = [
      ("pipeline", context.settings.name), ("instance", context.settings.worker.instance),
      ("state", phase(lanes)),
    ]
    if let model = context.model.withLock({ $0 }) {
      rows += [
        ("Model", ""), ("version", model.version.description),
        ("learning", model.isFrozen ? "frozen" : "on"),
        ("examples learnt", grouped(model.counters.applied)),
      ]
      if let command = context.hub.pinnedBy { rows.append(("pinned by command", command)) }
      for contender in model.contenders {
        let newest = contender.newest1k
        let auc = newest.auc.isFinite ? decimals(newest.auc, 3) : "-"
        rows.append(
          (
            contender.name + (contender.isChampion ? " (serves)" : ""),
            newest.count == 0
              ? "no labels yet"
              : "log-loss \(decimals(newest.logLoss, 4)), AUC \(auc) over the last \(grouped(UInt64(newest.count))) labels"
          ))
      }
    }
    rows.append(("Events", ""))
    for (input, schema) in context.settings.features.inputs.enumerated() {
      rows.append((schema.name, grouped(totals.records[input])))
    }
    rows += [
      ("scored", grouped(counts.eventsScored)),
      ("records a second", decimals(context.metrics.recordsPerSecond(now: now), 1)),
      ("behind the topics", lag.map { "\(grouped(UInt64($0))) records" } ?? "-"),
      (
        "taken to committed",
        context.metrics.latencyMilliseconds(now: now).map {
          "p50 \(decimals($0.p50, 0)) ms, p99 \(decimals($0.p99, 0)) ms"
        } ?? "-"
      ),
      (
        "dead letters",
        grouped(counts.eventsDeadLettered + counts.labelsRejected + counts.recordsRejected)
      ),
      ("Labels", ""), ("joined", grouped(counts.labelsJoined)),
      ("waiting predictions", grouped(UInt64(totals.waiting))),
      ("expired predictions", grouped(counts.predictionsExpired)),
      ("late or of unknown events", grouped(counts.labelsLate + counts.labelsOrphan)),
    ]
    return rows
  }

  /// The status document of `GET /api/v1/status`.
  public func statusJSON() -> [UInt8] {
    let lanes = context.lanes.map(\.snapshot)
    var total = PartitionTotals(inputs: context.settings.features.inputs.count)
    for partition in lanes.flatMap(\.partitions) { total.add(partition) }
    let model = context.model.withLock { $0 }
    let latency = context.metrics.latencyMilliseconds(now: context.now())
    var json = JSONWriter(capacity: 4096)
    json.beginObject()
    json.key("pipeline")
    json.value(context.settings.name)
    json.key("instance")
    json.value(context.settings.worker.instance)
    json.key("state")
    json.value(phase(lanes))
    json.key("events")
    json.beginObject()
    json.key("in")
    json.beginObject()
    for (input, schema) in context.settings.features.inputs.enumerated() {
      json.key(schema.name)
      json.value(total.records[input])
    }
    json.endObject()
    json.key("scored")
    json.value(total.accounting.eventsScored)
    json.key("duplicate")
    json.value(total.accounting.eventsDuplicate)
    json.key("dead_lettered")
    json.value(total.accounting.eventsDeadLettered)
    json.key("per_second")
    json.value(context.metrics.recordsPerSecond(now: context.now()))
    json.endObject()
    write(total, &json)
    json.key("latency_ms")
    json.beginObject()
    json.key("p50")
    if let latency { json.value(latency.p50) } else { json.null() }
    json.key("p99")
    if let latency { json.value(latency.p99) } else { json.null() }
    json.endObject()
    json.key("event_time_ms")
    if let time = total.eventTime { json.value(time) } else { json.null() }
    write(model, &json)
    json.key("partitions")
    json.beginArray()
    for partition in lanes.flatMap(\.partitions) {
      json.beginObject()
      json.key("partition")
      json.value(Int(partition.partition))
      json.key("waiting")
      json.value(partition.waiting)
      json.key("window_keys")
      json.value(partition.windowKeys.reduce(0, +))
      json.key("restore_remaining")
      json.value(partition.restoreRemaining)
      writeInputs(partition, &json)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.bytes
  }

  /// What became of the records of each input: the outcomes add up to those consumed.
  private func writeInputs(_ partition: LaneSnapshot.Partition, _ json: inout JSONWriter) {
    json.key("inputs")
    json.beginArray()
    for (input, schema) in context.settings.features.inputs.enumerated() {
      json.beginObject()
      json.key("name")
      json.value(schema.name)
      json.key("next_offset")
      json.value(partition.nextOffsets[input])
      json.key("consumed")
      json.value(partition.records[input])
      json.key("outcomes")
      json.beginObject()
      for (state, count) in partition.outcomes(input, of: context.settings.features).counts {
        json.key(state.rawValue)
        json.value(count)
      }
      json.endObject()
      json.endObject()
    }
    json.endArray()
  }

  private func phase(_ lanes: [LaneSnapshot]) -> String {
    if context.isStopping { return "draining" }
    if context.hub.generation == 0 { return "starting" }
    if lanes.contains(where: { $0.phase == .restoring || $0.partitions.contains { $0.restoreRemaining > 0 } }) {
      return "restoring"
    }
    return lanes.allSatisfy { $0.phase == .running || $0.phase == .waiting } ? "running" : "rebalancing"
  }

  private func write(_ total: PartitionTotals, _ json: inout JSONWriter) {
    let counts = total.accounting
    json.key("labels")
    json.beginObject()
    json.key("joined")
    json.value(counts.labelsJoined)
    json.key("corrections")
    json.value(counts.labelsCorrection)
    json.key("duplicates")
    json.value(counts.labelsDuplicate)
    json.key("late")
    json.value(counts.labelsLate)
    json.key("orphans")
    json.value(counts.labelsOrphan)
    json.key("rejected")
    json.value(counts.labelsRejected)
    json.key("early")
    json.value(total.earlyLabels)
    json.key("expired")
    json.value(counts.predictionsExpired)
    json.key("pending")
    json.value(total.waiting)
    json.endObject()
    json.key("dead_letters")
    json.beginObject()
    json.key("total")
    json.value(counts.eventsDeadLettered + counts.labelsRejected + counts.recordsRejected)
    json.endObject()
  }

  private func write(_ model: ModelSnapshot?, _ json: inout JSONWriter) {
    json.key("model")
    guard let model else {
      json.null()
      json.key("contenders")
      json.beginArray()
      json.endArray()
      return
    }
    json.beginObject()
    json.key("version")
    json.value(model.version.description)
    json.key("lineage")
    json.value(UInt64(model.version.lineage.value))
    json.key("sequence")
    json.value(model.version.sequence.value)
    json.key("learning")
    json.value(model.isFrozen ? "frozen" : "on")
    json.key("state_hash")
    if let hash = model.stateHash { json.value(hash.description) } else { json.null() }
    json.key("pinned_by")
    if let command = context.hub.pinnedBy { json.value(command) } else { json.null() }
    json.key("examples")
    json.beginObject()
    json.key("applied")
    json.value(model.counters.applied)
    json.key("quarantined")
    json.value(model.counters.quarantined)
    json.key("frozen")
    json.value(model.counters.frozen)
    json.endObject()
    json.key("kept")
    json.beginArray()
    for entry in model.kept {
      json.beginObject()
      json.key("version")
      json.value(entry.version.description)
      json.key("stored")
      json.value(entry.isStored)
      json.key("confirmed")
      json.value(entry.isConfirmed)
      json.key("tags")
      json.beginArray()
      for tag in entry.tags { json.value(tag) }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.endObject()
    json.key("contenders")
    json.beginArray()
    for contender in model.contenders {
      json.beginObject()
      json.key("name")
      json.value(contender.name)
      json.key("role")
      json.value(contender.isChampion ? "champion" : "challenger")
      json.key("progressive")
      write(contender.sinceSwitch, &json)
      json.key("recent")
      write(contender.newest1k, &json)
      json.endObject()
    }
    json.endArray()
  }

  private func write(_ summary: ScoreMetrics.Summary, _ json: inout JSONWriter) {
    json.beginObject()
    json.key("examples")
    json.value(summary.count)
    json.key("log_loss")
    if summary.count > 0 { json.value(summary.logLoss) } else { json.null() }
    json.key("auc")
    json.value(summary.auc)
    json.key("brier")
    if summary.count > 0 { json.value(summary.brier) } else { json.null() }
    json.endObject()
  }
}

extension LaneSnapshot.Partition {
  func outcomes(_ input: Int, of features: FeatureSettings) -> RecordOutcomes {
    RecordOutcomes(accounting, input: input, of: features, earlyLabels: earlyLabels)
  }
}

/// Sums over the partitions of a worker.
struct PartitionTotals {
  var accounting = Accounting()
  var waiting = 0
  var earlyLabels = 0
  /// Per input.
  var records: [UInt64]
  var eventTime: Int64?

  init(inputs: Int) { records = Array(repeating: 0, count: inputs) }

  mutating func add(_ partition: LaneSnapshot.Partition) {
    accounting += partition.accounting
    waiting += partition.waiting
    earlyLabels += partition.earlyLabels
    for (input, count) in partition.records.enumerated() { records[input] += count }
    if let newest = partition.eventTimes.compactMap({ $0 }).max() {
      eventTime = max(eventTime ?? .min, newest)
    }
  }
}

/// Digits in groups of three.
private func grouped(_ value: UInt64) -> String {
  var out = ""
  for (index, digit) in String(value).reversed().enumerated() {
    if index > 0, index % 3 == 0 { out.append(",") }
    out.append(digit)
  }
  return String(out.reversed())
}

/// Rounded to so many decimals, for people; `-` where it is no number.
private func decimals(_ value: Double, _ count: Int) -> String {
  var scale = 1.0
  for _ in 0..<count { scale *= 10 }
  let scaled = (value * scale).rounded()
  guard scaled.isFinite, scaled.magnitude < 1e15 else { return "-" }
  let digits = String(Int64(scaled.magnitude))
  let padded = String(repeating: "0", count: max(0, count + 1 - digits.count)) + digits
  let whole = (scaled < 0 ? "-" : "") + padded.dropLast(count)
  return count == 0 ? whole : "\(whole).\(padded.suffix(count))"
}
