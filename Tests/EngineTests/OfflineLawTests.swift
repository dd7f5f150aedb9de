// Laws over random streams: two runs of the same records are compared byte for byte. Failures name the seed.
import Checkpoints
import Learning
import Records
import Testing

@testable import Engine

@Suite struct OfflineLawTests {
  @Test(arguments: 1...12 as ClosedRange<UInt64>)
  func `where batches, steps and units are cut changes no prediction, no example and no state`(_ seed: UInt64) throws {
    let scorers = try Replica.frozen()
    let stream = Stream(seed: seed, events: 500)
    // A low cap on labels that wait, so that it is met.
    let plan = World.plan(seed % 2 == 0 ? .negative : .drop, earlyLabelsMax: seed % 3 == 0 ? 3 : 64)
    var reference: (predictions: [[UInt8]], examples: [String], sections: [String: [UInt8]])?
    for cuts in 1...4 as ClosedRange<UInt64> {
      let run = Run.fresh(stream, cuts: cuts, plan: plan)
      var predictions: [[UInt8]] = []
      var blocks: [[UInt8]] = []
      while !run.isDone {
        let output = try run.live(scorers, records: [7, 64, 500, 100_000][Int(cuts) - 1])
        predictions += output.predictions
        blocks += output.blocks
      }
      // Replay marks are made at unit borders: they alone may differ, and stand at the section's end.
      var sections = run.sections()
      sections["engine"] = Array(sections["engine"]!.prefix(1 + 3 * 24 + 8 * Accounting.all.count))
      let examples = try examples(blocks)
      #expect(examples.count > 100)
      if let reference {
        #expect(reference.predictions == predictions, "seed=\(seed) cuts=\(cuts)")
        #expect(reference.examples == examples, "seed=\(seed) cuts=\(cuts)")
        #expect(reference.sections == sections, "seed=\(seed) cuts=\(cuts)")
      } else {
        reference = (predictions, examples, sections)
      }
    }
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func `one partition or many, every event has one prediction and every record one end`(_ seed: UInt64) throws {
    let scorers = try Replica.frozen()
    let stream = Stream(seed: seed, events: 500)
    for partitions in [1, 2, 5] {
      var parts = Array(repeating: stream, count: partitions)
      for part in parts.indices {
        for input in 0..<3 {
          parts[part].inputs[input].removeAll {
            Int(Murmur2.partition(of: $0.key, partitions: Int32(partitions))) != part
          }
        }
      }
      var ids: [String] = []
      var total = Accounting()
      var waiting = 0
      var early = 0
      var taught = 0
      for (part, records) in parts.enumerated() {
        let run = Run.fresh(records, cuts: 3, partition: Int32(part))
        while !run.isDone {
          let output = try run.live(scorers, records: 128)
          for value in output.predictions {
            ids.append(try #require(JSONValue(parsing: value)["event_id"]?.string))
          }
          taught += try examples(output.blocks).count
        }
        total += run.engine.accounting
        waiting += run.engine.waitingCount
        early += run.engine.earlyLabelCount
      }
      #expect(Set(ids) == stream.eventIDs, "seed=\(seed) partitions=\(partitions)")
      #expect(ids.count == stream.eventIDs.count)
      #expect(total.eventsScored == UInt64(ids.count))
      #expect(
        total.eventsScored + total.eventsDuplicate + total.eventsDeadLettered == UInt64(stream.inputs[0].count))
      #expect(total.recordsObserved + total.recordsRejected == UInt64(stream.inputs[1].count))
      let labels = [
        total.labelsJoined, total.labelsCorrection, total.labelsDuplicate, total.labelsLate, total.labelsOrphan,
        total.labelsRejected, UInt64(early),
      ]
      #expect(labels.reduce(0, +) == UInt64(stream.inputs[2].count), "seed=\(seed) \(total)")
      #expect(total.labelsJoined + total.predictionsExpired + UInt64(waiting) == total.eventsScored)
      #expect(UInt64(taught) == total.labelsJoined + total.labelsCorrection + total.predictionsExpired)
      for (count, what) in zip(labels, ["joined", "correction", "duplicate", "late", "orphan", "rejected"]) {
        #expect(count > 0, "the stream shows no label that is \(what)")
      }
    }
  }

  /// A run that learns as it goes, unit after unit.
  private func learning(_ stream: Stream, cuts: UInt64, records: Int = 90) throws -> (
    run: Run, replica: Replica, units: [UnitOutput], checkpoints: [[UInt8]], sections: [[String: [UInt8]]]
  ) {
    let run = Run.fresh(stream, cuts: cuts)
    let replica = Replica()
    var units: [UnitOutput] = []
    var checkpoints: [[UInt8]] = []
    var sections: [[String: [UInt8]]] = []
    while !run.isDone {
      let output = try run.live(replica.scorers, records: records)
      for block in output.blocks { replica.fold(block) }
      units.append(output)
      checkpoints.append(run.checkpoint().encode().bytes)
      sections.append(run.sections())
    }
    return (run, replica, units, checkpoints, sections)
  }

  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func `stopped, restored and led by the journal is never stopped, bit for bit`(_ seed: UInt64) throws {
    let stream = Stream(seed: 100 + seed, events: 400)
    let (_, replica, units, checkpoints, sections) = try learning(stream, cuts: seed)
    let journals = try units.map { try JournalRecord.decode($0.journal ?? []) }
    var random = SplitMix(seed)
    for _ in 0..<4 {
      let saved = Int.random(in: 0..<(units.count - 4), using: &random)
      let stopped = Int.random(in: saved..<(units.count - 1), using: &random)
      let checkpoint = try Checkpoint.decode(
        checkpoints[saved], knownSections: PartitionEngine.checkpointSections)
      let engine = PartitionEngine(plan: World.plan(), partition: PartitionID(0), start: [0, 0, 0])
      try engine.restore(from: checkpoint)
      let run = Run(engine, stream, cuts: seed &* 7 &+ UInt64(saved))
      #expect(run.sections() == sections[saved], "seed=\(seed) restored=\(saved)")
      if stopped > saved {
        // All of the journal: what the checkpoint covers is passed over.
        let silent = try run.follow(Array(journals[...stopped]), any: replica.scorers)
        #expect(silent.predictions.isEmpty && silent.deadLetters == 0)
      }
      #expect(run.sections() == sections[stopped], "seed=\(seed) restored=\(saved) followed to \(stopped)")
      // And on, live, with the scorers that the run without a stop had.
      for next in (stopped + 1)..<units.count {
        let version = try #require(units[next].version)
        let scorers = try #require(replica.served[version])
        let output = try run.live(scorers, records: 90)
        #expect(output.predictions == units[next].predictions, "seed=\(seed) unit=\(next) of \(stopped)")
        #expect(output.journal == units[next].journal, "seed=\(seed) unit=\(next) of \(stopped)")
        #expect(output.deadLetters == units[next].deadLetters)
        #expect(output.blocks == units[next].blocks, "seed=\(seed) unit=\(next)")
        #expect(run.sections() == sections[next], "seed=\(seed) unit=\(next)")
      }
    }
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func `a journal computed again gives the predictions byte for byte`(_ seed: UInt64) throws {
    let stream = Stream(seed: 200 + seed, events: 400)
    let (first, replica, units, _, _) = try learning(stream, cuts: seed)
    let journals = try units.map { try JournalRecord.decode($0.journal ?? []) }
    #expect(Set(units.map { $0.version! }).count > 5)
    let run = Run.fresh(stream, cuts: seed + 50)
    let again = try run.follow(journals, recompute: { replica.served[$0] }, any: replica.scorers)
    #expect(again.predictions == units.flatMap(\.predictions), "seed=\(seed)")
    #expect(run.sections() == first.sections(), "seed=\(seed)")
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func `one flipped bit of one served score is found, with its event`(_ seed: UInt64) throws {
    let stream = Stream(seed: 300 + seed, events: 200)
    let (_, replica, units, _, _) = try learning(stream, cuts: seed)
    var journals = try units.map { try JournalRecord.decode($0.journal ?? []) }
    var random = SplitMix(seed)
    var unit = 0
    repeat { unit = Int.random(in: 0..<units.count, using: &random) } while journals[unit].scoredCount == 0
    let event = Int.random(in: 0..<journals[unit].scoredCount, using: &random)
    let contender = Int.random(in: 0..<2, using: &random)
    let bit = UInt32(1) << UInt32.random(in: 0..<31, using: &random)
    let prediction = try JSONValue(parsing: units[unit].predictions[event])
    journals[unit] = flipped(journals[unit], event: event, contender: contender, bit: bit, margin: seed % 2 == 0)
    let run = Run.fresh(stream, cuts: 5)
    let offset = try #require(prediction["source"]?["offset"]?.integer)
    #expect(throws: EngineFault.scoreMismatch(offset: offset, contender: contender)) {
      try run.follow(journals, recompute: { replica.served[$0] }, any: replica.scorers)
    }
  }

  @Test func `a journal that names an unknown version or lacks a record is refused`() throws {
    let stream = Stream(seed: 400, events: 100)
    let (_, replica, units, _, _) = try learning(stream, cuts: 1)
    let journals = try units.map { try JournalRecord.decode($0.journal ?? []) }
    #expect(throws: EngineFault.self) {
      try Run.fresh(stream, cuts: 1).follow(journals, recompute: { _ in nil }, any: replica.scorers)
    }
    var shorter = stream
    shorter.inputs[0].removeLast()
    #expect(throws: EngineFault.missingInput(input: 0, offset: Int64(shorter.inputs[0].count))) {
      try Run.fresh(shorter, cuts: 1).follow(journals, any: replica.scorers)
    }
  }

  private func flipped(
    _ record: JournalRecord, event: Int, contender: Int, bit: UInt32, margin: Bool
  ) -> JournalRecord {
    let width = record.contenderCount
    var copy = JournalRecord(inputCount: record.nextOffsets.count, contenderCount: width)
    copy.planDigest = record.planDigest
    copy.nextOffsets = record.nextOffsets
    copy.replayFrom = record.replayFrom
    copy.totals = record.totals
    for run in record.runs { copy.noteRun(input: run.input, nextOffset: run.nextOffset) }
    var done = 0
    for run in record.versions {
      let scores = FixedBuffer(repeating: ServedScore.absent, count: Int(run.count) * width)
      for cell in 0..<scores.count {
        var score = record.scores[done * width + cell]
        if done * width + cell == event * width + contender {
          if margin {
            score.margin = Float(bitPattern: score.margin.bitPattern ^ bit)
          } else {
            score.probability = Float(bitPattern: score.probability.bitPattern ^ bit)
          }
        }
        scores[cell] = score
      }
      copy.noteScored(count: Int(run.count), version: run.version, scores: scores)
      done += Int(run.count)
    }
    return copy
  }
}
