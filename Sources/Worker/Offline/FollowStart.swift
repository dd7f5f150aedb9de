import Checkpoints
import Engine
import Features
import Pipeline
import Records
import Storage

/// From where one partition can be followed, and from where on what it gives may be compared.
enum FollowStart: Equatable, Sendable {
  /// From the first record of its journal, with nothing known, as the run itself began.
  case beginning(at: [Int64])
  /// From the state of a checkpoint.
  case checkpoint(name: String, at: [Int64])
  /// With nothing known, and silently until everything has been seen that a state can hold.
  case warmUp(at: [Int64], complete: [Int64])

  /// Offsets, by input, at which the state begins.
  var at: [Int64] {
    switch self {
    case .beginning(let at), .checkpoint(_, let at), .warmUp(let at, _): at
    }
  }
  /// Offsets from which on the state is whole.
  var complete: [Int64] {
    if case .warmUp(_, let complete) = self { return complete }
    return at
  }
}

/// What decides where a partition is followed from. The search through the journal ends early where it can.
struct FollowFacts {
  /// First offset kept of the journal and, by input, of the inputs.
  var journalLow: Int64
  var lowest: [Int64]
  /// Usable checkpoints, oldest first: name and next offsets.
  var checkpoints: [(name: String, at: [Int64])]
}

/// Derives the place from the facts and the journal's records in order; nil where the logs do not reach back.
///
/// A whole state needs, without a checkpoint, what the journal calls the replay start: behind the first record whose
/// replay start lies in what is left of the logs, everything can be compared.
func chooseFollowStart<Fault: Error>(
  _ facts: FollowFacts, journal: () throws(Fault) -> JournalRecord?
) throws(Fault) -> FollowStart? {
  func reaches(_ offsets: [Int64], _ needed: [Int64]) -> Bool {
    offsets.count == needed.count && offsets.indices.allSatisfy { offsets[$0] >= needed[$0] }
  }
  let oldest = facts.checkpoints.first { reaches($0.at, facts.lowest) }
  let fallback = oldest.map { FollowStart.checkpoint(name: $0.name, at: $0.at) }
  guard let first = try journal() else { return fallback }
  if facts.journalLow == 0, reaches(first.replayFrom, facts.lowest) { return .beginning(at: first.replayFrom) }
  var start: [Int64]?
  var record: JournalRecord? = first
  while let present = record {
    if let start {
      if reaches(present.replayFrom, start) { return .warmUp(at: start, complete: present.nextOffsets) }
      // What a checkpoint already reaches needs no further search.
      if let oldest, reaches(present.nextOffsets, oldest.at) { return fallback }
    } else if reaches(present.nextOffsets, facts.lowest) {
      start = present.nextOffsets
    }
    record = try journal()
  }
  return fallback
}
