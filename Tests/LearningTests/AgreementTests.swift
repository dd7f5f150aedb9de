// Method: claims and `kept` records in orders drawn by seed, against the rule in plain words; then whole folds that
// agree, differ, start again from what was published, and lack a state.
import Models
import Records
import Testing

@testable import Learning

@Suite struct AgreementTests {
  /// The rule, said another way: what of `claims` stands, and with how many instances.
  private static func standing(_ claims: [HashClaim]) -> [Digest: Int] {
    var result: [Digest: Int] = [:]
    for digest in Set(claims.map(\.stateHash)) {
      let folds = Set(claims.filter { $0.stateHash == digest }.map { "\($0.instance)/\($0.fold)" })
      if folds.count > 1 {
        result[digest] = Set(claims.filter { $0.stateHash == digest }.map(\.instance)).count
      }
    }
    return result
  }

  @Test func `a version is confirmed once it is stored and its claims lead, and not before`() throws {
    var random = SplitMix64(state: 5)
    var confirmations = 0
    var contested = 0
    var waits = 0
    for _ in 0..<3_000 {
      var agreement = Agreement()
      var claims: [HashClaim] = []
      var stored = Set<Digest>()
      for _ in 0..<8 {
        let digest = Digest.of([UInt8.random(in: 0..<2, using: &random)])
        if Int.random(in: 0..<4, using: &random) == 0 {
          let isNew = agreement.addStored(digest)
          #expect(stored.insert(digest).inserted == isNew)
        } else {
          let claim = HashClaim(
            instance: "\(Int.random(in: 0..<3, using: &random))",
            version: ModelVersion(lineage: Lineage(1), sequence: Sequence(50)), stateHash: digest,
            fold: UInt8.random(in: 1...2, using: &random))
          let isNew = agreement.add(claim)
          #expect(isNew != claims.contains(claim))
          if isNew { claims.append(claim) }
        }
        let standing = Self.standing(claims)
        let most = standing.values.max() ?? 0
        let leaders = standing.filter { $0.value == most }.keys
        if standing.count > 1 { contested += 1 }
        // Who has spoken from one fold only, and of what.
        let once = Dictionary(grouping: claims, by: \.instance).values.filter { Set($0.map(\.fold)).count == 1 }
        let expected = leaders.first.flatMap { leader in
          let isWaitedFor = most == 1 && once.joined().contains { $0.stateHash != leader }
          if isWaitedFor { waits += 1 }
          return leaders.count == 1 && !isWaitedFor && stored.contains(leader) ? leader : nil
        }
        let before = agreement.confirmed
        #expect(agreement.settle() == (before == nil && expected != nil))
        #expect(agreement.confirmed?.state == before?.state ?? expected)
        for byte in 0..<2 as Range<UInt8> {
          let ours = Agreement.Candidate(state: Digest.of([byte]), ledger: .zero)
          let own = Set(claims.filter { $0.stateHash == ours.state }.map(\.instance)).count
          #expect(
            agreement.isOutvotedClearly(ours)
              == standing.contains { $0.key != ours.state && $0.value >= 2 && $0.value > own })
          #expect(agreement.isOutvoted(ours) == standing.contains { $0.key != ours.state && $0.value >= own })
        }
      }
      if agreement.confirmed != nil { confirmations += 1 }
      var writer = ByteWriter()
      agreement.encode(into: &writer)
      var reader = ByteReader(writer.bytes)
      #expect(try Agreement(from: &reader) == agreement)
    }
    #expect(confirmations > 500 && contested > 500 && waits > 500)
  }

  @Test func `one instance confirms by a second fold, never by saying the same twice`() {
    let world = World(seed: 1)
    world.publishes = false
    world.block(60)
    let version = world.state.version
    world.store(version)
    world.claim(version, "w1")
    world.write(world.log.last!.bytes)
    #expect(world.command(.rollback(to: .version(version), then: .continue)).details[0].hasPrefix("not confirmed"))
    #expect(world.claim(version, "w1", fold: 2).confirmed == [version])
    #expect(world.command(.rollback(to: .version(version), then: .continue)).statuses == [.accepted])
  }

  @Test func `of two that differ neither wins by being quicker`() {
    let ours = Digest.of([1])
    let theirs = Digest.of([2])
    func claim(_ instance: String, _ state: Digest, _ fold: UInt8) -> HashClaim {
      HashClaim(
        instance: instance, version: ModelVersion(lineage: Lineage(1), sequence: Sequence(50)), stateHash: state,
        fold: fold)
    }
    var quick = Agreement()
    _ = quick.addStored(ours)
    for claim in [claim("a", ours, 1), claim("b", theirs, 1), claim("a", ours, 2)] { _ = quick.add(claim) }
    #expect(quick.leader == nil && !quick.settle())
    var tied = quick
    _ = tied.add(claim("b", theirs, 2))
    #expect(tied.leader == nil && !tied.settle())
    #expect(tied.isOutvoted(.init(state: ours, ledger: .zero)) && tied.isOutvoted(.init(state: theirs, ledger: .zero)))
    // One that comes round, and a third that has seen the same.
    for other in [claim("b", ours, 2), claim("c", ours, 1)] {
      var settled = quick
      _ = settled.add(other)
      #expect(settled.settle() && settled.confirmed?.state == ours)
    }
  }

  @Test func `equal states beside different ledgers do not agree`() {
    let world = World(seed: 1)
    world.publishes = false
    world.block(60)
    let entry = world.state.ledger.kept.last!
    world.store(entry.version)
    world.claim(entry.version, "w1")
    let claim = HashClaim(
      instance: "w2", version: entry.version, stateHash: entry.digest, ledgerHash: Digest.of([1]))
    #expect(world.write(claim.record()).divergences == ["w2"])
    #expect(world.state.ledger.kept.last?.isConfirmed == false)
  }

  @Test func `a log of the first engine is folded by its own rule`() {
    let world = World(seed: 1, engine: ModelState.engines[0])
    world.publishes = false
    world.block(60)
    let version = world.state.version
    #expect(world.store(version).confirmed == [version])
    #expect(world.command(.rollback(to: .version(version), then: .continue)).statuses == [.accepted])
    let proposal = bentSettings(0, world.state)
    let effects = world.command(.charter(args: proposal.args)) { $0.command.expectLineage = Lineage(2) }
    #expect(effects.statuses == [.rejected])
  }

  @Test func `a replica with a flipped bit tells so at its next claim, and a fold from the last confirmed version heals it`()
    throws
  {
    let healthy = World(seed: 3)
    for _ in 0..<4 { healthy.block(30) }
    // Learned state and ledger of each version, as a publisher would have stored them.
    var published: [ModelVersion: (learned: [UInt8], ledger: [UInt8])] = [:]
    let faulty = ModelState()
    func fold(_ record: LogRecord) -> [FoldEffect] {
      let effects = faulty.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
      for case .keep(let version, _, let bytes) in effects { published[version] = (bytes, faulty.ledgerPart()) }
      return effects
    }
    for record in healthy.log { #expect(fold(record).divergences == []) }
    faulty.flipBit()
    #expect(faulty.stateHash != healthy.state.stateHash)
    let before = healthy.log.count
    for _ in 0..<3 { healthy.block(30) }
    let noticed = healthy.log[before...].flatMap { fold($0) }
    #expect(!noticed.divergences.isEmpty && Set(noticed.divergences) == ["w1", "w2", "publisher"])
    let entry = faulty.ledger.kept.last!
    #expect(entry.agreement.isOutvoted(entry.ours))
    #expect(!faulty.ledger.kept[0].agreement.isOutvoted(faulty.ledger.kept[0].ours))

    // The log confirmed what the others hold; the last version that this fold shares with them is where it starts again.
    let base = faulty.ledger.kept.last { $0.agreement.confirmed == $0.ours }!
    #expect(base.version.sequence.value < entry.version.sequence.value)
    let start = try #require(published[base.version])
    let again = try ModelState(ledgerPart: start.ledger, learned: start.learned)
    #expect(again.ledger.offset == base.place)
    for record in healthy.log where base.place < record.offset {
      _ = again.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
    }
    #expect(again.stateHash == healthy.state.stateHash && again.ledgerHash == healthy.state.ledgerHash)
  }

  @Test(arguments: 0..<6)
  func `a fold that starts at any kept version ends where the whole log ends`(_ seed: Int) throws {
    let world = eventfulWorld(UInt64(seed))
    let whole = ModelState()
    var starts: [(learned: [UInt8], ledger: [UInt8], index: Int)] = []
    var contents: [Digest: [UInt8]] = [:]
    for (index, record) in world.log.enumerated() {
      for case .keep(_, let digest, let bytes) in whole.fold(record.bytes, offset: record.offset, timestamp: record.timestamp) {
        starts.append((bytes, whole.ledgerPart(), index))
        contents[digest] = bytes
        #expect(whole.ledger.kept.last!.ledgerDigest == whole.ledgerHash)
      }
    }
    #expect(starts.count > 5)
    var asked = 0
    for start in starts {
      var state = try ModelState(ledgerPart: start.ledger, learned: start.learned)
      for (index, record) in world.log.enumerated() where index > start.index {
        var effects = state.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
        if case .missing(let digest, _)? = effects.first {
          asked += 1
          let before = state.bytes()
          #expect(state.fold(record.bytes, offset: record.offset, timestamp: record.timestamp) == effects)
          #expect(state.bytes() == before)
          // Never the start, which nobody publishes: it is made again.
          #expect(state.supply(try #require(contents[digest])))
          effects = state.fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
        }
        if index % 5 == 4 { state = try ModelState(state.bytes()) }
      }
      #expect(state.stateHash == whole.stateHash && state.ledgerHash == whole.ledgerHash)
    }
    // The third world returns to nothing but the start.
    #expect(asked > 0 || seed == 3)
  }

  @Test func `a ledger and a learned state that do not belong together are refused`() throws {
    let world = World(seed: 2)
    world.publishes = false
    guard case .keep(_, _, let first)? = world.block(60).last else { return }
    guard case .keep(_, _, let second)? = world.block(60).last else { return }
    let ledger = world.state.ledgerPart()
    #expect(throws: Never.self) { _ = try ModelState(ledgerPart: ledger, learned: second) }
    #expect(throws: FormatError.self) { _ = try ModelState(ledgerPart: ledger, learned: first) }
    for count in stride(from: 0, to: ledger.count, by: 97) {
      #expect(throws: FormatError.self) { _ = try ModelState(ledgerPart: Array(ledger[0..<count]), learned: second) }
    }
    world.block(1)
    #expect(throws: FormatError.self) { _ = try ModelState(ledgerPart: world.state.ledgerPart(), learned: second) }
  }
}
