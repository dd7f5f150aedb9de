import Checkpoints
import Learning
import Pipeline
import Records
import Storage

/// Where a fold of the learning log can begin, other than at its beginning.
struct HistoryBase {
  /// For people: a checkpoint's name, or the published version.
  let name: String
  /// The log's next record.
  let next: Int64
  private let content: Content

  private enum Content {
    case section([UInt8])
    case published(CheckpointManifest, learned: [UInt8], ledger: [UInt8])
  }

  init(checkpoint name: String, section: [UInt8], next: Int64) {
    self.name = "checkpoint \(name)"
    self.next = next
    content = .section(section)
  }

  init(_ manifest: CheckpointManifest, learned: [UInt8], ledger: [UInt8]) {
    name = "the version that \(manifest.instance) published"
    next = manifest.next.value
    content = .published(manifest, learned: learned, ledger: ledger)
  }

  /// Made anew at each call.
  func state() throws(FormatError) -> ModelState {
    switch content {
    case .section(let bytes):
      var reader = ByteReader(bytes)
      return try ModelState(restoring: &reader)
    case .published(let manifest, let learned, let ledger):
      return try ModelState(published: manifest, ledgerPart: ledger, learned: learned)
    }
  }
}

/// What a log without its beginning can be folded from: checkpoints on a disk, and what was published.
struct HistoryBases {
  private let settings: PipelineSettings
  private let source: any LogSource
  private let published: LoggedCheckpoints
  private let directory: String?
  private let log: LogRange

  init(
    _ settings: PipelineSettings, source: any LogSource, published: LoggedCheckpoints, directory: String?,
    _ log: LogRange
  ) {
    self.settings = settings
    self.source = source
    self.published = published
    self.directory = directory
    self.log = log
  }

  /// The one that the log leads on from the longest; nil where there is none.
  func oldest() throws(LogFault) -> HistoryBase? {
    let own = checkpoint()
    let manifests = try published.index().usable(pipeline: settings.name, clusterID: source.clusterID)
    for manifest in manifests.reversed() {
      guard manifest.next.value >= log.low, manifest.next.value <= log.stable else { continue }
      if let own, own.next <= manifest.next.value { break }
      let contents = try published.fetch([manifest.learned, manifest.ledger])
      guard let learned = contents[0], let ledger = contents[1] else { continue }
      let base = HistoryBase(manifest, learned: learned, ledger: ledger)
      if try isConfirmed(base, manifest.version) { return base }
    }
    return own
  }

  /// Whether the log says that this is what the version is: anybody may write into a topic, and a worker may have
  /// published what it then took back.
  private func isConfirmed(_ base: HistoryBase, _ version: ModelVersion) throws(LogFault) -> Bool {
    // Bytes of the right digest that are no state: the next one may do.
    guard let state = try? base.state() else { return false }
    let records = try source.open([LogPlace(topic: settings.topics.learning, partition: 0, from: base.next)])[0]
    while let entry = state.ledger.kept.last(where: { $0.version == version }) {
      if let confirmed = entry.agreement.confirmed { return confirmed == entry.ours }
      guard let record = try records.take(before: log.stable) else { return false }
      let learnt = LearningLogRecord(record)
      let effects = state.fold(learnt.bytes, offset: learnt.offset, timestamp: learnt.timestamp)
      // A rollback to what is not held here: too late to confirm this version.
      if case .missing? = effects.first { return false }
    }
    return false
  }

  /// The oldest model checkpoint that the log still leads on from.
  private func checkpoint() -> HistoryBase? {
    guard let directory else { return nil }
    let store = CheckpointStore(directory)
    let fingerprint = CheckpointFingerprint(
      clusterID: source.clusterID, topic: settings.topics.learning, partition: PartitionID(0), pipeline: settings.name,
      settings: Digest.of([]))
    // Unreadable directories and files hold nothing for us.
    for name in (try? store.list(.model, PartitionID(0))) ?? [] {
      guard let checkpoint = try? store.load(name),
        checkpoint.identity.fingerprint.firstDifference(from: fingerprint) == nil,
        checkpoint.identity.logNext.value >= log.low, let bytes = try? checkpoint.section("model")
      else { continue }
      return HistoryBase(checkpoint: "\(name)", section: bytes, next: checkpoint.identity.logNext.value)
    }
    return nil
  }
}
