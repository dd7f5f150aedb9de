// Method: commands over a small log; what a rollback promises is compared bit for bit with the version it goes to.
import Models
import Records
import Testing

@testable import Learning

@Suite struct RollbackTests {
  /// Learnt well, tagged `good`, then poisoned.
  static func poisoned() -> (world: World, good: [UInt64], hash: Digest) {
    let world = World(seed: 6)
    for _ in 0..<10 { world.block(40) }
    world.command(.tag(name: "good"))
    let good = world.scoreBits
    let hash = world.state.stateHash
    for _ in 0..<5 { world.block(40, flipped: true) }
    return (world, good, hash)
  }

  @Test func `after a rollback scores are those of the version it went to, bit for bit`() {
    let (world, good, hash) = Self.poisoned()
    #expect(world.scoreBits != good)
    let sequence = world.state.version.sequence
    let effects = world.command(.rollback(to: .tag("good"), then: .freeze))
    #expect(effects.statuses == [.accepted])
    #expect(world.scoreBits == good && world.state.stateHash == hash)
    #expect(world.state.version == ModelVersion(lineage: Lineage(2), sequence: sequence))
    #expect(
      effects.contains(.switched(version: world.state.version, reason: "rollback to 1.400")))
    #expect(effects.kept == [world.state.version])
    // Frozen: the poison that still comes teaches nothing, but is counted.
    world.block(40, flipped: true)
    #expect(world.scoreBits == good)
    #expect(world.state.ledger.counters.frozen == 40)
    #expect(world.state.version.sequence.value == sequence.value + 40)
    world.command(.unfreeze)
    world.block(40)
    #expect(world.scoreBits != good)
  }

  @Test func `a rollback to each kind of target reaches the version that it names`() {
    for target in 0..<4 {
      let world = World(seed: 6)
      for _ in 0..<4 { world.block(50) }
      let wanted = world.state.ledger.kept[1]
      let bits = World.scoreBits(world.state.scorers(of: wanted)!)
      let later = world.state.ledger.kept[2]
      world.block(10)
      let to: RollbackTarget =
        switch target {
        case 0: .version(wanted.version)
        case 1: .before(later.timestamp)
        case 2: .before(EventTime(milliseconds: wanted.timestamp.milliseconds + 1))
        default: .previous
        }
      #expect(world.command(.rollback(to: to, then: .continue)).statuses == [.accepted])
      if target == 3 {
        #expect(world.state.stateHash == later.digest)
      } else {
        #expect(world.scoreBits == bits)
        #expect(world.state.stateHash == wanted.digest)
      }
    }
  }

  @Test func `previous goes back one state each time, and out of a lineage again`() {
    let world = World(seed: 6)
    var digests: [Digest] = [world.state.stateHash]
    for _ in 0..<2 {
      world.block(50)
      digests.append(world.state.stateHash)
    }
    world.block(20, flipped: true)
    for expected in digests.reversed() {
      #expect(world.command(.rollback(to: .previous, then: .continue)).statuses == [.accepted])
      #expect(world.state.stateHash == expected)
    }
    #expect(world.command(.rollback(to: .previous, then: .continue)).statuses == [.rejected])
    // What was learnt since the last rollback is undone to that rollback, not beyond.
    world.block(20, flipped: true)
    #expect(world.command(.rollback(to: .previous, then: .continue)).statuses == [.accepted])
    #expect(world.state.stateHash == digests[0])
    #expect(world.state.version.lineage == Lineage(5))
  }

  @Test func `only what the log confirms can be returned to`() {
    let world = World(seed: 6)
    world.publishes = false
    let effects = world.block(60)
    guard case .keep(let version, let digest, _)? = effects.last else { return }
    world.block(10)
    let hash = world.state.stateHash
    let early = world.command(.rollback(to: .version(version), then: .continue))
    #expect(early.statuses == [.rejected] && early.details[0].contains("not stored yet"))
    for target in [
      RollbackTarget.version(ModelVersion(lineage: Lineage(1), sequence: Sequence(7))),
      .tag("none"), .before(EventTime(milliseconds: 0)),
    ] {
      let effects = world.command(.rollback(to: target, then: .continue))
      #expect(effects.statuses == [.rejected] && effects.details[0].contains("not kept"))
    }
    #expect(world.state.stateHash == hash && world.state.version.lineage == Lineage(1))
    world.confirm(version)
    #expect(
      world.command(.rollback(to: .version(version), then: .continue)).statuses == [.accepted])
    #expect(world.state.stateHash == digest)
  }

  @Test func `what an earlier lineage served teaches but touches no metric and no calibration`() {
    // Two logs differ in the served scores of late examples alone: what is learnt from them must not.
    let old = ModelVersion(lineage: Lineage(1), sequence: Sequence(400))
    var hashes: [Digest] = []
    for flip in [false, true] {
      let (world, good, _) = Self.poisoned()
      world.command(.rollback(to: .tag("good"), then: .continue))
      #expect(world.state.summary(0, .sinceSwitch).count == 0)
      let twin = World(seed: 50)
      if flip { for _ in 0..<3 { twin.block(40) } }
      twin.random = SplitMix64(state: 123)
      world.write(twin.blockBytes(40, version: old))
      #expect(world.scoreBits != good)
      #expect(world.state.summary(0, .sinceSwitch).count == 0)
      #expect(world.state.summary(0, .newest10k).count == 0)
      hashes.append(world.state.stateHash)
      world.block(10)
      #expect(world.state.summary(0, .sinceSwitch).count == 10)
    }
    #expect(hashes[0] == hashes[1])
  }

  @Test func `a correction teaches but its event is measured once`() {
    let world = World(seed: 6)
    world.block(40)
    let hash = world.state.stateHash
    world.block(10, kind: .correction)
    #expect(world.state.stateHash != hash)
    #expect(world.state.summary(0, .sinceSwitch).count == 40)
  }

  @Test func `the same command twice has one effect and the same answer`() {
    let (world, _, _) = Self.poisoned()
    let bytes = world.commandBytes(.rollback(to: .tag("good"), then: .continue))
    #expect(world.write(bytes).statuses == [.accepted])
    world.block(30)
    let before = (world.state.stateHash, world.state.version, world.state.ledger.kept)
    let again = world.write(bytes)
    #expect(again.statuses == [.accepted] && again.count == 1)
    #expect(world.state.stateHash == before.0 && world.state.version == before.1)
    #expect(world.state.ledger.kept == before.2)
    #expect(world.state.ledger.counters.commandsRepeated == 1)
    // A rollback does not make a used command valid again.
    let tag = world.commandBytes(.tag(name: "later"))
    world.write(tag)
    world.command(.rollback(to: .tag("good"), then: .continue))
    #expect(world.write(tag).count == 1)
    #expect(world.state.ledger.tagged("later") != nil)
  }

  @Test func `forged, expired, foreign and malformed commands change nothing`() {
    let (world, _, _) = Self.poisoned()
    func isUnchanged(_ name: String, _ statuses: [CommandAck.Status], _ bytes: [UInt8]) {
      let hash = world.state.stateHash
      var ledger = world.state.ledger
      let effects = world.write(bytes)
      #expect(effects.statuses == statuses, "\(name)")
      #expect(world.state.stateHash == hash, "\(name)")
      ledger.counters = world.state.ledger.counters
      ledger.offset = world.state.ledger.offset
      ledger.lastControlOffset = world.state.ledger.lastControlOffset
      #expect(world.state.ledger == ledger, "\(name)")
    }
    let action = Command.Action.rollback(to: .tag("good"), then: .freeze)
    let other = try! Ed25519.PrivateKey(seed: [UInt8](repeating: 6, count: 32))
    isUnchanged("untrusted key", [.rejected], world.commandBytes(action) { $0.key = other })
    isUnchanged("names another key", [.rejected], world.commandBytes(action) { $0.command.keyID = "x" })
    isUnchanged("not json", [], world.commandBytes(action) { $0.isForged = true })
    isUnchanged(
      "expired", [.rejected],
      world.commandBytes(action) {
        $0.timestamp = EventTime(milliseconds: $0.command.expiresAt.milliseconds + 1)
      })
    isUnchanged("pipeline", [], world.commandBytes(action) { $0.command.pipeline = "other" })
    isUnchanged("cluster", [.rejected], world.commandBytes(action) { $0.command.clusterID = "c2" })
    isUnchanged("dry run", [.accepted], world.commandBytes(action) { $0.command.isDryRun = true })
    for text in ["", "{}", #"{"id":"x","id":"y"}"#, #"{"id":"x"}"#, "null"] {
      let value = Array(text.utf8)
      let signature = Base64.encode(try! worldKey.sign(value))
      isUnchanged(
        text, text == #"{"id":"x"}"# ? [.rejected] : [],
        LoggedCommand(
          verifying: value, header: Array(signature.utf8), trusted: [worldKey.publicKey],
          controlOffset: Offset(900), controlTimestamp: world.now
        ).record())
    }
  }

  @Test func `a command for another lineage, a taken tag and kinds to come are rejected for good`() {
    let (world, _, hash) = Self.poisoned()
    let stale = world.commandBytes(.rollback(to: .tag("good"), then: .continue)) {
      $0.command.expectLineage = Lineage(9)
    }
    #expect(world.write(stale).statuses == [.rejected])
    #expect(world.write(stale).details[0].hasPrefix("seen before"))
    #expect(world.command(.tag(name: "good")).statuses == [.rejected])
    let promotion = world.command(.promote(args: .object([])))
    #expect(promotion.statuses == [.rejected] && promotion.details[0].hasPrefix("not yet"))
    #expect(world.state.ledger.version.lineage == Lineage(1))
    #expect(
      world.command(.rollback(to: .tag("good"), then: .continue)) {
        $0.command.expectLineage = Lineage(1)
      }.statuses == [.accepted])
    #expect(world.state.stateHash == hash)
  }

  @Test func `a tag is accepted when folded and applied when kept`() {
    let world = World(seed: 6)
    world.publishes = false
    world.block(10)
    let effects = world.command(.tag(name: "a"))
    #expect(effects.statuses == [.accepted])
    guard case .keep(let version, let digest, _)? = effects.last else {
      Issue.record("nothing kept")
      return
    }
    #expect(world.command(.tag(name: "b")).statuses == [.accepted])
    #expect(world.confirm(version).statuses == [.applied, .applied])
    #expect(world.command(.tag(name: "c")).statuses == [.accepted, .applied])
    // Tagged versions outlive any number of others.
    world.publishes = true
    for _ in 0..<10 { world.block(60) }
    #expect(world.state.ledger.tagged("b")?.version == version)
    #expect(world.state.ledger.kept.count == 1 + worldSettings.keep)
    #expect(world.state.keptBytes(digest) != nil)
  }

  @Test func `memory of used commands is bounded once they expired`() {
    var ledger = Ledger()
    for index in 0..<5000 {
      let time = EventTime(milliseconds: Int64(index) * 3_600_000)
      ledger.remember(
        Ledger.SeenCommand(
          id: "\(index)", expiresAt: time, isAccepted: true, version: ledger.version, detail: ""),
        now: time)
    }
    #expect(ledger.commands.count <= 1001 && ledger.commands.last?.id == "4999")
  }
}
