import Models
import Records

// Checkpoint of a model state, little-endian, version 1:
//
//     magic u32 "MLMS"; version u8 = 1; refused u8
//     ledger (its own comment)
//     if there are settings: learned state (varint length, bytes: `encodeContenders`); metrics of each contender
//     kept states: varint count; in order of digest: digest 32, varint length, bytes
//
// Kept states travel along, each once however many versions share it, so that a rollback right after a restart needs
// nothing from elsewhere. Checksums are the file's business.

extension ModelState {
  private static let magic: UInt32 = 0x534d_4c4d  // "MLMS"

  /// Appends everything; equal states give equal bytes.
  public func encode(into writer: inout ByteWriter) {
    writer.write(Self.magic)
    writer.write(UInt8(1))
    writer.write(isRefused)
    ledger.encode(into: &writer)
    if settings != nil {
      writer.write(sized: Self.encodeContenders(contenders))
      for metric in metrics { metric.encode(into: &writer) }
    }
    let digests = states.keys.sorted()
    writer.writeVarint(UInt64(digests.count))
    for digest in digests {
      writer.write(digest)
      writer.write(sized: states[digest] ?? [])
    }
  }

  /// SHA-256 of the ledger and the metrics: what replicas share beside the learned state.
  public var ledgerHash: Digest {
    var writer = ByteWriter(capacity: 4096)
    ledger.encode(into: &writer)
    for metric in metrics { metric.encode(into: &writer) }
    return Digest.of(writer.bytes)
  }

  /// A state that `encode` wrote, read to the reader's end.
  ///
  /// Errors:   `FormatError` for anything else, for states that do not hash to their digest, and for a ledger that names
  ///           a state which is not there.
  public convenience init(restoring reader: inout ByteReader) throws(FormatError) {
    self.init()
    guard try reader.read(UInt32.self, "magic") == Self.magic else {
      throw FormatError(.badMagic, at: reader.position - 4, field: "magic")
    }
    guard try reader.read(UInt8.self, "version") == 1 else {
      throw FormatError(.unsupportedVersion, at: reader.position - 1, field: "version")
    }
    isRefused = try reader.readBool("refused")
    let at = reader.position
    ledger = try Ledger(from: &reader)
    if let charter = ledger.charter,
      !isRefused || charter.engine == Self.engine
    {
      guard charter.engine == Self.engine else {
        throw FormatError(.unsupportedVersion, at: at, field: "engine")
      }
      // A refused charter may hold settings that cannot be read; then there is no state either.
      if let known = try? LearningSettings(canonical: charter.settings, rowSchema: charter.rowSchema) {
        install(known)
      } else if !isRefused {
        throw FormatError(.invalidValue, at: at, field: "settings")
      }
    }
    if let settings {
      contenders = try Self.restoreContenders(try reader.readSized("learned"), settings)
      for metric in metrics { try metric.restore(from: &reader) }
    }
    for _ in 0..<(try reader.readCount(itemBytes: 33, "kept states")) {
      let at = reader.position
      let digest = try reader.readDigest("digest")
      let bytes = try reader.readSized("kept state")
      guard Digest.of(bytes) == digest, states[digest] == nil else {
        throw FormatError(.badChecksum, at: at, field: "kept state")
      }
      states[digest] = bytes
    }
    guard Set(ledger.kept.map(\.digest)) == Set(states.keys) else {
      throw FormatError(.invalidValue, at: reader.position, field: "kept states")
    }
    try reader.expectEnd()
    didLearn()
  }
}
