import Engine
import Learning
import Records
@testable import RunChecker
import Testing

/// The checker against logs without fault, and against the same logs with one fault planted.
///
/// Method: a run is recorded in this process (`RecordedRun`); each plant changes what a broken worker could have
/// left behind, and must be found under its own name.
@Suite struct CheckerTests {
  static let pipeline = try! TestPipeline(name: "checked")
  static let clean = try! RecordedRun.evidence(
    pipeline, Stream(seed: 11, requests: 500, partitions: TestPipeline.partitions, faultShare: 0.3).records,
    seed: 5)

  private func findings(_ change: (inout Evidence) throws -> Void) rethrows -> Set<Finding.Kind> {
    var evidence = Self.clean
    try change(&evidence)
    return Set(Checker.check(evidence, plan: Self.pipeline.plan).map(\.kind))
  }

  @Test func `a run without fault has no findings`() {
    let findings = Checker.check(Self.clean, plan: Self.pipeline.plan)
    #expect(findings.isEmpty, "\(findings.prefix(10))")
  }

  @Test(arguments: [3, 20_240_101] as [UInt64])
  func `longer runs without fault have no findings`(seed: UInt64) throws {
    let stream = Stream(seed: seed, requests: 1_500, partitions: TestPipeline.partitions)
    let evidence = try RecordedRun.evidence(Self.pipeline, stream.records, seed: seed)
    let findings = Checker.check(evidence, plan: Self.pipeline.plan)
    #expect(findings.isEmpty, "\(findings.prefix(10))")
  }

  @Test func `a bare replay that begins in the middle follows the journal to its end, and has its sums from there`() throws {
    let plan = Self.pipeline.plan
    let stream = Stream(seed: 9, requests: 1_500, partitions: TestPipeline.partitions, faultShare: 0.3)
    let evidence = try RecordedRun.evidence(Self.pipeline, stream.records, seed: 9)
    for partition in 0..<Int(TestPipeline.partitions) {
      let journal = try evidence.journal[partition].map { try JournalRecord.decode($0.value) }
      let start = try #require(journal.last).replayFrom
      try #require(start.allSatisfy { $0 > 0 })
      let engine = PartitionEngine(plan: plan, partition: PartitionID(Int32(partition)), start: start)
      let whole = PartitionEngine(plan: plan, partition: PartitionID(Int32(partition)), start: start.map { _ in 0 })
      let unit = CommitUnit(
        examples: ExampleBlockBuilder(
          schema: plan.features.rowSchema, contenderCount: plan.contenderCount,
          planDigest: plan.features.digest), inputCount: plan.inputs.count)
      let scorers = try #require(ModelHistory(evidence.learning).scorers.values.first)
      for (engine, start) in [(engine, start), (whole, start.map { _ in 0 })] {
        var feed = EngineFeed(
          engine, zip(evidence.inputs, start).map { input, start in input[partition].filter { $0.offset >= start } })
        engine.follow(journal)
        while engine.followedRemaining > 0 {
          feed.fill()
          _ = try engine.step(into: unit, scorers: scorers, budget: .max)
          unit.clear()
        }
        #expect(engine.consumedOffsets == journal.last?.nextOffsets)
      }
      #expect(engine.accounting != whole.accounting)
      #expect(engine.adoptTotals())
      #expect(engine.accounting == whole.accounting && engine.recordCounts == whole.recordCounts)
      // What waits is part of the sum.
      #expect(engine.earlyLabelCount == whole.earlyLabelCount)
    }
  }

  @Test func `the stream holds every case that is judged`() throws {
    let truths = Self.clean.inputs.joined().joined().map(\.truth)
    #expect(!truths.contains(nil))
    #expect(truths.contains(.repeated))
    let codes = Set(Self.clean.deadLetters.compactMap { $0.header("millrace-error-code") })
    #expect(codes.count >= 12, "\(codes.sorted())")
    let kinds = try Set(
      Self.clean.learning.flatMap { record -> [ExampleKind] in
        guard case .examples(let block) = try LearningRecord.decode(record.value) else { return [] }
        return block.headers.map(\.kind)
      })
    #expect(kinds == [.matured, .correction])
  }

  @Test func `a dropped prediction is found`() {
    #expect(findings { $0.predictions[1].remove(at: 7) }.contains(.lostPrediction))
  }

  @Test func `a doubled prediction is found`() {
    #expect(findings { $0.predictions[0].append($0.predictions[0][3]) }.contains(.doubledPrediction))
  }

  @Test func `predictions out of order are found`() {
    #expect(findings { $0.predictions[2].swapAt(4, 5) }.contains(.disorderedPredictions))
  }

  @Test func `a prediction about another event is found`() {
    let found = findings { evidence in
      evidence.predictions[0][3].value = evidence.predictions[0][3].value.replacing(
        Array(#""event_id":"r11"#.utf8), with: Array(#""event_id":"s11"#.utf8))
    }
    #expect(found.contains(.wrongPrediction))
  }

  @Test func `lost headers are found`() {
    #expect(findings { $0.predictions[0][3].headers = [] }.contains(.wrongPrediction))
  }

  @Test func `a dead letter that is lost, doubled or wrong is found`() {
    #expect(findings { $0.deadLetters.removeFirst() }.contains(.lostDeadLetter))
    #expect(findings { $0.deadLetters.append($0.deadLetters[0]) }.contains(.doubledDeadLetter))
    #expect(findings { $0.deadLetters[0].value.append(0) }.contains(.wrongDeadLetter))
  }

  @Test func `a doubled block of examples is found`() {
    let found = findings { evidence in
      let index = evidence.learning.firstIndex(where: isBlock)!
      evidence.learning.append(evidence.learning[index])
      evidence.learning[evidence.learning.count - 1].offset = Int64(evidence.learning.count - 1)
    }
    #expect(found.contains(.doubledExample))
  }

  @Test func `a lost block of examples is found`() {
    let found = findings { evidence in
      evidence.learning.remove(at: evidence.learning.lastIndex(where: isBlock)!)
    }
    #expect(found.contains(.lostExample))
    #expect(found.contains(.modelDiffers))
  }

  @Test func `one bit of a served score in an example is found`() throws {
    let found = try findings { evidence in
      try changeBlock(&evidence) { $0.scoreBits[0] ^= 1 }
    }
    #expect(found.contains(.rowDiffers))
  }

  @Test func `one bit of a row in an example is found`() throws {
    let found = try findings { evidence in
      try changeBlock(&evidence) { $0.numberBits[0] ^= 1 }
    }
    #expect(found.contains(.rowDiffers))
  }

  @Test func `a window that counts one event more is found`() throws {
    let column = Self.pipeline.plan.features.rowSchema.columns.firstIndex { $0.name == "asked_count_1m" }!
    let place = Self.pipeline.plan.features.rowSchema.places[column]
    let found = try findings { evidence in
      try changeBlock(&evidence) { block in
        let cell = place * block.count
        block.numberBits[cell] = (Float(bitPattern: block.numberBits[cell]) + 1).bitPattern
      }
    }
    #expect(found.contains(.windowDiffers))
  }

  @Test func `an example of the other value is found`() throws {
    let found = try findings { evidence in
      try changeBlock(&evidence) { $0.headers[0].value = 1 - $0.headers[0].value }
    }
    #expect(found.contains(.wrongExample))
  }

  @Test func `one bit of a served score in the journal is found`() throws {
    let found = try findings { evidence in
      try changeJournal(&evidence) { scores, _ in scores[0].probability.bitFlip() }
    }
    #expect(found.contains(.scoreDiffers))
  }

  @Test func `swapped runs of the journal are found`() throws {
    let found = try findings { evidence in
      try changeJournal(&evidence) { _, runs in runs.swapAt(0, 1) }
    }
    #expect(!found.isDisjoint(with: [.journalDisorder, .scoreDiffers, .rowDiffers, .stateDiffers]))
  }

  @Test func `a lost journal record is found`() {
    #expect(findings { $0.journal[0].remove(at: 2) }.contains(.journalDisorder) || findings { $0.journal[0].remove(at: 2) }.contains(.journalGap) || findings { $0.journal[0].remove(at: 2) }.contains(.wrongDisposition))
    #expect(findings { $0.journal[0].removeLast() }.contains(.offsetsDiffer))
  }

  @Test func `offsets that the journal does not name are found`() {
    #expect(findings { $0.committed[1][0]! -= 1 }.contains(.offsetsDiffer))
  }

  @Test func `records left unread are found`() {
    let found = findings { evidence in
      var record = evidence.inputs[0][0].last!
      record.offset += 1
      evidence.inputs[0][0].append(record)
    }
    #expect(found.contains(.notConsumed))
    #expect(found.contains(.lostPrediction))
  }

  @Test func `a prediction of a version that never was is found`() {
    let found = findings { evidence in
      let text = String(decoding: evidence.predictions[0][0].value, as: UTF8.self)
      evidence.predictions[0][0].value = Array(
        text.replacing(#""version":"1."#, with: #""version":"9."#).utf8)
    }
    #expect(found.contains(.unknownVersion))
  }

  @Test func `another model state is found`() {
    #expect(findings { $0.modelStates[0].bytes[200] ^= 1 }.contains(.modelDiffers))
  }

  @Test func `another partition state is found`() {
    #expect(findings { $0.partitionStates[0]!["windows"]!.append(0) }.contains(.stateDiffers))
  }

  @Test func `a false claim is found`() {
    let found = findings { evidence in
      let claim = HashClaim(
        instance: "two", version: ModelVersion(lineage: Lineage(1), sequence: Sequence(0)),
        stateHash: Digest.of([1, 2, 3]))
      evidence.learning.append(
        StoredRecord(
          offset: Int64(evidence.learning.count), timestamp: 0, key: nil, value: claim.record()))
    }
    #expect(found.contains(.claimDiffers))
  }

  @Test func `bytes that nobody wrote are found`() {
    #expect(findings { $0.learning[3].value[20] ^= 1 }.contains(.unreadable))
    #expect(findings { $0.journal[0][1].value[20] ^= 1 }.contains(.unreadable))
  }
}

private func isBlock(_ record: StoredRecord) -> Bool {
  guard case .examples? = try? LearningRecord.decode(record.value) else { return false }
  return true
}

/// Changes the newest block of examples and writes it again, well formed.
private func changeBlock(_ evidence: inout Evidence, _ change: (inout ExampleBlock) -> Void) throws {
  let index = evidence.learning.lastIndex(where: isBlock)!
  guard case .examples(var block) = try LearningRecord.decode(evidence.learning[index].value) else { return }
  change(&block)
  evidence.learning[index].value = rewritten(block)
}

private func rewritten(_ block: ExampleBlock) -> [UInt8] {
  let schema = CheckerTests.pipeline.plan.features.rowSchema
  let builder = ExampleBlockBuilder(
    schema: schema, contenderCount: block.contenderCount, planDigest: block.planDigest, target: block.target)
  let layout = ExampleRowLayout(schema: schema, contenderCount: block.contenderCount)
  let words = FixedBuffer<UInt32>(repeating: 0, count: layout.wordCount)
  for facts in block.facts {
    words.fill(0)
    for (place, bits) in facts.numberBits.enumerated() { words[place] = bits }
    for (place, value) in facts.categories.enumerated() {
      words[layout.categoryStart + 2 * place] = UInt32(truncatingIfNeeded: value)
      words[layout.categoryStart + 2 * place + 1] = UInt32(truncatingIfNeeded: value >> 32)
    }
    for (column, missing) in facts.missing.enumerated() where missing != 0 {
      words[layout.missingStart + column / 32] |= 1 << UInt32(column % 32)
    }
    for (place, bits) in facts.scoreBits.enumerated() { words[layout.scoreStart + place] = bits }
    builder.append(facts.header, words: words, at: 0)
  }
  builder.seal()
  return Array(builder.sealed(0))
}

/// Changes scores or runs of a journal record that has several runs and scored something, and writes it again.
private func changeJournal(
  _ evidence: inout Evidence, _ change: (inout [ServedScore], inout [JournalRecord.Run]) -> Void
) throws {
  let index = try evidence.journal[0].firstIndex {
    let record = try JournalRecord.decode($0.value)
    return record.scoredCount > 0 && record.runs.count > 2 && record.versions.count == 1
      && record.runs[0].input != record.runs[1].input
  }!
  let old = try JournalRecord.decode(evidence.journal[0][index].value)
  var scores = old.scores
  var runs = old.runs
  change(&scores, &runs)
  var new = JournalRecord(inputCount: old.nextOffsets.count, contenderCount: old.contenderCount)
  new.planDigest = old.planDigest
  new.nextOffsets = old.nextOffsets
  new.replayFrom = old.replayFrom
  new.totals = old.totals
  for run in runs { new.noteRun(input: run.input, nextOffset: run.nextOffset) }
  let buffer = FixedBuffer<ServedScore>(repeating: .absent, count: scores.count)
  for (place, score) in scores.enumerated() { buffer[place] = score }
  new.noteScored(count: old.scoredCount, version: old.versions[0].version, scores: buffer)
  for entry in old.dispositions {
    new.noteDisposition(
      input: entry.input, offset: entry.offset, code: JournalDisposition(rawValue: entry.code)!)
  }
  var writer = ByteWriter()
  new.encode(into: &writer)
  evidence.journal[0][index].value = writer.bytes
}

extension Float {
  fileprivate mutating func bitFlip() { self = Float(bitPattern: bitPattern ^ 1) }
}
