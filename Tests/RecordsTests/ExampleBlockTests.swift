// Method: random examples go through the builder and the decoder and must come back bit for bit; then bytes are
// cut, flipped and forged.
import Records
import Testing

struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

let flightColumns = RowSchema([
  RowColumn(name: "hour", kind: .category), RowColumn(name: "carrier", kind: .category),
  RowColumn(name: "route", kind: .category), RowColumn(name: "distance", kind: .number),
  RowColumn(name: "altitude", kind: .number), RowColumn(name: "origin_mean", kind: .number),
  RowColumn(name: "carrier_mean", kind: .number), RowColumn(name: "count", kind: .number),
])

struct Example: Equatable {
  var header: ExampleHeader
  var numbers: [UInt32]
  var categories: [UInt64]
  var missing: [UInt8]
  var scores: [UInt32]
}

/// Rows like those of flights: an hour, sixteen carriers, some hundred routes, means that never repeat.
func flightExamples(_ count: Int, contenders: Int, seed: UInt64) -> [Example] {
  var random = SplitMix64(state: seed)
  var offset: Int64 = 0
  var labelOffset: Int64 = 0
  var knownAt: Int64 = 1_370_000_000_000
  return (0..<count).map { index in
    offset += Int64.random(in: -3...5, using: &random)
    labelOffset += Int64.random(in: 1...3, using: &random)
    knownAt += Int64.random(in: 0...120_000, using: &random)
    func number(_ scale: Float) -> UInt32 {
      (Float.random(in: -1...1, using: &random) * scale).bitPattern
    }
    var missing = [UInt8](repeating: 0, count: 8)
    for column in 3..<8 where UInt8.random(in: 0..<10, using: &random) == 0 { missing[column] = 1 }
    return Example(
      header: ExampleHeader(
        partition: PartitionID(index < count / 2 ? 0 : 2), offset: Offset(offset),
        labelOffset: Offset(labelOffset),
        kind: ExampleKind(rawValue: UInt8.random(in: 0...2, using: &random) / 2)!,
        value: Float(Int.random(in: 0...1, using: &random)), weight: 1,
        knownAt: EventTime(milliseconds: knownAt),
        version: ModelVersion(lineage: Lineage(7), sequence: Sequence(UInt64(184_000 + index / 50)))),
      numbers: [number(2500), number(900), number(60), number(60), UInt32(index % 40)],
      categories: [
        UInt64(Int.random(in: 0..<24, using: &random)) &* 0x9E37_79B9_7F4A_7C15,
        UInt64(Int.random(in: 0..<16, using: &random)) &* 0xC2B2_AE3D_27D4_EB4F,
        UInt64(Int.random(in: 0..<150, using: &random)) &* 0x1656_67B1_9E37_79F9,
      ], missing: missing,
      scores: (0..<(2 * contenders)).map { _ in number(3) })
  }
}

func append(_ example: Example, to builder: ExampleBlockBuilder) {
  let words = FixedBuffer<UInt32>(repeating: 0, count: builder.layout.wordCount + 3)
  let layout = builder.layout
  for (place, bits) in example.numbers.enumerated() { words[3 + place] = bits }
  for (place, value) in example.categories.enumerated() {
    words[3 + layout.categoryStart + 2 * place] = UInt32(truncatingIfNeeded: value)
    words[3 + layout.categoryStart + 2 * place + 1] = UInt32(truncatingIfNeeded: value >> 32)
  }
  for (column, flag) in example.missing.enumerated() where flag != 0 {
    words[3 + layout.missingStart + column / 32] |= 1 << UInt32(column % 32)
  }
  for (place, bits) in example.scores.enumerated() { words[3 + layout.scoreStart + place] = bits }
  builder.append(example.header, words: words, at: 3)
}

func examples(of block: ExampleBlock) -> [Example] {
  let n = block.count
  let numbers = block.columns.filter { $0.kind == .number }.count
  let categories = block.columns.count - numbers
  return (0..<n).map { index in
    Example(
      header: block.headers[index],
      numbers: (0..<numbers).map { block.numberBits[$0 * n + index] },
      categories: (0..<categories).map { block.categories[$0 * n + index] },
      missing: block.columns.indices.map { block.missing[$0 * n + index] },
      scores: (0..<(2 * block.contenderCount)).map { block.scoreBits[$0 * n + index] })
  }
}

func decoded(_ builder: ExampleBlockBuilder) throws -> [ExampleBlock] {
  try (0..<builder.sealedCount).map { index in
    guard case .examples(let block) = try LearningRecord.decode(Array(builder.sealed(index))) else {
      throw FormatError(.invalidValue, at: 0)
    }
    return block
  }
}

let planDigest = Digest.of(Array("plan".utf8))

@Suite struct ExampleBlockTests {
  @Test(arguments: [1, 2, 7, 300, 3000])
  func `examples come back bit for bit`(_ count: Int) throws {
    let given = flightExamples(count, contenders: 3, seed: UInt64(count))
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest, target: "late")
    for example in given { append(example, to: builder) }
    builder.seal()
    let blocks = try decoded(builder)
    #expect(blocks.flatMap(examples(of:)) == given)
    #expect(blocks[0].planDigest == planDigest && blocks[0].target == "late")
    #expect(blocks[0].columns.map(\.id) == flightColumns.columns.map(\.id))
  }

  @Test func `an example of the flagship takes at most 64 bytes in a full unit`() {
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest)
    for example in flightExamples(2000, contenders: 3, seed: 5) { append(example, to: builder) }
    builder.seal()
    let bytes = (0..<builder.sealedCount).reduce(0) { $0 + builder.sealed($1).count }
    #expect(bytes <= 64 * 2000, "bytes an example = \(Double(bytes) / 2000)")
  }

  @Test func `no block outgrows its limit, whatever the values`() throws {
    var random = SplitMix64(state: 11)
    let limit = 20_000
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest, byteLimit: limit)
    var given: [Example] = []
    for index in 0..<1000 {
      func word() -> UInt32 { UInt32.random(in: .min ... .max, using: &random) }
      given.append(
        Example(
          header: ExampleHeader(
            partition: PartitionID(Int32.random(in: .min ... .max, using: &random)),
            offset: Offset(Int64.random(in: .min ... .max, using: &random)),
            labelOffset: Offset(Int64.random(in: .min ... .max, using: &random)),
            kind: index % 2 == 0 ? .matured : .correction, value: Float(bitPattern: word() >> 2),
            weight: Float(bitPattern: word() >> 2),
            knownAt: EventTime(milliseconds: Int64.random(in: .min ... .max, using: &random)),
            version: ModelVersion(
              lineage: Lineage(word()), sequence: Sequence(UInt64.random(in: .min ... .max, using: &random)))),
          numbers: (0..<5).map { _ in word() },
          categories: (0..<3).map { _ in UInt64.random(in: .min ... .max, using: &random) },
          missing: (0..<8).map { _ in UInt8(word() & 1) }, scores: (0..<6).map { _ in word() }))
      append(given[index], to: builder)
    }
    builder.seal()
    #expect(builder.sealedCount > 1)
    for index in 0..<builder.sealedCount { #expect(builder.sealed(index).count <= limit) }
    #expect(try decoded(builder).flatMap(examples(of:)) == given)
  }

  @Test func `a cleared builder writes the same bytes again`() {
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest)
    var first: [UInt8] = []
    for round in 0..<3 {
      for example in flightExamples(100, contenders: 3, seed: 9) { append(example, to: builder) }
      builder.seal()
      if round == 0 { first = Array(builder.sealed(0)) }
      #expect(Array(builder.sealed(0)) == first)
      #expect(builder.sealedExampleCount == 100)
      builder.clear()
      #expect(builder.isEmpty)
    }
  }

  @Test func `bytes of version 1 stay what they are`() {
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest, target: "late")
    for example in flightExamples(64, contenders: 3, seed: 1) { append(example, to: builder) }
    builder.seal()
    #expect(
      Digest.of(Array(builder.sealed(0))).description
        == "caf5024d80f908584d42ad79ee20433d1eb333426fc512f86c537d80bfef22e0")
  }

  @Test func `a cut or flipped block is refused`() {
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest)
    for example in flightExamples(20, contenders: 3, seed: 2) { append(example, to: builder) }
    builder.seal()
    let whole = Array(builder.sealed(0))
    for count in 0..<whole.count {
      #expect(throws: FormatError.self) { try LearningRecord.decode(Array(whole[0..<count])) }
    }
    for index in whole.indices {
      var bytes = whole
      bytes[index] ^= 1 << UInt8(index % 8)
      #expect(throws: FormatError.self) { try LearningRecord.decode(bytes) }
    }
  }

  @Test func `forged bytes under a right checksum never trap`() {
    var random = SplitMix64(state: 3)
    let builder = ExampleBlockBuilder(
      schema: flightColumns, contenderCount: 3, planDigest: planDigest)
    for example in flightExamples(20, contenders: 3, seed: 2) { append(example, to: builder) }
    builder.seal()
    let whole = Array(builder.sealed(0))
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 12..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if let _ = try? LearningRecord.decode(sealed(bytes)) { accepted += 1 }
    }
    #expect(accepted > 0)
  }
}

/// The record with its checksum made right.
func sealed(_ record: [UInt8]) -> [UInt8] {
  guard record.count >= 12 else { return record }
  var bytes = record
  let crc = CRC32C.of(Array(bytes[12...]))
  for index in 0..<4 { bytes[8 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(8 * index)) }
  return bytes
}
