// Method: laws of the fold over small random logs; states are compared by their whole encoding.
import Models
import Records
import Testing

@testable import Learning

/// A log with everything in it: blocks, poison, tags, rollbacks, freezes, repeats, noise.
func eventfulWorld(_ seed: UInt64) -> World {
  // Every third is a log of the first engine.
  let world = World(seed: seed, engine: ModelState.engines[seed % 3 == 2 ? 0 : 1])
  for step in 0..<40 {
    world.block(Int.random(in: 1...40, using: &world.random), flipped: step % 9 == 8)
    switch Int.random(in: 0..<14, using: &world.random) {
    case 0: world.command(.rollback(to: .previous, then: .continue))
    case 1: world.command(.rollback(to: .previous, then: .freeze))
    case 2: world.command(.tag(name: "tag-\(step)"))
    case 3: world.command(.freeze)
    case 4, 5: world.command(.unfreeze)
    case 6: world.write([1, 2, 3])
    case 7: world.write(world.log[Int.random(in: 0..<world.log.count, using: &world.random)].bytes)
    case 8:
      world.write(
        HashClaim(instance: "w", version: world.state.version, stateHash: .zero).record())
    case 9: world.command(.rollback(to: .before(world.now), then: .continue))
    case 11: world.command(.charter(args: bentSettings(step, world.state).args)) { $0.command.expectLineage = world.state.version.lineage }
    case 12: world.publishes.toggle()
    case 10: world.block(5, version: ModelVersion(lineage: Lineage(0), sequence: Sequence(1)))
    default: break
    }
  }
  return world
}

/// Settings that change one contender, now its rate, now its calibration, now how much is kept.
func bentSettings(_ step: Int, _ state: ModelState) -> CharterProposal {
  var settings = state.settings!
  switch step % 3 {
  case 0:
    guard case .ftrl(var ftrl, let encoder) = settings.contenders[0].kind else { break }
    ftrl.alpha += 0.01
    settings.contenders[0].kind = .ftrl(ftrl, encoder)
  case 1: settings.contenders[0].calibration = settings.contenders[0].calibration == .none ? .platt(rate: 0.05) : .none
  default: settings.keepEvery += 1
  }
  return CharterProposal(settings: settings.canonicalBytes(), rowSchema: settings.rowSchema)
}

@Suite struct ModelStateTests {
  @Test(arguments: 0..<6)
  func `a state restored from bytes goes on as one that never stopped`(_ seed: Int) throws {
    let world = eventfulWorld(UInt64(seed))
    let whole = world.state.bytes()
    let fresh = fold(world.log)
    #expect(fresh.bytes() == whole)
    #expect(fresh.stateHash == world.state.stateHash)
    var running = ModelState()
    for (index, record) in world.log.enumerated() {
      if index % 7 == 3 {
        let bytes = running.bytes()
        running = try ModelState(bytes)
        #expect(running.bytes() == bytes)
      }
      _ = running.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
    }
    #expect(running.bytes() == whole)
    #expect(World.scoreBits(running.scorers()!) == world.scoreBits)
  }

  @Test(arguments: 0..<4)
  func `replicas that fold one log agree at every record`(_ seed: Int) {
    let world = eventfulWorld(UInt64(100 + seed))
    let a = ModelState()
    let b = ModelState()
    for record in world.log {
      let first = a.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
      let second = b.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
      #expect(first == second)
      #expect(a.stateHash == b.stateHash && a.ledgerHash == b.ledgerHash)
    }
    #expect(a.ledger.counters.switches > 0)
  }

  @Test func `a record that comes again is passed over`() {
    let world = eventfulWorld(7)
    let bytes = world.state.bytes()
    for record in world.log {
      #expect(
        world.state.fold(record.bytes, offset: record.offset, timestamp: record.timestamp) == [])
    }
    #expect(world.state.bytes() == bytes)
  }

  @Test func `where blocks are cut does not matter to what is learnt`() throws {
    var settings = worldSettings
    settings.keepEvery = 1_000_000
    let source = World(seed: 3, settings: settings)
    let version = source.state.version
    let blocks = (0..<10).map { _ in source.blockBytes(30, version: version) }
    guard case .examples(let first) = try LearningRecord.decode(blocks[0]) else { return }
    func run(_ cut: Int) throws -> ModelState {
      let state = ModelState()
      _ = state.fold(source.log[0].bytes, offset: Offset(0), timestamp: EventTime(milliseconds: 0))
      var offset: Int64 = 0
      for bytes in blocks {
        guard case .examples(let block) = try LearningRecord.decode(bytes) else { continue }
        for part in split(block, cut) {
          offset += 1
          let effects = state.fold(
            part, offset: Offset(offset), timestamp: EventTime(milliseconds: offset))
          #expect(effects == [])
        }
      }
      return state
    }
    let whole = try run(30)
    #expect(whole.ledger.counters.applied == 300)
    #expect(first.count == 30)
    for cut in [1, 7, 29] {
      let state = try run(cut)
      #expect(state.stateHash == whole.stateHash)
      #expect(state.version == whole.version)
      #expect(state.summary(0, .newest1k) == whole.summary(0, .newest1k))
    }
  }

  /// The examples of `block` in records of at most `cut`.
  private func split(_ block: ExampleBlock, _ cut: Int) -> [[UInt8]] {
    let n = block.count
    let rows = RowGroup(schema: worldSchema, capacity: 1)
    let scores = FixedBuffer<ServedScore>(repeating: .absent, count: 3)
    let map = ColumnMap(block, worldSchema)
    let builder = ExampleBlockBuilder(schema: worldSchema, contenderCount: 3, planDigest: .zero)
    for index in 0..<n {
      _ = map.fill(rows, from: block, index)
      for contender in 0..<3 { scores[contender] = block.score(contender: contender, example: index) }
      builder.append(block.headers[index], rows: rows, slot: 0, scores: scores, scoreOffset: 0)
      if (index + 1) % cut == 0 { builder.seal() }
    }
    builder.seal()
    return (0..<builder.sealedCount).map { Array(builder.sealed($0)) }
  }

  @Test func `learning learns`() {
    let world = World(seed: 1)
    for _ in 0..<60 { world.block(50) }
    let champion = world.state.summary(0, .newest1k)
    let base = world.state.summary(2, .newest1k)
    #expect(champion.count == 1000 && champion.auc > 0.7)
    #expect(champion.logLoss < base.logLoss - 0.05)
  }

  @Test func `an example of weight zero changes nothing but counts`() {
    let world = World(seed: 2)
    for _ in 0..<5 { world.block(30) }
    let hash = world.state.stateHash
    let summary = world.state.summary(0, .sinceSwitch)
    let sequence = world.state.version.sequence.value
    world.block(30, weight: 0)
    #expect(world.state.stateHash == hash)
    #expect(world.state.summary(0, .sinceSwitch) == summary)
    #expect(world.state.version.sequence.value == sequence + 30)
  }

  @Test func `what is not finite or weighs too much is quarantined, counted and teaches nothing`() {
    let world = World(seed: 2)
    world.block(30)
    let hash = world.state.stateHash
    for (value, weight) in [
      (Float.nan, Float(1)), (.infinity, 1), (2, 1), (-0.5, 1), (1, .nan), (1, .infinity), (1, -1),
      (1, 1e30),
    ] {
      let effects = world.block(3) {
        $0.value = value
        $0.weight = weight
      }
      #expect(effects.alerts == [.quarantined])
    }
    #expect(world.state.stateHash == hash)
    #expect(world.state.ledger.counters.quarantined == 24)
    #expect(world.state.ledger.counters.applied == 30)
    #expect(world.state.version.sequence.value == 54)
    #expect(world.state.summary(0, .sinceSwitch).count == 30)
  }

  @Test func `versions are kept at the end of the block that passes a multiple`() {
    let world = World(seed: 4)
    var kept: [ModelVersion] = []
    for _ in 0..<20 { kept += world.block(20).kept }
    #expect(kept.map(\.sequence.value) == [60, 100, 160, 200, 260, 300, 360, 400])
    // Of untagged ones the newest three stay.
    #expect(world.state.ledger.kept.map(\.version.sequence.value) == [300, 360, 400])
    #expect(world.state.ledger.kept.allSatisfy { $0.isStored })
  }

  @Test func `a block of other columns teaches what it shares`() {
    let world = World(seed: 4)
    let schema = RowSchema([
      RowColumn(name: "distance", kind: .number), RowColumn(name: "carrier", kind: .number),
      RowColumn(name: "new", kind: .category),
    ])
    let rows = RowGroup(schema: schema, capacity: 1)
    rows.missing.fill(0)
    rows.numbers[0] = 700
    let builder = ExampleBlockBuilder(schema: schema, contenderCount: 1, planDigest: .zero)
    let scores = FixedBuffer<ServedScore>(
      repeating: ServedScore(margin: 0, probability: 0.5), count: 1)
    builder.append(
      ExampleHeader(
        partition: PartitionID(0), offset: Offset(0), labelOffset: Offset(0), kind: .matured,
        value: 1, knownAt: world.now, version: world.state.version), rows: rows, slot: 0,
      scores: scores, scoreOffset: 0)
    builder.seal()
    let hash = world.state.stateHash
    #expect(world.write(Array(builder.sealed(0))) == [])
    #expect(world.state.stateHash != hash)
    #expect(world.state.summary(0, .sinceSwitch).count == 1)
    // The others did not score it: they learn, unevaluated.
    #expect(world.state.summary(1, .sinceSwitch).count == 0)
  }

  @Test func `random bytes never trap and change nothing but counts`() {
    let world = eventfulWorld(9)
    var random = SplitMix64(state: 12)
    var offset = world.log.last!.offset.value
    let hash = world.state.stateHash
    let count = 3000
    for _ in 0..<count {
      let bytes = (0..<Int.random(in: 0..<80, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      offset += 1
      let effects = world.state.fold(
        bytes, offset: Offset(offset), timestamp: EventTime(milliseconds: 0))
      #expect(effects.alerts == [.malformedRecord])
    }
    #expect(world.state.stateHash == hash)
  }

  @Test(arguments: 0..<4)
  func `forged records under a right checksum never trap, and replicas still agree`(_ seed: Int) {
    let world = eventfulWorld(UInt64(20 + seed))
    var random = SplitMix64(state: UInt64(seed))
    let a = fold(world.log)
    let b = fold(world.log)
    var offset = world.log.last!.offset.value
    for _ in 0..<1500 {
      var bytes = world.log.randomElement(using: &random)!.bytes
      guard bytes.count > 13 else { continue }
      for _ in 0..<Int.random(in: 1...5, using: &random) {
        bytes[Int.random(in: 12..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let crc = CRC32C.of(Array(bytes[12...]))
      for index in 0..<4 { bytes[8 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(8 * index)) }
      offset += 1
      let time = EventTime(milliseconds: Int64.random(in: .min ... .max, using: &random))
      let first = a.fold(bytes, offset: Offset(offset), timestamp: time)
      #expect(first == b.fold(bytes, offset: Offset(offset), timestamp: time))
    }
    #expect(a.bytes() == b.bytes())
    #expect(throws: Never.self) { _ = try ModelState(a.bytes()) }
  }

  @Test func `a forged charter as the first record never traps`() {
    let good = ModelState.charter(worldSettings, clusterID: "c1").record()
    var random = SplitMix64(state: 31)
    for _ in 0..<400 {
      var bytes = good
      bytes[Int.random(in: 12..<bytes.count, using: &random)] = UInt8.random(in: 0..<16, using: &random)
      let crc = CRC32C.of(Array(bytes[12...]))
      for index in 0..<4 { bytes[8 + index] = UInt8(truncatingIfNeeded: crc >> UInt32(8 * index)) }
      let state = ModelState()
      _ = state.fold(bytes, offset: Offset(1), timestamp: EventTime(milliseconds: 0))
      #expect(throws: Never.self) { _ = try ModelState(state.bytes()) }
    }
  }

  @Test func `a charter of another engine or start stops the fold`() {
    for change in 0..<2 {
      var charter = ModelState.charter(worldSettings, clusterID: "c1")
      if change == 0 { charter.engine = "another" } else { charter.start = .zero }
      let state = ModelState()
      let effects = state.fold(
        charter.record(), offset: Offset(0), timestamp: EventTime(milliseconds: 0))
      #expect(effects.alerts == [.charterRefused])
      #expect(state.isRefused && state.scorers() == nil)
      let world = World(seed: 1)
      #expect(
        state.fold(world.blockBytes(5), offset: Offset(1), timestamp: EventTime(milliseconds: 0))
          == [])
      #expect(state.ledger.counters.unchartered == 2)
    }
  }

  @Test func `the first charter holds`() {
    let world = World(seed: 1)
    world.block(5)
    let hash = world.state.stateHash
    #expect(world.write(world.log[0].bytes) == [])
    var other = worldSettings
    other.keep = 9
    #expect(
      world.write(ModelState.charter(other, clusterID: "c1").record()).alerts == [.charterIgnored])
    #expect(world.state.settings == worldSettings && world.state.stateHash == hash)
    #expect(world.state.ledger.counters.chartersIgnored == 2)
  }

  @Test func `a claim or kept version of other bits is told once and confirms nothing`() {
    let world = World(seed: 1)
    world.publishes = false
    let effects = world.block(60)
    guard case .keep(let version, let digest, _)? = effects.last else {
      Issue.record("nothing kept")
      return
    }
    #expect(
      world.write(HashClaim(instance: "w", version: version, stateHash: digest).record()) == [])
    let other = HashClaim(instance: "w", version: version, stateHash: .zero).record()
    #expect(world.write(other).divergences == ["w"])
    // Remembered: it is said once.
    #expect(world.write(other) == [])
    #expect(world.state.ledger.kept.last?.agreement.claims.count == 2)
    #expect(world.write(KeptVersion(version: version, digest: .zero).record()).divergences == ["publisher"])
    #expect(world.state.ledger.kept.last?.isConfirmed == false)
    #expect(world.write(KeptVersion(version: version, digest: digest).record()) == [])
    #expect(world.state.ledger.kept.last?.isConfirmed == false)
    #expect(world.claim(version, "w").confirmed == [])
    #expect(world.claim(version, "x").confirmed == [version])
    #expect(world.state.ledger.counters.claimsDiffering == 2)
  }

  @Test func `corrupt checkpoints are refused`() {
    let world = eventfulWorld(5)
    let whole = world.state.bytes()
    var random = SplitMix64(state: 8)
    for _ in 0..<150 {
      let count = Int.random(in: 0..<whole.count, using: &random)
      #expect(throws: FormatError.self) { _ = try ModelState(Array(whole[0..<count])) }
      var bytes = whole
      bytes[count] ^= UInt8.random(in: 1...255, using: &random)
      _ = try? ModelState(bytes)
    }
  }

  @Test func `settings have one canonical form`() throws {
    let bytes = worldSettings.canonicalBytes()
    #expect(try LearningSettings(canonical: bytes, rowSchema: worldSchema) == worldSettings)
    for count in 0..<bytes.count {
      #expect(throws: FormatError.self) {
        try LearningSettings(canonical: Array(bytes[0..<count]), rowSchema: worldSchema)
      }
    }
    #expect(throws: FormatError.self) {
      try LearningSettings(canonical: bytes + [0], rowSchema: worldSchema)
    }
  }
}
