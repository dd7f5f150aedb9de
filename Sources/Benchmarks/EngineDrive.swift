import Engine
import Learning
import Records

/// One partition fed from memory as a lane feeds it: the same steps, units and seals, without a broker.
final class EngineDrive {
  /// As a lane: records between two looks at the scorers.
  static let stepRecords = 256

  let engine: PartitionEngine
  let unit: CommitUnit
  private let unitRecords: Int
  private var nextOffsets: [Int64]
  private(set) var units = 0
  /// Allocations of ending units, which cost a few each whatever they hold.
  private(set) var sealAllocations = 0

  init(plan: EnginePlan, unitRecords: Int) {
    engine = PartitionEngine(
      plan: plan, partition: PartitionID(0), start: plan.inputs.map { _ in 0 })
    unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: plan.features.rowSchema, contenderCount: plan.contenderCount,
        planDigest: plan.features.digest), inputCount: plan.inputs.count)
    self.unitRecords = unitRecords
    nextOffsets = plan.inputs.map { _ in 0 }
  }

  /// Runs all records through, and calls `sealed` with every unit before it is emptied.
  func run(
    _ inputs: [RecordedInput], scorers: () -> ScorerSet, sealed: (CommitUnit) throws -> Void
  ) throws {
    var taken = inputs.map { _ in 0 }
    while true {
      for input in inputs.indices { fill(input, inputs[input], &taken[input]) }
      let budget = min(unit.consumed + Self.stepRecords, unitRecords)
      let outcome = try engine.step(into: unit, scorers: scorers(), budget: budget)
      if unit.consumed >= unitRecords { try seal(sealed) }
      if outcome == .idle, inputs.indices.allSatisfy({ taken[$0] == inputs[$0].places.count }) { break }
    }
    if unit.consumed > 0 { try seal(sealed) }
  }

  private func seal(_ sealed: (CommitUnit) throws -> Void) throws {
    let before = allocationsNow()
    _ = engine.seal(into: unit)
    unit.sealExamples()
    sealAllocations += allocationsNow() - before
    try sealed(unit)
    units += 1
    unit.clear()
  }

  private func fill(_ input: Int, _ source: borrowing RecordedInput, _ taken: inout Int) {
    var room = engine.room(input: input)
    let end = source.places.count
    unsafe source.bytes.withUnsafeBytes { bytes in
      let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
      while room > 0, taken < end {
        let place = source.places[taken]
        // SAFETY: places lie within the bytes they were made from; the engine copies what it is lent.
        unsafe engine.append(
          input: input, payload: UnsafeRawBufferPointer(rebasing: bytes[place.payload]),
          key: place.key.map { unsafe UnsafeRawBufferPointer(rebasing: bytes[$0]) }, headers: none,
          offset: nextOffsets[input], timestamp: place.timestamp)
        nextOffsets[input] += 1
        taken += 1
        room -= 1
        if room == 0 { room = engine.room(input: input) }
      }
    }
    if taken == end { engine.markAtEnd(input: input) }
    engine.seal(input: input)
  }
}

extension CommitUnit {
  /// Bytes that it publishes to one place.
  func valueBytes(_ destination: OutputRecord.Destination) -> Int {
    records.reduce(0) { $0 + ($1.destination == destination ? Int($1.value.length) : 0) }
  }
  func values(_ destination: OutputRecord.Destination) -> [[UInt8]] {
    records.filter { $0.destination == destination }
      .map { unsafe arena.withBytes($0.value) { unsafe Array($0) } }
  }
}
