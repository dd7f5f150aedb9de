// Method: commands through encoder, signature and strict parser; then everything that a command must not be.
import Records
import Testing

@Suite struct CommandTests {
  static let command = Command(
    id: "cmd-1", pipeline: "flight-delay", clusterID: "c1",
    action: .rollback(to: .tag("good"), then: .freeze), issuer: "ops", keyID: "k1",
    reason: "loss \"rose\"", issuedAt: EventTime(milliseconds: 1_370_000_000_000),
    expiresAt: EventTime(milliseconds: 1_370_000_600_250), expectLineage: Lineage(3))

  static let actions: [Command.Action] = [
    .rollback(to: .previous, then: .continue), .rollback(to: .tag("g-1.x_Y"), then: .freeze),
    .rollback(
      to: .version(ModelVersion(lineage: Lineage(7), sequence: Sequence(184_201))), then: .freeze),
    .rollback(to: .before(EventTime(milliseconds: 1_370_000_000_123)), then: .continue), .freeze,
    .unfreeze, .tag(name: "good"), .promote(args: .object([])), .charter(args: .object([])),
  ]

  @Test func `what is sent is what is read`() throws {
    for action in Self.actions {
      var command = Self.command
      command.action = action
      command.isDryRun = action == .freeze
      command.expectLineage = action == .unfreeze ? nil : Lineage(.max)
      #expect(try Command(parsing: command.json()) == command)
    }
  }

  @Test func `bytes that are sent stay what they are`() {
    #expect(
      String(decoding: Self.command.json(), as: UTF8.self)
        == #"{"id":"cmd-1","pipeline":"flight-delay","cluster_id":"c1","kind":"rollback","args":{"to":"good","then":"freeze"},"issuer":"ops","key_id":"k1","reason":"loss \"rose\"","issued_at":"2013-05-31T11:33:20.000Z","expires_at":"2013-05-31T11:43:20.250Z","expect_lineage":3,"dry_run":false}"#
    )
  }

  static let base =
    #""id":"a","pipeline":"p","cluster_id":"c","issuer":"i","key_id":"k","reason":"r","issued_at":"2013-05-31T11:33:20Z","expires_at":"2013-05-31T12:33:20Z""#

  @Test func `the shortest command is read`() throws {
    let command = try Command(
      parsing: Array(#"{\#(Self.base),"kind":"freeze","args":{}}"#.utf8))
    #expect(command.action == .freeze && command.expectLineage == nil && !command.isDryRun)
  }

  @Test(arguments: [
    (#"{"#, nil), (#"[]"#, nil), (#"{}"#, nil),
    (#"{\#(base),"kind":"freeze"}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":[]}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{"x":1}}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"extra":1}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"dry_run":1}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"dry_run":null}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"expect_lineage":-1}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"expect_lineage":1.0}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"expect_lineage":4294967296}"#, "a"),
    (#"{\#(base),"kind":"freeze","args":{},"id":"b"}"#, nil),
    (#"{\#(base),"kind":"explode","args":{}}"#, "a"),
    (#"{\#(base),"kind":"tag","args":{"name":"7.184201"}}"#, "a"),
    (#"{\#(base),"kind":"tag","args":{"name":"previous"}}"#, "a"),
    (#"{\#(base),"kind":"tag","args":{"name":7}}"#, "a"),
    (#"{\#(base),"kind":"rollback","args":{"to":"previous"}}"#, "a"),
    (#"{\#(base),"kind":"rollback","args":{"to":"previous","then":"explode"}}"#, "a"),
    (#"{\#(base),"kind":"rollback","args":{"to":"","then":"freeze"}}"#, "a"),
    (#"{\#(base),"kind":"rollback","args":{"to":"+1.2","then":"freeze"}}"#, "a"),
    (#"{"id":"a b","pipeline":"p"}"#, nil), (#"{"id":7}"#, nil),
    (
      #"{"id":"a","pipeline":"p","cluster_id":"c","issuer":"i","key_id":"k","reason":"r","issued_at":"2013-05-31T11:33:20Z","expires_at":"2013-05-31T11:33:20Z","kind":"freeze","args":{}}"#,
      "a"
    ),
  ] as [(String, String?)])
  func `anything else is refused with a reason, and its id where it has one`(
    _ text: String, _ id: String?
  ) {
    #expect {
      _ = try Command(parsing: Array(text.utf8))
    } throws: { error in
      guard let fault = error as? CommandFault else { return false }
      return fault.id == id && !fault.description.isEmpty
    }
  }

  @Test func `a signature holds for the exact bytes and a trusted key alone`() throws {
    let key = try Ed25519.PrivateKey(seed: [UInt8](repeating: 7, count: 32))
    let other = try Ed25519.PrivateKey(seed: [UInt8](repeating: 8, count: 32))
    let (value, signature) = try Self.command.signed(with: key)
    func logged(
      _ value: [UInt8], _ header: String?, _ keys: [Ed25519.PrivateKey]
    ) -> LoggedCommand {
      LoggedCommand(
        verifying: value, header: header.map { Array($0.utf8) }, trusted: keys.map(\.publicKey),
        controlOffset: Offset(0), controlTimestamp: EventTime(milliseconds: 0))
    }
    let good = logged(value, signature, [other, key])
    #expect(good.isVerified && good.keyID == key.publicKey.keyID)
    #expect(!logged(value, signature, [other]).isVerified)
    #expect(!logged(value, nil, [key]).isVerified)
    #expect(!logged(value, "!!", [key]).isVerified)
    for index in value.indices {
      var bytes = value
      bytes[index] ^= 1
      #expect(!logged(bytes, signature, [key]).isVerified)
    }
  }

  @Test func `acks and alerts come back`() {
    for status in CommandAck.Status.allCases {
      let ack = CommandAck(
        id: "a", instance: "w-1", status: status,
        version: status == .received ? nil : LearningLogTests.version,
        stateHash: status == .applied ? Digest.of([1]) : nil, detail: "x \"y\"\n")
      #expect(CommandAck(parsing: ack.json()) == ack)
    }
    let alert = Alert(
      kind: "learning-replicas-differ", pipeline: "p", instance: "w", text: "t",
      version: LearningLogTests.version, time: EventTime(milliseconds: 1_370_000_000_001))
    #expect(Alert(parsing: alert.json()) == alert)
    #expect(CommandAck(parsing: Array("{}".utf8)) == nil)
    #expect(Alert(parsing: [0xff]) == nil)
  }
}
