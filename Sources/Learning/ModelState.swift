import Models
import Records

/// What a folded record asks the worker to do; the fold itself has done its part already.
public enum FoldEffect: Sendable, Equatable {
  /// To be said on `control-acks`. `applied` comes from the fold for tags alone; of a rollback, freeze or unfreeze the
  /// worker says it once its lanes have adopted.
  case ack(
    commandID: String, status: CommandAck.Status, version: ModelVersion?, stateHash: Digest?,
    detail: String)
  /// This version's learned state is to be stored and claimed, with `ledgerPart()` as it is now; `bytes` hash to
  /// `digest`.
  case keep(version: ModelVersion, digest: Digest, bytes: [UInt8])
  /// From here on every replica may be asked to return to this version.
  case confirmed(version: ModelVersion, Agreement.Candidate)
  /// A fold of `instance` (nil: the publisher) holds other bits for the same version than this one does. Remembered
  /// with the version; said once for each claim.
  case diverged(
    version: ModelVersion, ours: Agreement.Candidate, theirs: Agreement.Candidate, instance: String?)
  /// The record returns to a learned state that is not held here. Nothing was folded: `supply` it, then fold the record
  /// again.
  case missing(state: Digest, version: ModelVersion)
  /// A charter is in force; its record is to be written once the state it starts from is published.
  case chartered(Charter)
  /// Lanes must adopt `scorers()` at once.
  case switched(version: ModelVersion, reason: String)
  case alert(kind: FoldAlert, text: String)
}

/// What people should hear of.
public enum FoldAlert: String, Sendable, CaseIterable {
  /// Bytes in the log that no build of this version wrote.
  case malformedRecord = "learning-malformed-record"
  /// The charter is for another build, or starts from a state that this build does not reach. Nothing is folded.
  case charterRefused = "learning-charter-refused"
  case charterIgnored = "learning-charter-ignored"
  case quarantined = "learning-examples-quarantined"
  case commandUnverified = "control-signature-unverified"
  case commandMalformed = "control-malformed"
  /// Another replica, or this one earlier, holds other bits for the same version. Said by the worker, of the effect.
  case diverged = "learning-replicas-differ"
  /// It was folded again and still differs. Said by the worker, which stops.
  case stillDiverged = "learning-replica-stopped"
  case keptUnreadable = "learning-kept-unreadable"
}

/// The fold over the learning log: ledger and contenders, a pure function of the records in their order.
///
/// Total: any bytes are folded, into a count and an alert if nothing else.
///
/// Versions: lineage.sequence. The charter makes 1.0; every example adds one to the sequence, also one that is
/// quarantined or frozen; every rollback and every later charter adds one to the lineage. Versions that are kept fall on
/// block ends.
///
/// A version may be returned to once `Agreement` confirms it; the start is confirmed by its charter. Logs chartered by
/// the engine `fold=1` knew less: there a `kept` record with the digest that this fold reached confirms.
///
/// Cost:     that of the learners, and about 0.2 us a contender for metrics; a kept version serialises all contenders.
/// Memory:   the learners, and the serialised state of each kept version.
/// Replay:   the same records at the same offsets give the same bits, restored from a checkpoint or not.
/// Threads:  owned by one thread; the scorers that it hands out are free.
public final class ModelState {
  /// Names the arithmetic that new charters ask for.
  public static let engine = engines[1]
  /// What this build can fold: a log chartered for another engine is refused.
  static let engines = ["millrace models=\(ModelsVersion.current) fold=1", "millrace models=\(ModelsVersion.current) fold=2"]

  /// Whether the charter asks for claims that agree before a version may be returned to.
  public var needsAgreement: Bool { ledger.charter?.engine == Self.engines[1] }

  public internal(set) var ledger = Ledger()
  /// nil before the charter.
  public internal(set) var settings: LearningSettings?
  /// The charter that stands in the log cannot be folded by this build: the worker must stop.
  public internal(set) var isRefused = false
  var contenders: [Contender] = []
  var metrics: [ScoreMetrics] = []
  /// Learned states by digest, as far as `ledger.kept` names them.
  var states: [Digest: [UInt8]] = [:]
  /// One row at a time, on its way from a block to the learners.
  var row = RowGroup(schema: RowSchema([]), capacity: 1)
  private var cachedHash: Digest?
  private var cachedScorers: ScorerSet?

  public init() {}

  public var version: ModelVersion { ledger.version }
  public var contenderNames: [String] { contenders.map(\.settings.name) }

  /// Metrics of contender `index` under the present lineage.
  public func summary(_ index: Int, _ window: ScoreMetrics.Window) -> ScoreMetrics.Summary {
    metrics[index].summary(window)
  }

  /// Folds one record. Records at or before the last folded offset are passed over.
  public func fold(_ record: [UInt8], offset: Offset, timestamp: EventTime) -> [FoldEffect] {
    guard ledger.offset < offset else { return [] }
    let before = (ledger.offset, ledger.lastControlOffset)
    ledger.offset = offset
    let decoded: LearningRecord
    do {
      decoded = try LearningRecord.decode(record)
    } catch {
      ledger.counters.malformed += 1
      return [.alert(kind: .malformedRecord, text: "\(error) offset=\(offset.value)")]
    }
    if case .charter(let charter) = decoded {
      return fold(charter, offset: offset, timestamp: timestamp)
    }
    guard let settings, !isRefused else {
      ledger.counters.unchartered += 1
      return []
    }
    switch decoded {
    case .charter: return []
    case .examples(let block):
      return fold(block, settings, offset: offset, timestamp: timestamp)
    case .command(let command):
      let effects = fold(command, settings, offset: offset, timestamp: timestamp)
      // Invariant: a command that lacks a state has changed nothing else.
      if case .missing? = effects.first { (ledger.offset, ledger.lastControlOffset) = before }
      return effects
    case .claim(let claim): return fold(claim, settings)
    case .kept(let kept): return fold(kept, settings)
    }
  }

  // MARK: Contenders

  /// Makes empty contenders and metrics for `settings`.
  func install(_ settings: LearningSettings) {
    self.settings = settings
    contenders = Self.makeContenders(settings)
    metrics = contenders.map { _ in ScoreMetrics() }
    row = RowGroup(schema: settings.rowSchema, capacity: 1)
    didLearn()
  }

  static func makeContenders(_ settings: LearningSettings) -> [Contender] {
    settings.contenders.map { Contender(settings: $0, rowSchema: settings.rowSchema) }
  }

  // MARK: State

  /// Learned state, canonical: varint count; each contender's name and its own bytes (varint length before them).
  static func encodeContenders(_ contenders: [Contender]) -> [UInt8] {
    var writer = ByteWriter(capacity: 4096)
    writer.writeVarint(UInt64(contenders.count))
    var one = ByteWriter()
    for contender in contenders {
      writer.write(contender.settings.name)
      one.bytes.removeAll(keepingCapacity: true)
      contender.encode(into: &one)
      writer.write(sized: one.bytes)
    }
    return writer.bytes
  }

  /// New contenders with the state that `encodeContenders` wrote.
  static func restoreContenders(
    _ bytes: [UInt8], _ settings: LearningSettings
  ) throws(FormatError) -> [Contender] {
    var reader = ByteReader(bytes)
    let contenders = makeContenders(settings)
    guard try reader.readVarint("contenders") == UInt64(contenders.count) else {
      throw FormatError(.invalidValue, at: 0, field: "contenders")
    }
    for contender in contenders {
      let at = reader.position
      guard try reader.readString("name") == contender.settings.name else {
        throw FormatError(.invalidValue, at: at, field: "name")
      }
      var one = ByteReader(try reader.readSized("contender"))
      try contender.restore(from: &one)
      try one.expectEnd()
    }
    try reader.expectEnd()
    return contenders
  }

  func didLearn() {
    cachedHash = nil
    cachedScorers = nil
  }
  func didChangeVersion() { cachedScorers = nil }

  /// SHA-256 of the learned state.
  ///
  /// Cost:     serialises all contenders, unless nothing was learnt since the last call.
  public var stateHash: Digest {
    if let cachedHash { return cachedHash }
    let hash = Digest.of(Self.encodeContenders(contenders))
    cachedHash = hash
    return hash
  }

  /// The learned state's bytes with their hash.
  func learned() -> (bytes: [UInt8], digest: Digest) {
    let bytes = Self.encodeContenders(contenders)
    let digest = Digest.of(bytes)
    cachedHash = digest
    return (bytes, digest)
  }

  /// The present scorers; nil before the charter.
  ///
  /// Cost:     see `Contender.scorer()`; nothing if nothing was folded since the last call.
  public func scorers() -> ScorerSet? {
    guard let settings, !isRefused else { return nil }
    if let cachedScorers { return cachedScorers }
    let set = ScorerSet(
      version: version, scorers: contenders.map { $0.scorer() }, names: contenderNames,
      championIndex: 0, rowSchema: settings.rowSchema)
    cachedScorers = set
    return set
  }

  /// Scorers of a kept version; nil if it is not held. What the brake serves before its command is folded.
  public func scorers(of kept: KeptEntry) -> ScorerSet? {
    guard let settings, ledger.isPresent(kept), let bytes = states[kept.target],
      let old = try? Self.restoreContenders(bytes, settings)  // Unreadable: nothing to serve.
    else { return nil }
    return ScorerSet(
      version: kept.version, scorers: old.map { $0.scorer() }, names: contenderNames,
      championIndex: 0, rowSchema: settings.rowSchema)
  }

  /// The bytes of a kept version's learned state.
  public func keptBytes(_ digest: Digest) -> [UInt8]? { states[digest] }

  /// Full-precision log-odds of contender `index` for a row: what the compressed twin is measured against.
  public func masterMargin(contender index: Int, rows: RowGroup, slot: Int) -> Float {
    contenders[index].masterMargin(rows: rows, slot: slot)
  }

  /// Test hook: flips one bit of one weight of the champion. What is folded from here on differs from other replicas.
  public func flipBit() {
    contenders.first?.flipBit()
    didLearn()
  }
}
