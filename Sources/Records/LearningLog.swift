/// The records of topic `learning`: one envelope, five kinds.
///
/// Constraints: little-endian; at most the topic's `max.message.bytes`; a reader refuses whatever it
/// does not know rather than guess, since every replica must read the same.
///
///      0  4  magic "MLRL"
///      4  1  kind: 1 charter, 2 example block, 3 command, 4 claim, 5 kept version
///      5  1  version of the kind's body: 1, of a claim 1 or 2
///      6  2  zero
///      8  4  CRC32C of all bytes from 12 to the end
///     12  …  body, as the kind's own comment says
///
/// Text is a varint length and UTF-8; digests are 32 raw bytes; varints are LEB128.
public enum LearningRecord: Sendable, Equatable {
  case charter(Charter)
  case examples(ExampleBlock)
  case command(LoggedCommand)
  case claim(HashClaim)
  case kept(KeptVersion)

  public enum Kind: UInt8, Sendable, CaseIterable {
    case charter = 1, examples = 2, command = 3, claim = 4, kept = 5
  }

  public var kind: Kind {
    switch self {
    case .charter: .charter
    case .examples: .examples
    case .command: .command
    case .claim: .claim
    case .kept: .kept
    }
  }

  /// Errors: `FormatError` for any bytes that are not exactly one record; never traps.
  public static func decode(_ bytes: [UInt8]) throws(FormatError) -> LearningRecord {
    var reader = ByteReader(bytes)
    let (kind, version) = try LearningEnvelope.open(&reader, bytes)
    let record: LearningRecord
    switch kind {
    case .charter: record = .charter(try Charter(body: &reader))
    case .examples: record = .examples(try ExampleBlock(body: &reader))
    case .command: record = .command(try LoggedCommand(body: &reader))
    case .claim: record = .claim(try HashClaim(body: &reader, version: version))
    case .kept: record = .kept(try KeptVersion(body: &reader))
    }
    try reader.expectEnd()
    return record
  }
}

/// Writes and checks the twelve bytes around every body.
enum LearningEnvelope {
  static let byteCount = 12
  private static let magic: UInt32 = 0x4c52_4c4d  // "MLRL"

  /// Newest version of a kind's body that is read.
  private static func versionMax(_ kind: LearningRecord.Kind) -> UInt8 { kind == .claim ? 2 : 1 }

  /// Starts a record; `close` must follow once the body is written.
  static func begin(
    _ kind: LearningRecord.Kind, version: UInt8 = 1, into writer: inout ByteWriter
  ) -> Int {
    let start = writer.count
    writer.write(magic)
    writer.write(kind.rawValue)
    writer.write(version)
    writer.write(UInt16(0))
    writer.write(UInt32(0))
    return start
  }

  static func close(_ start: Int, in writer: inout ByteWriter) {
    let body = start + byteCount
    // SAFETY: the range is checked, and the span is lent for the call alone.
    let crc = unsafe CRC32C.of(writer.bytes.span.bytes.extracting(body..<writer.count))
    for index in 0..<4 {
      writer.bytes[start + 8 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(8 * index))
    }
  }

  static func open(
    _ reader: inout ByteReader, _ bytes: [UInt8]
  ) throws(FormatError) -> (kind: LearningRecord.Kind, version: UInt8) {
    guard try reader.read(UInt32.self, "magic") == magic else {
      throw FormatError(.badMagic, at: 0, field: "magic")
    }
    guard let kind = LearningRecord.Kind(rawValue: try reader.read(UInt8.self, "kind")) else {
      throw FormatError(.invalidValue, at: 4, field: "kind")
    }
    let version = try reader.read(UInt8.self, "version")
    guard version >= 1, version <= versionMax(kind) else {
      throw FormatError(.unsupportedVersion, at: 5, field: "version")
    }
    guard try reader.read(UInt16.self, "reserved") == 0 else {
      throw FormatError(.invalidValue, at: 6, field: "reserved")
    }
    let stored = try reader.read(UInt32.self, "crc32c")
    // SAFETY: as above.
    let crc = unsafe CRC32C.of(bytes.span.bytes.extracting(byteCount..<bytes.count))
    guard crc == stored else {
      throw FormatError(.badChecksum, at: 8, field: "crc32c")
    }
    return (kind, version)
  }

  static func record(
    _ kind: LearningRecord.Kind, version: UInt8 = 1, _ body: (inout ByteWriter) -> Void
  ) -> [UInt8] {
    var writer = ByteWriter(capacity: 256)
    let start = begin(kind, version: version, into: &writer)
    body(&writer)
    close(start, in: &writer)
    return writer.bytes
  }
}

extension ByteWriter {
  public mutating func write(_ digest: Digest) { write(raw: digest.bytes) }

  public mutating func write(_ version: ModelVersion) {
    writeVarint(UInt64(version.lineage.value))
    writeVarint(version.sequence.value)
  }

  /// Columns in order: varint count, then for each its name and kind (u8).
  public mutating func write(_ schema: RowSchema) {
    writeVarint(UInt64(schema.columns.count))
    for column in schema.columns {
      write(column.name)
      write(column.kind.rawValue)
    }
  }
}

extension ByteReader {
  public mutating func readDigest(_ field: StaticString = "") throws(FormatError) -> Digest {
    let at = position
    guard let digest = Digest(bytes: try readRaw(Digest.byteCount, field)) else {
      throw FormatError(.invalidValue, at: at, field: field)
    }
    return digest
  }

  public mutating func readVersion(_ field: StaticString = "") throws(FormatError) -> ModelVersion {
    let at = position
    guard let lineage = UInt32(exactly: try readVarint(field)) else {
      throw FormatError(.invalidValue, at: at, field: field)
    }
    return ModelVersion(lineage: Lineage(lineage), sequence: Sequence(try readVarint(field)))
  }

  /// Column names must differ, and so must their hashes, since blocks know columns by hash alone.
  public mutating func readRowSchema(_ field: StaticString = "") throws(FormatError) -> RowSchema {
    let start = position
    let count = try readCount(itemBytes: 2, field)
    var columns: [RowColumn] = []
    var ids = Set<UInt64>()
    for _ in 0..<count {
      let name = try readString(field)
      let at = position
      guard let kind = RowColumn.Kind(rawValue: try read(UInt8.self, field)) else {
        throw FormatError(.invalidValue, at: at, field: field)
      }
      let column = RowColumn(name: name, kind: kind)
      guard ids.insert(column.id).inserted else {
        throw FormatError(.invalidValue, at: start, field: field)
      }
      columns.append(column)
    }
    return RowSchema(columns)
  }
}
