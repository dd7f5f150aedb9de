import Kafka
import Records
import Testing

@testable import Worker

/// Gathering answers: small worlds in every order and with every answer given twice, since a topic promises neither.
struct ControlAcksTests {
  static func ack(
    _ instance: String, _ status: CommandAck.Status, id: String = "c", hash: UInt8 = 1
  ) -> CommandAck {
    CommandAck(
      id: id, instance: instance, status: status,
      version: ModelVersion(lineage: Lineage(2), sequence: Sequence(10)),
      stateHash: Digest.of([hash]), detail: "\(instance) \(status)")
  }

  static func orders<T>(_ items: [T]) -> [[T]] {
    guard items.count > 1 else { return [items] }
    return items.indices.flatMap { index in
      var rest = items
      let first = rest.remove(at: index)
      return orders(rest).map { [first] + $0 }
    }
  }

  static func gathered(_ acks: [CommandAck], expected: Set<String>, isDryRun: Bool = false) -> ControlAcks {
    var state = ControlAcks(commandID: "c", isDryRun: isDryRun, expected: expected)
    for ack in acks { _ = state.take(ack) }
    return state
  }

  @Test func `the order of answers and their repetition change nothing`() {
    let answers = [
      Self.ack("a", .received), Self.ack("a", .accepted), Self.ack("a", .applied),
      Self.ack("b", .accepted), Self.ack("b", .applied), Self.ack("a", .applied, id: "other"),
    ]
    let reference = Self.gathered(answers, expected: ["a", "b"])
    #expect(reference.verdict == .complete)
    #expect(reference.endedCount == 2)
    for order in Self.orders(answers) {
      #expect(Self.gathered(order + order, expected: ["a", "b"]) == reference)
    }
  }

  @Test func `at every moment exactly those are missing who have not said the last word`() {
    let answers = [
      Self.ack("a", .accepted), Self.ack("a", .applied), Self.ack("b", .applied),
      Self.ack("late", .accepted), Self.ack("late", .applied),
    ]
    for order in Self.orders(answers) {
      var state = ControlAcks(commandID: "c", isDryRun: false, expected: ["a", "b"])
      for count in order.indices {
        let isNew = state.take(order[count])
        #expect(isNew)
        let said = order[...count]
        let known = Set(["a", "b"] + said.map(\.instance))
        let missing = known.filter { name in !said.contains { $0.instance == name && $0.status == .applied } }
        #expect(state.verdict == (missing.isEmpty ? .complete : .waiting(missing: missing.sorted())))
      }
    }
  }

  @Test func `a rejection outweighs all else, wherever it comes`() {
    let no = Self.ack("b", .rejected)
    for order in Self.orders([Self.ack("a", .applied), no, Self.ack("b", .applied), Self.ack("a", .accepted)]) {
      #expect(Self.gathered(order, expected: ["a", "b"]).verdict == .rejected([no]))
    }
  }

  @Test func `with nobody listed one instance is enough, and none is not`() {
    #expect(Self.gathered([], expected: []).verdict == .waiting(missing: []))
    #expect(Self.gathered([Self.ack("a", .accepted)], expected: []).verdict == .waiting(missing: ["a"]))
    #expect(Self.gathered([Self.ack("a", .applied)], expected: []).verdict == .complete)
    #expect(
      Self.gathered([Self.ack("a", .applied), Self.ack("b", .received)], expected: []).verdict
        == .waiting(missing: ["b"]))
  }

  @Test func `a dry run ends with accepted, a command does not`() {
    let said = [Self.ack("a", .received), Self.ack("a", .accepted)]
    #expect(Self.gathered(said, expected: ["a"], isDryRun: true).verdict == .complete)
    #expect(Self.gathered(said, expected: ["a"]).verdict == .waiting(missing: ["a"]))
  }

  @Test func `replicas that name different states for one answer are told apart`() {
    let alike = Self.gathered([Self.ack("a", .accepted), Self.ack("b", .accepted)], expected: [])
    #expect(alike.disagreeing == [])
    let parted = Self.gathered([Self.ack("a", .accepted), Self.ack("b", .accepted, hash: 2)], expected: [])
    #expect(parted.disagreeing == ["a", "b"])
  }

  @Test func `a member's worker is read from its instance id, else from its client id`() {
    #expect(workerInstance(instanceID: "eu-west-1-0", clientID: "x", pipeline: "p") == "eu-west-1")
    #expect(workerInstance(instanceID: nil, clientID: "p.q.host.example.12", pipeline: "p.q") == "host.example")
    for stranger in ["p.check", "p.host.producer", "other.host.0", "p.", "p.0", "p..0", ""] {
      #expect(workerInstance(instanceID: nil, clientID: stranger, pipeline: "p") == nil)
    }
  }
}

/// A command on its way from the operator's request to the lane that reads it.
struct ControlCommandTests {
  static let actions: [Command.Action] = [
    .rollback(to: .previous, then: .freeze), .rollback(to: .tag("good"), then: .continue),
    .rollback(to: .before(EventTime(milliseconds: 1_357_000_000_123)), then: .freeze), .freeze, .unfreeze,
    .tag(name: "good"),
  ]

  @Test(arguments: actions) func `what is signed is what a lane verifies and parses`(action: Command.Action) throws {
    let key = try Ed25519.PrivateKey.generate()
    let other = try Ed25519.PrivateKey.generate()
    let now = EventTime(milliseconds: 1_700_000_000_000)
    let command = ControlRequest(
      action: action, issuer: "ada", reason: "labels \"poisoned\" ☠", expectLineage: Lineage(3), isDryRun: true
    ).command(id: hexadecimal(7) + hexadecimal(.max), pipeline: "p", clusterID: "k", keyID: key.publicKey.keyID, now: now)
    let (value, signature) = try command.signed(with: key)
    func logged(_ value: [UInt8], _ keys: [Ed25519.PublicKey]) -> LoggedCommand {
      LoggedCommand(
        verifying: value, header: Array(signature.utf8), trusted: keys, controlOffset: Offset(0),
        controlTimestamp: now)
    }
    let received = logged(value, [other.publicKey, key.publicKey])
    #expect(received.isVerified)
    #expect(received.keyID == command.keyID)
    #expect(try Command(parsing: received.value) == command)
    #expect(!logged(value, [other.publicKey]).isVerified)
    for index in value.indices {
      var bad = value
      bad[index] ^= 1
      #expect(!logged(bad, [key.publicKey]).isVerified)
    }
  }

  @Test(arguments: [0, 30_000, 149_999, 150_001, 600_000, .max])
  func `a command lives at least five minutes, and twice as long as its sender waits`(timeout: Int64) throws {
    let now = EventTime(milliseconds: 1_700_000_000_000)
    let command = ControlRequest(
      action: .freeze, issuer: "ada", reason: "r", timeoutMilliseconds: timeout
    ).command(id: "i", pipeline: "p", clusterID: "k", keyID: "", now: now)
    let life = command.expiresAt.milliseconds - now.milliseconds
    #expect(life >= 300_000)
    #expect(timeout > 1 << 40 || life == max(300_000, timeout * 2))
    #expect(try Command(parsing: command.json()).expiresAt == command.expiresAt)
  }

  @Test func `ids are 128 bits of hexadecimal digits`() {
    #expect(hexadecimal(0) == "0000000000000000")
    #expect(hexadecimal(.max) == "ffffffffffffffff")
    #expect(hexadecimal(0xab).utf8.count == 16)
  }
}
