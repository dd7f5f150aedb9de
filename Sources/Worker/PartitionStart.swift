import Records

/// What is known of one partition when it is assigned.
struct StartFacts: Equatable, Sendable {
  /// Per input, the group's committed offset; nil where there is none.
  var committed: [Int64?]
  /// Per input, the first offset that the broker still has.
  var lowest: [Int64]
  /// Per input, where a first start begins.
  var start: [Int64]
  /// What the journal's last record says: offsets after it, and from where a bare replay starts; nil: the journal is empty.
  var journalNext: [Int64]?
  var journalReplayFrom: [Int64]?
  /// First offset that the journal still has, and from where such a replay reads it.
  var journalLowest: Int64 = 0
  var journalReplayPlace: Int64 = 0
  /// Offsets of the newest checkpoint that verifies and is not ahead of what was committed; nil: none.
  var checkpoint: [Int64]?
  /// Per input, where its topic ends; nil: not known.
  var ends: [Int64]?
  /// Names of the inputs' topics, for people.
  var topics: [String] = []

  fileprivate func name(_ input: Int) -> String {
    topics.indices.contains(input) ? "topic=\(topics[input])" : "input=\(input)"
  }
}

/// From where a partition's state is made.
enum PartitionStart: Equatable, Sendable {
  /// Nothing was ever done here: begin at these offsets.
  case begin(at: [Int64])
  /// Load the checkpoint (or, without, an empty state at `from`) and follow the journal to `to`.
  case resume(from: [Int64], to: [Int64], useCheckpoint: Bool, warning: String?)
  /// The state cannot be made again; going on would be a silent loss.
  case refuse(String)
}

/// Derives the place to resume from. Pure; every combination has one answer.
func decideStart(_ facts: StartFacts) -> PartitionStart {
  let known = facts.committed.compactMap { $0 }
  guard let journalNext = facts.journalNext, let replayFrom = facts.journalReplayFrom else {
    guard known.isEmpty else {
      return .refuse("offsets are committed but the journal is empty")
    }
    return .begin(at: facts.start)
  }
  guard journalNext.count <= facts.start.count else {
    return .refuse(
      "the journal names more inputs than are declared journal=\(journalNext.count) declared=\(facts.start.count)")
  }
  var warning: String?
  var target: [Int64] = []
  for input in facts.start.indices {
    // An input that the journal does not name is new: it begins at its start.
    guard input < journalNext.count else {
      target.append(facts.committed[input] ?? facts.start[input])
      continue
    }
    switch facts.committed[input] {
    case .some(let offset) where offset != journalNext[input]:
      return .refuse(
        "committed offset and journal differ \(facts.name(input)) committed=\(offset) journal=\(journalNext[input])")
    case .none:
      warning = "committed offsets are gone; the journal's last record supplies them"
    default: break
    }
    target.append(journalNext[input])
  }
  for (input, end) in (facts.ends ?? []).enumerated() where input < target.count && target[input] > end {
    return .refuse(
      "the topic ends before what was read of it: it was made anew or cut \(facts.name(input)) end=\(end) read=\(target[input])")
  }
  if let checkpoint = facts.checkpoint {
    for input in checkpoint.indices where facts.lowest[input] > checkpoint[input] {
      // An offset equal to the target needs no record any more.
      if checkpoint[input] < target[input] {
        return .refuse(
          "records after the checkpoint are no longer kept \(facts.name(input)) checkpoint=\(checkpoint[input]) lowest=\(facts.lowest[input])")
      }
    }
    return .resume(from: checkpoint, to: target, useCheckpoint: true, warning: warning)
  }
  guard facts.journalLowest <= facts.journalReplayPlace else {
    return .refuse(
      "journal records that the state needs are no longer kept and there is no checkpoint needed=\(facts.journalReplayPlace) lowest=\(facts.journalLowest)")
  }
  var from = replayFrom
  while from.count < target.count { from.append(target[from.count]) }
  for input in from.indices where facts.lowest[input] > from[input] && from[input] < target[input] {
    return .refuse(
      "records that the state needs are no longer kept and there is no checkpoint \(facts.name(input)) needed=\(from[input]) lowest=\(facts.lowest[input])")
  }
  return .resume(from: from, to: target, useCheckpoint: false, warning: warning)
}
