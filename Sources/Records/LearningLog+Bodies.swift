/// Under which rules the log is folded. The first one in the log holds; workers obey it, not their YAML.
///
/// Body:  engine text; cluster id text; settings (varint length, bytes: canonical, opaque here);
///        row schema (count, then name and kind each); start digest 32.
public struct Charter: Sendable, Equatable {
  /// Which arithmetic folds this log; another engine must not.
  public var engine: String
  /// The cluster whose commands count. It stands here and not in a worker's memory, so that a mirrored
  /// log folds alike everywhere.
  public var clusterID: String
  /// Canonical learning settings, encoded by their owner.
  public var settings: [UInt8]
  public var rowSchema: RowSchema
  /// SHA-256 of the learned state that the fold starts from.
  public var start: Digest

  public init(
    engine: String, clusterID: String, settings: [UInt8], rowSchema: RowSchema, start: Digest
  ) {
    self.engine = engine
    self.clusterID = clusterID
    self.settings = settings
    self.rowSchema = rowSchema
    self.start = start
  }

  public func record() -> [UInt8] {
    LearningEnvelope.record(.charter) { writer in
      writer.write(engine)
      writer.write(clusterID)
      writer.write(sized: settings)
      writer.write(rowSchema)
      writer.write(start)
    }
  }

  init(body reader: inout ByteReader) throws(FormatError) {
    engine = try reader.readString("engine")
    clusterID = try reader.readString("cluster id")
    settings = try reader.readSized("settings")
    rowSchema = try reader.readRowSchema("row schema")
    start = try reader.readDigest("start")
  }
}

/// A command as the lane that owns `control` found it: the bytes that were signed, and where they stood.
///
/// Body:  verified u8 (0 or 1); key id text; signature (varint length, bytes); control offset i64;
///        control timestamp i64 (milliseconds); value (varint length, bytes).
public struct LoggedCommand: Sendable, Equatable {
  /// Exactly the bytes of the control record's value, signed as they are.
  public var value: [UInt8]
  public var signature: [UInt8]
  /// The trusted key that verified the signature; empty if none did.
  public var keyID: String
  public var controlOffset: Offset
  /// The broker's timestamp of the control record: expiry is judged against it, never a clock.
  public var controlTimestamp: EventTime
  public var isVerified: Bool

  public init(
    value: [UInt8], signature: [UInt8], keyID: String, controlOffset: Offset,
    controlTimestamp: EventTime, isVerified: Bool
  ) {
    self.value = value
    self.signature = signature
    self.keyID = keyID
    self.controlOffset = controlOffset
    self.controlTimestamp = controlTimestamp
    self.isVerified = isVerified
  }

  public func record() -> [UInt8] {
    LearningEnvelope.record(.command) { writer in
      writer.write(isVerified)
      writer.write(keyID)
      writer.write(sized: signature)
      writer.write(controlOffset.value)
      writer.write(controlTimestamp.milliseconds)
      writer.write(sized: value)
    }
  }

  init(body reader: inout ByteReader) throws(FormatError) {
    isVerified = try reader.readBool("verified")
    keyID = try reader.readString("key id")
    signature = try reader.readSized("signature")
    controlOffset = Offset(try reader.read(Int64.self, "control offset"))
    controlTimestamp = EventTime(
      milliseconds: try reader.read(Int64.self, "control timestamp"))
    value = try reader.readSized("value")
  }
}

/// What one fold of one replica says its state is: replicas compare.
///
/// Body:  version 1: instance text; version (varint lineage, varint sequence); state hash 32.
///        version 2: the same, then fold u8 (1 to 255), ledger hash 32. A claim that version 1 can say is written so.
public struct HashClaim: Sendable, Equatable {
  public var instance: String
  public var version: ModelVersion
  public var stateHash: Digest
  /// Which fold of this instance made the state: 1 the one that it serves from, above it one that was made again
  /// from the last version that stood beyond doubt.
  public var fold: UInt8
  /// SHA-256 of the ledger where the version was made; zero: not told.
  public var ledgerHash: Digest

  public init(
    instance: String, version: ModelVersion, stateHash: Digest, fold: UInt8 = 1, ledgerHash: Digest = .zero
  ) {
    self.instance = instance
    self.version = version
    self.stateHash = stateHash
    self.fold = max(fold, 1)
    self.ledgerHash = ledgerHash
  }

  private var isPlain: Bool { fold == 1 && ledgerHash == .zero }

  public func record() -> [UInt8] {
    LearningEnvelope.record(.claim, version: isPlain ? 1 : 2) { writer in
      writer.write(instance)
      writer.write(version)
      writer.write(stateHash)
      guard !isPlain else { return }
      writer.write(fold)
      writer.write(ledgerHash)
    }
  }

  init(body reader: inout ByteReader, version bodyVersion: UInt8) throws(FormatError) {
    instance = try reader.readString("instance")
    version = try reader.readVersion("version")
    stateHash = try reader.readDigest("state hash")
    fold = 1
    ledgerHash = .zero
    guard bodyVersion >= 2 else { return }
    let at = reader.position
    fold = try reader.read(UInt8.self, "fold")
    ledgerHash = try reader.readDigest("ledger hash")
    guard fold > 0, !isPlain else { throw FormatError(.invalidValue, at: at, field: "fold") }
  }
}

/// A version's state is stored: from here on every worker may be asked to return to it.
///
/// Body:  version (varint lineage, varint sequence); digest of the state 32.
public struct KeptVersion: Sendable, Equatable {
  public var version: ModelVersion
  public var digest: Digest

  public init(version: ModelVersion, digest: Digest) {
    self.version = version
    self.digest = digest
  }

  public func record() -> [UInt8] {
    LearningEnvelope.record(.kept) { writer in
      writer.write(version)
      writer.write(digest)
    }
  }

  init(body reader: inout ByteReader) throws(FormatError) {
    version = try reader.readVersion("version")
    digest = try reader.readDigest("digest")
  }
}
