import Records

/// What the broker says of one topic's partition when a state is to be restored.
public struct LogBounds: Hashable, Sendable {
  public var topic: String
  /// Low watermark: what lies before it has been deleted by retention.
  public var earliest: Offset
  /// Up to where the state must be rebuilt: the committed offset of an input, the end of a log.
  public var committed: Offset
  public init(topic: String, earliest: Offset, committed: Offset) {
    self.topic = topic
    self.earliest = earliest
    self.committed = committed
  }
}

/// The facts a checkpoint is judged by. `log` is the journal (partition) or the learning log (model).
public struct RestorePoint: Hashable, Sendable {
  public var kind: CheckpointKind
  public var fingerprint: CheckpointFingerprint
  public var inputs: [LogBounds]
  public var log: LogBounds
  public init(
    kind: CheckpointKind, fingerprint: CheckpointFingerprint, inputs: [LogBounds], log: LogBounds
  ) {
    self.kind = kind
    self.fingerprint = fingerprint
    self.inputs = inputs
    self.log = log
  }
}

/// A file found: what it says of itself once verified, or why it could not be verified.
public struct CheckpointCandidate: Hashable, Sendable {
  public var name: String
  public var content: Result<CheckpointIdentity, CheckpointError>
  public init(name: String, content: Result<CheckpointIdentity, CheckpointError>) {
    self.name = name
    self.content = content
  }
}

/// Why a checkpoint must not be restored.
public enum CheckpointRefusal: Error, Hashable, Sendable {
  /// The bytes cannot be believed.
  case unreadable(CheckpointError)
  case otherKind(CheckpointKind)
  /// Computed from something else: another cluster, topic, pipeline or settings.
  case otherFingerprint(FingerprintField)
  /// It names other inputs than the pipeline reads.
  case otherInputs
  /// It stands after what was committed: its transaction never came to be.
  case ahead(topic: String, next: Offset, committed: Offset)
  /// What lies between it and the committed offset has been deleted: it cannot be carried forward.
  case retentionPassed(topic: String, next: Offset, earliest: Offset)
}

public struct RefusedCheckpoint: Hashable, Sendable {
  public var name: String
  public var reason: CheckpointRefusal
  public init(name: String, reason: CheckpointRefusal) {
    self.name = name
    self.reason = reason
  }
}

public enum RestoreDecision: Hashable, Sendable {
  /// Load `candidates[index]`, then replay from its positions. `refused`: the others that were looked at
  /// and may not be used; older usable ones are not among them.
  case restore(index: Int, refused: [RefusedCheckpoint])
  /// None may be used: rebuild from the logs alone.
  case rebuild(refused: [RefusedCheckpoint])
}

/// Why this identity may not be restored at this point; nil where it may.
///
/// A position equal to the committed one needs no replay, so retention cannot hurt it.
public func refusal(
  of identity: CheckpointIdentity, at point: RestorePoint
) -> CheckpointRefusal? {
  if identity.kind != point.kind { return .otherKind(identity.kind) }
  if let field = identity.fingerprint.firstDifference(from: point.fingerprint) {
    return .otherFingerprint(field)
  }
  guard identity.inputs.count == point.inputs.count,
    zip(identity.inputs, point.inputs).allSatisfy({ $0.topic == $1.topic })
  else { return .otherInputs }

  let positions = identity.inputs + [InputPosition(topic: point.log.topic, next: identity.logNext)]
  let bounds = point.inputs + [point.log]
  for (position, bound) in zip(positions, bounds) where position.next > bound.committed {
    return .ahead(topic: bound.topic, next: position.next, committed: bound.committed)
  }
  for (position, bound) in zip(positions, bounds)
  where position.next < bound.committed && position.next < bound.earliest {
    return .retentionPassed(topic: bound.topic, next: position.next, earliest: bound.earliest)
  }
  return nil
}

/// The newest checkpoint that verifies, was computed from the same things, stands at or before what was
/// committed, and from which the logs still lead to it.
///
/// Newest: the greatest log offset; at equal offsets the greatest generation; then the greatest name.
/// The order of `candidates` does not matter to what is chosen.
public func chooseCheckpoint(
  _ candidates: [CheckpointCandidate], at point: RestorePoint
) -> RestoreDecision {
  var refused: [RefusedCheckpoint] = []
  var best: (index: Int, identity: CheckpointIdentity)?
  for (index, candidate) in candidates.enumerated() {
    switch candidate.content {
    case .failure(let error):
      refused.append(RefusedCheckpoint(name: candidate.name, reason: .unreadable(error)))
    case .success(let identity):
      if let reason = refusal(of: identity, at: point) {
        refused.append(RefusedCheckpoint(name: candidate.name, reason: reason))
      } else if let current = best {
        let newer =
          (current.identity.logNext.value, current.identity.generation,
            candidates[current.index].name)
          < (identity.logNext.value, identity.generation, candidate.name)
        if newer { best = (index, identity) }
      } else {
        best = (index, identity)
      }
    }
  }
  guard let best else { return .rebuild(refused: refused) }
  return .restore(index: best.index, refused: refused)
}
