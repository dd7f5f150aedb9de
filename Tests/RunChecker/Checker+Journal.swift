import Records

extension Checker {
  /// Each journal record begins where the last one ended, its runs lead to its end, its totals are what the inputs say
  /// of all records up to there, and the last one names what the group committed, which is the end of every input.
  mutating func checkJournal(_ partition: Int) {
    let inputs = plan.inputs.indices
    var next = inputs.map { evidence.inputs[$0][partition].first?.offset ?? 0 }
    var counts = RecordCounts(inputs: inputs.count)
    // Per input, the first record that no run has covered yet.
    var places = inputs.map { _ in 0 }
    for (index, record) in journal[partition].enumerated() {
      let place = "partition=\(partition) record=\(index)"
      guard record.nextOffsets.count == inputs.count else {
        find(.journalGap, "\(place) inputs=\(record.nextOffsets.count)")
        return
      }
      if record.planDigest != plan.features.digest { find(.journalDisorder, "\(place) plan") }
      var scored = 0
      var repeated: [Int64] = []
      for run in record.runs {
        let input = Int(run.input)
        guard inputs.contains(input), run.nextOffset > next[input] else {
          find(.journalDisorder, "\(place) input=\(input) run=\(run.nextOffset) from=\(inputs.contains(input) ? next[input] : -1)")
          return
        }
        let records = evidence.inputs[input][partition]
        while places[input] < records.count, records[places[input]].offset < run.nextOffset {
          let record = records[places[input]]
          let truth = record.truth
          places[input] += 1
          counts.note(input, truth)
          if input == scoredInput {
            if truth == .valid { scored += 1 }
            if truth == .repeated { repeated.append(record.offset) }
          }
        }
        next[input] = run.nextOffset
      }
      if next != record.nextOffsets {
        find(.journalGap, "\(place) runs=\(next) says=\(record.nextOffsets)")
        return
      }
      if let wrong = counts.difference(record.totals, scored: scoredInput, labels: plan.labelInput) {
        find(.wrongTotals, "\(place) \(wrong)")
      }
      for input in inputs where record.replayFrom[input] > record.nextOffsets[input] {
        find(.journalGap, "\(place) replay_from=\(record.replayFrom[input]) next=\(record.nextOffsets[input])")
      }
      if scored != record.scoredCount {
        find(.wrongDisposition, "\(place) scored=\(record.scoredCount) expected=\(scored)")
      }
      let named = record.dispositions.filter {
        Int($0.input) == scoredInput && $0.code == JournalDisposition.duplicate.rawValue
      }.map(\.offset)
      if named != repeated {
        find(.wrongDisposition, "\(place) duplicates=\(named) expected=\(repeated)")
      }
    }
    for input in inputs {
      let committed = evidence.committed[partition][input]
      // An input without a record in this partition may have no offset.
      if committed != next[input], !(committed == nil && next[input] == 0) {
        find(.offsetsDiffer, "partition=\(partition) input=\(input) committed=\(committed.map(String.init) ?? "none") journal=\(next[input])")
      }
      if let last = evidence.inputs[input][partition].last, last.offset + 1 != next[input] {
        find(.notConsumed, "partition=\(partition) input=\(input) end=\(last.offset + 1) journal=\(next[input])")
      }
    }
  }
}
