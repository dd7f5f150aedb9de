import Engine
import Features
import Learning
import Pipeline
import Records

/// Recomputes what a pipeline published, from its inputs, `journal` and `learning`, and compares.
///
/// Each partition follows its journal from the first place that its state can be made at; the learning log is folded
/// beside it, version by version. A prediction is equal where value, key, headers and timestamp are, and where every
/// contender's score is the one that the journal says was served.
///
/// Order:   of the partitions, the one whose next record needs the oldest version goes first, so that one fold of the
///          learning log serves them all.
/// Memory:  the state of a worker, the streams' prefetch, and the scorers of versions waited for.
/// Source:  the logs as they stand at the start, on brokers or in taps; what a running worker adds meanwhile is for the
///          next run.
public final class Verification {
  public struct Options: Sendable {
    /// Only predictions that this version scored.
    public var version: ModelVersion?
    /// Only the prediction of this event.
    public var eventID: String?
    public var partition: Int32?
    /// Stop once so many predictions were compared.
    public var limit: UInt64?
    /// Without, each served score is compared with the journal's alone.
    public var comparesPublished = true
    /// Fold the learning log to its end, also where no prediction needs it.
    public var foldsAll = false
    public init() {}
  }

  /// A journal record with the versions that it needs, in order.
  struct Head {
    var record: JournalRecord
    var offset: Int64
    var versions: [ModelVersion]
  }

  final class Part {
    let followed: FollowedPartition
    let published: LogStream
    /// Predictions before this offset were there when the journal's end was asked: something must explain each.
    let publishedEnd: Int64
    /// Predictions before this one are gone: what is computed for their events cannot be missed.
    let publishedLow: Int64
    var report: PartitionVerification
    /// Event offset of the prediction dealt with last, unless `lastValue` is newer.
    private var passedSource: Int64
    /// The prediction compared last: read for its place only where that is asked.
    var lastValue: [UInt8]?
    var isDone = false
    /// The first published prediction that there is has been met.
    var isMet: Bool
    /// The record to follow next.
    var head: Head?

    init(_ followed: FollowedPartition, _ published: LogStream, _ range: LogRange, scoredInput: Int) {
      self.followed = followed
      self.published = published
      publishedEnd = range.stable
      publishedLow = range.low
      isMet = range.low == 0
      report = PartitionVerification(followed.number)
      let complete = followed.start.complete[scoredInput]
      passedSource = complete - 1
      report.from = complete
      report.begun =
        switch followed.start {
        case .beginning: "from the beginning"
        case .checkpoint(let name, _): "from checkpoint \(name)"
        case .warmUp: "from where the state is whole again"
        }
    }

    var lastSource: Int64 {
      get {
        guard let lastValue, let source = PublishedFields(lastValue).source else { return passedSource }
        return max(source, passedSource)
      }
      set {
        passedSource = newValue
        lastValue = nil
      }
    }
  }

  let settings: PipelineSettings
  let features: FeaturePlan
  let options: Options
  private let source: any LogSource
  private let directory: String?
  private var parts: [Part] = []
  private var history: VersionHistory?
  private var served: Set<ModelVersion> = []
  private var compared: UInt64 = 0
  /// Names of the contenders, for people.
  var contenders: [String] = []
  /// Differences from the journal's scores within the record that is followed, by event offset.
  var scoreDifferences: [Int64: ScoreDifference] = [:]
  /// Where the one event stands that is looked for.
  private var wantedPlace: (partition: Int32, source: Int64)?

  init(
    settings: PipelineSettings, features: FeaturePlan, source: any LogSource, directory: String?,
    options: Options = Options()
  ) {
    self.settings = settings
    self.features = features
    self.source = source
    self.directory = directory
    self.options = options
  }

  /// Of the pipeline's own cluster. `directory`: where checkpoints may lie that reach further back than the logs.
  public convenience init(
    settings: PipelineSettings, features: FeaturePlan, surroundings: Surroundings, directory: String?,
    options: Options = Options()
  ) throws {
    self.init(
      settings: settings, features: features,
      source: try BrokerLogs(settings, surroundings, role: "verify"), directory: directory, options: options)
  }

  /// Of raw taps of its inputs, `journal` and `learning`; `published`: of its predictions.
  public convenience init(
    settings: PipelineSettings, features: FeaturePlan, taps: TapIndex, published: TapIndex? = nil
  ) {
    var options = Options()
    options.comparesPublished = published != nil
    options.foldsAll = true
    self.init(
      settings: settings, features: features,
      source: TapLogs(taps, predictions: settings.topics.predictions, published: published), directory: nil,
      options: options)
  }

  private var scoredInput: Int { settings.features.scoredInput }

  /// - Parameters:
  ///   - emit: takes the value of each prediction that was computed, partition by partition in order.
  ///   - progress: called after every journal record.
  public func run(
    emit: ([UInt8]) -> Void = { _ in }, progress: (OfflineReplay.Progress) -> Void = { _ in }
  ) throws(LogFault) -> VerificationReport {
    let begun = Monotonic.nanoseconds()
    var report = VerificationReport()
    try prepare(&report)
    let unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: features.rowSchema, contenderCount: contenders.count, planDigest: features.digest),
      inputCount: settings.features.inputs.count)
    guard let any = anyScorers() else { throw .unfit("the declared learning settings make no model") }
    while !isAtLimit, let (part, head) = try nextPart() {
      try follow(part, head, unit, any, emit)
      progress(
        OfflineReplay.Progress(
          records: Int(compared), share: share(), seconds: Double(Monotonic.nanoseconds() - begun) / 1e9))
    }
    report.isCut = isAtLimit
    for part in parts {
      if !report.isCut, options.version == nil, options.eventID == nil, options.comparesPublished {
        try checkLeftOver(part)
      }
      part.report.journalRecords = part.followed.journalRecords
      report.partitions.append(part.report)
    }
    report.partitions.sort { $0.partition < $1.partition }
    if options.foldsAll { try history?.foldAll() }
    report.model = history.map { VerificationReport.Model(version: $0.state.version, stateHash: $0.state.stateHash) }
    report.learningRecords = history?.recordsFolded ?? 0
    report.versions = served.count
    report.versionsHeldMax = history?.heldMax ?? 0
    return report
  }

  // MARK: Preparation

  private func prepare(_ report: inout VerificationReport) throws(LogFault) {
    let topic = settings.topics.predictions
    let count = try source.partitionCount(settings.topics.journal)
    var numbers = Array(0..<count)
    if let only = options.partition {
      guard numbers.contains(only) else { throw .unfit("there is no partition \(only), there are \(count)") }
      numbers = [only]
    }
    // Before the journals' ends: every prediction seen by then has its journal record before them.
    var ranges: [Int32: LogRange] = [:]
    for number in numbers { ranges[number] = try source.range(topic, number) }
    if let id = options.eventID {
      wantedPlace = try find(id, numbers, ranges)
      numbers = wantedPlace.map { [$0.partition] } ?? []
      guard wantedPlace != nil else { throw .beyondReach("no prediction of this event is published event_id=\(id) topic=\(topic)") }
    }
    history = try VersionHistory(settings, source: source, directory: directory)
    contenders = history?.state.contenderNames ?? settings.learning.contenders.map(\.name)
    report.modelStart = history.flatMap { history in history.startName.map { "\(history.state.version) from \($0)" } }
    if history == nil { report.modelStart = "none: the learning log has lost its beginning, and neither a checkpoint nor a published version leads to the rest" }
    let plan = EnginePlan(
      features: features, join: settings.join, threshold: Float(settings.decisionThreshold), contenderCount: contenders.count)
    let followed = try FollowedPartitions(
      numbers, settings: settings, plan: plan, source: source, directory: directory)
    // Behind the journals' ends: every version that they name stands before it.
    try history?.extend()
    let opened = followed.partitions.map(\.number) + followed.empty
    let streams = opened.isEmpty ? [] : try source.open(
      opened.map { LogPlace(topic: topic, partition: $0, from: ranges[$0]?.low ?? 0) })
    for (index, partition) in followed.partitions.enumerated() {
      parts.append(Part(partition, streams[index], ranges[partition.number]!, scoredInput: scoredInput))
    }
    for (number, why) in followed.unreachable {
      var lost = PartitionVerification(number)
      lost.unreachable = why
      report.partitions.append(lost)
    }
    for (index, number) in followed.empty.enumerated() {
      var empty = PartitionVerification(number)
      empty.begun = "nothing was ever done here"
      // Whatever is published there, no journal explains.
      while let record = try streams[followed.partitions.count + index].take(before: ranges[number]!.stable) {
        empty.note(unexplained(record, number))
      }
      report.partitions.append(empty)
    }
  }

  private func find(
    _ id: String, _ numbers: [Int32], _ ranges: [Int32: LogRange]
  ) throws(LogFault) -> (partition: Int32, source: Int64)? {
    let topic = settings.topics.predictions
    let streams = try source.open(numbers.map { LogPlace(topic: topic, partition: $0, from: ranges[$0]?.low ?? 0) })
    for (number, stream) in zip(numbers, streams) {
      while let record = try stream.take(before: ranges[number]?.stable ?? 0) {
        let fields = PublishedFields(record.payload)
        if fields.eventID == id, let source = fields.source { return (number, source) }
      }
    }
    return nil
  }

  /// Any scorers will do where the journal's versions are looked up or its scores believed.
  private func anyScorers() -> ScorerSet? {
    if let set = history?.state.scorers() { return set }
    return chartered(settings.learning)?.scorers()
  }

  // MARK: The way along the journals

  private var isAtLimit: Bool { options.limit.map { compared >= $0 } ?? false }

  /// The share of the journals' offsets that lies behind.
  private func share() -> Double {
    var done = 0.0
    for part in parts { done += part.isDone ? 1 : Double(part.head?.offset ?? 0) / Double(max(part.followed.journalEnd, 1)) }
    return parts.isEmpty ? 1 : done / Double(parts.count)
  }

  /// The partition to go on with: one that waits for no version, else the one whose newest version is the oldest.
  private func nextPart() throws(LogFault) -> (part: Part, head: Head)? {
    var best: (part: Part, head: Head)?
    var wanted: Set<ModelVersion> = []
    for part in parts where !part.isDone {
      if part.head == nil {
        guard let (record, offset) = try part.followed.next() else {
          part.isDone = true
          continue
        }
        // Once the one event is compared, its partition has nothing more to give.
        if let wantedPlace, part.lastSource >= wantedPlace.source {
          part.isDone = true
          continue
        }
        let versions = isOfInterest(record, part) ? Set(record.versions.map(\.version)).sorted() : []
        part.head = Head(record: record, offset: offset, versions: versions)
      }
      guard let head = part.head else { continue }
      wanted.formUnion(head.versions)
      if let present = best?.head.versions.last {
        guard let newest = head.versions.last, newest >= present else {
          best = (part, head)
          continue
        }
      } else if best == nil {
        best = (part, head)
      }
    }
    history?.wanted = wanted
    history?.trim()
    return best
  }

  /// Whether something of a journal record is to be compared.
  private func isOfInterest(_ record: JournalRecord, _ part: Part) -> Bool {
    guard part.followed.isComplete, !part.followed.isForeign(record) else { return false }
    if let version = options.version, !record.versions.contains(where: { $0.version == version }) { return false }
    if let wantedPlace, record.nextOffsets[scoredInput] <= wantedPlace.source { return false }
    return true
  }

  private func follow(
    _ part: Part, _ head: Head, _ unit: CommitUnit, _ any: ScorerSet, _ emit: ([UInt8]) -> Void
  ) throws(LogFault) {
    part.head = nil
    defer { unit.clear() }
    let isAloud = isOfInterest(head.record, part)
    var rescoring: [ModelVersion: Rescoring] = [:]
    var believed: Set<ModelVersion> = []
    for version in head.versions {
      served.insert(version)
      let champion = any.championIndex
      // A filter by version leaves the others of the record to the journal.
      let finding: VersionHistory.Finding? =
        options.version.map { $0 == version } ?? true ? try history?.find(version) : nil
      switch finding {
      case .scorers(let set): rescoring[version] = .scorers(set)
      case .beyondReach, nil:
        rescoring[version] = .journal(champion: champion)
        believed.insert(version)
      case .never:
        rescoring[version] = .journal(champion: champion)
        believed.insert(version)
        part.report.note(
          PredictionDifference(
            kind: .unknownVersion, partition: part.followed.number,
            detail: "version \(version) scored here, and the learning log never makes it journal_offset=\(head.offset)"))
      }
    }
    scoreDifferences.removeAll(keepingCapacity: true)
    do throws(FollowFault) {
      try part.followed.follow(
        head.record, at: head.offset, into: unit, anyScorers: any,
        aloud: isAloud
          ? FollowedPartition.Aloud(
            rescore: { rescoring[$0] },
            onDifference: { [unowned self] difference in
              if scoreDifferences[difference.offset] == nil { scoreDifferences[difference.offset] = difference }
            }) : nil)
    } catch {
      switch error {
      case .log(let fault): throw fault
      case .engine(let fault, let journalOffset):
        part.isDone = true
        part.report.note(
          PredictionDifference(
            kind: .brokenOff, partition: part.followed.number,
            detail: describe(fault, part.followed.number, journalOffset)))
      }
      return
    }
    if part.followed.isForeign(head.record) { part.report.foreign += UInt64(head.record.scoredCount) }
    if isAloud {
      try compare(part, unit, believed, emit)
    } else {
      try passOver(part, before: head.record.nextOffsets[scoredInput])
    }
  }

  private func compare(
    _ part: Part, _ unit: CommitUnit, _ believed: Set<ModelVersion>, _ emit: ([UInt8]) -> Void
  ) throws(LogFault) {
    for output in unit.records where output.destination == .predictions {
      if isAtLimit { return }
      let computed = ComputedPrediction(unit, output)
      emit(computed.value)
      let verdict = options.comparesPublished ? try match(computed, part) : served(computed, part)
      // Only a filter, or a version out of reach, asks what the prediction says.
      let fields = options.version == nil && options.eventID == nil && believed.isEmpty
        ? nil : PublishedFields(computed.value)
      if let wanted = options.version, fields?.version != wanted.description { continue }
      if let wanted = options.eventID, fields?.eventID != wanted { continue }
      compared += 1
      switch verdict {
      case .expired: compared -= 1
      case .differs(let difference): part.report.note(difference)
      case .equal:
        let byJournal = believed.contains { $0.description == fields?.version }
        if byJournal { part.report.equalByJournal += 1 } else { part.report.equal += 1 }
      }
    }
  }

  private func describe(_ fault: EngineFault, _ number: Int32, _ journalOffset: Int64) -> String {
    let inputs = settings.features.inputs
    switch fault {
    case .missingInput(let input, let offset):
      return "the journal says that this record was read, and the topic lacks it topic=\(inputs[input].topic) partition=\(number) offset=\(offset) journal_offset=\(journalOffset)"
    case .journalMismatch(let what, let input, let offset):
      return "the inputs do not fit the journal: \(what) topic=\(input < inputs.count ? inputs[input].topic : settings.topics.journal) partition=\(number) offset=\(offset) journal_offset=\(journalOffset)"
    case .scoreMismatch(let offset, let contender):
      return "the score of '\(contender < contenders.count ? contenders[contender] : "?")' differs partition=\(number) offset=\(offset)"
    }
  }
}
