import Engine
import Kafka
import Learning
import Pipeline
import Records
import Synchronization

/// Turns what the worker's threads report into series, and keeps what the status page shows of the last moments.
///
/// Threads: any; the counters are atomics, the recent units behind a lock that is taken once a unit.
final class WorkerMeter: Sendable {
  let metrics: WorkerMetrics
  private let settings: PipelineSettings
  private let recent = Mutex(RecentUnits())
  /// Windows in use, in the order of their counters.
  private let windowNames: [String]
  /// Topic and partition of the series that the last scrape exported.
  private let exported = Mutex<Set<[String]>>([])

  init(_ settings: PipelineSettings, windowNames: [String], _ build: WorkerBuild) {
    self.settings = settings
    self.windowNames = windowNames
    metrics = WorkerMetrics(
      pipeline: settings.name, version: build.version, commit: build.commit,
      librdkafka: "\(LibraryVersion.current)")
  }

  /// A unit's commit is known.
  func committed(_ sealed: SealedUnit, now: UInt64) {
    let unit = sealed.unit
    metrics.transactions("committed").add()
    let nanoseconds = now - sealed.firstTakenNanoseconds
    if unit.scored > 0 {
      metrics.endToEndLatencySeconds().observe(Double(nanoseconds) / 1e9, count: UInt64(unit.scored))
    }
    recent.withLock {
      $0.add(
        RecentUnits.Unit(
          committedAt: now, records: unit.consumed, scored: unit.scored, nanoseconds: nanoseconds))
    }
    let counts = unit.accounting
    for (state, count) in [
      ("scored", counts.eventsScored), ("duplicate", counts.eventsDuplicate),
      ("dead_lettered", counts.eventsDeadLettered),
    ] { metrics.events(state).add(count) }
    for (state, count) in [
      ("joined", counts.labelsJoined), ("duplicate", counts.labelsDuplicate),
      ("correction", counts.labelsCorrection), ("late", counts.labelsLate),
      ("orphan", counts.labelsOrphan), ("rejected", counts.labelsRejected),
    ] { metrics.labels(state).add(count) }
    metrics.predictionsExpired.add(counts.predictionsExpired)
    for (input, count) in unit.consumedByInput.enumerated() where count > 0 {
      metrics.recordsConsumed(settings.features.inputs[input].topic).add(UInt64(count))
    }
    metrics.recordsProduced(settings.topics.predictions, "committed").add(UInt64(unit.scored))
    for (reason, input, count) in unit.rejections {
      metrics.recordsRejected(settings.features.inputs[input].topic, "decode", reason.code).add(
        UInt64(count))
    }
  }

  func transactionFailed(_ result: String) { metrics.transactions(result).add() }
  func rebalanced() { metrics.rebalances.add() }
  func restored(nanoseconds: UInt64) { metrics.restoreDurationSeconds.set(Double(nanoseconds) / 1e9) }

  func command(kind: String = "any", status: String) {
    metrics.controlCommands(kind, status).add()
  }

  func checkpoint(kind: String, bytes: Int, nanoseconds: UInt64, wallMilliseconds: Int64) {
    metrics.checkpoints("ok").add()
    metrics.checkpointBytes(kind).set(bytes)
    metrics.checkpointDurationSeconds().observe(Double(nanoseconds) / 1e9)
    metrics.checkpointLastSuccessTimestampSeconds.set(Double(wallMilliseconds) / 1e3)
  }
  func alerted(_ kind: AlertKind) { metrics.alerts(kind.rawValue).add() }
  func stalled(_ ages: [(partition: TopicPartition, seconds: Double)]) {
    metrics.stableOffsetStalledSeconds.removeAll()
    for (partition, seconds) in ages {
      metrics.stableOffsetStalledSeconds(partition.topic, "\(partition.partition)").set(seconds)
    }
  }
  func partitioner(_ topic: String, _ kind: String) {
    for other in PartitionerWatch.Kind.allCases { metrics.inputPartitioner.remove(topic, other.rawValue) }
    metrics.inputPartitioner(topic, kind).set(1)
  }
  func checkpointFailed() { metrics.checkpoints("failed").add() }

  /// Called at every scrape: what is a state rather than an event.
  func collect(lanes: [LaneSnapshot], model: ModelSnapshot?, phase: WorkerMetrics.State) {
    metrics.setState(phase)
    var totals = PartitionTotals(inputs: settings.features.inputs.count)
    var windowKeys = windowNames.map { _ in 0 }
    var windowLate = windowNames.map { _ in UInt64(0) }
    var places: Set<[String]> = []
    var windowBytes = 0
    var waitingBytes = 0
    var partitions = 0
    for partition in lanes.flatMap(\.partitions) {
      totals.add(partition)
      partitions += 1
      for window in windowNames.indices {
        windowKeys[window] += partition.windowKeys[window]
        windowLate[window] += partition.windowLate[window]
      }
      windowBytes += partition.windowBytes
      waitingBytes += partition.waitingBytes
      for (input, schema) in settings.features.inputs.enumerated() {
        let place = [schema.topic, "\(partition.partition)"]
        places.insert(place)
        if let watermark = partition.watermarks[input] {
          metrics.watermarkTimestampSeconds.cell(place).set(Double(watermark) / 1e3)
        }
        metrics.partitionRecordsConsumed.cell(place).set(partition.records[input])
        for (state, count) in partition.outcomes(input, of: settings.features).counts {
          metrics.partitionRecords.cell(place + [state.rawValue]).set(count)
        }
        if let end = partition.ends[input] {
          metrics.consumerLagRecords.cell(place).set(Double(max(0, end - partition.nextOffsets[input])))
        }
      }
    }
    // What another worker reads now is for that one to tell.
    let gone = exported.withLock { exported in
      defer { exported = places }
      return exported.subtracting(places)
    }
    for place in gone {
      metrics.watermarkTimestampSeconds.remove(place[0], place[1])
      metrics.consumerLagRecords.remove(place[0], place[1])
      metrics.partitionRecordsConsumed.remove(place[0], place[1])
      for state in RecordOutcomes.State.allCases { metrics.partitionRecords.remove(place[0], place[1], state.rawValue) }
    }
    metrics.assignedPartitions.set(Double(partitions))
    metrics.pendingPredictions.set(Double(totals.waiting))
    for (window, name) in windowNames.enumerated() {
      metrics.windowKeys(name).set(windowKeys[window])
      metrics.lateEvents(name, "dropped").advance(to: windowLate[window])
    }
    metrics.memoryBytes("windows").set(windowBytes)
    metrics.memoryBytes("pending").set(waitingBytes)
    guard let model else { return }
    metrics.modelLineage.set(Double(model.version.lineage.value))
    metrics.modelSequence.set(Double(model.version.sequence.value))
    metrics.learningFrozen.set(model.isFrozen ? 1 : 0)
    for (state, count) in [
      ("applied", model.counters.applied), ("quarantined", model.counters.quarantined),
      ("frozen", model.counters.frozen),
    ] { metrics.examples(state).advance(to: count) }
    metrics.learnerUpdates("applied").advance(to: model.counters.applied)
    for contender in model.contenders {
      for (window, summary) in [
        ("since_switch", contender.sinceSwitch), ("1k", contender.newest1k),
        ("10k", contender.newest10k),
      ] where summary.count > 0 {
        metrics.modelLogLoss(contender.name, window).set(summary.logLoss)
        metrics.modelBrier(contender.name, window).set(summary.brier)
        metrics.modelAUC(contender.name, window).set(summary.auc)
      }
    }
  }

  /// Records committed a second, over the last five seconds.
  func recordsPerSecond(now: UInt64) -> Double { recent.withLock { $0.recordsPerSecond(now: now) } }

  /// From taking a unit's first record to its known commit, over the events scored in the last half minute;
  /// nil where there are none.
  func latencyMilliseconds(now: UInt64) -> (p50: Double, p99: Double)? {
    recent.withLock { $0.latencyMilliseconds(now: now) }
  }
}

/// The units of the last half minute.
struct RecentUnits {
  struct Unit {
    var committedAt: UInt64
    var records: Int
    var scored: Int
    var nanoseconds: UInt64
  }
  private static let spanNanoseconds: UInt64 = 30_000_000_000
  private static let rateNanoseconds: UInt64 = 5_000_000_000
  private var units: [Unit] = []

  mutating func add(_ unit: Unit) {
    units.append(unit)
    guard units.count % 256 == 0 else { return }
    drop(before: unit.committedAt)
  }

  private mutating func drop(before now: UInt64) {
    let start = now - min(now, Self.spanNanoseconds)
    units.removeAll { $0.committedAt < start }
  }

  func recordsPerSecond(now: UInt64) -> Double {
    let start = now - min(now, Self.rateNanoseconds)
    let records = units.reduce(0) { $1.committedAt >= start ? $0 + $1.records : $0 }
    return Double(records) / (Double(Self.rateNanoseconds) / 1e9)
  }

  mutating func latencyMilliseconds(now: UInt64) -> (p50: Double, p99: Double)? {
    drop(before: now)
    let scored = units.filter { $0.scored > 0 }.sorted { $0.nanoseconds < $1.nanoseconds }
    let total = scored.reduce(0) { $0 + $1.scored }
    guard total > 0 else { return nil }
    func quantile(_ share: Double) -> Double {
      var left = Int((Double(total) * share).rounded(.up))
      for unit in scored {
        left -= unit.scored
        if left <= 0 { return Double(unit.nanoseconds) / 1e6 }
      }
      return Double(scored[scored.count - 1].nanoseconds) / 1e6
    }
    return (quantile(0.5), quantile(0.99))
  }
}
