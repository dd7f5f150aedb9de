import Records

/// Counts of what the fold did; they rise only.
public struct FoldCounters: Sendable, Equatable {
  /// Bytes that are no record of this topic.
  public var malformed: UInt64 = 0
  /// Records before the charter, or under one that this build must not fold.
  public var unchartered: UInt64 = 0
  /// Charter records after the first.
  public var chartersIgnored: UInt64 = 0
  public var blocks: UInt64 = 0
  public var applied: UInt64 = 0
  public var quarantined: UInt64 = 0
  public var frozen: UInt64 = 0
  public var commandsAccepted: UInt64 = 0
  public var commandsRejected: UInt64 = 0
  /// Repeats of a known id.
  public var commandsRepeated: UInt64 = 0
  /// Commands for another pipeline.
  public var commandsForeign: UInt64 = 0
  public var claims: UInt64 = 0
  /// Claims that differ from this fold.
  public var claimsDiffering: UInt64 = 0
  public var keptConfirmed: UInt64 = 0
  /// `kept` records that came before, or of versions that are not listed.
  public var keptIgnored: UInt64 = 0
  public var switches: UInt64 = 0
  public init() {}

  static let count = 16
  var all: [UInt64] {
    [
      malformed, unchartered, chartersIgnored, blocks, applied, quarantined, frozen,
      commandsAccepted, commandsRejected, commandsRepeated, commandsForeign, claims,
      claimsDiffering, keptConfirmed, keptIgnored, switches,
    ]
  }
  init(_ values: [UInt64]) {
    precondition(values.count == Self.count)
    (malformed, unchartered, chartersIgnored, blocks) = (values[0], values[1], values[2], values[3])
    (applied, quarantined, frozen) = (values[4], values[5], values[6])
    (commandsAccepted, commandsRejected) = (values[7], values[8])
    (commandsRepeated, commandsForeign) = (values[9], values[10])
    (claims, claimsDiffering) = (values[11], values[12])
    (keptConfirmed, keptIgnored, switches) = (values[13], values[14], values[15])
  }
}

/// A version that is kept: tagged, at a switch, or every so many examples.
public struct KeptEntry: Sendable, Equatable {
  public var version: ModelVersion
  /// The learned state that this fold reached.
  public var digest: Digest
  /// Where the version came to be: its last block, the switch, or the charter.
  public var offset: Offset
  public var timestamp: EventTime
  /// The record that kept it: who starts from here folds on behind it.
  public var place: Offset
  /// SHA-256 of the ledger there; zero for the charter's start, which needs none.
  public var ledgerDigest: Digest = .zero
  public var tags: [String] = []
  /// Commands that tagged it and wait to be called applied.
  public var awaiting: [String] = []
  public internal(set) var agreement = Agreement()

  /// What this fold says of the version.
  public var ours: Agreement.Candidate { Agreement.Candidate(state: digest, ledger: ledgerDigest) }
  /// A `kept` record stands in the log.
  public var isStored: Bool { !agreement.stored.isEmpty || isConfirmed }
  /// It may be returned to.
  public var isConfirmed: Bool { agreement.confirmed != nil }
  /// Whether the log confirmed what this fold reached.
  public var isBeyondDoubt: Bool { agreement.confirmed == ours }
  /// Whether the claim names other bits than this fold reached. A claim of the first form tells nothing of the ledger.
  public func isContradicted(by claim: Agreement.Claim) -> Bool {
    claim.state != digest || (claim.ledger != .zero && claim.ledger != ledgerDigest)
  }
  /// The learned state that a return to it brings back.
  var target: Digest { agreement.confirmed?.state ?? digest }
}

/// What the fold knows beside the learned state. A rollback never rolls it back: else a used command would be valid again.
public struct Ledger: Sendable, Equatable {
  public struct SeenCommand: Sendable, Equatable {
    public var id: String
    public var expiresAt: EventTime
    public var isAccepted: Bool
    public var version: ModelVersion
    public var detail: String
  }
  /// Which learned state a lineage began with.
  public struct Origin: Sendable, Equatable {
    public var lineage: Lineage
    public var version: ModelVersion
  }

  public internal(set) var charter: Charter?
  /// The lineage that the charter in force began; what was kept before it cannot be returned to.
  public internal(set) var charterLineage = Lineage(1)
  public internal(set) var lineage = Lineage(0)
  public internal(set) var sequence = Sequence(0)
  public internal(set) var isFrozen = false
  /// One for each rollback, in order; a charter begins a lineage without one.
  public internal(set) var origins: [Origin] = []
  /// In the order of the log.
  public internal(set) var kept: [KeptEntry] = []
  /// In the order of the log. Dropped a day after they expired once there are more than a thousand.
  public internal(set) var commands: [SeenCommand] = []
  public internal(set) var counters = FoldCounters()
  /// The last record folded; -1 before the first.
  public internal(set) var offset = Offset(-1)
  /// The last record that made a version: block, switch or charter.
  public internal(set) var versionOffset = Offset(-1)
  public internal(set) var versionTimestamp = EventTime(milliseconds: 0)
  public internal(set) var lastControlOffset = Offset(-1)

  public var version: ModelVersion { ModelVersion(lineage: lineage, sequence: sequence) }

  public func tagged(_ name: String) -> KeptEntry? { kept.first { $0.tags.contains(name) } }

  /// Whether the charter in force made the version.
  public func isPresent(_ entry: KeptEntry) -> Bool { entry.version.lineage >= charterLineage }

  /// Drops what is beyond the newest `keep` untagged states. A state that several versions share counts once, so that
  /// rollbacks do not push out what one could still return to; confirmed ones and others count apart, so that
  /// neither can a publisher that is away.
  mutating func prune(keep: Int) {
    var confirmed = Set<Digest>()
    var pending = Set<Digest>()
    for index in kept.indices.reversed() where kept[index].tags.isEmpty {
      let digest = kept[index].target
      if kept[index].isConfirmed {
        if confirmed.count < keep { confirmed.insert(digest) }
        if !confirmed.contains(digest) { kept.remove(at: index) }
      } else {
        if pending.count < keep { pending.insert(digest) }
        if !pending.contains(digest) { kept.remove(at: index) }
      }
    }
  }

  mutating func remember(_ command: SeenCommand, now: EventTime) {
    commands.append(command)
    guard commands.count > 1000 else { return }
    let (dayAgo, overflow) = now.milliseconds.subtractingReportingOverflow(86_400_000)
    if !overflow { commands.removeAll { $0.expiresAt.milliseconds < dayAgo } }
  }

  // MARK: Checkpoint

  // charter u8, if 1 its record (varint length, bytes) and lineage u32; lineage u32; sequence u64; frozen u8;
  // origins, kept entries, commands (varint count each); 16 counters (varint);
  // offset, version's offset, version's timestamp, last control offset (i64 each).

  /// The ledger's digest of an entry kept by the last record is left out: it is that of these very bytes.
  func encode(into writer: inout ByteWriter) {
    writer.write(charter != nil)
    if let charter {
      writer.write(sized: charter.record())
      writer.write(charterLineage.value)
    }
    writer.write(lineage.value)
    writer.write(sequence.value)
    writer.write(isFrozen)
    writer.writeVarint(UInt64(origins.count))
    for origin in origins {
      writer.write(origin.lineage.value)
      writer.write(origin.version)
    }
    writer.writeVarint(UInt64(kept.count))
    for entry in kept {
      writer.write(entry.version)
      writer.write(entry.digest)
      writer.write(entry.offset.value)
      writer.write(entry.timestamp.milliseconds)
      writer.write(entry.place.value)
      writer.write(entry.place == offset ? .zero : entry.ledgerDigest)
      entry.agreement.encode(into: &writer)
      for texts in [entry.tags, entry.awaiting] {
        writer.writeVarint(UInt64(texts.count))
        for text in texts { writer.write(text) }
      }
    }
    writer.writeVarint(UInt64(commands.count))
    for command in commands {
      writer.write(command.id)
      writer.write(command.expiresAt.milliseconds)
      writer.write(command.isAccepted)
      writer.write(command.version)
      writer.write(command.detail)
    }
    for counter in counters.all { writer.writeVarint(counter) }
    writer.write(offset.value)
    writer.write(versionOffset.value)
    writer.write(versionTimestamp.milliseconds)
    writer.write(lastControlOffset.value)
  }

  init() {}

  init(from reader: inout ByteReader) throws(FormatError) {
    if try reader.readBool("charter") {
      let at = reader.position
      guard
        case .charter(let known) = try LearningRecord.decode(try reader.readSized("charter"))
      else { throw FormatError(.invalidValue, at: at, field: "charter") }
      charter = known
      charterLineage = Lineage(try reader.read(UInt32.self, "charter's lineage"))
    }
    lineage = Lineage(try reader.read(UInt32.self, "lineage"))
    sequence = Sequence(try reader.read(UInt64.self, "sequence"))
    isFrozen = try reader.readBool("frozen")
    for _ in 0..<(try reader.readCount(itemBytes: 6, "origins")) {
      origins.append(
        Origin(
          lineage: Lineage(try reader.read(UInt32.self, "lineage")),
          version: try reader.readVersion("origin")))
    }
    for _ in 0..<(try reader.readCount(itemBytes: 95, "kept")) {
      var entry = KeptEntry(
        version: try reader.readVersion("version"), digest: try reader.readDigest("digest"),
        offset: Offset(try reader.read(Int64.self, "offset")),
        timestamp: EventTime(milliseconds: try reader.read(Int64.self, "timestamp")),
        place: Offset(try reader.read(Int64.self, "place")),
        ledgerDigest: try reader.readDigest("ledger digest"))
      entry.agreement = try Agreement(from: &reader)
      for _ in 0..<(try reader.readCount("tags")) { entry.tags.append(try reader.readString("tag")) }
      for _ in 0..<(try reader.readCount("awaiting")) {
        entry.awaiting.append(try reader.readString("awaiting"))
      }
      kept.append(entry)
    }
    for _ in 0..<(try reader.readCount(itemBytes: 13, "commands")) {
      commands.append(
        SeenCommand(
          id: try reader.readString("id"),
          expiresAt: EventTime(milliseconds: try reader.read(Int64.self, "expires at")),
          isAccepted: try reader.readBool("accepted"), version: try reader.readVersion("version"),
          detail: try reader.readString("detail")))
    }
    var values: [UInt64] = []
    for _ in 0..<FoldCounters.count { values.append(try reader.readVarint("counters")) }
    counters = FoldCounters(values)
    offset = Offset(try reader.read(Int64.self, "offset"))
    versionOffset = Offset(try reader.read(Int64.self, "version's offset"))
    versionTimestamp = EventTime(milliseconds: try reader.read(Int64.self, "version's timestamp"))
    lastControlOffset = Offset(try reader.read(Int64.self, "control offset"))
  }
}
