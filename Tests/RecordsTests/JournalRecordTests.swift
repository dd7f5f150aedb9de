import Testing

@testable import Records

/// Method: golden bytes, the round trip, then corruption: every cut and every bit under the checksum, and every
/// byte changed with the checksum made right again, so that the decoder itself is reached.
struct JournalRecordTests {
  static func scores(_ values: [Float]) -> FixedBuffer<ServedScore> {
    let buffer = FixedBuffer(repeating: ServedScore.absent, count: values.count)
    for (index, value) in values.enumerated() {
      buffer[index] = ServedScore(margin: value, probability: value / 2)
    }
    return buffer
  }
  static let record: JournalRecord = {
    var record = JournalRecord(inputCount: 2, contenderCount: 2)
    record.planDigest = Digest.of([1])
    record.nextOffsets = [1003, 70_000_000_000]
    record.replayFrom = [900, 69_999_999_000]
    record.replayJournal = 77
    for step in [(0, 1001), (0, 1002), (1, 70_000_000_000), (0, 1003)] as [(UInt8, Int64)] {
      record.noteRun(input: step.0, nextOffset: step.1)
    }
    let version = ModelVersion(lineage: Lineage(7), sequence: Sequence(184_201))
    record.noteScored(count: 2, version: version, scores: scores([1, -2, 3, -4]))
    record.noteScored(count: 1, version: version, scores: scores([5, 6]))
    record.noteScored(
      count: 1, version: ModelVersion(lineage: Lineage(8), sequence: Sequence(184_300)), scores: scores([7, 8]))
    record.noteDisposition(input: 0, offset: 1002, code: .duplicate)
    record.noteDisposition(input: 1, offset: 69_999_999_999, code: .expired)
    record.totals = [103, 1_000, 99, 1, 3, .max]
    return record
  }()
  static func encode(_ record: JournalRecord) -> [UInt8] {
    var writer = ByteWriter()
    record.encode(into: &writer)
    return writer.bytes
  }

  @Test func `the bytes of a known record do not change`() {
    let bytes = Self.encode(Self.record)
    #expect(Array(bytes.prefix(4)) == Array("MRJ2".utf8))
    #expect(bytes.count == 175)
    #expect(Digest.of(bytes).description == "c964b1bd06874d294a0f1b2df6e7388baec6229d024f8adc1bbf4ceefdc22607")
  }

  @Test func `a record of the first format reads as before, its replay from the journal's start`() throws {
    var writer = ByteWriter()
    var plain = Self.record
    plain.replayJournal = 0
    plain.totals = []
    plain.encode(into: &writer)
    // The first format lacks the last varint and one behind digest, count and offsets, and has another magic.
    var bytes = Array(writer.bytes.dropLast(5))
    var reader = ByteReader(Array(bytes[36...]))
    _ = try reader.readVarint("inputs")
    for _ in 0..<4 { _ = try reader.readSignedVarint("offsets") }
    #expect(bytes[36 + reader.position] == 0)
    bytes.remove(at: 36 + reader.position)
    bytes[3] = UInt8(ascii: "1")
    var first = ByteWriter()
    first.write(raw: bytes)
    first.write(CRC32C.of(bytes))
    #expect(try JournalRecord.decode(first.bytes) == plain)
  }

  @Test func `a record reads back as it was written, runs merged`() throws {
    let read = try JournalRecord.decode(Self.encode(Self.record))
    #expect(read == Self.record)
    #expect(read.runs.map(\.nextOffset) == [1002, 70_000_000_000, 1003])
    #expect(read.versions.map(\.count) == [3, 1])
    #expect(read.scoredCount == 4)
    #expect(read.scores[3].margin == -4 && read.scores[6].probability == 3.5)
    #expect(read.version(ofScored: 1)?.left == 2)
    #expect(read.version(ofScored: 3)?.version.lineage.value == 8)
    #expect(read.version(ofScored: 4) == nil)
    // Absent scores keep their meaning though NaN equals nothing.
    var absent = JournalRecord(inputCount: 1, contenderCount: 1)
    absent.noteScored(
      count: 1, version: ModelVersion(lineage: Lineage(0), sequence: Sequence(0)),
      scores: FixedBuffer(repeating: .absent, count: 1))
    #expect(try JournalRecord.decode(Self.encode(absent)).scores[0].isAbsent)
    let empty = JournalRecord(inputCount: 0, contenderCount: 0)
    #expect(try JournalRecord.decode(Self.encode(empty)).isEmpty)
  }

  @Test func `extreme offsets survive`() throws {
    var record = JournalRecord(inputCount: 2, contenderCount: 0)
    record.nextOffsets = [.max, .min]
    record.replayFrom = [.min, .max]
    record.noteRun(input: 0, nextOffset: .max)
    record.noteRun(input: 1, nextOffset: .min)
    record.noteRun(input: 0, nextOffset: .min)
    record.noteDisposition(input: 1, offset: .max, code: .shed)
    record.noteDisposition(input: 0, offset: .min, code: .shed)
    #expect(try JournalRecord.decode(Self.encode(record)) == record)
  }

  @Test func `no cut and no flipped bit is read`() {
    let bytes = Self.encode(Self.record)
    for count in 0..<bytes.count {
      #expect(throws: FormatError.self) { try JournalRecord.decode(Array(bytes[..<count])) }
    }
    for bit in 0..<(bytes.count * 8) {
      var bad = bytes
      bad[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: FormatError.self) { try JournalRecord.decode(bad) }
    }
    #expect(throws: FormatError.self) { try JournalRecord.decode(bytes + [0]) }
  }

  @Test func `behind a right checksum, wrong bytes are an error or another record, never a trap`() {
    func sealed(_ bytes: [UInt8]) -> [UInt8] {
      var writer = ByteWriter()
      writer.write(raw: bytes)
      writer.write(CRC32C.of(bytes))
      return writer.bytes
    }
    let body = Array(Self.encode(Self.record).dropLast(4))
    var read = 0
    for place in 0..<body.count {
      for value in [0x00, 0x01, 0x7f, 0x80, 0xff, body[place] ^ 1] as [UInt8] {
        var bad = body
        bad[place] = value
        if let other = try? JournalRecord.decode(sealed(bad)) {
          read += 1
          #expect(other.runs.allSatisfy { Int($0.input) < other.nextOffsets.count })
          #expect(other.dispositions.allSatisfy { Int($0.input) < other.nextOffsets.count })
          #expect(other.versions.reduce(0) { $0 + Int($1.count) } == other.scoredCount)
        }
      }
      #expect(throws: FormatError.self) { try JournalRecord.decode(sealed(Array(body[..<place]))) }
    }
    #expect(read > 0)
    var magic = body
    magic[3] = 0x33
    #expect(throws: FormatError(.badMagic, at: 0)) { try JournalRecord.decode(sealed(magic)) }
  }
}
