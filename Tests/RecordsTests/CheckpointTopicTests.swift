// Method: content cut, shuffled, doubled, damaged and put together again; corrupt twins of every byte of a manifest.
import Records
import Testing

@Suite struct CheckpointTopicTests {
  private static func content(_ byteCount: Int, seed: UInt64) -> [UInt8] {
    var random = SplitMix64(state: seed)
    return (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
  }
  private static let learned = content(2 * CheckpointRecord.chunkByteCountMax + 7, seed: 1)
  private static let ledger = content(300, seed: 2)
  private static let manifest = CheckpointManifest(
    pipeline: "flight-delay", clusterID: "c1", instance: "w1", charter: Digest.of([3]),
    version: ModelVersion(lineage: Lineage(7), sequence: Sequence(184_201)), next: Offset(90),
    learned: ChunkedContent.cut(learned).content, ledger: ChunkedContent.cut(ledger).content)

  /// All records of the manifest and its chunks, the manifest last.
  private static var records: [CheckpointRecord] {
    (ChunkedContent.cut(learned).chunks + ChunkedContent.cut(ledger).chunks).map { .chunk(Digest.of($0), $0) }
      + [.manifest(manifest)]
  }

  @Test func `every record comes back from key and value`() throws {
    let version = Self.manifest.version
    for record in Self.records + [.retiredChunk(Digest.of([1])), .retiredManifest(version)] {
      #expect(try CheckpointRecord.decode(key: record.key, value: record.value) == record)
    }
    #expect(String(decoding: CheckpointRecord.retiredManifest(version).key, as: UTF8.self) == "manifest/7.184201")
  }

  @Test func `bytes of version 1 stay what they are`() {
    #expect(Digest.of(Self.manifest.encoded()).description == "a501644153ca346a2826b277a1f9ec39bdbbea9f7efadb8b4f599dcc6b81ecdf")
  }

  @Test(arguments: [0, 1, CheckpointRecord.chunkByteCountMax - 1, CheckpointRecord.chunkByteCountMax, CheckpointRecord.chunkByteCountMax + 1])
  func `content of any length is put together again`(_ byteCount: Int) {
    let bytes = Self.content(byteCount, seed: 9)
    let (content, chunks) = ChunkedContent.cut(bytes)
    var assembly = ChunkAssembly([content])
    for chunk in chunks { assembly.take(key: Array(Digest.of(chunk).description.utf8), value: chunk) }
    #expect(assembly.isComplete && assembly.verdict(content) == .whole(bytes))
  }

  @Test func `chunks in any order, doubled, damaged and among others make the content or say what is missing`() {
    var random = SplitMix64(state: 3)
    for _ in 0..<40 {
      var records = Self.records.map { ($0.key, $0.value) }
      records += records
      for _ in 0..<3 {
        var damaged = records.randomElement(using: &random)!
        damaged.1?[0] ^= 1
        records.append(damaged)
      }
      records.append((Array("else".utf8), [1]))
      records.append((records[0].0, nil))
      records.shuffle(using: &random)
      let count = Int.random(in: 0...records.count, using: &random)
      var assembly = ChunkAssembly([Self.manifest.learned, Self.manifest.ledger])
      var seen = Set<Digest>()
      for (key, value) in records[0..<count] {
        let isTaken = assembly.take(key: key, value: value)
        if case .chunk(let digest, _)? = try? CheckpointRecord.decode(key: key, value: value) {
          #expect(isTaken == seen.insert(digest).inserted)
        } else {
          #expect(!isTaken)
        }
      }
      for (content, bytes) in [(Self.manifest.learned, Self.learned), (Self.manifest.ledger, Self.ledger)] {
        let missing = content.chunks.filter { !seen.contains($0) }
        #expect(assembly.verdict(content) == (missing.isEmpty ? .whole(bytes) : .incomplete(missing: missing)))
      }
    }
  }

  @Test func `chunks that make something else are corrupt`() {
    for change in 0..<3 {
      var content = Self.manifest.learned
      switch change {
      case 0: content.digest = Digest.of([])
      case 1: content.byteCount -= 1
      default: content.chunks.swapAt(0, 1)
      }
      var assembly = ChunkAssembly([content])
      for record in Self.records { assembly.take(key: record.key, value: record.value) }
      #expect(assembly.isComplete && assembly.verdict(content) == .corrupt)
    }
  }

  @Test func `a cut, flipped or longer manifest is refused`() {
    let whole = Self.manifest.encoded()
    for count in 0..<whole.count {
      #expect(throws: FormatError.self) { try CheckpointManifest.decode(Array(whole[0..<count])) }
    }
    for bit in 0..<(8 * whole.count) {
      var bytes = whole
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: FormatError.self) { try CheckpointManifest.decode(bytes) }
    }
    #expect(throws: FormatError.self) { try CheckpointManifest.decode(sealed(whole + [0])) }
  }

  @Test func `forged bytes under a right checksum never trap, and lengths never lie`() {
    let whole = Self.manifest.encoded()
    var random = SplitMix64(state: 4)
    var read = 0
    for _ in 0..<20_000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 12..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      guard let manifest = try? CheckpointManifest.decode(sealed(bytes)) else { continue }
      read += 1
      for content in [manifest.learned, manifest.ledger] {
        let size = UInt64(CheckpointRecord.chunkByteCountMax)
        #expect(UInt64(content.chunks.count) * size >= content.byteCount)
        #expect(content.byteCount + size > UInt64(content.chunks.count) * size)
      }
    }
    #expect(read > 100)
  }

  @Test func `keys that are none, foreign manifests and wrong or too long chunks are refused`() {
    let manifest = Self.manifest.encoded()
    let chunk = Self.ledger
    let long = [UInt8](repeating: 1, count: CheckpointRecord.chunkByteCountMax + 1)
    let upper = Digest.of(chunk).description.uppercased()
    for (key, value) in [
      ("manifest/7.184202", manifest), ("manifest/07.184201", manifest), ("manifest/", manifest), ("manifest/7.184201", chunk),
      (Digest.of([]).description, chunk), (upper, chunk), ("", chunk), (Digest.of(long).description, long),
    ] {
      #expect(throws: FormatError.self) { try CheckpointRecord.decode(key: Array(key.utf8), value: value) }
    }
    #expect(throws: FormatError.self) { try CheckpointRecord.decode(key: nil, value: chunk) }
    #expect(throws: FormatError.self) { try CheckpointRecord.decode(key: [0xff], value: chunk) }
  }

  @Test func `what the ledger lists no more is retired, and no chunk that another manifest names`() {
    var index = CheckpointIndex()
    for record in Self.records { index.take(record) }
    var newer = Self.manifest
    newer.version.sequence.value += 1
    newer.next = Offset(120)
    newer.ledger = ChunkedContent.cut([7]).content
    index.take(.chunk(Digest.of([7]), [7]))
    index.take(.manifest(newer))
    #expect(index.retirable(keeping: [Self.manifest.version], newest: 1) == [])
    #expect(index.retirable(keeping: [], newest: 2) == [])
    let retired = index.retirable(keeping: [], newest: 1)
    #expect(retired == [.retiredManifest(Self.manifest.version), .retiredChunk(Self.manifest.ledger.chunks[0])])
    for record in retired { index.take(key: record.key, value: record.value) }
    #expect(index.usable(pipeline: "flight-delay", clusterID: "c1") == [newer])
  }

  @Test func `the index knows the newest manifests whose chunks are all there`() {
    var index = CheckpointIndex()
    func take(_ record: CheckpointRecord) { index.take(key: record.key, value: record.value) }
    func usable() -> [CheckpointManifest] { index.usable(pipeline: "flight-delay", clusterID: "c1") }
    for record in Self.records.dropFirst() { take(record) }
    #expect(usable() == [])
    take(Self.records[0])
    #expect(usable() == [Self.manifest])
    var newer = Self.manifest
    newer.version.sequence.value += 1
    newer.next = Offset(120)
    take(.manifest(newer))
    #expect(usable() == [newer, Self.manifest])
    #expect(index.usable(pipeline: "other", clusterID: "c1") == [])
    #expect(index.usable(pipeline: "flight-delay", clusterID: "c2") == [])
    take(.retiredManifest(newer.version))
    #expect(usable() == [Self.manifest])
    take(.retiredChunk(Self.manifest.ledger.chunks[0]))
    #expect(usable() == [])
    index.take(key: nil, value: nil)
    #expect(index.malformedCount == 1)
  }
}
