/// Content put together again from the chunks of topic `checkpoints`, in whatever order they come.
///
/// Wrong bytes under a right key are as good as no bytes: another record of the same key may be whole.
///
/// Memory:   the chunks that are asked for, no other.
/// Errors:   none; `verdict` says what is there.
public struct ChunkAssembly: Sendable {
  public enum Verdict: Sendable, Equatable {
    case whole([UInt8])
    /// Chunks that were not seen yet, each once, in order.
    case incomplete(missing: [Digest])
    /// All chunks are there, and what they make is not what the manifest says: they were cut from something else.
    case corrupt
  }

  private let wanted: Set<Digest>
  private var held: [Digest: [UInt8]] = [:]

  /// Gathers the chunks of these contents.
  public init(_ contents: [ChunkedContent]) {
    wanted = Set(contents.flatMap(\.chunks))
  }

  public var isComplete: Bool { held.count == wanted.count }

  /// Takes a record of the topic; false if it is none that was asked for, or came already.
  @discardableResult
  public mutating func take(key: [UInt8]?, value: [UInt8]?) -> Bool {
    // Why the key first: most records are not ours, and a digest costs a pass over the bytes.
    guard let text = key.flatMap({ String(validating: $0, as: UTF8.self) }), let digest = Digest(hex: text),
      wanted.contains(digest), held[digest] == nil, let value,
      value.count <= CheckpointRecord.chunkByteCountMax, Digest.of(value) == digest
    else { return false }
    held[digest] = value
    return true
  }

  public func verdict(_ content: ChunkedContent) -> Verdict {
    var missing: [Digest] = []
    for chunk in content.chunks where held[chunk] == nil && !missing.contains(chunk) { missing.append(chunk) }
    guard missing.isEmpty else { return .incomplete(missing: missing) }
    let byteCount = content.chunks.reduce(UInt64(0)) { $0 + UInt64(held[$1]?.count ?? 0) }
    guard byteCount == content.byteCount else { return .corrupt }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(clamping: byteCount))
    for chunk in content.chunks { bytes += held[chunk] ?? [] }
    return Digest.of(bytes) == content.digest ? .whole(bytes) : .corrupt
  }
}

/// What topic `checkpoints` holds by its keys: the newest manifest of each version, and which chunks are there.
///
/// Memory:   some hundred bytes a manifest and 32 a chunk; chunks themselves pass through.
public struct CheckpointIndex: Sendable {
  public private(set) var manifests: [ModelVersion: CheckpointManifest] = [:]
  public private(set) var chunks = Set<Digest>()
  /// Records that are neither, or whose bytes are not what their key says.
  public private(set) var malformedCount = 0

  public init() {}

  /// Takes the topic's next record; they must come in the order of the log.
  public mutating func take(key: [UInt8]?, value: [UInt8]?) {
    do throws(FormatError) {
      take(try CheckpointRecord.decode(key: key, value: value))
    } catch {
      malformedCount += 1
    }
  }

  public mutating func take(_ record: CheckpointRecord) {
    switch record {
    case .chunk(let digest, _): chunks.insert(digest)
    case .manifest(let manifest): manifests[manifest.version] = manifest
    case .retiredChunk(let digest): chunks.remove(digest)
    case .retiredManifest(let version): manifests[version] = nil
    }
  }

  /// Manifests of one pipeline on one cluster whose chunks are all there, newest first.
  public func usable(pipeline: String, clusterID: String) -> [CheckpointManifest] {
    manifests.values.filter { manifest in
      manifest.pipeline == pipeline && manifest.clusterID == clusterID
        && manifest.learned.chunks.allSatisfy(chunks.contains) && manifest.ledger.chunks.allSatisfy(chunks.contains)
    }.sorted { ($1.next, $1.version) < ($0.next, $0.version) }
  }

  /// Tombstones for manifests of versions that are not `kept`, save the newest few, and for chunks that no other manifest
  /// names; in order.
  public func retirable(keeping kept: Set<ModelVersion>, newest: Int) -> [CheckpointRecord] {
    let ordered = manifests.values.sorted { ($1.next, $1.version) < ($0.next, $0.version) }
    let retired = ordered.dropFirst(max(newest, 0)).filter { !kept.contains($0.version) }
    guard !retired.isEmpty else { return [] }
    let gone = Set(retired.map(\.version))
    let named = Set(ordered.filter { !gone.contains($0.version) }.flatMap { $0.learned.chunks + $0.ledger.chunks })
    var records: [CheckpointRecord] = retired.map { .retiredManifest($0.version) }
    for chunk in chunks.sorted() where !named.contains(chunk) { records.append(.retiredChunk(chunk)) }
    return records
  }
}
