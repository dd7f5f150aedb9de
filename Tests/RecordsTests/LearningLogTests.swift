// Method: one record of each kind, its golden bytes, and corrupt twins of it.
import Records
import Testing

@Suite struct LearningLogTests {
  static let version = ModelVersion(lineage: Lineage(7), sequence: Sequence(184_201))
  static let charter = Charter(
    engine: "engine 1", clusterID: "cluster", settings: [1, 2, 3], rowSchema: flightColumns,
    start: Digest.of([0]))
  static let command = LoggedCommand(
    value: Array("{}".utf8), signature: [UInt8](repeating: 9, count: 64), keyID: "0123456789abcdef",
    controlOffset: Offset(17), controlTimestamp: EventTime(milliseconds: 1_370_000_000_000),
    isVerified: true)
  static let claim = HashClaim(instance: "worker-1", version: version, stateHash: Digest.of([1]))
  static let second = HashClaim(
    instance: "worker-1", version: version, stateHash: Digest.of([1]), fold: 2, ledgerHash: Digest.of([3]))
  static let kept = KeptVersion(version: version, digest: Digest.of([2]))
  static let all: [(LearningRecord, [UInt8])] = [
    (.charter(charter), charter.record()), (.command(command), command.record()),
    (.claim(claim), claim.record()), (.claim(second), second.record()), (.kept(kept), kept.record()),
  ]

  @Test func `each kind comes back`() throws {
    for (record, bytes) in Self.all { #expect(try LearningRecord.decode(bytes) == record) }
  }

  @Test func `golden bytes stay what they are`() {
    func hex(_ bytes: [UInt8]) -> String {
      bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
    #expect(
      hex(Self.kept.record())
        == "4d4c524c05010000c66cac5707899f0bdbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986"
    )
    #expect(Digest.of(Self.charter.record()).description == "64cc380e5132c1ff869de7f432fa67d4a5884084e6ddc8ff3696339e7427d044")
    #expect(Digest.of(Self.command.record()).description == "c15b2f8ef596905fbdb9d4679f0aaa54ba2411517488fd0b3dc634bf01c5f089")
    #expect(Digest.of(Self.second.record()).description == "d0c4572e3cd9c00316d1d141a8695299e8de58f87d5d74c854735afacecf7117")
    #expect(Digest.of(Self.claim.record()).description == "f503ccb02332ca0f1a1807d19b43c2980a0a569705ab08bc99c334d56eeb17e5")
  }

  @Test func `a cut, flipped or longer record is refused`() {
    for (_, whole) in Self.all {
      for count in 0..<whole.count {
        #expect(throws: FormatError.self) { try LearningRecord.decode(Array(whole[0..<count])) }
      }
      for bit in 0..<(8 * whole.count) {
        var bytes = whole
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(throws: FormatError.self) { try LearningRecord.decode(bytes) }
      }
      #expect(throws: FormatError.self) { try LearningRecord.decode(sealed(whole + [0])) }
    }
  }

  @Test func `forged bytes under a right checksum never trap`() {
    var random = SplitMix64(state: 4)
    for (_, whole) in Self.all {
      for _ in 0..<3000 {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          bytes[Int.random(in: 4..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        _ = try? LearningRecord.decode(sealed(bytes))
      }
    }
  }

  @Test func `columns of one name are refused`() {
    var charter = Self.charter
    charter.rowSchema = RowSchema([
      RowColumn(name: "a", kind: .number), RowColumn(name: "a", kind: .category),
    ])
    #expect(throws: FormatError.self) { try LearningRecord.decode(charter.record()) }
  }
}
