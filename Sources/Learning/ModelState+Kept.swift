import Records

extension ModelState {
  /// Lists the present version as kept; the effect asks for storing it. The record's last change to the ledger.
  func keep(
    bytes: [UInt8], digest: Digest, _ settings: LearningSettings, offset: Offset,
    timestamp: EventTime, tag: String? = nil, command: String? = nil
  ) -> FoldEffect {
    var entry = KeptEntry(
      version: version, digest: digest, offset: offset, timestamp: timestamp, place: ledger.offset)
    if let tag { entry.tags.append(tag) }
    if let command { entry.awaiting.append(command) }
    ledger.kept.append(entry)
    states[digest] = bytes
    prune(settings)
    ledger.kept[ledger.kept.count - 1].ledgerDigest = ledgerHash
    return .keep(version: version, digest: digest, bytes: bytes)
  }

  func prune(_ settings: LearningSettings) {
    ledger.prune(keep: settings.keep)
    let named = Set(namedStates)
    states = states.filter { named.contains($0.key) }
  }

  func fold(_ kept: KeptVersion, _ settings: LearningSettings) -> [FoldEffect] {
    guard let index = ledger.kept.lastIndex(where: { $0.version == kept.version }) else {
      ledger.counters.keptIgnored += 1
      return []
    }
    let entry = ledger.kept[index]
    let differs = entry.digest != kept.digest
    guard needsAgreement || !differs, ledger.kept[index].agreement.addStored(kept.digest) else {
      ledger.counters.keptIgnored += 1
      return differs ? [divergence(entry, Agreement.Candidate(state: kept.digest, ledger: .zero), nil)] : []
    }
    let effects = settle(index, settings)
    guard differs else { return effects }
    return [divergence(entry, Agreement.Candidate(state: kept.digest, ledger: .zero), nil)] + effects
  }

  func fold(_ claim: HashClaim, _ settings: LearningSettings) -> [FoldEffect] {
    ledger.counters.claims += 1
    guard let index = ledger.kept.lastIndex(where: { $0.version == claim.version }) else { return [] }
    let entry = ledger.kept[index]
    let theirs = Agreement.Candidate(state: claim.stateHash, ledger: claim.ledgerHash)
    let differs = entry.isContradicted(by: Agreement.Claim(claim))
    if differs { ledger.counters.claimsDiffering += 1 }
    guard ledger.kept[index].agreement.add(claim) else { return [] }
    let effects = settle(index, settings)
    return differs ? [divergence(entry, theirs, claim.instance)] + effects : effects
  }

  private func divergence(
    _ entry: KeptEntry, _ theirs: Agreement.Candidate, _ instance: String?
  ) -> FoldEffect {
    .diverged(version: entry.version, ours: entry.ours, theirs: theirs, instance: instance)
  }

  /// What follows if the log has now said enough of a kept version.
  private func settle(_ index: Int, _ settings: LearningSettings) -> [FoldEffect] {
    if needsAgreement {
      guard ledger.kept[index].agreement.settle() else { return [] }
    } else {
      let entry = ledger.kept[index]
      guard !entry.isConfirmed, entry.agreement.stored.contains(entry.digest) else { return [] }
      ledger.kept[index].agreement.confirmed = entry.ours
    }
    ledger.counters.keptConfirmed += 1
    let entry = ledger.kept[index]
    guard let confirmed = entry.agreement.confirmed else { return [] }
    var effects = [FoldEffect.confirmed(version: entry.version, confirmed)]
    for id in entry.awaiting {
      effects.append(
        .ack(
          commandID: id, status: .applied, version: entry.version, stateHash: confirmed.state, detail: "kept"))
    }
    ledger.kept[index].awaiting = []
    prune(settings)
    return effects
  }
}
