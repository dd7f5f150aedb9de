import Checkpoints
import Engine
import Learning
import Pipeline
import Records
import Storage

/// Scorers of the versions that journals name, made again from `learning`.
///
/// The log is folded once, as far as it is needed, and what somebody waits for is held on the way. A version behind
/// the fold (a pin of the brake, a partition that moved) comes from a kept state, or from a second fold.
///
/// Memory:  the learners, once or twice, and the scorers of the versions waited for.
final class VersionHistory {
  enum Finding {
    case scorers(ScorerSet)
    /// Folded before what is left of the log begins.
    case beyondReach
    /// The log passes over it: no such version was ever there.
    case never
  }

  private final class Fold {
    let state: ModelState
    let log: LogStream
    var records: UInt64 = 0
    init(_ state: ModelState, _ log: LogStream) {
      self.state = state
      self.log = log
    }
  }

  /// Versions held though nobody waits for them: the newest ones asked for.
  private static let recentMax = 8
  private let source: any LogSource
  private let topic: String
  private let from: Int64
  private var end: Int64
  /// A checkpoint's section to begin with; nil: the log's own beginning.
  private let base: [UInt8]?
  private let baseVersion: ModelVersion
  private let main: Fold
  private var aside: Fold?
  private var held: [ModelVersion: ScorerSet] = [:]
  private var recent: [ModelVersion] = []
  private(set) var heldMax = 0
  /// Versions worth holding when a fold passes them.
  var wanted: Set<ModelVersion> = []

  var state: ModelState { main.state }
  var recordsFolded: UInt64 { main.records }
  /// Name of the checkpoint it begins with; nil: the log's beginning.
  let startName: String?

  /// Folds up to the charter. Nil where the log has lost its beginning and no checkpoint leads to the rest.
  init?(_ settings: PipelineSettings, source: any LogSource, directory: String?) throws(LogFault) {
    self.source = source
    topic = settings.topics.learning
    let range = try source.range(topic, 0)
    end = range.end
    if range.low == 0 {
      base = nil
      startName = nil
      from = 0
    } else {
      guard let found = oldestModel(directory, settings, clusterID: source.clusterID, low: range.low) else { return nil }
      base = found.bytes
      startName = found.name
      from = found.next
    }
    main = try Self.makeFold(source, topic, base, from)
    baseVersion = base == nil ? ModelVersion(lineage: Lineage(0), sequence: Sequence(0)) : main.state.version
    while main.state.settings == nil {
      guard try step(main) else {
        throw .unfit("the learning log holds no charter that this build can fold topic=\(topic)")
      }
    }
    guard !main.state.isRefused, main.state.settings?.rowSchema == settings.learning.rowSchema else {
      throw .unfit("the learning log's charter is for other features or another build topic=\(topic)")
    }
  }

  private static func makeFold(
    _ source: any LogSource, _ topic: String, _ base: [UInt8]?, _ from: Int64
  ) throws(LogFault) -> Fold {
    let log = try source.open([LogPlace(topic: topic, partition: 0, from: from)])[0]
    guard let base else { return Fold(ModelState(), log) }
    do throws(FormatError) {
      var reader = ByteReader(base)
      return Fold(try ModelState(restoring: &reader), log)
    } catch {
      throw .unfit("the model's checkpoint does not restore: \(error)")
    }
  }

  /// Takes in what was appended since.
  func extend() throws(LogFault) { end = try source.range(topic, 0).end }

  /// The scorers of one version.
  func find(_ version: ModelVersion) throws(LogFault) -> Finding {
    if let set = held[version] { return .scorers(set) }
    if main.state.version < version {
      return try advance(main, to: version).map { .scorers($0) } ?? .never
    }
    if main.state.version == version, let set = main.state.scorers() { return .scorers(hold(set)) }
    if let entry = main.state.ledger.kept.last(where: { $0.version == version }),
      let set = main.state.scorers(of: entry)
    {
      return .scorers(hold(set))
    }
    guard baseVersion <= version else { return .beyondReach }
    let fold: Fold
    if let aside, aside.state.version <= version {
      fold = aside
    } else {
      fold = try Self.makeFold(source, topic, base, from)
      aside = fold
    }
    if fold.state.version == version, let set = fold.state.scorers() { return .scorers(hold(set)) }
    return try advance(fold, to: version).map { .scorers($0) } ?? .never
  }

  /// Folds until the state is of `version`; nil if it passes it over or ends before.
  private func advance(_ fold: Fold, to version: ModelVersion) throws(LogFault) -> ScorerSet? {
    while fold.state.version < version {
      guard try step(fold) else { return nil }
      let reached = fold.state.version
      if reached == version || wanted.contains(reached), held[reached] == nil, let set = fold.state.scorers() {
        _ = hold(set)
      }
    }
    return held[version]
  }

  private func step(_ fold: Fold) throws(LogFault) -> Bool {
    guard let record = try fold.log.take(before: end) else { return false }
    let effects = fold.state.fold(
      record.payload, offset: Offset(record.offset), timestamp: EventTime(milliseconds: record.timestamp))
    if effects.contains(where: { if case .missing = $0 { true } else { false } }) {
      throw .beyondReach(
        "a rollback returns to a state that the checkpoint does not hold topic=\(topic) offset=\(record.offset)")
    }
    fold.records += 1
    return true
  }

  private func hold(_ set: ScorerSet) -> ScorerSet {
    held[set.version] = set
    recent.removeAll { $0 == set.version }
    recent.append(set.version)
    heldMax = max(heldMax, held.count)
    return set
  }

  /// Lets go of what nobody waits for.
  func trim() {
    while recent.count > Self.recentMax, let oldest = recent.first(where: { !wanted.contains($0) }) {
      recent.removeAll { $0 == oldest }
      held[oldest] = nil
    }
  }
}

/// The oldest model checkpoint that the learning log still leads on from.
private func oldestModel(
  _ directory: String?, _ settings: PipelineSettings, clusterID: String, low: Int64
) -> (name: String, bytes: [UInt8], next: Int64)? {
  guard let directory else { return nil }
  let store = CheckpointStore(directory)
  let fingerprint = CheckpointFingerprint(
    clusterID: clusterID, topic: settings.topics.learning, partition: PartitionID(0), pipeline: settings.name,
    settings: Digest.of([]))
  // Unreadable directories and files hold nothing for us.
  for name in (try? store.list(.model, PartitionID(0))) ?? [] {
    guard let checkpoint = try? store.load(name),
      checkpoint.identity.fingerprint.firstDifference(from: fingerprint) == nil,
      checkpoint.identity.logNext.value >= low, let bytes = try? checkpoint.section("model")
    else { continue }
    return ("\(name)", bytes, checkpoint.identity.logNext.value)
  }
  return nil
}
