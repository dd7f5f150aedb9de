import Records

/// What the log says of one kept version: which folds claim which state, and which states are stored.
///
/// A state *stands* when two folds made it: of two instances, or two of one instance (the second from the last version
/// beyond doubt). It *leads* when more instances claim it than any other that stands, and it is not the word of one
/// instance against one that has yet to fold again. It is *confirmed* when it leads and a `kept` record says that it is stored: from then on every replica may be asked to return to it. The log alone
/// decides this, so all replicas accept and reject alike, also one whose own state differs.
public struct Agreement: Sendable, Equatable {
  public struct Claim: Sendable, Equatable {
    public var instance: String
    public var fold: UInt8
    public var state: Digest
    public var ledger: Digest

    init(instance: String, fold: UInt8, state: Digest, ledger: Digest) {
      self.instance = instance
      self.fold = fold
      self.state = state
      self.ledger = ledger
    }
    init(_ claim: HashClaim) {
      instance = claim.instance
      fold = claim.fold
      state = claim.stateHash
      ledger = claim.ledgerHash
    }
  }
  /// A state with the ledger beside it.
  public struct Candidate: Sendable, Hashable {
    public var state: Digest
    public var ledger: Digest
    public init(state: Digest, ledger: Digest) {
      self.state = state
      self.ledger = ledger
    }
  }
  /// More are not remembered: what they could still tell is no longer worth the memory.
  static let claimsMax = 64
  static let storedMax = 8

  /// Each once, in the order of the log.
  public private(set) var claims: [Claim] = []
  public private(set) var stored: [Digest] = []
  /// Never changes once it is there.
  public internal(set) var confirmed: Candidate?

  init() {}

  /// Whether the claim is new.
  mutating func add(_ claim: HashClaim) -> Bool {
    let claim = Claim(claim)
    guard claims.count < Self.claimsMax, !claims.contains(claim) else { return false }
    claims.append(claim)
    return true
  }

  /// Whether the record is new.
  mutating func addStored(_ digest: Digest) -> Bool {
    guard stored.count < Self.storedMax, !stored.contains(digest) else { return false }
    stored.append(digest)
    return true
  }

  /// Instances that claim a candidate, and how many of their folds do.
  private func support(_ candidate: Candidate) -> (instances: Int, folds: Int) {
    var instances: [String] = []
    var folds: [(String, UInt8)] = []
    for claim in claims where claim.state == candidate.state && claim.ledger == candidate.ledger {
      if !instances.contains(claim.instance) { instances.append(claim.instance) }
      if !folds.contains(where: { $0.0 == claim.instance && $0.1 == claim.fold }) {
        folds.append((claim.instance, claim.fold))
      }
    }
    return (instances.count, folds.count)
  }

  /// Those that stand, in the order in which they were first claimed.
  private var standing: [(candidate: Candidate, instances: Int)] {
    var seen: [(candidate: Candidate, instances: Int)] = []
    for claim in claims {
      let candidate = Candidate(state: claim.state, ledger: claim.ledger)
      guard !seen.contains(where: { $0.candidate == candidate }) else { continue }
      let (instances, folds) = support(candidate)
      if folds >= 2 { seen.append((candidate, instances)) }
    }
    return seen
  }

  /// The candidate that leads, if one does.
  public var leader: Candidate? {
    let standing = standing
    guard let first = standing.max(by: { $0.instances < $1.instances }),
      standing.count(where: { $0.instances == first.instances }) == 1
    else { return nil }
    // Why not at once: of two that differ the quicker one would win, right or wrong.
    return first.instances == 1 && awaitsSecondFold(besides: first.candidate) ? nil : first.candidate
  }

  /// Whether an instance claims something else, from a single fold.
  private func awaitsSecondFold(besides candidate: Candidate) -> Bool {
    claims.contains { claim in
      Candidate(state: claim.state, ledger: claim.ledger) != candidate
        && claims.allSatisfy { $0.instance != claim.instance || $0.fold == claim.fold }
    }
  }

  /// Whether another candidate than `ours` stands, and no fewer instances claim it.
  public func isOutvoted(_ ours: Candidate) -> Bool {
    let own = support(ours).instances
    return standing.contains { $0.candidate != ours && $0.instances >= own }
  }

  /// Whether several instances claim another candidate than `ours`, and more than claim ours: no later claim of a slow
  /// replica is worth waiting for.
  public func isOutvotedClearly(_ ours: Candidate) -> Bool {
    let own = support(ours).instances
    return standing.contains { $0.candidate != ours && $0.instances > max(own, 1) }
  }

  /// Confirms the leader once it is stored; whether that happened now.
  mutating func settle() -> Bool {
    guard confirmed == nil, let leader, stored.contains(leader.state) else { return false }
    confirmed = leader
    return true
  }

  // varint count of claims: instance text, fold u8, state 32, ledger 32; varint count of stored: digest 32;
  // confirmed u8, if 1 state 32 and ledger 32.

  func encode(into writer: inout ByteWriter) {
    writer.writeVarint(UInt64(claims.count))
    for claim in claims {
      writer.write(claim.instance)
      writer.write(claim.fold)
      writer.write(claim.state)
      writer.write(claim.ledger)
    }
    writer.writeVarint(UInt64(stored.count))
    for digest in stored { writer.write(digest) }
    writer.write(confirmed != nil)
    if let confirmed {
      writer.write(confirmed.state)
      writer.write(confirmed.ledger)
    }
  }

  init(from reader: inout ByteReader) throws(FormatError) {
    for _ in 0..<(try reader.readCount(itemBytes: 66, "claims")) {
      claims.append(
        Claim(
          instance: try reader.readString("instance"), fold: try reader.read(UInt8.self, "fold"),
          state: try reader.readDigest("state"), ledger: try reader.readDigest("ledger")))
    }
    for _ in 0..<(try reader.readCount(itemBytes: 32, "stored")) {
      stored.append(try reader.readDigest("stored"))
    }
    if try reader.readBool("confirmed") {
      confirmed = Candidate(state: try reader.readDigest("state"), ledger: try reader.readDigest("ledger"))
    }
  }
}
