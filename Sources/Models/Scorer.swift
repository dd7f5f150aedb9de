import Records

/// Room that scoring works in: grows to the widest contender it met, then never allocates.
///
/// Threads:  one thread at a time.
public final class ScoringScratch {
  private var inputs = InputBuffer(width: 0, columns: 0)
  public init() {}

  func inputs(width: Int, columns: Int) -> InputBuffer {
    if inputs.width < width || inputs.tokens.count < columns {
      inputs = InputBuffer(
        width: max(width, inputs.width), columns: max(columns, inputs.tokens.count))
    }
    return inputs
  }
}

/// What a contender knew at one version, compressed: scores rows, never changes.
///
/// Shapes:   rows of the schema that the contender was made for.
/// Cost:     encoding about 1 ns an input, the kernel about 1 ns an input; no allocation.
/// Errors:   none; a row always gets a finite score.
/// Replay:   equal scorers give equal bits on every host.
/// Threads:  any number at once.
// Invariant: all fields are `let`; the table's memory is written before `init` returns and never after.
public final class Scorer: @unchecked Sendable {
  enum Kind {
    case linear(RowEncoder)
    case constant(Float)
  }
  let kind: Kind
  let table: CompressedTable
  let calibration: PlattScaling

  init(encoder: RowEncoder, table: borrowing CompressedTable, calibration: PlattScaling) {
    kind = .linear(encoder)
    self.table = CompressedTable(copying: table)
    self.calibration = calibration
  }
  init(constant margin: Float, calibration: PlattScaling) {
    kind = .constant(margin)
    table = CompressedTable(slotCount: 0)
    self.calibration = calibration
  }

  /// Scores rows 0..<count of `rows`; the score of row i goes to `scores[i * stride + offset]`.
  public func score(
    _ rows: RowGroup, count: Int, scratch: ScoringScratch,
    into scores: borrowing FixedBuffer<ServedScore>, stride: Int, offset: Int
  ) {
    precondition(count >= 0 && count <= rows.capacity, "more rows than the group holds")
    switch kind {
    case .constant(let margin):
      let score = ServedScore(margin: margin, probability: calibration.probability(margin: margin))
      for row in 0..<count { scores[row * stride + offset] = score }
    case .linear(let encoder):
      let inputs = scratch.inputs(width: encoder.width, columns: encoder.columnCount)
      for row in 0..<count {
        let used = encoder.encode(rows, slot: row, into: inputs)
        let margin = table.margin(inputs, count: used)
        scores[row * stride + offset] = ServedScore(
          margin: margin, probability: calibration.probability(margin: margin))
      }
    }
  }
}
