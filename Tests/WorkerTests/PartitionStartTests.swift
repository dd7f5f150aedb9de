import Testing

@testable import Worker

// Method: the cases of a restart, one by one: what the logs say decides, and what they cannot say stops.

private func facts(
  committed: [Int64?] = [10, 20], lowest: [Int64] = [0, 0], journalNext: [Int64]? = [10, 20],
  replayFrom: [Int64]? = [2, 3], checkpoint: [Int64]? = nil
) -> StartFacts {
  StartFacts(
    committed: committed, lowest: lowest, start: lowest, journalNext: journalNext,
    journalReplayFrom: replayFrom, checkpoint: checkpoint)
}

@Test func `a first start begins at the start of the inputs`() {
  let first = facts(committed: [nil, nil], lowest: [4, 5], journalNext: nil, replayFrom: nil)
  #expect(decideStart(first) == .begin(at: [4, 5]))
}

@Test func `a checkpoint is carried on to what was committed`() {
  #expect(
    decideStart(facts(checkpoint: [8, 15]))
      == .resume(from: [8, 15], to: [10, 20], useCheckpoint: true, warning: nil))
}

@Test func `without a checkpoint the journal says from where`() {
  #expect(
    decideStart(facts()) == .resume(from: [2, 3], to: [10, 20], useCheckpoint: false, warning: nil))
}

@Test func `expired offsets are supplied by the journal, loudly`() {
  guard case .resume(_, let to, _, let warning) = decideStart(facts(committed: [nil, nil])) else {
    Issue.record("not resumed")
    return
  }
  #expect(to == [10, 20])
  #expect(warning != nil)
}

@Test(arguments: [
  facts(journalNext: nil, replayFrom: nil),
  facts(committed: [11, 20]),
  facts(committed: [9, 20]),
  facts(lowest: [9, 0], checkpoint: [8, 15]),
  facts(lowest: [3, 0]),
  facts(journalNext: [10, 20, 30], replayFrom: [2, 3, 4]),
])
func `what cannot be made again is refused`(facts: StartFacts) {
  guard case .refuse = decideStart(facts) else {
    Issue.record("\(facts) was not refused")
    return
  }
}

@Test func `a topic that ends before what was read of it is refused by name`() {
  for (end, isRefused) in [(Int64(19), true), (20, false), (21, false)] {
    for checkpoint in [nil, [Int64(8), 15]] {
      var cut = facts(checkpoint: checkpoint)
      cut.ends = [10, end]
      cut.topics = ["events", "labels"]
      guard case .refuse(let why) = decideStart(cut) else {
        #expect(!isRefused)
        continue
      }
      #expect(isRefused && why.contains("topic=labels") && why.contains("end=19") && why.contains("read=20"))
    }
  }
}

@Test func `records below a checkpoint that already stands at the end are not missed`() {
  #expect(
    decideStart(facts(lowest: [30, 30], checkpoint: [10, 20]))
      == .resume(from: [10, 20], to: [10, 20], useCheckpoint: true, warning: nil))
}

@Test func `an input that the journal does not name begins at its start`() {
  let added = StartFacts(
    committed: [10, 20, nil], lowest: [0, 0, 7], start: [0, 0, 7], journalNext: [10, 20],
    journalReplayFrom: [2, 3], checkpoint: nil)
  guard case .resume(let from, let to, _, _) = decideStart(added) else {
    Issue.record("not resumed")
    return
  }
  #expect(from == [2, 3, 7])
  #expect(to == [10, 20, 7])
}
