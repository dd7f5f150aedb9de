// Method: what is written is read back; every cut and every flipped bit of a file is refused; content
// that is sealed with right checksums but wrong inside is refused without a trap.
import Records
import Testing

@testable import Checkpoints

/// A small generator, so that every run sees the same bytes.
struct Numbers {
  var state: UInt64
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 11
  }
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(next() & 0xff) } }
}

func makeIdentity(
  kind: CheckpointKind = .partition, inputs: [Int64] = [12, 7], log: Int64 = 5,
  generation: UInt64 = 3, parent: Digest? = Digest.of([9]), settings: [UInt8] = [1]
) -> CheckpointIdentity {
  CheckpointIdentity(
    kind: kind,
    fingerprint: CheckpointFingerprint(
      clusterID: "cluster-a", topic: "events", partition: PartitionID(3), pipeline: "flights",
      settings: Digest.of(settings)),
    inputs: inputs.enumerated().map { InputPosition(topic: "input\($0)", next: Offset($1)) },
    logNext: Offset(log), generation: generation, parent: parent)
}

func makeFile() -> [UInt8] {
  var writer = CheckpointWriter(makeIdentity())
  writer.add("windows", [1, 2, 3, 4, 5])
  writer.add("empty", [])
  writer.add("hints", Array("later".utf8), required: false)
  return writer.encode().bytes
}

@Test func `what is written is read back, whatever the sections hold`() throws {
  var numbers = Numbers(state: 1)
  for round in 0..<50 {
    var writer = CheckpointWriter(
      makeIdentity(
        kind: round % 2 == 0 ? .partition : .model,
        inputs: (0..<numbers.below(4)).map { _ in Int64(numbers.below(1 << 40)) },
        log: Int64(numbers.below(1 << 40)), generation: numbers.next(),
        parent: round % 3 == 0 ? nil : Digest.of([UInt8(round)])))
    for section in 0..<numbers.below(6) {
      writer.add("s\(section)", numbers.bytes(numbers.below(300)), required: section % 2 == 0)
    }
    let (bytes, id) = writer.encode()
    let read = try Checkpoint.decode(bytes)
    #expect(read.identity == writer.identity)
    #expect(read.sections == writer.sections)
    #expect(read.id == id)
  }
}

@Test func `equal content has equal bytes and version 1 keeps its encoding`() {
  #expect(makeFile() == makeFile())
  let file = makeFile()
  #expect(file.count == 296)
  #expect(
    Digest.of(file).description
      == "b24e30698f0ad77edeea2d6d59c4fc26ce90a984401be7e0505b08958dfca777")
}

@Test func `a file cut anywhere is refused`() {
  let file = makeFile()
  for length in 0..<file.count {
    #expect(throws: CheckpointError.self) { try Checkpoint.decode(Array(file[..<length])) }
  }
  #expect(throws: CheckpointError.self) { try Checkpoint.decode(file + [0]) }
}

@Test func `a flipped bit anywhere is refused`() {
  let file = makeFile()
  for index in file.indices {
    for bit in 0..<8 {
      var damaged = file
      damaged[index] ^= 1 << UInt8(bit)
      #expect(throws: CheckpointError.self) { try Checkpoint.decode(damaged) }
    }
  }
}

@Test func `a zeroed page anywhere is refused`() throws {
  var writer = CheckpointWriter(makeIdentity())
  var numbers = Numbers(state: 4)
  writer.add("windows", numbers.bytes(20_000).map { $0 | 1 })
  let file = writer.encode().bytes
  for start in stride(from: 0, to: file.count, by: 512) {
    var damaged = file
    for index in start..<min(start + 512, file.count) { damaged[index] = 0 }
    #expect(throws: CheckpointError.self) { try Checkpoint.decode(damaged) }
  }
}

@Test func `damage within a section is told by the section's name`() throws {
  var file = makeFile()
  let at = try #require(file.indices.first { Array(file[$0...].prefix(5)) == [1, 2, 3, 4, 5] })
  file[at] = 0xff
  #expect(throws: CheckpointError.badChecksum(.section, section: "windows")) {
    try Checkpoint.decode(file)
  }
}

@Test func `an unknown required section refuses the file, an unknown optional one is left out`() throws {
  let file = makeFile()
  let all = try Checkpoint.decode(file, knownSections: ["windows", "empty", "hints"])
  #expect(all.sections.count == 3)
  let some = try Checkpoint.decode(file, knownSections: ["empty", "windows"])
  #expect(some.sections.map(\.name) == ["windows", "empty"])
  #expect(throws: CheckpointError.unknownRequiredSection("windows")) {
    try Checkpoint.decode(file, knownSections: ["empty"])
  }
  #expect(throws: CheckpointError.missingSection("hints")) { try some.section("hints") }
}

@Test func `another format version is refused by name`() {
  var file = makeFile()
  file[8] = 2
  #expect(throws: CheckpointError.unsupportedVersion(2)) { try Checkpoint.decode(file) }
}

/// A file around any identity, sections and table, sealed with right checksums.
private func seal(head: [UInt8], sections: [UInt8], table: [UInt8]) -> [UInt8] {
  var file = ByteWriter()
  file.write(raw: CheckpointLayout.magic)
  file.write(Checkpoint.formatVersion)
  file.write(UInt32(head.count))
  file.write(
    UInt64(
      CheckpointLayout.headerBytes + head.count + sections.count + table.count
        + CheckpointLayout.footerBytes))
  file.write(raw: head)
  file.write(raw: sections)
  file.write(raw: table)
  file.write(CRC32C.of(head))
  file.write(CRC32C.of(table))
  file.write(UInt32(table.count))
  file.write(UInt64(sections.count))
  let digest = Digest.of(file.bytes)
  file.write(raw: digest.bytes)
  file.write(raw: CheckpointLayout.endMagic)
  return file.bytes
}

private func headBytes(_ identity: CheckpointIdentity) -> [UInt8] {
  var writer = ByteWriter()
  identity.encode(into: &writer)
  return writer.bytes
}

@Test func `sealed nonsense never traps and is never taken for another state`() throws {
  var numbers = Numbers(state: 7)
  let head = headBytes(makeIdentity())
  var table = ByteWriter()
  table.writeVarint(1)
  table.write("w")
  table.write(UInt8(1))
  table.write(UInt64(4))
  table.write(CRC32C.of([1, 2, 3, 4]))
  #expect(try Checkpoint.decode(seal(head: head, sections: [1, 2, 3, 4], table: table.bytes)).sections.count == 1)
  for _ in 0..<3000 {
    var wrongHead = head
    var wrongTable = table.bytes
    if numbers.below(2) == 0 {
      wrongHead[numbers.below(wrongHead.count)] = UInt8(numbers.next() & 0xff)
      if numbers.below(3) == 0 { wrongHead.removeLast(numbers.below(wrongHead.count)) }
    } else {
      wrongTable[numbers.below(wrongTable.count)] = UInt8(numbers.next() & 0xff)
      if numbers.below(3) == 0 { wrongTable.removeLast(numbers.below(wrongTable.count)) }
    }
    let file = seal(head: wrongHead, sections: [1, 2, 3, 4], table: wrongTable)
    if let read = try? Checkpoint.decode(file) {
      // Whatever was accepted has one encoding: the bytes it came from, varints in shortest form apart.
      #expect(read.sections.allSatisfy { $0.bytes == [1, 2, 3, 4] })
    }
  }
  for _ in 0..<500 {
    let file = seal(
      head: numbers.bytes(numbers.below(80)), sections: numbers.bytes(numbers.below(9)),
      table: numbers.bytes(numbers.below(40)))
    _ = try? Checkpoint.decode(file)
  }
}

@Test func `lengths that overlap, leave gaps or overflow are refused`() {
  let head = headBytes(makeIdentity())
  for claimed: UInt64 in [0, 3, 5, .max, .max - 3, 1 << 63] {
    var table = ByteWriter()
    table.writeVarint(1)
    table.write("w")
    table.write(UInt8(1))
    table.write(claimed)
    table.write(CRC32C.of([1, 2, 3, 4]))
    let file = seal(head: head, sections: [1, 2, 3, 4], table: table.bytes)
    #expect(throws: CheckpointError.self) { try Checkpoint.decode(file) }
  }
  // Section bytes in the footer that would wrap the sum around.
  var file = seal(head: head, sections: [1, 2, 3, 4], table: [0])
  let at = file.count - CheckpointLayout.footerBytes + 12
  for index in at..<(at + 8) { file[index] = 0xff }
  #expect(throws: CheckpointError.self) { try Checkpoint.decode(file) }
}
