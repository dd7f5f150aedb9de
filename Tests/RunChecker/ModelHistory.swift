import Learning
import Records

/// A fresh fold of `learning` from its beginning, and what stood at each version on the way.
struct ModelHistory {
  let state = ModelState()
  /// Every version that a lane may have served.
  var versions: Set<ModelVersion> = []
  var scorers: [ModelVersion: ScorerSet] = [:]
  var hashes: [ModelVersion: Digest] = [:]
  /// Versions whose scorers and hashes are wanted, beside the first; nil: all. Making them is most of the work.
  private let scored, hashed: Set<ModelVersion>?

  init(_ records: [StoredRecord] = [], scored: Set<ModelVersion>? = nil, hashed: Set<ModelVersion>? = nil) {
    self.scored = scored
    self.hashed = hashed
    for record in records { fold(record) }
  }

  /// Folds one record and keeps what a lane may have served then.
  mutating func fold(_ record: StoredRecord) {
    state.fold(record)
    guard state.settings != nil, !state.isRefused, versions.insert(state.version).inserted else { return }
    if scored?.contains(state.version) ?? true || scorers.isEmpty { scorers[state.version] = state.scorers() }
    if hashed?.contains(state.version) ?? true { hashes[state.version] = state.stateHash }
  }
}

extension ModelState {
  func fold(_ record: StoredRecord) {
    _ = fold(record.value, offset: Offset(record.offset), timestamp: EventTime(milliseconds: record.timestamp))
  }
}

extension Checker {
  /// The fold of the log is every worker's model; every version that was named existed; every claim was true.
  mutating func checkModel() {
    history = ModelHistory(
      scored: Set(journal.joined().flatMap { $0.versions.map(\.version) }),
      hashed: Set(claims.map(\.version) + kept.map(\.version)))
    var states = evidence.modelStates.sorted { $0.next < $1.next }[...]
    for record in evidence.learning {
      while let first = states.first, record.offset >= first.next { compare(states.removeFirst()) }
      history.fold(record)
    }
    for state in states { compare(state) }
    let state = history.state
    if state.isRefused || state.ledger.charter == nil { find(.foldRefuses, "no charter that this build folds") }
    if state.ledger.counters.malformed > 0 || state.ledger.counters.unchartered > 0
      || state.ledger.counters.quarantined > 0
    {
      find(.foldRefuses, "\(state.ledger.counters)")
    }
    for claim in claims where history.hashes[claim.version] != claim.stateHash {
      find(.claimDiffers, "version=\(claim.version) claimed=\(claim.stateHash) by=\(claim.instance)")
    }
    for kept in kept where history.hashes[kept.version] != kept.digest {
      find(.claimDiffers, "kept version=\(kept.version) digest=\(kept.digest)")
    }
    for partition in partitions {
      for record in evidence.predictions[partition] {
        let version = (try? JSONValue(parsing: record.value))?["version"]?.string.flatMap { ModelVersion($0) }
        if version.map({ !history.versions.contains($0) }) ?? true {
          find(.unknownVersion, "partition=\(partition) offset=\(record.offset) version=\(version?.description ?? "none")")
        }
      }
    }
  }
  /// The fold so far against a worker's state at the same place.
  private mutating func compare(_ theirs: (worker: String, bytes: [UInt8], next: Int64)) {
    let state = history.state
    if state.isWhat(theirs.bytes) { return }
    var reader = ByteReader(theirs.bytes)
    let told = (try? ModelState(restoring: &reader)).map { $0.summary } ?? "unreadable"
    find(.modelDiffers, "worker \(theirs.worker): \(told) fold: \(state.summary)")
  }
}

extension ModelState {
  /// Whether a worker's checkpoint holds this state. One that started from a published version need not hold every
  /// older one; those that it holds hash to what the ledger names, or cannot be restored.
  func isWhat(_ checkpoint: [UInt8]) -> Bool {
    var reader = ByteReader(checkpoint)
    guard let theirs = try? ModelState(restoring: &reader) else { return false }
    return theirs.stateHash == stateHash && theirs.ledgerHash == ledgerHash
  }
  fileprivate var summary: String {
    "version=\(version) hash=\(stateHash) ledger=\(ledgerHash) offset=\(ledger.offset.value)"
  }
}
