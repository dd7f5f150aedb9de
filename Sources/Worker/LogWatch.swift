import Kafka
import Pipeline
import Records

/// Looks at the logs from outside, every few seconds: what no lane would notice, or only as an endless wait.
///
/// It never writes but alerts, and never ends the worker because it cannot look: brokers that are away are the lanes'
/// business.
///
/// Threads: everything here runs on a thread of its own.
final class LogWatch {
  static let intervalNanoseconds: UInt64 = 5_000_000_000
  private static let pauseMilliseconds: UInt32 = 100
  private static let questionMilliseconds: Int32 = 2_000
  /// Records looked at for the partitioner, newest of each partition.
  private static let sampleSpan: Int64 = 200
  /// Looks between two at the topics, while nothing about them is odd.
  private static let topicLooks = 3
  /// Looks between two samplings of an input whose partitioner is not known yet.
  private static let samplingLooks = 12

  private let context: WorkerContext
  private let fail: (WorkerFailure) -> Void
  private let writer: AlertWriter
  private var readers: (stable: any LogReader, uncommitted: any LogReader)?
  private var stalls: StallWatch
  private var regressions = RegressionWatch()
  private var topics: TopicWatch?
  private var partitioners: PartitionerWatch
  private var orphans = OrphanWatch()
  private var counts: [String: Int32] = [:]
  private var looks = 0

  init(_ context: WorkerContext, fail: @escaping (WorkerFailure) -> Void) {
    self.context = context
    self.fail = fail
    writer = AlertWriter(context)
    stalls = StallWatch(
      transactionTimeoutMilliseconds: context.settings.delivery.transactionTimeoutMilliseconds)
    partitioners = PartitionerWatch(context.settings.features.inputs.map(\.name))
  }

  /// Until the worker stops; what was raised by then is still sent.
  func run() {
    var next = context.now() + Self.intervalNanoseconds
    while !context.isStopping {
      context.runtime.pause(milliseconds: Self.pauseMilliseconds)
      writer.send()
      guard context.now() >= next else { continue }
      do throws(KafkaError) { try look() } catch {
        readers = nil
        context.log.debug("watch", "the logs could not be looked at", LogFields(["error": "\(error)"]))
      }
      context.runtime.giveBackMemory()
      next = context.now() + Self.intervalNanoseconds
    }
    writer.send()
  }

  // MARK: One look

  private func look() throws(KafkaError) {
    looks += 1
    // First what was taken, then where the logs end.
    let held = context.lanes.flatMap { $0.snapshot.partitions }
    var positions: [TopicPartition: Int64] = [:]
    let inputs = context.settings.features.inputs
    for partition in held {
      for (input, schema) in inputs.enumerated() {
        positions[TopicPartition(schema.topic, partition.partition)] = partition.nextOffsets[input]
      }
      positions[TopicPartition(context.settings.topics.journal, partition.partition)] = partition.journalNext
      let counts = partition.accounting
      tell(
        orphans.look(
          partition: partition.partition,
          labels: counts.labelsJoined + counts.labelsCorrection + counts.labelsDuplicate + counts.labelsLate
            + counts.labelsOrphan, orphans: counts.labelsOrphan))
    }
    // Each time is a client of its own.
    if looks % Self.topicLooks == 1 || topics?.isSuspicious ?? true { try lookAtTopics() }
    let ends = try askEnds(held.map(\.partition))
    let now = context.now()
    tell(regressions.look(ends, positions: positions))
    tell(stalls.look(ends, now: now))
    context.metrics.stalled(stalls.ages(ends, now: now))
    if looks % Self.samplingLooks == 1 { try samplePartitioners(ends) }
  }

  private func lookAtTopics() throws(KafkaError) {
    let found = try context.topics()
    if topics == nil {
      // As they are at the first look; that they fit each other was seen at the start.
      let names = context.settings.features.inputs.map(\.topic)
        + [context.settings.topics.predictions, context.settings.topics.journal]
      for name in names { counts[name] = found.first { $0.name == name }?.partitionCount }
      topics = TopicWatch(names.compactMap { name in counts[name].map { (name, $0) } })
      let faults = topicFaults(context.settings, existing: found)
      if !faults.isEmpty { fail(.misconfigured(faults.joined(separator: "\n"))) }
    }
    tell(topics?.look(found) ?? [])
  }

  private func askEnds(_ partitions: [Int32]) throws(KafkaError) -> [LogEnds] {
    let topics = context.settings.topics
    var places = [TopicPartition(topics.learning, 0), TopicPartition(topics.control, 0)]
    for partition in partitions {
      places.append(TopicPartition(topics.journal, partition))
      places += context.settings.features.inputs.map { TopicPartition($0.topic, partition) }
    }
    let (stable, uncommitted) = try opened()
    let visible = try stable.endOffsets(places, timeoutMilliseconds: Self.questionMilliseconds)
    let whole = try uncommitted.endOffsets(places, timeoutMilliseconds: Self.questionMilliseconds)
    return places.indices.map { LogEnds(partition: places[$0], stable: visible[$0], end: whole[$0]) }
  }

  private func opened() throws(KafkaError) -> (stable: any LogReader, uncommitted: any LogReader) {
    if let readers { return readers }
    let made = (
      stable: try context.makeReader(context.settings.topics.learning),
      uncommitted: try context.makeReader(context.settings.topics.learning, isolation: .readUncommitted)
    )
    readers = made
    return made
  }

  // MARK: Partitioners

  /// Reads the newest records of inputs whose partitioner is not known. The lanes' way is left alone.
  private func samplePartitioners(_ ends: [LogEnds]) throws(KafkaError) {
    for (input, schema) in context.settings.features.inputs.enumerated() {
      guard let count = counts[schema.topic], count > 1 else { continue }
      guard partitioners.needsSamples(input: input) else { continue }
      let reader = try context.makeReader(schema.topic)
      for entry in ends where entry.partition.topic == schema.topic && entry.stable > 0 {
        try sample(input, entry, count, reader)
      }
      if let kind = partitioners.kind(input) { context.metrics.partitioner(schema.topic, kind.rawValue) }
    }
    tell(partitioners.look())
  }

  private func sample(
    _ input: Int, _ entry: LogEnds, _ count: Int32, _ reader: any LogReader
  ) throws(KafkaError) {
    let number = entry.partition.partition
    let low = try reader.watermarks(entry.partition, timeoutMilliseconds: Self.questionMilliseconds).low
    let start = max(low, entry.stable - Self.sampleSpan)
    guard start < entry.stable else { return }
    try reader.start(partition: number, at: .offset(start))
    defer { reader.stop(partition: number) }
    do throws(KafkaError) {
      try reader.read(partition: number, through: entry.stable, timeoutMilliseconds: Self.questionMilliseconds) { record in
        guard record.partition == number, record.hasKey else { return }
        // SAFETY: the key is copied while the record is lent.
        partitioners.sample(input: input, key: unsafe Array(record.unsafeKey), partition: number, of: count)
      }
    } catch {
      // What came in time is sample enough.
      guard error.action == .retrySameCall else { throw error }
    }
  }

  // MARK: Telling

  private func tell(_ events: [WatchEvent]) {
    for event in events {
      switch event {
      case .began(let kind, let text): context.alert(kind, text)
      case .ended(let kind, let text):
        context.log.info("alert-over", text, LogFields(["kind": kind.rawValue]))
        context.alerts.raise(kind, "over: \(text)")
      case .fail(let failure): fail(failure)
      }
    }
  }
}
