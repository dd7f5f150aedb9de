// Method: charter commands over a small log; what is kept and what begins anew is compared bit for bit.
import Records
import Testing

@testable import Learning
@testable import Models

@Suite struct CharterTests {
  private static func propose(
    _ world: World, expecting lineage: UInt32? = nil, _ change: (inout LearningSettings) -> Void
  ) -> [FoldEffect] {
    var settings = world.state.settings!
    change(&settings)
    let proposal = CharterProposal(settings: settings.canonicalBytes(), rowSchema: settings.rowSchema)
    let expected = Lineage(lineage ?? world.state.version.lineage.value)
    return world.command(.charter(args: proposal.args)) { $0.command.expectLineage = expected }
  }

  /// Doubles the rate of the second contender.
  private static func faster(_ settings: inout LearningSettings) {
    guard case .ftrl(var ftrl, let encoder) = settings.contenders[1].kind else { return }
    ftrl.alpha *= 2
    settings.contenders[1].kind = .ftrl(ftrl, encoder)
  }

  @Test func `a charter keeps what stays the same, begins the rest anew, and opens a lineage`() {
    let world = World(seed: 4)
    for _ in 0..<5 { world.block(40) }
    let before = ModelState.encodeContenders(world.state.contenders)
    let old = world.state.contenders.map { contender in
      var writer = ByteWriter()
      contender.encode(into: &writer)
      return writer.bytes
    }
    let effects = Self.propose(world) {
      Self.faster(&$0)
      $0.keepEvery = 70
    }
    #expect(effects.statuses == [.accepted])
    #expect(effects.details[0].contains("keeping=champion,base-rate beginning=no-windows"))
    let version = ModelVersion(lineage: Lineage(2), sequence: Sequence(200))
    #expect(world.state.version == version && effects.kept == [version])
    #expect(effects.contains(.switched(version: version, reason: "charter")))
    #expect(effects.contains(.chartered(world.state.ledger.charter!)))
    #expect(world.state.ledger.charter?.start == world.state.stateHash)
    #expect(ModelState.encodeContenders(world.state.contenders) != before)
    for (index, contender) in world.state.contenders.enumerated() {
      var writer = ByteWriter()
      contender.encode(into: &writer)
      #expect((writer.bytes == old[index]) == (index != 1))
    }
    #expect(world.state.settings?.keepEvery == 70)
    #expect(world.state.summary(0, .sinceSwitch).count == 0)
    // Versions are kept by the new rule, and what is kept can be returned to.
    #expect(world.block(40).kept.isEmpty == false)
    #expect(world.block(20).kept.isEmpty)
    #expect(world.command(.rollback(to: .version(version), then: .freeze)).statuses == [.accepted])
    #expect(world.state.stateHash == world.state.ledger.charter?.start)
  }

  @Test func `a contender of another calibration keeps its weights and calibrates anew`() {
    let world = World(seed: 4)
    for _ in 0..<5 { world.block(40) }
    let rows = RowGroup(schema: worldSchema, capacity: 1)
    rows.missing.fill(0)
    let margin = world.state.masterMargin(contender: 0, rows: rows, slot: 0)
    #expect(Self.propose(world) { $0.contenders[0].calibration = .none }.statuses == [.accepted])
    #expect(world.state.masterMargin(contender: 0, rows: rows, slot: 0) == margin)
    #expect(world.state.contenders[0].calibration == PlattScaling())
  }

  @Test func `what was kept under an earlier charter is not returned to`() {
    let world = World(seed: 4)
    for _ in 0..<3 { world.block(50) }
    world.command(.tag(name: "good"))
    let old = world.state.version
    _ = Self.propose(world, Self.faster)
    for target in [RollbackTarget.version(old), .tag("good"), .before(world.state.ledger.versionTimestamp)] {
      let effects = world.command(.rollback(to: target, then: .continue))
      #expect(effects.statuses == [.rejected] && effects.details[0].contains("earlier charter"))
    }
    #expect(world.command(.rollback(to: .previous, then: .continue)).statuses == [.rejected])
    #expect(world.state.keptBytes(world.state.ledger.tagged("good")!.digest) == nil)
    world.block(60)
    world.block(10)
    #expect(world.command(.rollback(to: .previous, then: .continue)).statuses == [.accepted])
  }

  @Test func `a charter that cannot be is rejected with its reason and changes nothing`() {
    let world = World(seed: 4)
    for _ in 0..<3 { world.block(40) }
    let hash = world.state.stateHash
    func isRejected(_ why: String, _ effects: [FoldEffect]) {
      #expect(effects.statuses == [.rejected] && effects.details[0].contains(why), "\(effects.details)")
      #expect(world.state.stateHash == hash && world.state.version.lineage == Lineage(1))
    }
    isRejected("lineage is 1", Self.propose(world, expecting: 2, Self.faster))
    isRejected("in force", Self.propose(world) { _ in })
    isRejected("pipeline", Self.propose(world) { $0.pipeline = "other" })
    isRejected("number of contenders", Self.propose(world) { $0.contenders.removeLast() })
    isRejected("settings", Self.propose(world) { $0.keepEvery = 0 })
    isRejected("columns", Self.propose(world) { $0.rowSchema = RowSchema([worldSchema.columns[0]]) })
    isRejected("args", world.command(.charter(args: .object([]))) { $0.command.expectLineage = Lineage(1) })
    isRejected("must name the lineage", world.command(.charter(args: bentSettings(0, world.state).args)))
    let trial = world.command(.charter(args: bentSettings(0, world.state).args)) {
      $0.command.expectLineage = Lineage(1)
      $0.command.isDryRun = true
    }
    #expect(trial.statuses == [.accepted] && trial.details[0].contains("beginning=champion"))
    #expect(world.state.stateHash == hash)
  }

  @Test func `settings say what they change, and nothing where they change nothing`() {
    var settings = worldSettings
    #expect(settings.changes(from: worldSettings) == [])
    Self.faster(&settings)
    settings.contenders[0].calibration = .none
    settings.contenders[2].name = "guess"
    settings.keep = 9
    #expect(
      settings.changes(from: worldSettings) == [
        "keep: 3 → 9", "contenders: champion,no-windows,base-rate → champion,no-windows,guess",
        "champion calibrate: platt rate 0.05 → none", "no-windows rate: 0.08 → 0.16",
      ])
    settings = worldSettings
    settings.contenders[0].kind = .baseRate
    let changes = settings.changes(from: worldSettings)
    #expect(changes.contains("champion kind: ftrl → base_rate") && changes.contains("champion rate: 0.08 → none"))
  }

  @Test func `a charter's record of another start is a divergence`() {
    let world = World(seed: 4)
    world.block(40)
    guard let charter = Self.propose(world, Self.faster).compactMap({ effect -> Charter? in
      if case .chartered(let charter) = effect { charter } else { nil }
    }).first
    else {
      Issue.record("no charter")
      return
    }
    #expect(world.write(charter.record()) == [])
    var other = charter
    other.start = .zero
    #expect(world.write(other.record()).divergences == ["publisher"])
    other.settings = []
    #expect(world.write(other.record()).alerts == [.charterIgnored])
  }
}
