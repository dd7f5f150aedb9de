import Engine
import Features
import Glibc
import Kafka
import Learning
import Pipeline
import Records

/// Says what became of every record, from the topics alone, and whether it adds up.
///
/// Every partition follows its journal silently. The states of its records must add up to the records that stand in the
/// inputs; and what the journal says must be found where it was published: predictions, dead letters and examples.
///
/// Source: the logs as they stand when the journals' ends are asked; predictions and others are read to their true
///         ends after that, so that what one transaction wrote is seen whole.
public final class TopicAccount {
  private let settings: PipelineSettings
  private let features: FeaturePlan
  private let source: any LogSource
  private let directory: String?
  private let only: Int32?
  private let plan: EnginePlan
  /// Fetches the status of every worker asked for; nil: none is.
  private let workers: (() throws -> [JSONValue])?
  private static let looksMax = 10
  private static let pauseMilliseconds: UInt32 = 250

  init(
    settings: PipelineSettings, features: FeaturePlan, source: any LogSource, directory: String?,
    partition: Int32? = nil, workers: (() throws -> [JSONValue])? = nil
  ) {
    self.settings = settings
    self.features = features
    self.source = source
    self.directory = directory
    only = partition
    self.workers = workers
    plan = EnginePlan(
      features: features, join: settings.join, threshold: Float(settings.decisionThreshold),
      contenderCount: settings.learning.contenders.count)
  }

  /// Of the pipeline's own cluster.
  ///
  /// - Parameter workers: consoles, as `http://127.0.0.1:8080`.
  public convenience init(
    settings: PipelineSettings, features: FeaturePlan, surroundings: Surroundings, directory: String?,
    partition: Int32? = nil, workers: [String] = []
  ) throws {
    self.init(
      settings: settings, features: features,
      source: try BrokerLogs(settings, surroundings, role: "account"), directory: directory, partition: partition,
      workers: workers.isEmpty
        ? nil : { try workers.map { try JSONValue(parsing: httpGet($0, path: "/api/v1/status")) } })
  }

  public func run(progress: (OfflineReplay.Progress) -> Void = { _ in }) throws -> AccountReport {
    let begun = Monotonic.nanoseconds()
    let count = try source.partitionCount(settings.topics.journal)
    var numbers = Array(0..<count)
    if let only {
      guard numbers.contains(only) else { throw LogFault.unfit("there is no partition \(only), there are \(count)") }
      numbers = [only]
    }
    var report = AccountReport()
    // First, since what it shows must be on its way into the journal when that is read.
    var seen = try workers.map { try $0() } ?? []
    if workers != nil { usleep(Self.pauseMilliseconds * 1_000) }
    let followed = try FollowedPartitions(
      numbers, settings: settings, plan: plan, source: source, directory: directory)
    let parts = followed.partitions.map { Part($0) }
    let unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: features.rowSchema, contenderCount: plan.contenderCount, planDigest: features.digest),
      inputCount: plan.inputs.count)
    guard let any = chartered(settings.learning)?.scorers() else {
      throw LogFault.unfit("the declared learning settings make no model")
    }
    var looks = 1
    while true {
      for part in parts {
        try follow(part, unit, any, seen) { records in
          progress(
            OfflineReplay.Progress(
              records: records, share: nil, seconds: Double(Monotonic.nanoseconds() - begun) / 1e9))
        }
      }
      guard let workers, looks < Self.looksMax, parts.contains(where: { $0.comparison == .notSeen }) else { break }
      looks += 1
      seen = try workers()
      usleep(Self.pauseMilliseconds * 1_000)
      for part in parts { part.followed.journalEnd = try source.range(settings.topics.journal, part.followed.number).end }
    }
    let published = try countPublished(parts)
    for part in parts { report.partitions.append(account(part, published[part.followed.number]!, &report.notes)) }
    for (number, why) in followed.unreachable { report.partitions.append(blank(number, "", why)) }
    for number in followed.empty { report.partitions.append(blank(number, "nothing was ever done here", nil)) }
    report.partitions.sort { $0.partition < $1.partition }
    return report
  }

  // MARK: Following

  private final class Part {
    let followed: FollowedPartition
    /// What the state held where it was begun: a checkpoint's counts, or what the journal says of all before.
    var accountBefore: Accounting
    var countsBefore: [UInt64]
    /// Whether the counts reach back to the partition's first record.
    private var isWhole: Bool
    /// What the journal said last of all records so far, where it counts from the same record on.
    private(set) var journalTotals: [UInt64]?
    var records: UInt64 = 0
    var comparison = PartitionAccount.Comparison.notAsked
    var differences: [AccountCheck] = []
    init(_ followed: FollowedPartition) {
      self.followed = followed
      accountBefore = followed.engine.accounting
      countsBefore = followed.engine.recordCounts
      if case .warmUp = followed.start { isWhole = false } else { isWhole = true }
    }

    /// What the journal record that was just followed says of all records up to its end: compared with our own counts,
    /// or their beginning where those began in the middle of the log.
    func take(_ totals: [UInt64]) {
      let engine = followed.engine
      if isWhole {
        journalTotals = totals.starts(with: engine.recordCounts) ? totals : nil
      } else if followed.isComplete {
        let (account, counts) = (engine.accounting, engine.recordCounts)
        isWhole = engine.adoptTotals()
        accountBefore += engine.accounting - account
        for input in counts.indices { countsBefore[input] += engine.recordCounts[input] - counts[input] }
      }
    }
  }

  private func follow(
    _ part: Part, _ unit: CommitUnit, _ any: ScorerSet, _ seen: [JSONValue], _ progress: (Int) -> Void
  ) throws(LogFault) {
    if workers != nil, part.comparison == .notAsked { part.comparison = .notSeen }
    compare(part, seen)
    while let (record, offset) = try part.followed.next() {
      defer { unit.clear() }
      do throws(FollowFault) { try part.followed.follow(record, at: offset, into: unit, anyScorers: any) } catch {
        switch error {
        case .log(let fault): throw fault
        case .engine(let fault, let offset):
          throw .unfit(
            "the inputs do not fit the journal partition=\(part.followed.number) journal_offset=\(offset): \(fault)")
        }
      }
      part.take(record.totals)
      part.records += UInt64(unit.consumed)
      progress(Int(part.records))
      compare(part, seen)
    }
  }

  // MARK: The workers

  /// Compares where a worker stood at exactly these offsets.
  private func compare(_ part: Part, _ seen: [JSONValue]) {
    guard part.comparison == .notSeen else { return }
    let engine = part.followed.engine
    for status in seen {
      for shown in status["partitions"]?.array ?? []
      where shown["partition"]?.integer == Int64(part.followed.number) {
        guard let inputs = shown["inputs"]?.array, inputs.count == plan.inputs.count,
          inputs.indices.allSatisfy({ inputs[$0]["next_offset"]?.integer == engine.consumedOffsets[$0] })
        else { continue }
        let consumed = inputs.map { UInt64(clamping: $0["consumed"]?.integer ?? -1) }
        var checks: [AccountCheck] = []
        for (index, input) in inputs.enumerated() {
          let states = outcomes(part, index).counts.map(\.state)
          let sum = states.reduce(UInt64(0)) { $0 &+ UInt64(clamping: input["outcomes"]?[$1.rawValue]?.integer ?? -1) }
          checks.append(
            AccountCheck(what: "\(plan.inputs[index].name): the worker's states add up to the records that it counts", expected: consumed[index], found: sum))
        }
        guard consumed == engine.recordCounts else {
          part.differences = checks.filter { !$0.holds }
          part.comparison = .otherStart
          return
        }
        for (index, input) in inputs.enumerated() {
          for (state, count) in outcomes(part, index).counts {
            let told = UInt64(clamping: input["outcomes"]?[state.rawValue]?.integer ?? -1)
            checks.append(
              AccountCheck(what: "\(plan.inputs[index].name) \(state.rawValue), as the worker has it", expected: count, found: told))
          }
        }
        part.differences = checks.filter { !$0.holds }
        part.comparison = part.differences.isEmpty ? .equal : .different
        return
      }
    }
  }

  private func outcomes(_ part: Part, _ input: Int) -> RecordOutcomes {
    RecordOutcomes(
      part.followed.engine.accounting, input: input, of: settings.features,
      earlyLabels: part.followed.engine.earlyLabelCount)
  }

  // MARK: What was published

  private struct Published {
    var predictions: UInt64 = 0
    var deadLetters: [UInt64]
    /// By kind; nil where the learning log does not reach back to all of them.
    var examples: [ExampleKind: UInt64]?
  }

  private func countPublished(_ parts: [Part]) throws(LogFault) -> [Int32: Published] {
    var counts: [Int32: Published] = [:]
    let topics = settings.topics
    let isWhole = try source.range(topics.learning, 0).low == 0
    for part in parts {
      counts[part.followed.number] = Published(
        deadLetters: plan.inputs.map { _ in 0 }, examples: isWhole && isFromBeginning(part) ? [:] : nil)
    }
    // One partition after the other: what is counted of each record is little.
    for part in parts {
      let number = part.followed.number
      try forEach(topics.predictions, number) { record in
        guard let source = PublishedFields(record.payload).source, isCovered(part, plan.scoredInput, source) else { return }
        counts[number]!.predictions += 1
      }
    }
    for partition in 0..<(try source.partitionCount(topics.deadLetters)) {
      try forEach(topics.deadLetters, partition) { record in
        guard let (topic, number, offset) = deadLetterPlace(record.headers),
          let input = plan.inputs.firstIndex(where: { $0.topic == topic }),
          let part = parts.first(where: { $0.followed.number == number }), isCovered(part, input, offset)
        else { return }
        counts[number]!.deadLetters[input] += 1
      }
    }
    guard counts.values.contains(where: { $0.examples != nil }) else { return counts }
    try forEach(topics.learning, 0) { record in
      guard case .examples(let block)? = try? LearningRecord.decode(record.payload) else { return }  // Another kind.
      for header in block.headers {
        guard let part = parts.first(where: { $0.followed.number == header.partition.value }),
          isCovered(part, plan.scoredInput, header.offset.value),
          plan.labelInput.map({ isCovered(part, $0, header.labelOffset.value) }) ?? true || header.kind == .negative
        else { continue }
        counts[header.partition.value]!.examples?[header.kind, default: 0] += 1
      }
    }
    return counts
  }

  private func isFromBeginning(_ part: Part) -> Bool {
    if case .beginning = part.followed.start { return true }
    return false
  }

  /// Whether a record of an input lies where the partition was followed.
  private func isCovered(_ part: Part, _ input: Int, _ offset: Int64) -> Bool {
    offset >= part.followed.start.at[input] && offset < part.followed.engine.consumedOffsets[input]
  }

  private func forEach(
    _ topic: String, _ partition: Int32, _ body: (OfflineRecord) -> Void
  ) throws(LogFault) {
    let range = try source.range(topic, partition)
    let stream = try source.open([LogPlace(topic: topic, partition: partition, from: range.low)])[0]
    while let record = try stream.take(before: range.end) { body(record) }
  }

  private func deadLetterPlace(_ headers: [UInt8]) -> (topic: String, partition: Int32, offset: Int64)? {
    var fields: [String: String] = [:]
    for header in HeaderBlock(bytes: headers).list ?? [] {
      fields[header.name] = header.value.map { String(decoding: $0, as: UTF8.self) }
    }
    guard let topic = fields["millrace-error-topic"],
      let partition = fields["millrace-error-partition"].flatMap({ Int32($0) }),
      let offset = fields["millrace-error-offset"].flatMap({ Int64($0) })
    else { return nil }
    return (topic, partition, offset)
  }

  // MARK: The account

  private func account(_ part: Part, _ published: Published, _ notes: inout [String]) -> PartitionAccount {
    let engine = part.followed.engine
    let number = part.followed.number
    let since = engine.accounting - part.accountBefore
    var checks = part.differences
    var inputs: [InputAccount] = []
    for (index, schema) in plan.inputs.enumerated() {
      let counts = outcomes(part, index)
      let consumed = part.countsBefore[index] + part.followed.recordsRead[index]
      inputs.append(
        InputAccount(
          name: schema.name, topic: schema.topic, consumed: consumed, next: engine.consumedOffsets[index],
          outcomes: counts))
      checks.append(AccountCheck(what: "\(schema.name): states add up to the records consumed", expected: consumed, found: counts.sum))
    }
    checks.append(AccountCheck(what: "predictions in the topic for the events scored", expected: since.eventsScored, found: published.predictions))
    let rejected = plan.inputs.indices.map { input in
      input == plan.scoredInput
        ? since.eventsDeadLettered : input == plan.labelInput ? since.labelsRejected : 0
    }
    for (index, schema) in plan.inputs.enumerated() where index == plan.scoredInput || index == plan.labelInput {
      checks.append(
        AccountCheck(what: "\(schema.name): dead letters in the topic for the records rejected", expected: rejected[index], found: published.deadLetters[index]))
    }
    let others = plan.inputs.indices.filter { $0 != plan.scoredInput && $0 != plan.labelInput }
    if !others.isEmpty {
      checks.append(
        AccountCheck(
          what: "other inputs: dead letters in the topic for the records rejected", expected: since.recordsRejected,
          found: others.reduce(0) { $0 + published.deadLetters[$1] }))
    }
    if let told = part.journalTotals {
      let own = engine.totals
      checks.append(
        AccountCheck(
          what: "counters that the journal adds up to the same", expected: UInt64(own.count),
          found: UInt64(zip(own, told).count { $0 == $1 })))
    }
    if let examples = published.examples {
      checks.append(AccountCheck(what: "examples for the labels joined", expected: since.labelsJoined, found: examples[.matured] ?? 0))
      checks.append(AccountCheck(what: "examples for the corrections", expected: since.labelsCorrection, found: examples[.correction] ?? 0))
    } else {
      notes.append("partition \(number): examples are not counted, since the logs have lost their beginning")
    }
    switch part.comparison {
    case .otherStart: notes.append("partition \(number): the worker counts from another place on, so its counts are not compared")
    case .notSeen: notes.append("partition \(number): no worker was seen at a unit's end of this partition, so no counts are compared")
    case .notAsked, .equal, .different: break
    }
    let begun =
      switch part.followed.start {
      case .beginning: "from the beginning"
      case .checkpoint(let name, _): "from checkpoint \(name)"
      case .warmUp(let at, _): "from offsets \(at) on, with nothing known"
      }
    return PartitionAccount(
      partition: number, begun: begun, inputs: inputs, waitingPredictions: engine.waitingCount,
      expiredPredictions: engine.accounting.predictionsExpired, checks: checks, worker: part.comparison)
  }

  private func blank(_ number: Int32, _ begun: String, _ why: String?) -> PartitionAccount {
    PartitionAccount(
      partition: number, begun: begun, inputs: [], waitingPredictions: 0, expiredPredictions: 0, checks: [],
      worker: .notAsked, unreachable: why)
  }
}

/// A model that has learnt nothing yet; nil where the settings make none.
func chartered(_ settings: LearningSettings) -> ModelState? {
  let model = ModelState()
  _ = model.fold(
    ModelState.charter(settings, clusterID: "none").record(), offset: Offset(0),
    timestamp: EventTime(milliseconds: 0))
  return model.isRefused ? nil : model
}
