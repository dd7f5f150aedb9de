import Features
import Learning
import Models
import Records

extension PartitionEngine {
  var isFollowing: Bool { !following.isEmpty }

  /// Scores the events that wait, publishes their predictions and lets them wait for their labels.
  func flush(into unit: CommitUnit, scorers: ScorerSet) {
    guard group.count > 0 else { return }
    features.finish(group.features)
    score(with: scorers)
    if let scoredListener {
      scoredListener(
        ScoredEvents(
          group: group, contenderCount: plan.contenderCount, partition: partition,
          version: scorers.version, champion: scorers.championIndex))
    }
    journal.noteScored(count: group.count, version: scorers.version, scores: group.scores)
    publish(from: 0, to: group.count, version: scorers.version, champion: scorers.championIndex, into: unit)
    admit(from: 0, to: group.count, version: scorers.version, into: unit)
    unit.scored += group.count
    unit.newestVersion = scorers.version
    group.clear()
  }

  func score(with scorers: ScorerSet) {
    precondition(scorers.count == plan.contenderCount, "scorers of another charter")
    scorers.score(group.rows, count: group.count, scratch: scratch, into: group.scores)
  }

  func publish(
    from start: Int, to end: Int, version: ModelVersion, champion: Int, into unit: CommitUnit
  ) {
    for slot in start..<end {
      let probability = group.scores[slot * plan.contenderCount + champion].probability
      prediction.clear()
      unsafe group.arena.withBytes(group.ids[slot]) { id in
        unsafe Prediction.encode(
          eventID: id, score: probability, decision: probability >= plan.threshold,
          version: version, eventTime: EventTime(milliseconds: group.eventTimes[slot]),
          partition: partition, offset: Offset(group.offsets[slot]), into: &prediction)
      }
      let value = unsafe prediction.withBytes { unsafe unit.arena.append($0) }
      unit.append(
        OutputRecord(
          destination: .predictions, partition: partition.value,
          key: unit.arena.append(group.keys[slot], of: group.arena), value: value,
          headers: unit.arena.append(group.headers[slot], of: group.arena),
          timestamp: group.timestamps[slot]))
    }
  }

  /// The scored events wait for their labels; those whose label came first join at once.
  func admit(from start: Int, to end: Int, version: ModelVersion, into unit: CommitUnit) {
    let counts = join.counters
    for slot in start..<end {
      join.store(
        slot: group.entries[slot], rows: group.rows, rowSlot: slot, version: version,
        scores: group.scores, scoreOffset: slot * plan.contenderCount, into: unit.examples)
    }
    settle(since: counts)
  }
}
