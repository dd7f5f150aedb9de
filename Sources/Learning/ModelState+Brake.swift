import Records

extension ModelState {
  /// What a worker serves at once for a command that the log has not brought yet.
  public enum Pin: Sendable, Equatable {
    /// What is served now, unchanged: a freeze, or a rollback to what is not held here.
    case present
    case kept(KeptEntry)
  }

  /// Whether a record of `control`, read beside the lanes, may pin what is served: a verified, unexpired
  /// rollback or freeze for this pipeline, cluster and lineage that the ledger has not seen. The fold gives
  /// the final word when the log brings it.
  public func pin(for logged: LoggedCommand) -> (commandID: String, pin: Pin)? {
    guard logged.isVerified, let settings, !isRefused,
      let command = try? Command(parsing: logged.value),  // Malformed ones are answered through the log.
      command.keyID == logged.keyID, command.pipeline == settings.pipeline,
      command.clusterID == ledger.charter?.clusterID, !command.isDryRun,
      logged.controlTimestamp <= command.expiresAt,
      !ledger.commands.contains(where: { $0.id == command.id }),
      command.expectLineage == nil || command.expectLineage == ledger.lineage
    else { return nil }
    switch command.action {
    case .freeze: return (command.id, .present)
    case .rollback(let target, _):
      guard case .success(let entry) = resolve(target) else { return (command.id, .present) }
      return (command.id, .kept(entry))
    case .unfreeze, .tag, .promote, .charter: return nil
    }
  }
}
