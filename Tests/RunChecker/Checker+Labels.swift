import Records

extension Checker {
  /// Every label that must join has exactly one example, and no example is there without such a label.
  mutating func checkLabels() {
    guard let labelInput = plan.labelInput else { return }
    var byPartition: [Int: [ExampleFacts]] = [:]
    var seen: Set<ExampleFacts.Key> = []
    for example in examples {
      if !seen.insert(example.key).inserted { find(.doubledExample, "\(example.key)") }
      byPartition[Int(example.header.partition.value), default: []].append(example)
    }
    for partition in partitions {
      let oracle: LabelOracle
      do {
        oracle = try LabelOracle(
          events: evidence.inputs[scoredInput][partition],
          eventLatenessMilliseconds: plan.inputs[scoredInput].latenessMilliseconds,
          labels: evidence.inputs[labelInput][partition],
          horizonMilliseconds: plan.join.horizonMilliseconds,
          latenessMilliseconds: plan.inputs[labelInput].latenessMilliseconds)
      } catch {
        find(.unreadable, "inputs partition=\(partition) \(error)")
        continue
      }
      var found: Set<Int64> = []
      for example in byPartition.removeValue(forKey: partition) ?? [] {
        let header = example.header
        if let wanted = oracle.certain[header.labelOffset.value] {
          found.insert(header.labelOffset.value)
          let says = LabelOracle.Expectation(
            eventOffset: header.offset.value, kind: header.kind, value: header.value,
            knownAt: header.knownAt.milliseconds)
          if says != wanted || header.weight != 1 {
            find(.wrongExample, "\(example.key) says=\(says) expected=\(wanted)")
          }
        } else if let (event, knownAt) = oracle.possible[header.labelOffset.value] {
          if event != header.offset.value || knownAt != header.knownAt.milliseconds {
            find(.wrongExample, "\(example.key) expected event=\(event)")
          }
        } else {
          find(.strayExample, "\(example.key)")
        }
      }
      for offset in oracle.certain.keys.sorted() where !found.contains(offset) {
        let event = oracle.certain[offset]!.eventOffset
        find(
          .lostExample,
          "partition=\(partition) \(text(labelInput, partition, offset)) \(text(scoredInput, partition, event))")
      }
    }
    for partition in byPartition.keys.sorted() {
      find(.strayExample, "no such partition=\(partition)")
    }
  }

  /// An input record, for people.
  func text(_ input: Int, _ partition: Int, _ offset: Int64) -> String {
    let record = evidence.inputs[input][partition].first { $0.offset == offset }
    return "\(plan.inputs[input].name)[\(offset)]=\(String(decoding: record?.value ?? [], as: UTF8.self))"
  }
}
