import Learning
import Records

/// A fresh fold of `learning` from its beginning, and what stood at each version on the way.
struct ModelHistory {
  let state = ModelState()
  var scorers: [ModelVersion: ScorerSet] = [:]
  var hashes: [ModelVersion: Digest] = [:]
  var claims: [HashClaim] = []
  var kept: [KeptVersion] = []

  init(_ records: [StoredRecord] = []) {
    for record in records { fold(record) }
  }

  /// Folds one record and keeps what a lane may have served then.
  mutating func fold(_ record: StoredRecord) {
    _ = state.fold(
      record.value, offset: Offset(record.offset),
      timestamp: EventTime(milliseconds: record.timestamp))
    if let set = state.scorers(), scorers[set.version] == nil {
      scorers[set.version] = set
      hashes[set.version] = state.stateHash
    }
    switch try? LearningRecord.decode(record.value) {
    case .claim(let claim): claims.append(claim)
    case .kept(let version): kept.append(version)
    default: break
    }
  }
}

extension Checker {
  /// The fold of the log is the worker's model; every version that was named existed; every claim was true.
  mutating func checkModel() {
    var compared = evidence.modelState == nil
    for record in evidence.learning {
      if !compared, record.offset >= evidence.modelState!.next {
        compareModel()
        compared = true
      }
      history.fold(record)
    }
    if !compared { compareModel() }
    let state = history.state
    if state.isRefused || state.ledger.charter == nil { find(.foldRefuses, "no charter that this build folds") }
    if state.ledger.counters.malformed > 0 || state.ledger.counters.unchartered > 0
      || state.ledger.counters.quarantined > 0
    {
      find(.foldRefuses, "\(state.ledger.counters)")
    }
    for claim in history.claims where history.hashes[claim.version] != claim.stateHash {
      find(.claimDiffers, "version=\(claim.version) claimed=\(claim.stateHash) by=\(claim.instance)")
    }
    for kept in history.kept where history.hashes[kept.version] != kept.digest {
      find(.claimDiffers, "kept version=\(kept.version) digest=\(kept.digest)")
    }
    for partition in partitions {
      for record in evidence.predictions[partition] {
        let version = (try? JSONValue(parsing: record.value))?["version"]?.string.flatMap { ModelVersion($0) }
        if version.map({ history.scorers[$0] == nil }) ?? true {
          find(.unknownVersion, "partition=\(partition) offset=\(record.offset) version=\(version?.description ?? "none")")
        }
      }
    }
  }
  /// The fold so far against the worker's state at the same place.
  private mutating func compareModel() {
    guard let theirs = evidence.modelState?.bytes else { return }
    let state = history.state
    if state.isWhat(theirs) { return }
    var reader = ByteReader(theirs)
    let told = (try? ModelState(restoring: &reader)).map { $0.summary } ?? "unreadable"
    find(.modelDiffers, "worker: \(told) fold: \(state.summary)")
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
