import Foundation
import Kafka
import Records
@testable import RunChecker
import Testing

/// What became of the records, counted three ways: by the tests from the topics, by the workers in their metrics, and by
/// `millrace account`.
///
/// Counts: `[partition][input][state]`. The tests' own know what a record says of itself, and which examples stand in
///         the learning log; which of the other states a label came to they bound by the label's and its event's times.
extension Scene {
  typealias Counts = [[[String: UInt64]]]

  /// Everything sent must be consumed. Ends with an expectation for every number that differs.
  func expectAccounts(_ location: SourceLocation = #_sourceLocation) throws {
    let metrics = try metricCounts()
    let addresses = try members.filter { $0.worker.id != nil }.flatMap { ["--worker", try consoleAddress(of: $0)] }
    let account = try millrace(["account", "--json"] + addresses)
    #expect(account.code == 0, "\(account.text)", sourceLocation: location)
    let told = try JSONValue(parsing: account.text)
    #expect(told["balanced"]?.bool == true, "\(account.text)", sourceLocation: location)
    let evidence = try evidence(comparesPartitionStates: false)
    let features = pipeline.settings.features
    for partition in 0..<Int(TestPipeline.partitions) {
      let part = told["partitions"]?.array?.first { $0["partition"]?.integer == Int64(partition) }
      #expect(part?["worker"]?.string == "equal", "partition \(partition) \(account.text)", sourceLocation: location)
      for (input, schema) in features.inputs.enumerated() {
        let place = "\(schema.name) partition=\(partition)"
        let counted = metrics[partition][input]
        let shown = part?["inputs"]?.array?.first { $0["name"]?.string == schema.name }
        var states = counted
        // The producer of the inputs writes no markers: every offset is a record.
        let ends = try watermarks(schema.topic, Int32(partition))
        #expect(states.removeValue(forKey: "consumed") == UInt64(ends.high - ends.low), "\(place)", sourceLocation: location)
        #expect(shown?["consumed"]?.integer == ends.high - ends.low, "\(place)", sourceLocation: location)
        #expect(states.values.reduce(0, +) == UInt64(ends.high - ends.low), "\(place) \(states)", sourceLocation: location)
        for (state, count) in states {
          #expect(shown?["outcomes"]?[state]?.integer == Int64(count), "\(place) \(state)", sourceLocation: location)
        }
        var own = RecordCounts(inputs: 1)
        for record in evidence.inputs[input][partition] { own.note(0, record.truth) }
        let expected: [String: UInt64]
        if input == features.scoredInput {
          expected = ["scored": own.valid[0], "duplicate": own.repeated[0], "dead_lettered": own.refused[0], "shed": 0]
        } else if input == features.labelInput {
          let labels = try labelBounds(evidence, partition)
          expected = ["joined": labels.joined, "correction": labels.corrections, "rejected": own.refused[0]]
          let others = states.filter { expected[$0.key] == nil }
          #expect(others["late", default: 0] <= labels.tooLate, "\(place) \(states)", sourceLocation: location)
          #expect(
            others["orphan", default: 0] + others["waiting", default: 0] >= labels.ofNobody, "\(place) \(states)",
            sourceLocation: location)
          #expect(others["duplicate", default: 0] <= labels.repeatable, "\(place) \(states)", sourceLocation: location)
        } else {
          expected = ["observed": own.valid[0], "rejected": own.refused[0]]
        }
        #expect(states.filter { expected[$0.key] != nil } == expected, "\(place)", sourceLocation: location)
      }
    }
  }

  /// `millrace_partition_records` and `…_consumed` of the workers that run, once they have counted all that was sent.
  private func metricCounts() throws -> Counts {
    let inputs = pipeline.settings.features.inputs
    let ends = try inputEnds().joined().reduce(0, +)
    var counts: Counts = []
    try wait(seconds: 20, "the metrics to count \(ends) records: \(counts)") {
      try checkRunning()
      counts = Array(repeating: Array(repeating: [:], count: inputs.count), count: Int(TestPipeline.partitions))
      for member in members where member.worker.id != nil {
        for (name, labels, value) in member.samples where name.hasPrefix("millrace_partition_records") {
          let state = name.hasSuffix("_consumed") ? "consumed" : labels["state"] ?? "none"
          guard let partition = labels["partition"].flatMap({ Int($0) }), counts.indices.contains(partition),
            let input = inputs.firstIndex(where: { $0.topic == labels["topic"] })
          else { throw WorkerProcess.Failure(description: "a stray series: \(name) \(labels)") }
          // Of two workers that tell of one partition one is wrong; between two scrapes it may have moved.
          if counts[partition][input].updateValue(UInt64(value), forKey: state) != nil { return false }
        }
      }
      return counts.joined().reduce(0) { $0 + Int64($1["consumed"] ?? 0) } == ends
    }
    return counts
  }

  private struct LabelBounds {
    /// Examples in the log.
    var joined: UInt64 = 0
    var corrections: UInt64 = 0
    /// Labels whose event came in no record; those known too late for theirs; those known in time.
    var ofNobody: UInt64 = 0
    var tooLate: UInt64 = 0
    var repeatable: UInt64 = 0
  }

  private func labelBounds(_ evidence: Evidence, _ partition: Int) throws -> LabelBounds {
    var bounds = LabelBounds()
    for record in evidence.learning {
      guard case .examples(let block) = try LearningRecord.decode(record.value) else { continue }
      for header in block.headers where Int(header.partition.value) == partition {
        if header.kind == .matured { bounds.joined += 1 } else { bounds.corrections += 1 }
      }
    }
    var times: [String: Int64] = [:]
    for record in evidence.inputs[Stream.requests][partition] where record.truth == .valid {
      let fields = try JSONValue(parsing: record.value)
      let id = fields["request"]!.string!
      if times[id] == nil { times[id] = fields["at"]!.integer! }
    }
    for record in evidence.inputs[Stream.outcomes][partition] where record.truth == .valid {
      let fields = try JSONValue(parsing: record.value)
      guard let time = times[fields["request"]!.string!] else {
        bounds.ofNobody += 1
        continue
      }
      if fields["at"]!.integer! > time + Stream.horizon { bounds.tooLate += 1 } else { bounds.repeatable += 1 }
    }
    return bounds
  }
}

extension Scene.Member {
  typealias Sample = (name: String, labels: [String: String], value: Double)

  /// Every series of its `/metrics`.
  var samples: [Sample] {
    guard let bytes = page("/metrics") else { return [] }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
      guard !line.hasPrefix("#"), let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...])
      else { return nil }
      let series = line[..<space]
      guard let brace = series.firstIndex(of: "{") else { return (String(series), [:], value) }
      var labels: [String: String] = [:]
      // The tests' own names and topics hold neither commas nor quotes.
      for pair in series[brace...].dropFirst().dropLast().split(separator: ",") {
        let parts = pair.split(separator: "=", maxSplits: 1)
        if parts.count == 2 { labels[String(parts[0])] = parts[1].replacingOccurrences(of: "\"", with: "") }
      }
      return (String(series[..<brace]), labels, value)
    }
  }

  /// Value of the first series of this name.
  func sample(_ name: String) -> Double? { samples.first { $0.name == name }?.value }
}
