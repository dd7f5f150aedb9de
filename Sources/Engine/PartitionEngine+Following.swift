import Features
import Learning
import Records

/// How the scores of the events that one version scored are made when a journal is followed aloud.
public enum Rescoring {
  /// By the version's own scorers, and compared with the journal's bit for bit.
  case scorers(ScorerSet)
  /// The version is out of reach: the journal's scores are believed, and predictions are made of them.
  case journal(champion: Int)
}

/// A score computed again that is not the one that the journal says was served.
public struct ScoreDifference: Equatable, Sendable {
  public var offset: Int64
  public var contender: Int
  public var served: ServedScore
  public var computed: ServedScore
}

/// Journal records that an engine still has to follow.
struct FollowedJournal {
  var records: [JournalRecord] = []
  /// Offset of each in its journal, -1 where nobody knows.
  var places: [Int64] = []
  var first = 0
  /// Run of the first record that is being taken.
  var run = 0
  /// Scored events of the first record that were taken already.
  var scored = 0
  /// What the record that was done with last says of all records up to its end.
  var totals: [UInt64] = []
  /// Makes scores by version, and predictions of them; nil: silent.
  var rescore: ((ModelVersion) -> Rescoring?)?
  /// Is told of every differing score, and the journal is followed on; nil: the first one is a fault.
  var onDifference: ((ScoreDifference) -> Void)?

  var isEmpty: Bool { first == records.count }
  var current: JournalRecord { records[first] }

  /// Whether the record that is followed names this one as an event that was there before. A replay that begins
  /// in the middle of the log cannot know by itself what its state has not seen.
  func isDuplicate(input: Int, offset: Int64) -> Bool { says(.duplicate, input: input, offset: offset) }

  /// Whether the record that is followed gives this one that disposition.
  func says(_ disposition: JournalDisposition, input: Int, offset: Int64) -> Bool {
    first < records.count
      && records[first].dispositions.contains {
        $0.offset == offset && Int($0.input) == input && $0.code == disposition.rawValue
      }
  }

  mutating func finishRecord() {
    totals = records[first].totals
    first += 1
    run = 0
    scored = 0
    if first == records.count {
      records.removeAll()
      places.removeAll()
      first = 0
    }
  }
}

extension PartitionEngine {
  /// Lets the next steps follow what an earlier run did, in its order and with its scores.
  ///
  /// With `recompute`, scores are computed again by the scorers of the version that the journal
  /// names, compared bit for bit, and predictions are published into the unit; without, the steps
  /// are silent and the journal's scores are believed.
  public func follow(
    _ records: [JournalRecord], recompute: ((ModelVersion) -> ScorerSet?)? = nil
  ) {
    following = FollowedJournal(
      records: records, places: records.map { _ in -1 },
      rescore: recompute.map { recompute in { version in recompute(version).map { .scorers($0) } } })
    skipCovered()
  }

  /// As `follow` with scores computed again, where differing scores end nothing: predictions are published as they
  /// were computed, and what waits for labels is what the journal says was served.
  public func follow(
    _ records: [JournalRecord], rescore: @escaping (ModelVersion) -> Rescoring?,
    onDifference: @escaping (ScoreDifference) -> Void
  ) {
    following = FollowedJournal(
      records: records, places: records.map { _ in -1 }, rescore: rescore, onDifference: onDifference)
    skipCovered()
  }

  /// Lets the steps follow these records too, silently, after those given before. For a journal that is read in
  /// pieces; `offset` is each record's own.
  public func follow(more records: [(record: JournalRecord, offset: Int64)]) {
    // Those behind are done with: without this a long journal would stay in memory whole.
    following.records.removeFirst(following.first)
    following.places.removeFirst(following.first)
    following.first = 0
    following.records += records.map(\.record)
    following.places += records.map(\.offset)
    skipCovered()
  }

  /// Journal records still to be followed.
  public var followedRemaining: Int { following.records.count - following.first }

  /// Takes over what the last record followed says of all records up to its end: a state that was begun in the middle
  /// of the log cannot know what became of those before. False, and nothing is changed, where it says nothing.
  @discardableResult
  public func adoptTotals() -> Bool {
    let totals = following.totals
    let inputs = totals.count - Accounting.all.count
    // Fewer inputs: one was added since, of which nothing was taken then.
    guard inputs > 0, inputs <= recordCounts.count else { return false }
    for input in 0..<inputs { recordCounts[input] = totals[input] }
    for (index, path) in Accounting.all.enumerated() { accounting[keyPath: path] = totals[inputs + index] }
    return true
  }

  /// The sums of the state, as the journal holds them.
  public var totals: [UInt64] {
    var totals = recordCounts
    accounting.append(to: &totals)
    return totals
  }

  /// Passes over records that the state already contains.
  private func skipCovered() {
    while !following.isEmpty {
      let next = following.current.nextOffsets
      guard next.count <= nextOffsets.count, next.indices.allSatisfy({ next[$0] <= nextOffsets[$0] }) else { return }
      following.finishRecord()
    }
  }

  func follow(into unit: CommitUnit) throws(EngineFault) -> StepOutcome {
    while !following.isEmpty {
      let record = following.current
      // Fewer inputs: one was added since, of which the record says nothing.
      guard record.nextOffsets.count <= nextOffsets.count else {
        throw .journalMismatch(
          what: "inputs", input: nextOffsets.count, offset: record.nextOffsets[nextOffsets.count])
      }
      guard following.run < record.runs.count else {
        try flushFollowed(into: unit)
        // Why not of another plan's records: what that decoded as an event need not be one under ours.
        guard !isOurs(record) || following.scored == record.scoredCount else {
          throw .journalMismatch(
            what: "scored events", input: plan.scoredInput, offset: nextOffsets[plan.scoredInput])
        }
        for input in record.nextOffsets.indices where record.nextOffsets[input] != nextOffsets[input] {
          // Offsets may be ahead of the last record where a checkpoint stood behind a gap.
          guard record.nextOffsets[input] <= nextOffsets[input] else {
            throw .journalMismatch(
              what: "next offset", input: input, offset: record.nextOffsets[input])
          }
        }
        marks.note(
          newest: eventTimesMax.max() ?? .min, oldest: eventTimesMax.min() ?? .min,
          nextOffsets: nextOffsets, journal: following.places[following.first] + 1)
        journal.clear()
        following.finishRecord()
        return following.isEmpty ? .followed : .budgetSpent
      }
      let run = record.runs[following.run]
      let input = Int(run.input)
      guard input < queues.count else {
        throw .journalMismatch(what: "input of a run", input: input, offset: run.nextOffset)
      }
      if nextOffsets[input] >= run.nextOffset {
        following.run += 1
        continue
      }
      switch queues[input].head {
      case .unknown: return .waiting(input: input)
      case .atEnd: throw .missingInput(input: input, offset: nextOffsets[input])
      case .record:
        guard queues[input].currentOffset < run.nextOffset else {
          throw .missingInput(input: input, offset: nextOffsets[input])
        }
        if mustScoreBefore(input: input) { try flushFollowed(into: unit) }
        take(input: input, into: unit)
        if group.isFull { try flushFollowed(into: unit) }
      }
    }
    return .followed
  }

  /// As `flush`, with the versions and scores of the journal.
  private func flushFollowed(into unit: CommitUnit) throws(EngineFault) {
    guard group.count > 0 else { return }
    let record = following.current
    guard record.planDigest == plan.features.digest || following.rescore != nil else {
      return forgetFollowed()
    }
    features.finish(group.features)
    let width = plan.contenderCount
    guard record.contenderCount == width,
      (following.scored + group.count) * width <= record.scores.count
    else {
      throw .journalMismatch(
        what: "scored events", input: plan.scoredInput, offset: group.offsets[0])
    }
    var slot = 0
    while slot < group.count {
      guard let (version, left) = record.version(ofScored: following.scored + slot) else {
        throw .journalMismatch(
          what: "version runs", input: plan.scoredInput, offset: group.offsets[slot])
      }
      let end = min(group.count, slot + left)
      try takeScores(of: record, version: version, from: slot, to: end, into: unit)
      admit(from: slot, to: end, version: version, into: unit)
      slot = end
    }
    following.scored += group.count
    unit.scored += group.count
    group.clear()
  }

  /// Whether the rows behind this record's scores are rows of our plan. Recomputing takes everybody at their word: it
  /// compares.
  private func isOurs(_ record: JournalRecord) -> Bool {
    record.planDigest == plan.features.digest || following.rescore != nil
  }

  /// Events that an earlier plan scored: their rows had other columns, so that only the windows learn of them. As
  /// predictions they expire here, and are counted.
  private func forgetFollowed() {
    for slot in 0..<group.count { join.abandon(slot: group.entries[slot]) }
    accounting.predictionsExpired += UInt64(group.count)
    following.scored += group.count
    group.clear()
  }

  private func takeScores(
    of record: JournalRecord, version: ModelVersion, from start: Int, to end: Int,
    into unit: CommitUnit
  ) throws(EngineFault) {
    let width = plan.contenderCount
    let base = following.scored * width
    guard let rescore = following.rescore else {
      believe(record, from: start, to: end, base: base)
      return
    }
    switch rescore(version) {
    case nil:
      throw .journalMismatch(
        what: "version unknown", input: plan.scoredInput, offset: group.offsets[start])
    case .journal(let champion):
      believe(record, from: start, to: end, base: base)
      publish(from: start, to: end, version: version, champion: champion, into: unit)
    case .scorers(let scorers):
      score(with: scorers)
      var differs = false
      for slot in start..<end {
        for contender in 0..<width {
          let ours = group.scores[slot * width + contender]
          let theirs = record.scores[base + slot * width + contender]
          if ours.margin.bitPattern == theirs.margin.bitPattern,
            ours.probability.bitPattern == theirs.probability.bitPattern
          { continue }
          guard let onDifference = following.onDifference else {
            throw .scoreMismatch(offset: group.offsets[slot], contender: contender)
          }
          differs = true
          onDifference(
            ScoreDifference(offset: group.offsets[slot], contender: contender, served: theirs, computed: ours))
        }
      }
      publish(from: start, to: end, version: version, champion: scorers.championIndex, into: unit)
      if differs { believe(record, from: start, to: end, base: base) }
    }
  }

  private func believe(_ record: JournalRecord, from start: Int, to end: Int, base: Int) {
    let width = plan.contenderCount
    for cell in (start * width)..<(end * width) { group.scores[cell] = record.scores[base + cell] }
  }
}
