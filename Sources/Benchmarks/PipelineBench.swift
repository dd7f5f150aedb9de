import Engine
import Learning
import Pipeline
import Records

/// The pipeline in one process and on one thread: decode → fold → score → encode, on the recorded stream.
struct PipelineBench {
  let plan: EnginePlan
  let settings: PipelineSettings
  let stream: RecordedStream
  let rounds: Int

  struct Result {
    /// Records of all inputs by CPU second of the one thread; of them, those that were scored.
    var recordsPerSecond: Spread
    var scoredShare: Double
    var wallRecordsPerSecond: Spread
    var recordsPerRound: Int
    /// Of taking, folding, scoring and encoding; and of ending units, by unit.
    var allocationsPerEvent: Double
    var allocationsPerUnit: Double
    var predictionBytes: Double
    var journalBytesPerEvent: Double
    var bytesPerExample: Double
    /// The warm-up's example blocks, in order, and the model that folded them.
    var blocks: [[UInt8]]
    var model: ModelState
  }

  /// Sizes of what the measured rounds publish.
  private struct Published {
    var scored = 0, units = 0, predictions = 0, journal = 0, examples = 0
  }

  /// The first repetition warms up, learning as it goes, so that scorers are those of a model that has learnt;
  /// the rounds that are measured serve its last version.
  func run() throws -> Result {
    let drive = EngineDrive(plan: plan, unitRecords: settings.delivery.transactionRecords)
    let model = chartered(settings)
    guard var scorers = model.scorers() else { throw BenchFailure("the charter was refused") }
    var blocks: [[UInt8]] = []
    try drive.run(try stream.inputs(repetition: 0), scorers: { scorers }) { unit in
      for block in unit.values(.learning) {
        blocks.append(block)
        _ = model.fold(block, offset: Offset(Int64(blocks.count)), timestamp: EventTime(milliseconds: 0))
      }
      scorers = model.scorers() ?? scorers
    }

    var perSecond: [Double] = []
    var wall: [Double] = []
    var published = Published()
    var allocations = 0
    let joinedBefore = joined(drive.engine.accounting)
    let sealsBefore = drive.sealAllocations
    for round in 1...rounds {
      let inputs = try stream.inputs(repetition: round)
      let cost = try measured {
        try drive.run(inputs, scorers: { scorers }) { unit in
          published.scored += unit.scored
          published.units += 1
          for record in unit.records {
            switch record.destination {
            case .predictions: published.predictions += Int(record.value.length)
            case .journal: published.journal += Int(record.value.length)
            case .learning: published.examples += Int(record.value.length)
            case .deadLetters, .acks: break
            }
          }
        }
      }
      perSecond.append(Double(stream.count) / cost.cpuNanoseconds * 1e9)
      wall.append(Double(stream.count) / cost.wallNanoseconds * 1e9)
      allocations += cost.allocations
    }
    let seals = drive.sealAllocations - sealsBefore
    let events = Double(stream.count * rounds)
    return Result(
      recordsPerSecond: Spread(perSecond), scoredShare: Double(published.scored) / events,
      wallRecordsPerSecond: Spread(wall), recordsPerRound: stream.count,
      allocationsPerEvent: Double(allocations - seals) / events,
      allocationsPerUnit: Double(seals) / Double(max(published.units, 1)),
      predictionBytes: Double(published.predictions) / Double(max(published.scored, 1)),
      journalBytesPerEvent: Double(published.journal) / events,
      bytesPerExample: Double(published.examples)
        / Double(max(joined(drive.engine.accounting) - joinedBefore, 1)), blocks: blocks, model: model)
  }

  private func joined(_ accounting: Accounting) -> UInt64 {
    accounting.labelsJoined + accounting.labelsCorrection
  }

  /// Memory of windows by key, where most keys were live at once in a world of so many.
  func windowBytes(keys: Int) throws -> (bytes: Int, keys: Int) {
    let drive = EngineDrive(plan: plan, unitRecords: settings.delivery.transactionRecords)
    let scorers = chartered(settings).scorers()!
    var most = (bytes: 0, keys: 0)
    try drive.run(try stream.inputs(repetition: 0, keys: keys), scorers: { scorers }) { _ in
      let live = drive.engine.windowCounters.keys.reduce(0, +)
      if live > most.keys { most = (drive.engine.windowStateBytes, live) }
    }
    return most
  }

  /// Memory of predictions that wait for their label: all of a repetition, and not one label comes.
  func waitingBytes() throws -> (bytes: Int, waiting: Int) {
    let drive = EngineDrive(plan: plan, unitRecords: settings.delivery.transactionRecords)
    let scorers = chartered(settings).scorers()!
    let inputs = try stream.inputs(repetition: 0, only: plan.scoredInput)
    try drive.run(inputs, scorers: { scorers }) { _ in }
    return (drive.engine.waitingBytes, drive.engine.waitingCount)
  }
}

/// A model that has learnt nothing yet.
func chartered(_ settings: PipelineSettings) -> ModelState {
  let model = ModelState()
  _ = model.fold(
    ModelState.charter(settings.learning, clusterID: "bench").record(), offset: Offset(0),
    timestamp: EventTime(milliseconds: 0))
  return model
}
