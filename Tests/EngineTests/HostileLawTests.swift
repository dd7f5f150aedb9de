import Checkpoints
import Learning
import Records
import Testing

@testable import Engine

// Method: hostile streams, fetched in random pieces, scored by versions that change at random, stopped and restored
// at random. Whatever was done live must come out again from the journal alone: state, predictions and examples.

/// A live run over whole streams.
private struct LiveRun {
  var units: [Published] = []
  var state: [UInt8] = []
  var accounting = Accounting()
  var earlyLabels = 0

  init(_ world: HostileWorld, _ streams: HostileStreams, seed: UInt64, restarts: Bool = true) throws {
    var random = SplitMix(seed)
    var engine = world.makeEngine(streams)
    var feeder = Feeder(streams, engine)
    var sums = Accounting()
    let unit = world.makeUnit()
    var isDone = false
    while !isDone {
      unit.clear()
      let budget = Int.random(in: 1...90, using: &random)
      while unit.consumed < budget, !isDone {
        feeder.feed(
          engine, most: { _ in Int.random(in: 0...40, using: &random) },
          premature: { _ in random.chance(0.1) })
        let before = engine.consumedOffsets
        let outcome = try engine.step(
          into: unit, scorers: world.scorers.randomElement(using: &random)!,
          budget: min(budget, unit.consumed + Int.random(in: 1...60, using: &random)))
        isDone = outcome == .idle && before == engine.consumedOffsets && feeder.isExhausted
      }
      _ = engine.seal(into: unit)
      unit.sealExamples()
      units.append(Published(unit))
      sums += unit.accounting
      try checkSums(engine, streams)
      checkLastTaken(engine, streams)
      if restarts, random.chance(0.1) {
        let checkpoint = engine.checkpointBytes()
        engine = world.makeEngine(streams)
        try engine.restore(from: Checkpoint.decode(checkpoint))
        #expect(engine.checkpointBytes() == checkpoint)
        checkLastTaken(engine, streams)
        feeder = Feeder(streams, engine)
      }
    }
    state = engine.checkpointBytes()
    accounting = engine.accounting
    earlyLabels = engine.earlyLabelCount
    #expect(sums == accounting, "what units report adds up to the account")
  }
}

/// What the state remembers of its last records is what the streams hold there.
private func checkLastTaken(_ engine: PartitionEngine, _ streams: HostileStreams) {
  for input in streams.inputs.indices {
    let last = streams.inputs[input].last { $0.offset < engine.consumedOffsets[input] }
    // Of empty ones, and before the first, nothing can be said.
    let expected = last.flatMap { record in
      record.payload.isEmpty ? nil : TakenRecord(offset: record.offset, checksum: CRC32C.of(record.payload))
    }
    #expect(engine.lastTaken(input: input) == expected)
  }
}

/// Records in = sum of what became of them, for every input.
private func checkSums(_ engine: PartitionEngine, _ streams: HostileStreams) throws {
  let sums = engine.accounting
  let taken = streams.inputs.indices.map { input in
    UInt64(streams.inputs[input].prefix { $0.offset < engine.consumedOffsets[input] }.count)
  }
  #expect(taken[0] == sums.eventsScored + sums.eventsDuplicate + sums.eventsDeadLettered)
  #expect(
    taken[1] == sums.labelsJoined + sums.labelsCorrection + sums.labelsDuplicate + sums.labelsLate
      + sums.labelsOrphan + sums.labelsRejected + UInt64(engine.earlyLabelCount))
  #expect(taken[2] == sums.recordsObserved + sums.recordsRejected)
  #expect(taken == engine.recordCounts)
}

private func setting(_ seed: UInt64) -> HostileWorld {
  HostileWorld(atHorizon: seed % 2 == 0 ? .negative : .drop, earlyLabelsMax: seed % 3 == 0 ? 3 : 40)
}

@Test(arguments: 1...6 as ClosedRange<UInt64>)
func `every record ends in exactly one counted state, and every state occurs`(seed: UInt64) throws {
  let run = try LiveRun(setting(seed), HostileStreams.hostile(seed: seed, events: 1_500), seed: seed)
  let sums = run.accounting
  for count in [
    sums.eventsScored, sums.eventsDuplicate, sums.eventsDeadLettered, sums.labelsJoined,
    sums.labelsCorrection, sums.labelsDuplicate, sums.labelsLate, sums.labelsOrphan, sums.labelsRejected,
    sums.recordsObserved, sums.recordsRejected, sums.predictionsExpired,
  ] { #expect(count > 0) }
}

@Test(arguments: 1...6 as ClosedRange<UInt64>)
func `the journal makes state, predictions and examples again, however records were fetched`(seed: UInt64) throws {
  let world = setting(seed)
  let streams = HostileStreams.hostile(seed: seed, events: 1_500)
  let run = try LiveRun(world, streams, seed: seed)
  var random = SplitMix(seed &+ 1_000)
  let engine = world.makeEngine(streams)
  var feeder = Feeder(streams, engine)
  let unit = world.makeUnit()
  for (index, live) in run.units.enumerated() {
    guard let journal = live.journal else { continue }
    unit.clear()
    engine.follow([journal]) { version in world.scorers.first { $0.version == version } }
    while engine.followedRemaining > 0 {
      _ = try engine.step(into: unit, scorers: world.scorers[0], budget: .max)
      feeder.feed(engine, most: { _ in Int.random(in: 0...40, using: &random) })
    }
    unit.sealExamples()
    let again = Published(unit)
    try #require(again.predictions == live.predictions, "predictions of unit \(index)")
    try #require(again.examples == live.examples, "examples of unit \(index)")
  }
  #expect(engine.checkpointBytes() == run.state)
}

@Test(arguments: 1...3 as ClosedRange<UInt64>)
func `a state restored halfway and led on by the journal is the state that never stopped`(seed: UInt64) throws {
  let world = setting(seed)
  let streams = HostileStreams.hostile(seed: seed, events: 1_000)
  let run = try LiveRun(world, streams, seed: seed, restarts: false)
  let journal = run.units.compactMap(\.journal)
  // A checkpoint half way, made by following so far; then another engine takes it, and is given the whole journal.
  let first = world.makeEngine(streams)
  try followSilently(first, world, streams, Array(journal.prefix(journal.count / 2)))
  let second = world.makeEngine(streams)
  try second.restore(from: Checkpoint.decode(first.checkpointBytes()))
  try followSilently(second, world, streams, journal)
  #expect(second.checkpointBytes() == run.state)
}

@Test(arguments: 1...4 as ClosedRange<UInt64>)
func `what another plan scored teaches the windows and expires, every label is still counted`(seed: UInt64) throws {
  let world = setting(seed)
  let streams = HostileStreams.hostile(seed: seed, events: 800)
  let run = try LiveRun(world, streams, seed: seed, restarts: false)
  var journal = run.units.compactMap(\.journal)
  let ours = world.makeEngine(streams)
  try followSilently(ours, world, streams, journal)
  let other = world.makeEngine(streams)
  for index in journal.indices { journal[index].planDigest = Digest.of([1]) }
  try followSilently(other, world, streams, journal)
  #expect(other.stateSection("windows") == ours.stateSection("windows"))
  #expect(other.consumedOffsets == ours.consumedOffsets)
  #expect(other.waitingCount == 0)
  let (a, b) = (other.accounting, ours.accounting)
  #expect(a.eventsScored == b.eventsScored && a.eventsDuplicate == b.eventsDuplicate)
  #expect(a.predictionsExpired == a.eventsScored && a.labelsJoined == 0)
  // Whatever waits for its event still waits, all else is settled: nothing vanishes.
  func labels(_ account: Accounting, _ engine: PartitionEngine) -> UInt64 {
    account.labelsJoined + account.labelsCorrection + account.labelsDuplicate + account.labelsLate
      + account.labelsOrphan + account.labelsRejected + UInt64(engine.earlyLabelCount)
  }
  #expect(labels(a, other) == labels(b, ours))
}

@Test func `a journal of fewer inputs is followed, one of more is refused`() throws {
  let world = HostileWorld()
  let streams = HostileStreams(inputs: [[], [], []])
  var fewer = JournalRecord(inputCount: 2, contenderCount: 2)
  fewer.nextOffsets = [0, 0]
  fewer.noteRun(input: 1, nextOffset: 0)
  let engine = world.makeEngine(streams)
  engine.follow([fewer])
  while engine.followedRemaining > 0 { _ = try engine.step(into: world.makeUnit(), scorers: world.scorers[0], budget: 1) }
  var more = JournalRecord(inputCount: 4, contenderCount: 2)
  more.nextOffsets = [0, 0, 0, 9]
  engine.follow([more])
  #expect(throws: EngineFault.self) {
    _ = try engine.step(into: world.makeUnit(), scorers: world.scorers[0], budget: 1)
  }
}

@Test func `a unit ends before its bytes grow without bound`() throws {
  let world = HostileWorld()
  let large = [UInt8](repeating: UInt8(ascii: "x"), count: 900_000)
  let streams = HostileStreams(
    inputs: [(0..<200).map { HostileRecord(payload: large, offset: Int64($0), timestamp: 0) }, [], []])
  let engine = world.makeEngine(streams)
  var feeder = Feeder(streams, engine)
  let unit = world.makeUnit()
  var units = 0
  while engine.consumedOffsets[0] < 200 {
    feeder.feed(engine, most: { _ in 32 })
    _ = try engine.step(into: unit, scorers: world.scorers[0], budget: 5_000)
    #expect(unit.byteCount <= CommitUnit.bytesMax + (1 << 20))
    guard unit.isFull else { continue }
    _ = engine.seal(into: unit)
    unit.clear()
    units += 1
    #expect(unit.byteCapacity <= CommitUnit.bytesKept)
  }
  #expect(units >= 2)
}

@Test func `keys and headers that would outgrow a prediction are left out of it`() throws {
  let world = HostileWorld()
  let huge = [UInt8](repeating: 7, count: 990_000)
  let record = HostileRecord(
    payload: Array(#"{"id":"e","t":5,"carrier":"a"}"#.utf8), key: huge, headers: huge, offset: 0, timestamp: 5)
  let streams = HostileStreams(inputs: [[record], [], []])
  let engine = world.makeEngine(streams)
  var feeder = Feeder(streams, engine)
  feeder.feed(engine, most: { _ in 1 })
  let unit = world.makeUnit()
  _ = try engine.step(into: unit, scorers: world.scorers[0], budget: 10)
  let prediction = try #require(unit.records.first { $0.destination == .predictions })
  let sizes = [prediction.key, prediction.value, prediction.headers].map { max(Int($0.length), 0) }
  #expect(sizes.reduce(0, +) < world.plan.outputBytesMax)
  #expect(engine.accounting.eventsScored == 1)
}

private func followSilently(
  _ engine: PartitionEngine, _ world: HostileWorld, _ streams: HostileStreams, _ journal: [JournalRecord]
) throws {
  var feeder = Feeder(streams, engine)
  let unit = world.makeUnit()
  engine.follow(journal)
  while engine.followedRemaining > 0 {
    unit.clear()
    _ = try engine.step(into: unit, scorers: world.scorers[0], budget: 1)
    feeder.feed(engine, most: { _ in 7 })
  }
  #expect(unit.records.isEmpty)
}

extension PartitionEngine {
  fileprivate func stateSection(_ name: String) -> [UInt8]? {
    try? Checkpoint.decode(checkpointBytes()).section(name)
  }
}
