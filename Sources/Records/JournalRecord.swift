/// What became of a record where it was not the default of its input.
public enum JournalDisposition: UInt8, Sendable, CaseIterable {
  case duplicate = 1
  case shed = 2
  case quarantined = 3
  case oversized = 4
  case expired = 5
}

/// What one commit unit did in one partition: enough to do it again, bit for bit, without its outputs.
///
/// Layout, all lengths varints, integers little-endian:
///
///     magic "MRJ2"                      4 bytes; "MRJ1" records lack the replay journal and the totals
///     plan digest                       32 bytes
///     inputs                            varint count, then per input
///       next offset, replay from        signed varints, the second as distance from the first
///     replay journal                    signed varint
///     runs of the merge                 varint count, then per run
///       input                           u8
///       next offset                     signed varint, from the same input's previous run
///     versions that scored              varint count, then per run
///       count, lineage, sequence        varints
///     contenders                        u8
///     scored events                     varint count, then columns: margins by contender, probabilities by contender
///       (f32 bits, 4 bytes each)
///     dispositions                      varint count, then per entry
///       input u8, offset signed varint (from the previous entry's), code u8
///     totals                            varint count, then varints
///     CRC32C over all before            4 bytes
///
/// Errors: decoding is total; every count is bounded by the bytes that are there.
public struct JournalRecord: Sendable, Equatable {
  public struct Run: Sendable, Equatable {
    public var input: UInt8
    public var nextOffset: Int64
  }
  public struct VersionRun: Sendable, Equatable {
    public var count: UInt32
    public var version: ModelVersion
  }
  public struct Disposition: Sendable, Equatable {
    public var input: UInt8
    public var offset: Int64
    public var code: UInt8
  }

  public var planDigest: Digest
  /// Per input, the offset after the last record consumed.
  public var nextOffsets: [Int64]
  /// Per input, from where a replay without a checkpoint has to start.
  public var replayFrom: [Int64]
  /// Offset in this journal from which such a replay finds all records it has to follow; 0: from the start.
  public var replayJournal: Int64 = 0
  public private(set) var runs: [Run] = []
  public private(set) var versions: [VersionRun] = []
  public private(set) var contenderCount: Int
  /// `[scored event * contenderCount + contender]`.
  public private(set) var scores: [ServedScore] = []
  public private(set) var dispositions: [Disposition] = []
  /// What became of all records of the partition up to here: records taken by input, then the counters of the
  /// account, in its order. So a state that is made again from the middle of the log knows its sums. Empty: not told.
  public var totals: [UInt64] = []

  public init(inputCount: Int, contenderCount: Int) {
    planDigest = Digest.of([])
    nextOffsets = Array(repeating: 0, count: inputCount)
    replayFrom = Array(repeating: 0, count: inputCount)
    self.contenderCount = contenderCount
  }

  public var isEmpty: Bool { runs.isEmpty }
  public var scoredCount: Int { contenderCount == 0 ? 0 : scores.count / contenderCount }

  /// Empties it for the next unit; keeps its memory.
  public mutating func clear() {
    runs.removeAll(keepingCapacity: true)
    versions.removeAll(keepingCapacity: true)
    scores.removeAll(keepingCapacity: true)
    dispositions.removeAll(keepingCapacity: true)
    totals.removeAll(keepingCapacity: true)
  }

  /// One record of `input` was taken; `nextOffset` is the offset after it.
  public mutating func noteRun(input: UInt8, nextOffset: Int64) {
    if let last = runs.indices.last, runs[last].input == input {
      runs[last].nextOffset = nextOffset
    } else {
      runs.append(Run(input: input, nextOffset: nextOffset))
    }
  }

  /// `count` events were scored by one version; their scores stand at the front of `scores`.
  public mutating func noteScored(
    count: Int, version: ModelVersion, scores served: borrowing FixedBuffer<ServedScore>
  ) {
    if let last = versions.indices.last, versions[last].version == version {
      versions[last].count += UInt32(count)
    } else {
      versions.append(VersionRun(count: UInt32(count), version: version))
    }
    for cell in 0..<(count * contenderCount) { scores.append(served[cell]) }
  }

  public mutating func noteDisposition(input: UInt8, offset: Int64, code: JournalDisposition) {
    dispositions.append(Disposition(input: input, offset: offset, code: code.rawValue))
  }

  /// Version that scored the event with this place among the scored ones, and how many of its run are left.
  public func version(ofScored index: Int) -> (version: ModelVersion, left: Int)? {
    var first = 0
    for run in versions {
      let end = first + Int(run.count)
      if index < end { return (run.version, end - index) }
      first = end
    }
    return nil
  }

  // MARK: Bytes

  static let magic: UInt32 = 0x324A_524D  // "MRJ2"
  static let magicFirst: UInt32 = 0x314A_524D  // "MRJ1"

  public func encode(into writer: inout ByteWriter) {
    let start = writer.count
    writer.write(Self.magic)
    writer.write(raw: planDigest.bytes)
    writer.writeVarint(UInt64(nextOffsets.count))
    for (next, from) in zip(nextOffsets, replayFrom) {
      writer.writeSignedVarint(next)
      writer.writeSignedVarint(next &- from)
    }
    writer.writeSignedVarint(replayJournal)
    writer.writeVarint(UInt64(runs.count))
    var previous = Array(repeating: Int64(0), count: 256)
    for run in runs {
      writer.write(run.input)
      writer.writeSignedVarint(run.nextOffset &- previous[Int(run.input)])
      previous[Int(run.input)] = run.nextOffset
    }
    writer.writeVarint(UInt64(versions.count))
    for run in versions {
      writer.writeVarint(UInt64(run.count))
      writer.writeVarint(UInt64(run.version.lineage.value))
      writer.writeVarint(run.version.sequence.value)
    }
    writer.write(UInt8(contenderCount))
    writer.writeVarint(UInt64(scoredCount))
    for contender in 0..<contenderCount {
      for event in 0..<scoredCount { writer.write(scores[event * contenderCount + contender].margin) }
      for event in 0..<scoredCount {
        writer.write(scores[event * contenderCount + contender].probability)
      }
    }
    writer.writeVarint(UInt64(dispositions.count))
    var lastOffset: Int64 = 0
    for entry in dispositions {
      writer.write(entry.input)
      writer.writeSignedVarint(entry.offset &- lastOffset)
      lastOffset = entry.offset
      writer.write(entry.code)
    }
    writer.writeVarint(UInt64(totals.count))
    for total in totals { writer.writeVarint(total) }
    writer.write(CRC32C.of(Array(writer.bytes[start...])))
  }

  public static func decode(_ bytes: [UInt8]) throws(FormatError) -> JournalRecord {
    guard bytes.count >= 8 else { throw FormatError(.truncated, at: bytes.count, field: "journal") }
    var trailer = ByteReader(bytes.suffix(4))
    guard try trailer.read(UInt32.self, "checksum") == CRC32C.of(bytes, count: bytes.count - 4) else {
      throw FormatError(.badChecksum, at: bytes.count - 4, field: "journal")
    }
    var reader = ByteReader(bytes.dropLast(4))
    let found = try reader.read(UInt32.self, "magic")
    guard found == magic || found == magicFirst else {
      throw FormatError(.badMagic, at: 0, field: "journal")
    }
    guard let digest = Digest(bytes: try reader.readRaw(32, "plan digest")) else {
      throw FormatError(.invalidValue, at: 4, field: "plan digest")
    }
    let inputs = try reader.readCount(itemBytes: 2, "inputs")
    guard inputs <= 255 else {
      throw FormatError(.invalidValue, at: reader.position, field: "inputs")
    }
    var record = JournalRecord(inputCount: inputs, contenderCount: 0)
    record.planDigest = digest
    for input in 0..<inputs {
      record.nextOffsets[input] = try reader.readSignedVarint("next offset")
      record.replayFrom[input] =
        record.nextOffsets[input] &- (try reader.readSignedVarint("replay from"))
    }
    if found == magic { record.replayJournal = try reader.readSignedVarint("replay journal") }
    var previous = Array(repeating: Int64(0), count: 256)
    for _ in 0..<(try reader.readCount(itemBytes: 2, "runs")) {
      let input = try reader.read(UInt8.self, "run input")
      guard Int(input) < inputs else {
        throw FormatError(.invalidValue, at: reader.position, field: "run input")
      }
      previous[Int(input)] &+= try reader.readSignedVarint("run offset")
      record.runs.append(Run(input: input, nextOffset: previous[Int(input)]))
    }
    for _ in 0..<(try reader.readCount(itemBytes: 3, "versions")) {
      let at = reader.position
      guard let count = UInt32(exactly: try reader.readVarint("version count")),
        let lineage = UInt32(exactly: try reader.readVarint("lineage"))
      else { throw FormatError(.invalidValue, at: at, field: "versions") }
      record.versions.append(
        VersionRun(
          count: count,
          version: ModelVersion(
            lineage: Lineage(lineage), sequence: Sequence(try reader.readVarint("sequence")))))
    }
    try record.decodeScores(from: &reader)
    var lastOffset: Int64 = 0
    for _ in 0..<(try reader.readCount(itemBytes: 3, "dispositions")) {
      let at = reader.position
      let input = try reader.read(UInt8.self, "disposition input")
      lastOffset &+= try reader.readSignedVarint("disposition offset")
      let code = try reader.read(UInt8.self, "disposition code")
      guard Int(input) < inputs, JournalDisposition(rawValue: code) != nil else {
        throw FormatError(.invalidValue, at: at, field: "dispositions")
      }
      record.dispositions.append(Disposition(input: input, offset: lastOffset, code: code))
    }
    if found == magic {
      for _ in 0..<(try reader.readCount(itemBytes: 1, "totals")) {
        record.totals.append(try reader.readVarint("total"))
      }
    }
    try reader.expectEnd()
    return record
  }

  private mutating func decodeScores(from reader: inout ByteReader) throws(FormatError) {
    let width = Int(try reader.read(UInt8.self, "contenders"))
    let at = reader.position
    let scored = try reader.readCount(itemBytes: 8 * width, "scored events")
    guard width > 0 || scored == 0 else { throw FormatError(.invalidValue, at: at, field: "scored events") }
    contenderCount = width
    scores = Array(repeating: .absent, count: scored * width)
    for contender in 0..<width {
      for event in 0..<scored {
        scores[event * width + contender].margin = try reader.readFloat("margin")
      }
      for event in 0..<scored {
        scores[event * width + contender].probability = try reader.readFloat("probability")
      }
    }
    let total = versions.reduce(UInt64(0)) { $0 + UInt64($1.count) }
    guard total == UInt64(scored) else { throw FormatError(.invalidValue, at: at, field: "versions") }
  }
}
