import Kafka
import Learning
import Records
import Storage

// Replicas prove to each other that they hold the same model, and what follows where they do not.
extension Replica {
  /// So long a claim of another worker is waited for where others have claimed before: by the publisher before it folds
  /// again itself, and by one that is outvoted by no more than it has on its own side.
  static let claimWaitNanoseconds: UInt64 = 10_000_000_000
  /// So long the publisher waits where no version tells yet whether there are others.
  static let firstClaimWaitNanoseconds: UInt64 = 3_000_000_000
  /// So long a kept version that is confirmed may take to be there.
  static let fetchNanoseconds: UInt64 = 60_000_000_000
  static let patienceNanoseconds: UInt64 = 2_000_000_000
  /// Records that a second fold takes in one turn: more than the first one does, so that it comes after.
  static let recordsAgainPerTurn = 4 * recordsPerTurn

  var instance: String { context.settings.worker.instance }

  /// Numbers of the folds that this worker ever claimed from, as far as the ledger remembers.
  var ownFolds: [UInt8] {
    [servingFold, newestFold]
      + state.ledger.kept.flatMap { $0.agreement.claims.filter { $0.instance == instance }.map(\.fold) }
  }

  /// Confirms where nobody else does, and makes the fold again where it is doubted. Whether there is more to do at once.
  ///
  /// Brokers that are away are asked again later: the fold that serves needs none of this.
  func settleDoubts() throws(WorkerFailure) -> Bool {
    guard state.needsAgreement, context.now() >= nextDoubts else { return false }
    do throws(WorkerFailure) {
      return try settle()
    } catch {
      guard case .kafka(let cause) = error, cause.action == .retrySameCall else { throw error }
      nextDoubts = context.now() + Self.patienceNanoseconds
      context.log.warning("fold-again-waits", "a second fold waits for brokers", LogFields(["error": "\(cause)"]))
      return false
    }
  }

  private func settle() throws(WorkerFailure) -> Bool {
    if remaking != nil { return try remake() }
    if let entry = state.ledger.kept.first(where: { isHopeless($0) }) {
      let since = hopelessSince ?? context.now()
      hopelessSince = since
      // Why not at once: a slow worker may not have spoken yet. Two that go on differing both stop, since nothing tells
      // which of them is right.
      if entry.agreement.isOutvotedClearly(entry.ours) || context.now() - since >= Self.claimWaitNanoseconds {
        try stopScoring(entry)
      }
    } else {
      hopelessSince = nil
    }
    if let entry = state.ledger.kept.first(where: { isDoubted($0) }) {
      try beginRemaking(entry)
      return remaking != nil
    }
    return try confirmAlone()
  }

  // MARK: Confirming

  private func claims(_ entry: KeptEntry, byOthers: Bool) -> Bool {
    entry.agreement.claims.contains { ($0.instance != instance) == byOthers }
  }

  /// The publisher's second fold, for versions that no other worker has spoken of in time.
  private func confirmAlone() throws(WorkerFailure) -> Bool {
    let open = state.ledger.kept.filter { entry in
      !entry.isConfirmed && announcedAt[entry.version] != nil
    }
    guard isPublisher, let first = open.first(where: { isDue($0) }), let last = open.last(where: { isDue($0) }) else {
      // Others confirm: a second learner's memory is not needed.
      if confirming != nil, let known = state.ledger.kept.last(where: \.isConfirmed), claims(known, byOthers: true) {
        confirming = nil
      }
      return false
    }
    if let fold = confirming, first.place <= fold.basePlace || fold.state.ledger.offset >= first.place,
      !claims(first, by: fold.number)
    {
      // It stands past a version that it never spoke of.
      confirming = nil
    }
    if confirming == nil {
      guard let base = try base(before: first.place) else {
        announcedAt[first.version] = nil
        context.log.warning(
          "confirm-failed", "a kept version cannot be confirmed: nothing to fold again from is here or published",
          LogFields(["version": "\(first.version)"]))
        return false
      }
      newestFold = nextFold
      confirming = try FoldAgain(context, base, number: newestFold, fault: context.testFault.recurring)
    }
    guard let fold = confirming else { return false }
    let folded = try fold.turn(upTo: Self.recordsAgainPerTurn, through: last.place) {
      (digest, version) throws(WorkerFailure) in try held(digest, version)
    } kept: { version in
      guard let entry = fold.state.ledger.kept.last(where: { $0.version == version }),
        state.ledger.kept.contains(where: { $0.version == version && !$0.isConfirmed })
      else { return }
      outbox.queue(
        HashClaim(
          instance: instance, version: version, stateHash: entry.digest, fold: fold.number,
          ledgerHash: entry.ledgerDigest))
    }
    if fold.state.ledger.offset >= last.place {
      for entry in open where entry.place <= last.place { announcedAt[entry.version] = nil }
    }
    return folded > 0
  }

  private func claims(_ entry: KeptEntry, by fold: UInt8) -> Bool {
    entry.agreement.claims.contains { $0.instance == instance && $0.fold == fold }
  }

  private func isDue(_ entry: KeptEntry) -> Bool {
    guard let announced = announcedAt[entry.version] else { return false }
    let wait: UInt64
    if let last = state.ledger.kept.last(where: { $0.isConfirmed && $0.ledgerDigest != .zero }) {
      // Why at once where nobody else spoke last time: there is probably nobody else.
      wait = claims(last, byOthers: true) || claims(entry, byOthers: true) ? Self.claimWaitNanoseconds : 0
    } else {
      wait = Self.firstClaimWaitNanoseconds
    }
    return context.now() - announced >= wait
  }

  private var nextFold: UInt8 { min(ownFolds.max() ?? 1, .max - 1) + 1 }

  // MARK: Doubting

  func tellDivergence(
    _ version: ModelVersion, _ ours: Agreement.Candidate, _ theirs: Agreement.Candidate, _ other: String?
  ) {
    let text =
      "replicas differ version=\(version) claimed_by=\(other ?? "publisher") theirs=\(theirs.state) ours=\(ours.state)"
      + (theirs.state == ours.state ? " ledger_theirs=\(theirs.ledger) ledger_ours=\(ours.ledger)" : "")
    context.log.warning("replicas-differ", text, LogFields(["kind": FoldAlert.diverged.rawValue]))
    if isCaughtUp { outbox.queueAlert(kind: FoldAlert.diverged.rawValue, text: text, version: state.version) }
  }

  /// Whether the fold that serves should be made again because of this version.
  private func isDoubted(_ entry: KeptEntry) -> Bool {
    guard remadeThrough < entry.place, entry.ledgerDigest != .zero else { return false }
    if let confirmed = entry.agreement.confirmed { return confirmed != entry.ours }
    return entry.agreement.claims.contains { claim in
      guard entry.isContradicted(by: claim) else { return false }
      // What this worker claimed from an earlier fold is known to be wrong; who has corrected himself doubts no more.
      if claim.instance == instance { return claim.fold > servingFold }
      return !entry.agreement.claims.contains { $0.instance == claim.instance && !entry.isContradicted(by: $0) }
    }
  }

  /// Whether the fold was made again and others still hold something else, no fewer than hold this.
  private func isHopeless(_ entry: KeptEntry) -> Bool {
    guard entry.place <= remadeThrough, entry.ledgerDigest != .zero else { return false }
    if let confirmed = entry.agreement.confirmed { return confirmed != entry.ours }
    return entry.agreement.isOutvoted(entry.ours)
  }

  private func beginRemaking(_ entry: KeptEntry) throws(WorkerFailure) {
    confirming = nil
    guard let base = try base(before: entry.place) else {
      context.log.error(
        "fold-again-failed", "the model is doubted, and nothing to fold again from is here or published",
        LogFields(["version": "\(entry.version)"]))
      remadeThrough = entry.place
      return
    }
    newestFold = nextFold
    let fold = try FoldAgain(context, base, number: newestFold, fault: context.testFault.recurring)
    remaking = fold
    setAsideCheckpoints(after: fold.basePlace)
    checkpointedOffset = Offset(-1)
    context.log.warning(
      "fold-again", "folding again from the last version beyond doubt; serving goes on",
      LogFields([
        "doubted": "\(entry.version)", "from": "\(fold.state.version)", "next": "\(fold.basePlace.value + 1)",
      ]))
  }

  private func remake() throws(WorkerFailure) -> Bool {
    guard let fold = remaking else { return false }
    let folded = try fold.turn(upTo: Self.recordsAgainPerTurn, through: state.ledger.offset) {
      (digest, version) throws(WorkerFailure) in try held(digest, version)
    } kept: { version in
      guard let entry = fold.state.ledger.kept.last, let learned = fold.state.keptBytes(entry.digest) else { return }
      let ledger = fold.state.ledgerPart()
      ledgerParts[version] = ledger
      store(version, [learned, ledger])
    }
    guard fold.state.ledger.offset >= state.ledger.offset else { return folded > 0 }
    let before = (state: state.stateHash, ledger: state.ledgerHash)
    for entry in state.ledger.kept {
      if let bytes = state.keptBytes(entry.digest) { fold.state.supply(bytes) }
    }
    state = fold.state
    servingFold = fold.number
    remadeThrough = state.ledger.offset
    remaking = nil
    let isSame = state.stateHash == before.state && state.ledgerHash == before.ledger
    context.log.warning(
      "folded-again", isSame ? "folded again, to the same model" : "folded again, to another model, which is served now",
      LogFields(["version": "\(state.version)", "state_hash": "\(state.stateHash)"]))
    for entry in state.ledger.kept where fold.basePlace < entry.place && state.ledger.isPresent(entry) {
      announce(entry)
    }
    publish(anew: true)
    writeCheckpoint()
    return true
  }

  /// Ends the worker: what it serves is not what the others serve, and folding again has not helped.
  private func stopScoring(_ entry: KeptEntry) throws(WorkerFailure) {
    let text =
      "this worker's model still differs after folding again version=\(entry.version) ours=\(entry.digest) "
      + "confirmed=\(entry.agreement.confirmed.map { "\($0.state)" } ?? "none"); it stops scoring"
    context.log.error("replica-stopped", text)
    outbox.queueAlert(kind: FoldAlert.stillDiverged.rawValue, text: text, version: state.version)
    setAsideCheckpoints(after: state.ledger.kept.last { $0.isBeyondDoubt && $0.place < entry.place }?.place ?? Offset(-1))
    try kafka { () throws(KafkaError) in
      try outbox.send(asPublisher: false, state: state, isDoubted: true) { _ in nil }
    }
    throw .unrecoverable(text)
  }

  // MARK: Where to fold again from

  /// A learned state for a fold that is made again.
  private func held(_ digest: Digest, _ version: ModelVersion) throws(WorkerFailure) -> [UInt8] {
    if let bytes = state.keptBytes(digest) { return bytes }
    return try missingState(digest, of: version)
  }

  /// The newest version before `place` that the log confirmed and this fold agrees with; nil where its content is
  /// neither here nor published.
  private func base(before place: Offset) throws(WorkerFailure) -> FoldBase? {
    for entry in state.ledger.kept.reversed() where entry.isBeyondDoubt && entry.place < place {
      if entry.ledgerDigest == .zero {
        let log = TopicPartition(context.settings.topics.learning, 0)
        let low = try kafka { () throws(KafkaError) in try context.journalEnd(log) }.low
        return low <= entry.place.value ? FoldBase(state: ModelState(), next: low) : nil
      }
      var found = content(of: entry)
      if found == nil { found = try published(entry) }
      guard let (learned, ledger) = found else { continue }
      // Bytes of the right digest that are no state: the next one may do.
      guard let made = try? ModelState(ledgerPart: ledger, learned: learned) else { continue }
      return FoldBase(state: made, next: entry.place.value + 1)
    }
    return nil
  }

  private func published(_ entry: KeptEntry) throws(WorkerFailure) -> (learned: [UInt8], ledger: [UInt8])? {
    let index = try kafka { () throws(KafkaError) in try topic.index() }
    guard let manifest = index.manifests[entry.version], manifest.learned.digest == entry.digest,
      manifest.ledger.digest == entry.ledgerDigest
    else { return nil }
    let contents = try kafka { () throws(KafkaError) in try topic.fetch([manifest.learned, manifest.ledger]) }
    guard let learned = contents[0], let ledger = contents[1] else { return nil }
    return (learned, ledger)
  }
}
