import Checkpoints
import Engine
import Learning
import Pipeline
import Records
import Storage

/// Scorers of the versions that journals name, made again from `learning`.
///
/// The log is folded once, as far as it is needed, and what somebody waits for is held on the way. A version behind
/// the fold (a pin of the brake, a partition that moved) comes from a kept state, or from a second fold. Where the log
/// has lost its beginning, the fold begins at the oldest checkpoint or published version that leads on, and published
/// versions before it are served as they were published.
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
  private var end: Int64
  private let base: HistoryBase?
  private let baseVersion: ModelVersion
  private let published: LoggedCheckpoints
  /// Of the cluster and the pipeline; read once it is needed.
  private var index: CheckpointIndex?
  private let pipeline: String
  private let main: Fold
  private var aside: Fold?
  private var held: [ModelVersion: ScorerSet] = [:]
  private var recent: [ModelVersion] = []
  private(set) var heldMax = 0
  /// Versions worth holding when a fold passes them.
  var wanted: Set<ModelVersion> = []

  var state: ModelState { main.state }
  var recordsFolded: UInt64 { main.records }
  /// What it begins with; nil: the log's beginning.
  var startName: String? { base?.name }

  /// Folds up to the charter. Nil where the log has lost its beginning, and neither a checkpoint nor a published version
  /// leads to the rest.
  init?(_ settings: PipelineSettings, source: any LogSource, directory: String?) throws(LogFault) {
    self.source = source
    topic = settings.topics.learning
    let range = try source.range(topic, 0)
    end = range.end
    pipeline = settings.name
    published = LoggedCheckpoints(source: source, topic: settings.topics.checkpoints)
    if range.low == 0 {
      base = nil
    } else {
      let candidates = HistoryBases(settings, source: source, published: published, directory: directory, range)
      guard let found = try candidates.oldest() else { return nil }
      base = found
    }
    main = try Self.makeFold(source, topic, base)
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
    _ source: any LogSource, _ topic: String, _ base: HistoryBase?
  ) throws(LogFault) -> Fold {
    let log = try source.open([LogPlace(topic: topic, partition: 0, from: base?.next ?? 0)])[0]
    guard let base else { return Fold(ModelState(), log) }
    do throws(FormatError) { return Fold(try base.state(), log) } catch {
      throw .unfit("what folding begins with does not restore from=\(base.name) reason=\(error)")
    }
  }

  /// Takes in what was appended since.
  func extend() throws(LogFault) { end = try source.range(topic, 0).end }

  /// Folds to the end of the log.
  func foldAll() throws(LogFault) { while try step(main) {} }

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
    guard baseVersion <= version else {
      return try publishedScorers(of: version).map { .scorers(hold($0)) } ?? .beyondReach
    }
    let fold: Fold
    if let aside, aside.state.version <= version {
      fold = aside
    } else {
      fold = try Self.makeFold(source, topic, base)
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
    _ = try fold.state.fold(LearningLogRecord(record)) { (digest, version) throws(LogFault) in
      let manifest = try usable().first { $0.learned.digest == digest }
      guard let manifest, let bytes = try published.fetch([manifest.learned])[0] else {
        throw .beyondReach(
          "a rollback returns to a state that is neither in the checkpoint nor published version=\(version) topic=\(topic) offset=\(record.offset)")
      }
      return bytes
    }
    fold.records += 1
    return true
  }

  private func usable() throws(LogFault) -> [CheckpointManifest] {
    if index == nil { index = try published.index() }
    return index?.usable(pipeline: pipeline, clusterID: source.clusterID) ?? []
  }

  /// A version that lies before the fold's beginning, as it was published. What it was is judged by the scores that the
  /// journal says were served.
  private func publishedScorers(of version: ModelVersion) throws(LogFault) -> ScorerSet? {
    guard let manifest = try usable().first(where: { $0.version == version }) else { return nil }
    let contents = try published.fetch([manifest.learned, manifest.ledger])
    guard let learned = contents[0], let ledger = contents[1] else { return nil }
    // Bytes that are no state are as good as none.
    return (try? ModelState(published: manifest, ledgerPart: ledger, learned: learned))?.scorers()
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
