import Models
import Records

// Checkpoint of a model state, little-endian, version 2:
//
//     magic u32 "MLMS"; version u8 = 2
//     ledger part (varint length, bytes): refused u8; ledger (its own comment); if there are settings, metrics of each
//                                         contender
//     if there are settings: learned state (varint length, bytes: `encodeContenders`)
//     kept states: varint count; in order of digest: digest 32, varint length, bytes
//
// Kept states travel along, each once however many versions share it, so that a rollback right after a restart needs
// nothing from elsewhere. A state that starts from what was published has them not: the fold asks for one when it must
// return to it. Checksums are the file's business.

extension ModelState {
  private static let magic: UInt32 = 0x534d_4c4d  // "MLMS"

  /// Appends everything; equal states give equal bytes.
  public func encode(into writer: inout ByteWriter) {
    writer.write(Self.magic)
    writer.write(UInt8(2))
    writer.write(sized: ledgerPart())
    if settings != nil { writer.write(sized: Self.encodeContenders(contenders)) }
    let digests = states.keys.sorted()
    writer.writeVarint(UInt64(digests.count))
    for digest in digests {
      writer.write(digest)
      writer.write(sized: states[digest] ?? [])
    }
  }

  /// What replicas share beside the learned state: ledger and metrics. With the learned state it is all that a fold
  /// needs to go on behind the last record.
  public func ledgerPart() -> [UInt8] {
    var writer = ByteWriter(capacity: 4096)
    writer.write(isRefused)
    ledger.encode(into: &writer)
    if settings != nil {
      for metric in metrics { metric.encode(into: &writer) }
    }
    return writer.bytes
  }

  /// SHA-256 of the ledger part.
  public var ledgerHash: Digest { Digest.of(ledgerPart()) }

  /// A state that `encode` wrote, read to the reader's end.
  ///
  /// Errors:   `FormatError` for anything else, and for states that do not hash to their digest.
  public convenience init(restoring reader: inout ByteReader) throws(FormatError) {
    self.init()
    guard try reader.read(UInt32.self, "magic") == Self.magic else {
      throw FormatError(.badMagic, at: reader.position - 4, field: "magic")
    }
    guard try reader.read(UInt8.self, "version") == 2 else {
      throw FormatError(.unsupportedVersion, at: reader.position - 1, field: "version")
    }
    try restoreLedger(try reader.readSized("ledger part"))
    if let settings {
      contenders = try Self.restoreContenders(try reader.readSized("learned"), settings)
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
    guard Set(namedStates).isSuperset(of: states.keys) else {
      throw FormatError(.invalidValue, at: reader.position, field: "kept states")
    }
    try reader.expectEnd()
    didLearn()
  }

  /// A state to fold on from, as it stood right behind the record that kept the version: what a replica without a
  /// state of its own starts with, and one that doubts its own.
  ///
  /// `held` are states of other kept versions, as far as they are at hand; those the ledger does not name are left out.
  ///
  /// Errors:   `FormatError` for bytes that are not a ledger part and the learned state it names.
  public convenience init(
    ledgerPart: [UInt8], learned: [UInt8], held: [[UInt8]] = []
  ) throws(FormatError) {
    self.init()
    try restoreLedger(ledgerPart)
    guard let settings, let entry = ledger.kept.last, entry.place == ledger.offset,
      entry.digest == Digest.of(learned)
    else { throw FormatError(.badChecksum, at: 0, field: "learned") }
    contenders = try Self.restoreContenders(learned, settings)
    states[entry.digest] = learned
    // Anybody can make the start again, so nobody publishes it; one may be asked to return to it all the same.
    supply(Self.encodeContenders(Self.makeContenders(settings)))
    for bytes in held { supply(bytes) }
    didLearn()
  }

  /// The same, for what a manifest of topic `checkpoints` names; whether the log confirms it is another question.
  public convenience init(
    published manifest: CheckpointManifest, ledgerPart: [UInt8], learned: [UInt8]
  ) throws(FormatError) {
    try self.init(ledgerPart: ledgerPart, learned: learned)
    guard let entry = ledger.kept.last, entry.version == manifest.version,
      ledger.offset.value + 1 == manifest.next.value, ledger.charter?.clusterID == manifest.clusterID
    else { throw FormatError(.invalidValue, at: 0, field: "manifest") }
  }

  private func restoreLedger(_ part: [UInt8]) throws(FormatError) {
    var reader = ByteReader(part)
    isRefused = try reader.readBool("refused")
    let at = reader.position
    ledger = try Ledger(from: &reader)
    let digest = Digest.of(part)
    for index in ledger.kept.indices where ledger.kept[index].place == ledger.offset && !isStart(ledger.kept[index]) {
      ledger.kept[index].ledgerDigest = digest
    }
    if let charter = ledger.charter,
      !isRefused || Self.engines.contains(charter.engine)
    {
      guard Self.engines.contains(charter.engine) else {
        throw FormatError(.unsupportedVersion, at: at, field: "engine")
      }
      // A refused charter may hold settings that cannot be read; then there is no state either.
      if let known = try? LearningSettings(canonical: charter.settings, rowSchema: charter.rowSchema) {
        install(known)
      } else if !isRefused {
        throw FormatError(.invalidValue, at: at, field: "settings")
      }
    }
    for metric in metrics { try metric.restore(from: &reader) }
    try reader.expectEnd()
  }

  /// The first charter's version: anybody can make it, so it has no ledger's digest.
  private func isStart(_ entry: KeptEntry) -> Bool {
    entry.version == ModelVersion(lineage: Lineage(1), sequence: Sequence(0))
  }

  /// States that the ledger may be asked to return to.
  var namedStates: [Digest] {
    ledger.kept.filter(ledger.isPresent).flatMap { [$0.digest, $0.target] }
  }

  /// Takes a kept version's learned state that was not held; whether the ledger names it.
  @discardableResult
  public func supply(_ bytes: [UInt8]) -> Bool {
    let digest = Digest.of(bytes)
    guard namedStates.contains(digest) else { return false }
    states[digest] = bytes
    return true
  }
}
