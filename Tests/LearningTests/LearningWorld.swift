// A small log: settings, rows whose label follows from them, blocks, signed commands, and a fold with its publisher.
import Models
import Records

@testable import Learning

let worldSchema = RowSchema([
  RowColumn(name: "carrier", kind: .category), RowColumn(name: "delay", kind: .number),
  RowColumn(name: "distance", kind: .number),
])

let worldSettings = LearningSettings(
  pipeline: "flight-delay", rowSchema: worldSchema,
  contenders: [
    ContenderSettings(
      name: "champion",
      kind: .ftrl(
        FTRLSettings(),
        EncoderSettings(hashBits: 8, columns: worldSchema.columns, missingIndicators: ["delay"])),
      calibration: .platt(rate: 0.05)),
    ContenderSettings(
      name: "no-windows",
      kind: .ftrl(
        FTRLSettings(),
        EncoderSettings(hashBits: 7, columns: [worldSchema.columns[0]], crosses: false))),
    ContenderSettings(name: "base-rate", kind: .baseRate),
  ], keepEvery: 50, keep: 3)

let worldKey = try! Ed25519.PrivateKey(seed: [UInt8](repeating: 5, count: 32))

struct LogRecord {
  var bytes: [UInt8]
  var offset: Offset
  var timestamp: EventTime
}

/// Writes a log as lanes, operators and a publisher would, and folds it on the way.
final class World {
  let state: ModelState
  private(set) var log: [LogRecord] = []
  private(set) var effects: [FoldEffect] = []
  var random: SplitMix64
  /// Whether versions that are to be kept get their claims and their `kept` record.
  var publishes = true
  private var nextOffset: Int64 = 0
  private var nextCommand = 0
  private let rows = RowGroup(schema: worldSchema, capacity: 64)
  private let scores = FixedBuffer<ServedScore>(repeating: .absent, count: 64 * 3)
  private let scratch = ScoringScratch()

  init(
    seed: UInt64, settings: LearningSettings = worldSettings, engine: String = ModelState.engines[1]
  ) {
    state = ModelState()
    random = SplitMix64(state: seed)
    write(ModelState.charter(settings, clusterID: "c1", engine: engine).record())
  }

  var now: EventTime { EventTime(milliseconds: 1_000_000 + nextOffset * 1000) }

  @discardableResult
  func write(_ bytes: [UInt8]) -> [FoldEffect] {
    // Offsets have gaps, as commit markers leave them.
    nextOffset += 1 + nextOffset % 3
    let record = LogRecord(bytes: bytes, offset: Offset(nextOffset), timestamp: now)
    log.append(record)
    let new = state.fold(bytes, offset: record.offset, timestamp: record.timestamp)
    effects += new
    for case .keep(let version, let digest, let state) in new where publishes {
      precondition(Digest.of(state) == digest)
      confirm(version)
    }
    return new
  }

  /// What two replicas and the publisher write of a kept version.
  @discardableResult
  func confirm(_ version: ModelVersion) -> [FoldEffect] {
    guard state.needsAgreement else { return store(version) }
    return claim(version, "w1") + store(version) + claim(version, "w2")
  }
  @discardableResult
  func claim(_ version: ModelVersion, _ instance: String, fold: UInt8 = 1) -> [FoldEffect] {
    let entry = state.ledger.kept.last { $0.version == version }!
    return write(
      HashClaim(
        instance: instance, version: version, stateHash: entry.digest, fold: fold, ledgerHash: entry.ledgerDigest
      ).record())
  }
  @discardableResult
  func store(_ version: ModelVersion) -> [FoldEffect] {
    let entry = state.ledger.kept.last { $0.version == version }!
    return write(KeptVersion(version: version, digest: entry.digest).record())
  }

  /// A unit's examples, scored by the present scorers; `flipped` poisons the labels.
  @discardableResult
  func block(
    _ count: Int, flipped: Bool = false, weight: Float = 1, version: ModelVersion? = nil,
    kind: ExampleKind = .matured, change: (inout ExampleHeader) -> Void = { _ in }
  ) -> [FoldEffect] {
    write(
      blockBytes(count, flipped: flipped, weight: weight, version: version, kind: kind, change: change))
  }

  func blockBytes(
    _ count: Int, flipped: Bool = false, weight: Float = 1, version: ModelVersion? = nil,
    kind: ExampleKind = .matured, change: (inout ExampleHeader) -> Void = { _ in }
  ) -> [UInt8] {
    let set = state.scorers()!
    let builder = ExampleBlockBuilder(
      schema: worldSchema, contenderCount: 3, planDigest: .zero, byteLimit: 1 << 20)
    for _ in 0..<count {
      let label = fillRow(0)
      set.score(rows, count: 1, scratch: scratch, into: scores)
      var header = ExampleHeader(
        partition: PartitionID(0), offset: Offset(nextOffset), labelOffset: Offset(0), kind: kind,
        value: flipped ? 1 - label : label, weight: weight, knownAt: now,
        version: version ?? set.version)
      change(&header)
      builder.append(header, rows: rows, slot: 0, scores: scores, scoreOffset: 0)
    }
    builder.seal()
    precondition(builder.sealedCount == 1)
    return Array(builder.sealed(0))
  }

  /// A random row in `slot`; returns what comes true of it.
  private func fillRow(_ slot: Int) -> Float {
    let carrier = Int.random(in: 0..<6, using: &random)
    let delay = Float.random(in: -30...90, using: &random)
    let isMissing = Int.random(in: 0..<8, using: &random) == 0
    rows.categories[slot] = Hash64.hash("carrier-\(carrier)")
    rows.numbers[slot * 2] = isMissing ? 0 : delay
    rows.numbers[slot * 2 + 1] = Float.random(in: 100...2500, using: &random)
    rows.missing[slot * 3] = 0
    rows.missing[slot * 3 + 1] = isMissing ? 1 : 0
    rows.missing[slot * 3 + 2] = 0
    let chance = 0.1 + (delay > 20 ? 0.6 : 0) + Float(carrier) * 0.03
    return Float.random(in: 0...1, using: &random) < chance ? 1 : 0
  }

  /// What `set` says of forty rows that are always the same.
  static func scoreBits(_ set: ScorerSet) -> [UInt64] {
    let probe = World.probe
    let rows = RowGroup(schema: worldSchema, capacity: 40)
    let scores = FixedBuffer<ServedScore>(repeating: .absent, count: 40 * set.count)
    for (slot, row) in probe.enumerated() {
      rows.categories[slot] = row.0
      rows.numbers[slot * 2] = row.1
      rows.numbers[slot * 2 + 1] = row.2
      for column in 0..<3 { rows.missing[slot * 3 + column] = 0 }
    }
    set.score(rows, count: 40, scratch: ScoringScratch(), into: scores)
    return (0..<(40 * set.count)).map {
      UInt64(scores[$0].margin.bitPattern) << 32 | UInt64(scores[$0].probability.bitPattern)
    }
  }
  private static let probe: [(UInt64, Float, Float)] = {
    var random = SplitMix64(state: 99)
    return (0..<40).map { _ in
      (
        Hash64.hash("carrier-\(Int.random(in: 0..<7, using: &random))"),
        Float.random(in: -30...90, using: &random), Float.random(in: 100...2500, using: &random)
      )
    }
  }()

  var scoreBits: [UInt64] { Self.scoreBits(state.scorers()!) }

  /// What a caller may bend before a command is signed and logged.
  struct Bend {
    var command: Command
    var key = worldKey
    var isForged = false
    var timestamp: EventTime
  }

  @discardableResult
  func command(
    _ action: Command.Action, bend: (inout Bend) -> Void = { _ in }
  ) -> [FoldEffect] {
    write(commandBytes(action, bend: bend))
  }

  func commandBytes(_ action: Command.Action, bend: (inout Bend) -> Void = { _ in }) -> [UInt8] {
    nextCommand += 1
    var bent = Bend(
      command: Command(
        id: "cmd-\(nextCommand)", pipeline: "flight-delay", clusterID: "c1", action: action,
        issuer: "ops", keyID: worldKey.publicKey.keyID, reason: "test",
        issuedAt: EventTime(milliseconds: now.milliseconds - 1000),
        expiresAt: EventTime(milliseconds: now.milliseconds + 60_000)), timestamp: now)
    bend(&bent)
    var (value, signature) = try! bent.command.signed(with: bent.key)
    if bent.isForged { value[value.count - 2] = UInt8(ascii: "x") }
    if bent.isForged { signature = Base64.encode([UInt8](repeating: 1, count: 64)) }
    return LoggedCommand(
      verifying: value, header: Array(signature.utf8), trusted: [worldKey.publicKey],
      controlOffset: Offset(Int64(nextCommand)), controlTimestamp: bent.timestamp
    ).record()
  }
}

func fold(_ log: [LogRecord], into state: ModelState = ModelState()) -> ModelState {
  for record in log {
    _ = state.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
  }
  return state
}

extension ModelState {
  func bytes() -> [UInt8] {
    var writer = ByteWriter()
    encode(into: &writer)
    return writer.bytes
  }
  convenience init(_ bytes: [UInt8]) throws(FormatError) {
    var reader = ByteReader(bytes)
    try self.init(restoring: &reader)
  }
}

extension [FoldEffect] {
  var statuses: [CommandAck.Status] {
    compactMap { if case .ack(_, let status, _, _, _) = $0 { status } else { nil } }
  }
  var details: [String] {
    compactMap { if case .ack(_, _, _, _, let detail) = $0 { detail } else { nil } }
  }
  var confirmed: [ModelVersion] {
    compactMap { if case .confirmed(let version, _) = $0 { version } else { nil } }
  }
  var divergences: [String] {
    compactMap { if case .diverged(_, _, _, let instance) = $0 { instance ?? "publisher" } else { nil } }
  }
  var alerts: [FoldAlert] {
    compactMap { if case .alert(let kind, _) = $0 { kind } else { nil } }
  }
  var kept: [ModelVersion] {
    compactMap { if case .keep(let version, _, _) = $0 { version } else { nil } }
  }
}
