import Records

extension ModelState {
  /// What a command would do, decided before anything is done.
  private enum Decision {
    /// Without bytes where the state is not held here.
    case rollback(to: KeptEntry, bytes: [UInt8]?, then: AfterRollback)
    case charter(Succession)
    case setFrozen(Bool)
    case tag(String)
    case reject(String)
  }

  /// Accepts or rejects. Forged, foreign, malformed and expired commands change nothing but counts; any other verdict is
  /// remembered under its id, and given again when the id comes again.
  func fold(
    _ logged: LoggedCommand, _ settings: LearningSettings, offset: Offset, timestamp: EventTime
  ) -> [FoldEffect] {
    if ledger.lastControlOffset < logged.controlOffset {
      ledger.lastControlOffset = logged.controlOffset
    }
    let command: Command
    do {
      command = try Command(parsing: logged.value)
    } catch {
      ledger.counters.commandsRejected += 1
      guard logged.isVerified, let id = error.id else {
        return [
          .alert(
            kind: logged.isVerified ? .commandMalformed : .commandUnverified,
            text: "\(error) control_offset=\(logged.controlOffset.value)")
        ]
      }
      return [ack(id, .rejected, "\(error)")]
    }
    guard logged.isVerified, logged.keyID == command.keyID else {
      ledger.counters.commandsRejected += 1
      let why =
        logged.isVerified
        ? "signed by another key than it names key_id=\(command.keyID) signed_by=\(logged.keyID)"
        : "signature does not verify"
      return [
        .alert(
          kind: .commandUnverified,
          text: "\(why) id=\(command.id) control_offset=\(logged.controlOffset.value)"),
        ack(command.id, .rejected, why),
      ]
    }
    guard command.pipeline == settings.pipeline else {
      ledger.counters.commandsForeign += 1
      return []
    }
    guard command.clusterID == ledger.charter?.clusterID else {
      ledger.counters.commandsRejected += 1
      return [ack(command.id, .rejected, "for another cluster cluster_id=\(command.clusterID)")]
    }
    if let seen = ledger.commands.first(where: { $0.id == command.id }) {
      ledger.counters.commandsRepeated += 1
      return [
        .ack(
          commandID: seen.id, status: seen.isAccepted ? .accepted : .rejected,
          version: seen.version, stateHash: nil, detail: "seen before: \(seen.detail)")
      ]
    }
    guard logged.controlTimestamp <= command.expiresAt else {
      ledger.counters.commandsRejected += 1
      return [
        ack(
          command.id, .rejected,
          "expired expires_at_ms=\(command.expiresAt.milliseconds) record_ms=\(logged.controlTimestamp.milliseconds)"
        )
      ]
    }
    let decision = decide(command, settings)
    if command.isDryRun { return [dryRun(command, decision)] }
    return carryOut(command, decision, settings, logged, offset: offset, timestamp: timestamp)
  }

  private func decide(_ command: Command, _ settings: LearningSettings) -> Decision {
    if let expected = command.expectLineage, expected != ledger.lineage {
      return .reject("lineage is \(ledger.lineage.value) expected=\(expected.value)")
    }
    switch command.action {
    case .freeze: return .setFrozen(true)
    case .unfreeze: return .setFrozen(false)
    case .tag(let name):
      if let known = ledger.tagged(name) {
        return .reject("tag exists name=\(name) version=\(known.version)")
      }
      return .tag(name)
    case .promote: return .reject("not yet: kind=\(command.action.kind)")
    case .charter(let args):
      guard command.expectLineage != nil else { return .reject("a charter must name the lineage it expects") }
      guard let proposal = CharterProposal(args: args) else { return .reject("args are no charter") }
      switch succession(proposal, settings) {
      case .success(let succession): return .charter(succession)
      case .failure(let why): return .reject(why.text)
      }
    case .rollback(let target, let then):
      switch resolve(target) {
      case .success(let entry): return .rollback(to: entry, bytes: states[entry.target], then: then)
      case .failure(let why): return .reject(why.text)
      }
    }
  }

  struct Refusal: Error, Equatable { var text: String }

  /// The kept version that a target means. A function of the log alone.
  func resolve(_ target: RollbackTarget) -> Result<KeptEntry, Refusal> {
    func confirmed(_ entry: KeptEntry?, _ what: String) -> Result<KeptEntry, Refusal> {
      guard let entry else { return .failure(Refusal(text: "not kept: \(what)")) }
      guard ledger.isPresent(entry) else {
        return .failure(Refusal(text: "kept under an earlier charter: \(what) version=\(entry.version)"))
      }
      guard entry.isConfirmed else {
        let why = entry.isStored && needsAgreement ? "not confirmed by a second claim yet" : "not stored yet"
        return .failure(Refusal(text: "\(why): \(what) version=\(entry.version)"))
      }
      return .success(entry)
    }
    switch target {
    case .version(let version):
      return confirmed(ledger.kept.last { $0.version == version }, "version=\(version)")
    case .tag(let name): return confirmed(ledger.tagged(name), "tag=\(name)")
    case .before(let time):
      return confirmed(
        ledger.kept.last { $0.isConfirmed && $0.timestamp < time },
        "before_ms=\(time.milliseconds)")
    case .previous: return confirmed(previous, "previous")
    }
  }

  /// The newest confirmed ancestor whose state differs from the present one: first in the present lineage, then in that
  /// from which it was taken, up to where it was taken, and so on. So `previous` twice goes back twice.
  private var previous: KeptEntry? {
    let present = stateHash
    var lineage = ledger.lineage
    var sequence = ledger.sequence
    var origins = ledger.origins[...]
    while true {
      let found = ledger.kept.last {
        $0.version.lineage == lineage && $0.version.sequence <= sequence && $0.isConfirmed
          && $0.target != present
      }
      if let found { return found }
      guard let index = origins.lastIndex(where: { $0.lineage == lineage }) else { return nil }
      (lineage, sequence) = (origins[index].version.lineage, origins[index].version.sequence)
      origins = origins[..<index]
    }
  }

  private func dryRun(_ command: Command, _ decision: Decision) -> FoldEffect {
    switch decision {
    case .reject(let why):
      ledger.counters.commandsRejected += 1
      return ack(command.id, .rejected, "dry run: \(why)")
    case .rollback(let entry, _, let then):
      ledger.counters.commandsAccepted += 1
      return ack(
        command.id, .accepted,
        "dry run: would return from \(version) to \(entry.version) then=\(then.rawValue)")
    case .setFrozen(let isFrozen):
      ledger.counters.commandsAccepted += 1
      return ack(
        command.id, .accepted, "dry run: would \(isFrozen ? "freeze" : "unfreeze") at \(version)")
    case .tag(let name):
      ledger.counters.commandsAccepted += 1
      return ack(command.id, .accepted, "dry run: would tag \(version) name=\(name)")
    case .charter(let succession):
      ledger.counters.commandsAccepted += 1
      return ack(
        command.id, .accepted, "dry run: would open lineage \(ledger.lineage.value + 1) \(succession.text)",
        hash: succession.charter.start)
    }
  }

  private func carryOut(
    _ command: Command, _ decision: Decision, _ settings: LearningSettings,
    _ logged: LoggedCommand, offset: Offset, timestamp: EventTime
  ) -> [FoldEffect] {
    func remember(_ isAccepted: Bool, _ detail: String) {
      if isAccepted {
        ledger.counters.commandsAccepted += 1
      } else {
        ledger.counters.commandsRejected += 1
      }
      ledger.remember(
        Ledger.SeenCommand(
          id: command.id, expiresAt: command.expiresAt, isAccepted: isAccepted, version: version,
          detail: detail), now: logged.controlTimestamp)
    }
    switch decision {
    case .reject(let why):
      remember(false, why)
      return [ack(command.id, .rejected, why)]

    case .setFrozen(let isFrozen):
      let detail =
        ledger.isFrozen == isFrozen
        ? "already \(isFrozen ? "frozen" : "learning")" : isFrozen ? "frozen" : "learning again"
      ledger.isFrozen = isFrozen
      remember(true, detail)
      return [ack(command.id, .accepted, detail, hash: stateHash)]

    case .tag(let name):
      let detail = "tagged name=\(name)"
      if let index = ledger.kept.lastIndex(where: { $0.version == version }) {
        ledger.kept[index].tags.append(name)
        remember(true, detail)
        let accepted = ack(command.id, .accepted, detail, hash: ledger.kept[index].digest)
        guard !ledger.kept[index].isConfirmed else {
          return [accepted, ack(command.id, .applied, "kept", hash: ledger.kept[index].digest)]
        }
        ledger.kept[index].awaiting.append(command.id)
        return [accepted]
      }
      let (bytes, digest) = learned()
      remember(true, detail)
      let effect = keep(
        bytes: bytes, digest: digest, settings, offset: ledger.versionOffset,
        timestamp: ledger.versionTimestamp, tag: name, command: command.id)
      return [ack(command.id, .accepted, detail, hash: digest), effect]

    case .charter(let succession):
      let from = version
      let switched = adopt(succession, offset: offset, timestamp: timestamp)
      let detail = "chartered anew at \(from), served as \(version) \(succession.text)"
      remember(true, detail)
      return [ack(command.id, .accepted, detail, hash: succession.charter.start)] + switched + [
        keep(
          bytes: succession.bytes, digest: succession.charter.start, succession.settings, offset: offset,
          timestamp: timestamp)
      ]

    case .rollback(let entry, nil, _): return [.missing(state: entry.target, version: entry.version)]

    case .rollback(let entry, let bytes?, let then):
      // Why new contenders: a state that cannot be read must leave the present one as it is.
      do {
        contenders = try Self.restoreContenders(bytes, settings)
      } catch {
        let why = "kept state cannot be read version=\(entry.version)"
        remember(false, why)
        return [
          .alert(kind: .keptUnreadable, text: "\(why) \(error)"), ack(command.id, .rejected, why),
        ]
      }
      let from = version
      ledger.lineage.value += 1
      ledger.origins.append(Ledger.Origin(lineage: ledger.lineage, version: entry.version))
      ledger.isFrozen = then == .freeze
      ledger.counters.switches += 1
      ledger.versionOffset = offset
      ledger.versionTimestamp = timestamp
      for metric in metrics { metric.reset() }
      didLearn()
      let detail =
        "returned from \(from) to \(entry.version), served as \(version) then=\(then.rawValue); windows fed by labels stay as they are"
      remember(true, detail)
      return [
        ack(command.id, .accepted, detail, hash: entry.target),
        .switched(version: version, reason: "rollback to \(entry.version)"),
        keep(bytes: bytes, digest: entry.target, settings, offset: offset, timestamp: timestamp),
      ]
    }
  }

  private func ack(
    _ id: String, _ status: CommandAck.Status, _ detail: String, hash: Digest? = nil
  ) -> FoldEffect {
    .ack(commandID: id, status: status, version: version, stateHash: hash, detail: detail)
  }
}
