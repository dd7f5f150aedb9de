import Models
import Records

extension ModelState {
  /// The charter that a worker writes when the log has none.
  public static func charter(
    _ settings: LearningSettings, clusterID: String, engine: String = engine
  ) -> Charter {
    precondition(settings.faults.isEmpty, "settings have faults")
    return Charter(
      engine: engine, clusterID: clusterID, settings: settings.canonicalBytes(),
      rowSchema: settings.rowSchema,
      start: Digest.of(encodeContenders(makeContenders(settings))))
  }

  func fold(_ charter: Charter, offset: Offset, timestamp: EventTime) -> [FoldEffect] {
    if let present = ledger.charter {
      ledger.counters.chartersIgnored += 1
      // Two workers that start together both write one; a later charter is in force before its record comes.
      guard charter != present else { return [] }
      var twin = charter
      twin.start = present.start
      if twin == present, let entry = ledger.kept.first(where: { $0.version.lineage == ledger.charterLineage }) {
        let theirs = Agreement.Candidate(state: charter.start, ledger: .zero)
        return [.diverged(version: entry.version, ours: entry.ours, theirs: theirs, instance: nil)]
      }
      return [
        .alert(kind: .charterIgnored, text: "the first charter holds offset=\(offset.value)")
      ]
    }
    ledger.charter = charter
    func refuse(_ why: String) -> [FoldEffect] {
      isRefused = true
      ledger.counters.unchartered += 1
      return [.alert(kind: .charterRefused, text: "\(why) offset=\(offset.value)")]
    }
    guard Self.engines.contains(charter.engine) else {
      return refuse("another engine theirs=\(charter.engine) ours=\(Self.engine)")
    }
    let settings: LearningSettings
    do {
      settings = try LearningSettings(canonical: charter.settings, rowSchema: charter.rowSchema)
    } catch {
      return refuse("settings: \(error)")
    }
    install(settings)
    let bytes = Self.encodeContenders(contenders)
    let digest = Digest.of(bytes)
    guard digest == charter.start else {
      return refuse("another start state theirs=\(charter.start) ours=\(digest)")
    }
    ledger.lineage = Lineage(1)
    ledger.versionOffset = offset
    ledger.versionTimestamp = timestamp
    // The charter names the start's digest, and anybody can make that state again: it is confirmed.
    var entry = KeptEntry(
      version: version, digest: digest, offset: offset, timestamp: timestamp, place: offset)
    entry.agreement.confirmed = entry.ours
    ledger.kept = [entry]
    states = [digest: bytes]
    return [.switched(version: version, reason: "start")]
  }

  // MARK: Another charter

  /// What a `charter` command leads to.
  struct Succession {
    var charter: Charter
    var settings: LearningSettings
    var contenders: [Contender]
    var bytes: [UInt8]
    /// Names of contenders that keep what they learnt, and of those that begin anew.
    var keeping: [String]
    var beginning: [String]

    var text: String {
      func list(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ",") }
      return "keeping=\(list(keeping)) beginning=\(list(beginning))"
    }
  }

  /// What the charter in force becomes under proposed settings: a pure function of the present state and the proposal,
  /// so that every replica makes the same.
  ///
  /// A contender keeps what it learnt if one of its name stands in the charter in force whose encoder and rate are the
  /// same; a calibration of another kind begins anew. All others begin with nothing.
  func succession(
    _ proposal: CharterProposal, _ present: LearningSettings
  ) -> Result<Succession, Refusal> {
    func refuse(_ text: String) -> Result<Succession, Refusal> { .failure(Refusal(text: text)) }
    guard needsAgreement, let charter = ledger.charter else {
      return refuse("the charter in force is of an engine that knows no other; it needs a new learning topic")
    }
    guard proposal.columns == CharterProposal.digest(of: present.rowSchema) else {
      return refuse("the declared features make other columns than the charter's; that needs a new learning topic")
    }
    let settings: LearningSettings
    do {
      settings = try LearningSettings(canonical: proposal.settings, rowSchema: present.rowSchema)
    } catch {
      return refuse("settings: \(error)")
    }
    guard settings.pipeline == present.pipeline else {
      return refuse("settings of another pipeline pipeline=\(settings.pipeline)")
    }
    guard settings != present else { return refuse("these settings are in force") }
    // Units and waiting predictions hold one score a contender.
    guard settings.contenders.count == present.contenders.count else {
      return refuse(
        "another number of contenders theirs=\(settings.contenders.count) ours=\(present.contenders.count); that needs a new learning topic")
    }
    let made = Self.makeContenders(settings)
    var keeping: [String] = []
    for contender in made {
      guard let old = contenders.first(where: { $0.settings.name == contender.settings.name }),
        contender.inherit(old)
      else { continue }
      keeping.append(contender.settings.name)
    }
    let bytes = Self.encodeContenders(made)
    return .success(
      Succession(
        charter: Charter(
          engine: charter.engine, clusterID: charter.clusterID, settings: proposal.settings,
          rowSchema: charter.rowSchema, start: Digest.of(bytes)),
        settings: settings, contenders: made, bytes: bytes, keeping: keeping,
        beginning: made.map(\.settings.name).filter { !keeping.contains($0) }))
  }

  /// Puts the charter in force: a new lineage, whose metrics begin anew.
  func adopt(_ succession: Succession, offset: Offset, timestamp: EventTime) -> [FoldEffect] {
    ledger.lineage.value += 1
    ledger.charter = succession.charter
    ledger.charterLineage = ledger.lineage
    ledger.counters.switches += 1
    ledger.versionOffset = offset
    ledger.versionTimestamp = timestamp
    install(succession.settings)
    contenders = succession.contenders
    didLearn()
    return [.switched(version: version, reason: "charter"), .chartered(succession.charter)]
  }
}
