import Records

/// One learner with its calibration: folds examples in full precision, hands out compressed scorers.
///
/// With delayed labels the gradient uses the probability recomputed from the row and the current weights;
/// metrics and calibration use what was served.
///
/// Shapes:   rows of `rowSchema`; state of 8 bytes a slot plus 1.1 for the compressed twin.
/// Units:    `label` in [0, 1]; `weight` >= 0; anything else leaves the state as it is.
/// Cost:     `learn` some 10 ns an input; `scorer()` the changed blocks plus one copy of the twin.
/// Replay:   the same calls give the same bits on every host.
/// Threads:  one owner at a time; the scorers are free.
public final class Contender {
  public let settings: ContenderSettings
  let encoder: RowEncoder
  let learner: FTRLLearner
  let isLinear: Bool
  var calibration = PlattScaling()
  var baseRate = BaseRate()
  private let plattRate: Float
  private let inputs: InputBuffer
  private let twin: CompressedTable
  /// Blocks whose twin is stale: flags, and the same as a list.
  private let dirty: FixedBuffer<UInt8>
  private let dirtyBlocks: FixedBuffer<UInt32>
  private var dirtyCount = 0

  /// Errors: settings that are not `isValid` are a programmer error and stop the process.
  public init(settings: ContenderSettings, rowSchema: RowSchema) {
    precondition(settings.isValid, "settings out of range")
    self.settings = settings
    let slots: Int
    switch settings.kind {
    case .ftrl(let ftrl, let encoding):
      isLinear = true
      encoder = RowEncoder(settings: encoding, rowSchema: rowSchema)
      slots = encoder.slotCount
      learner = FTRLLearner(settings: ftrl, slotCount: slots)
    case .baseRate:
      isLinear = false
      encoder = RowEncoder(settings: EncoderSettings(hashBits: 6, columns: []), rowSchema: rowSchema)
      slots = encoder.slotCount
      learner = FTRLLearner(settings: FTRLSettings(), slotCount: slots)
    }
    switch settings.calibration {
    case .none: plattRate = 0
    case .platt(let rate): plattRate = rate
    }
    inputs = InputBuffer(width: encoder.width, columns: encoder.columnCount)
    twin = CompressedTable(slotCount: slots + CompressedTable.blockSlots)
    let blocks = twin.scales.count
    dirty = FixedBuffer(repeating: 0, count: blocks)
    dirtyBlocks = FixedBuffer(repeating: 0, count: blocks)
  }

  /// Folds one example: row `slot` of `rows`, what became known of it, and what was served for it.
  ///
  /// `calibrate` says whether this contender's served score may teach the calibration; it does so before
  /// the base learns the row, and only if the score is there.
  public func learn(
    rows: RowGroup, slot: Int, label: Float, weight: Float, served: ServedScore, calibrate: Bool
  ) {
    guard weight > 0, label >= 0, label <= 1 else { return }
    if calibrate && plattRate > 0 && !served.isAbsent {
      calibration.learn(margin: served.margin, label: label, weight: weight, rate: plattRate)
    }
    guard isLinear else {
      baseRate.learn(label: label, weight: weight)
      return
    }
    let count = encoder.encode(rows, slot: slot, into: inputs)
    let margin = learner.margin(inputs, count: count)
    learner.update(inputs, count: count, margin: margin, label: label, weight: weight) { slot in
      let block = slot >> CompressedTable.blockBits
      if dirty[block] == 0 { mark(block) }
    }
  }

  /// What the full-precision learner says of row `slot` now: uncalibrated log-odds.
  public func masterMargin(rows: RowGroup, slot: Int) -> Float {
    guard isLinear else { return baseRate.margin }
    return learner.margin(inputs, count: encoder.encode(rows, slot: slot, into: inputs))
  }

  /// The present state as an immutable compressed scorer.
  ///
  /// Cost:     0.2 us a changed block of 64 slots, then a copy of 1.06 bytes a slot.
  public func scorer() -> Scorer {
    guard isLinear else { return Scorer(constant: baseRate.margin, calibration: calibration) }
    for index in 0..<dirtyCount {
      let block = Int(dirtyBlocks[index])
      twin.quantise(block: block, from: learner)
      dirty[block] = 0
    }
    dirtyCount = 0
    return Scorer(encoder: encoder, table: twin, calibration: calibration)
  }

  private func mark(_ block: Int) {
    dirty[block] = 1
    dirtyBlocks[dirtyCount] = UInt32(truncatingIfNeeded: block)
    dirtyCount += 1
  }

  /// Makes every block stale: after the master was replaced as a whole.
  func markAll() {
    dirtyCount = 0
    for block in 0..<dirty.count { mark(block) }
  }

  /// Takes over what `old` learnt, if its rows mean the same to this one: equal kind, encoder and rate. A calibration is
  /// taken only by one of its kind. Returns whether it did; otherwise nothing has changed.
  public func inherit(_ old: Contender) -> Bool {
    guard shape == old.shape, isLinear == old.isLinear else { return false }
    var writer = ByteWriter()
    old.encode(into: &writer)
    var reader = ByteReader(writer.bytes)
    // Our own bytes for an equal shape: nothing is lost where they should be refused all the same.
    guard (try? restore(from: &reader)) != nil else { return false }
    if (plattRate > 0) != (old.plattRate > 0) { calibration = PlattScaling() }
    return true
  }

  /// Test hook: flips one bit of one learnt weight, as a fault of memory would. A high one of the fraction: what a low one
  /// changes is soon rounded away again.
  public func flipBit() {
    guard isLinear, let slot = (0..<learner.table.count).first(where: { learner.table[$0].x != 0 }) else { return }
    learner.table[slot].x = Float(bitPattern: learner.table[slot].x.bitPattern ^ 1 << 22)
    markAll()
  }
}
