/// What stands on topic `checkpoints`: content in chunks, and manifests that name them.
///
/// Constraints: one partition, compacted by key; a chunk and a manifest are at most `chunkByteCountMax` and
/// `CheckpointManifest.byteCountMax` bytes. Readers see no borders of transactions, and compaction may take any chunk
/// away: nothing is used before every digest was checked.
///
///     chunk      key: its SHA-256 in 64 lower-case hex digits; value: the bytes themselves
///     manifest   key: "manifest/<lineage>.<sequence>"; value: `CheckpointManifest`
///     retired    key of either; no value (a tombstone)
public enum CheckpointRecord: Sendable, Equatable {
  /// The bytes are those that their key names.
  case chunk(Digest, [UInt8])
  case manifest(CheckpointManifest)
  case retiredChunk(Digest)
  case retiredManifest(ModelVersion)

  public static let chunkByteCountMax = 512 * 1024
  private static let manifestPrefix = "manifest/"

  public var key: [UInt8] {
    switch self {
    case .chunk(let digest, _), .retiredChunk(let digest): Array(digest.description.utf8)
    case .manifest(let manifest): Self.key(of: manifest.version)
    case .retiredManifest(let version): Self.key(of: version)
    }
  }
  private static func key(of version: ModelVersion) -> [UInt8] { Array("\(manifestPrefix)\(version)".utf8) }

  /// nil: a tombstone.
  public var value: [UInt8]? {
    switch self {
    case .chunk(_, let bytes): bytes
    case .manifest(let manifest): manifest.encoded()
    case .retiredChunk, .retiredManifest: nil
    }
  }

  /// Errors: `FormatError` for anything else, wrong bytes under a chunk's key included; never traps.
  public static func decode(
    key: [UInt8]?, value: [UInt8]?
  ) throws(FormatError) -> CheckpointRecord {
    guard let text = key.flatMap({ String(validating: $0, as: UTF8.self) }) else {
      throw FormatError(.invalidValue, at: 0, field: "key")
    }
    if text.hasPrefix(manifestPrefix) {
      guard let version = ModelVersion(text.dropFirst(manifestPrefix.count)), Self.key(of: version) == key else {
        throw FormatError(.invalidValue, at: 0, field: "key")
      }
      guard let value else { return .retiredManifest(version) }
      let manifest = try CheckpointManifest.decode(value)
      guard manifest.version == version else { throw FormatError(.invalidValue, at: 0, field: "key") }
      return .manifest(manifest)
    }
    guard let digest = Digest(hex: text), digest.description == text else {
      throw FormatError(.invalidValue, at: 0, field: "key")
    }
    guard let value else { return .retiredChunk(digest) }
    guard value.count <= chunkByteCountMax else { throw FormatError(.invalidValue, at: 0, field: "chunk") }
    guard Digest.of(value) == digest else { throw FormatError(.badChecksum, at: 0, field: "chunk") }
    return .chunk(digest, value)
  }
}

/// Bytes of any length as chunks.
public struct ChunkedContent: Sendable, Hashable {
  public static let byteCountMax: UInt64 = 4 << 30
  /// SHA-256 of the whole.
  public var digest: Digest
  public var byteCount: UInt64
  public var chunks: [Digest]

  /// How `bytes` are cut, and the chunks themselves in order.
  public static func cut(_ bytes: [UInt8]) -> (content: ChunkedContent, chunks: [[UInt8]]) {
    let size = CheckpointRecord.chunkByteCountMax
    let chunks = stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
    return (
      ChunkedContent(
        digest: Digest.of(bytes), byteCount: UInt64(bytes.count), chunks: chunks.map { Digest.of($0) }), chunks
    )
  }

  func encode(into writer: inout ByteWriter) {
    writer.write(digest)
    writer.writeVarint(byteCount)
    writer.writeVarint(UInt64(chunks.count))
    for chunk in chunks { writer.write(chunk) }
  }

  init(from reader: inout ByteReader) throws(FormatError) {
    let at = reader.position
    digest = try reader.readDigest("digest")
    byteCount = try reader.readVarint("bytes")
    chunks = []
    for _ in 0..<(try reader.readCount(itemBytes: Digest.byteCount, "chunks")) {
      chunks.append(try reader.readDigest("chunk"))
    }
    // Every chunk but the last is full, so that one content has one manifest, and a length cannot lie by much.
    let size = UInt64(CheckpointRecord.chunkByteCountMax)
    guard byteCount <= Self.byteCountMax, UInt64(chunks.count) == (byteCount + size - 1) / size else {
      throw FormatError(.invalidValue, at: at, field: "bytes")
    }
  }

  init(digest: Digest, byteCount: UInt64, chunks: [Digest]) {
    self.digest = digest
    self.byteCount = byteCount
    self.chunks = chunks
  }
}

/// A published version of the model: where it stands in `learning`, and the content to start from there.
///
/// Constraints: little-endian; at most `byteCountMax` bytes.
///
///      0  4  magic "MLMF"
///      4  1  version 1
///      5  1  kind: 1 model
///      6  2  zero
///      8  4  CRC32C of all bytes from 12 to the end
///     12  …  pipeline, cluster id, publishing instance (text each); digest of the charter's record 32;
///            model version (varint lineage, varint sequence); offset of the next record of `learning` i64;
///            learned state, ledger (each: digest 32, varint bytes, varint count and digests of the chunks)
public struct CheckpointManifest: Sendable, Hashable {
  public static let byteCountMax = 1 << 20
  private static let magic: UInt32 = 0x464d_4c4d  // "MLMF"
  private static let headByteCount = 12

  public var pipeline: String
  public var clusterID: String
  public var instance: String
  public var charter: Digest
  public var version: ModelVersion
  /// A fold that starts from here goes on with this record of `learning`.
  public var next: Offset
  /// Hashes to what claims name.
  public var learned: ChunkedContent
  public var ledger: ChunkedContent

  public init(
    pipeline: String, clusterID: String, instance: String, charter: Digest, version: ModelVersion, next: Offset,
    learned: ChunkedContent, ledger: ChunkedContent
  ) {
    self.pipeline = pipeline
    self.clusterID = clusterID
    self.instance = instance
    self.charter = charter
    self.version = version
    self.next = next
    self.learned = learned
    self.ledger = ledger
  }

  public func encoded() -> [UInt8] {
    var writer = ByteWriter(capacity: 512)
    writer.write(Self.magic)
    writer.write(UInt8(1))
    writer.write(UInt8(1))
    writer.write(UInt16(0))
    writer.write(UInt32(0))
    for text in [pipeline, clusterID, instance] { writer.write(text) }
    writer.write(charter)
    writer.write(version)
    writer.write(next.value)
    learned.encode(into: &writer)
    ledger.encode(into: &writer)
    let crc = Self.checksum(writer.bytes)
    for index in 0..<4 { writer.bytes[8 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(8 * index)) }
    return writer.bytes
  }

  /// Errors: `FormatError` for any bytes that are not exactly one manifest; never traps.
  public static func decode(_ bytes: [UInt8]) throws(FormatError) -> CheckpointManifest {
    guard bytes.count <= byteCountMax else { throw FormatError(.invalidValue, at: 0, field: "manifest") }
    var reader = ByteReader(bytes)
    guard try reader.read(UInt32.self, "magic") == magic else {
      throw FormatError(.badMagic, at: 0, field: "magic")
    }
    guard try reader.read(UInt8.self, "version") == 1 else {
      throw FormatError(.unsupportedVersion, at: 4, field: "version")
    }
    guard try reader.read(UInt8.self, "kind") == 1, try reader.read(UInt16.self, "reserved") == 0 else {
      throw FormatError(.invalidValue, at: 5, field: "kind")
    }
    guard try reader.read(UInt32.self, "crc32c") == checksum(bytes) else {
      throw FormatError(.badChecksum, at: 8, field: "crc32c")
    }
    let manifest = CheckpointManifest(
      pipeline: try reader.readString("pipeline"), clusterID: try reader.readString("cluster id"),
      instance: try reader.readString("instance"), charter: try reader.readDigest("charter"),
      version: try reader.readVersion("version"), next: Offset(try reader.read(Int64.self, "next offset")),
      learned: try ChunkedContent(from: &reader), ledger: try ChunkedContent(from: &reader))
    try reader.expectEnd()
    guard manifest.next.value > 0 else { throw FormatError(.invalidValue, at: headByteCount, field: "next offset") }
    return manifest
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    // SAFETY: both callers hold at least the head, and the span is lent for the call alone.
    unsafe CRC32C.of(bytes.span.bytes.extracting(headByteCount..<bytes.count))
  }
}
