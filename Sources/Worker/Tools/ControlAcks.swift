import Records

/// What the workers said of one command so far, and whether that is enough.
///
/// A fold over answers in which neither order nor repetition matters: of (instance, status) the first counts, a
/// rejection outweighs everything, and an instance that answered must answer to the end, whether or not the group
/// listed it when the command was sent.
public struct ControlAcks: Equatable, Sendable {
  public enum Verdict: Equatable, Sendable {
    /// These instances have not said the last word; empty where nobody was listed and nobody has answered.
    case waiting(missing: [String])
    /// Everybody has.
    case complete
    /// At least one worker refused; by instance.
    case rejected([CommandAck])
  }

  public let commandID: String
  /// The status that ends the waiting for an instance.
  public let goal: CommandAck.Status
  /// Who should answer, as the group was described; empty: unknown, so one instance is enough.
  public let expected: Set<String>
  private var answers: [String: [CommandAck.Status: CommandAck]] = [:]

  public init(commandID: String, isDryRun: Bool, expected: Set<String>) {
    self.commandID = commandID
    goal = isDryRun ? .accepted : .applied
    self.expected = expected
  }

  /// Takes an answer in. False for those to other commands and for repetitions.
  public mutating func take(_ ack: CommandAck) -> Bool {
    guard ack.id == commandID, answers[ack.instance]?[ack.status] == nil else { return false }
    answers[ack.instance, default: [:]][ack.status] = ack
    return true
  }

  public var verdict: Verdict {
    let rejections = instances.compactMap { answers[$0]?[.rejected] }
    if !rejections.isEmpty { return .rejected(rejections) }
    let missing = instances.filter { !hasEnded($0) }
    return missing.isEmpty && !instances.isEmpty ? .complete : .waiting(missing: missing)
  }

  /// Everybody who was listed or has answered, in order.
  public var instances: [String] { expected.union(answers.keys).sorted() }
  public var endedCount: Int { instances.count { hasEnded($0) } }

  /// `applied` says more than `accepted`, so it also ends a dry run that was none.
  private func hasEnded(_ instance: String) -> Bool {
    guard let said = answers[instance] else { return false }
    return said[goal] != nil || said[.applied] != nil
  }

  /// All answers, by instance and then in the order in which a worker gives them.
  public var all: [CommandAck] {
    instances.flatMap { instance in
      CommandAck.Status.allCases.compactMap { answers[instance]?[$0] }
    }
  }

  /// What the fold answered, from the first instance that did; the same on all.
  public var accepted: CommandAck? { all.first { $0.status == .accepted } }

  /// Instances that answered alike but name different states: replicas that have parted.
  public var disagreeing: [String] {
    var found: Set<String> = []
    for status in [CommandAck.Status.accepted, .applied] {
      let said = all.filter { $0.status == status && $0.stateHash != nil }
      for ack in said where said.contains(where: { $0.version == ack.version && $0.stateHash != ack.stateHash }) {
        found.insert(ack.instance)
      }
    }
    return found.sorted()
  }
}

/// Which worker a member of the group belongs to: lanes join as `<instance>-<lane>`, under the client id
/// `<pipeline>.<instance>.<lane>` where brokers do not tell the former. Nil for members that are no lanes.
public func workerInstance(instanceID: String?, clientID: String, pipeline: String) -> String? {
  func prefix(_ text: Substring, _ separator: Character) -> String? {
    guard let at = text.lastIndex(of: separator), at > text.startIndex else { return nil }
    let lane = text[text.index(after: at)...]
    guard !lane.isEmpty, lane.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return String(text[..<at])
  }
  if let instanceID, let instance = prefix(instanceID[...], "-") { return instance }
  guard clientID.hasPrefix(pipeline + ".") else { return nil }
  return prefix(clientID.dropFirst(pipeline.count + 1), ".")
}
