import Records

/// Row to learner inputs: hashed, scale-free, without any state, so lane and fold cannot disagree.
///
/// A category is one input of value 1. A number becomes hat functions over a fixed signed grid whose
/// knots divide every octave evenly, at several resolutions: the learner fits a piecewise-linear function
/// of the raw value, exact between knots, and neither ranges nor scaling are declared or learnt.
/// The grid comes from the float's own bits, so it costs shifts, not a logarithm.
/// Every pair of columns is crossed when asked, numbers by their coarse cell.
///
/// Shapes:   at most `width` inputs a row; input 0 is the bias, in a slot of its own behind the table.
/// Units:    values lie in [0, 1]; crosses count `crossValue`, since a row has many more of them.
/// Cost:     about 1 ns an input, no allocation.
/// Errors:   none; a column that the row lacks is missing in every row, a number that is
///           not finite falls into an outermost cell.
/// Threads:  immutable after `init`.
/// Source:   hashing trick: Weinberger et al., ICML 2009; mixing by full-width multiplication: Wang Yi, wyhash.
// Invariant: all stored fields are `let` and their memory is written in `init` only.
final class RowEncoder: @unchecked Sendable {
  struct Column: BitwiseCopyable {
    var isNumber: Bool
    var indicates: Bool
    /// Place among the row's columns of its kind, and among all; -1: the row lacks it.
    var place: Int
    var column: Int
    var key: UInt64
  }

  static let crossValue: Float = 0.5

  let slotCount: Int
  let width: Int
  let columnCount: Int
  /// Identity of everything that decides what the slots mean.
  let fingerprint: UInt64
  private let columns: FixedBuffer<Column>
  private let crosses: Bool
  private let shift: UInt64

  init(settings: EncoderSettings, rowSchema: RowSchema) {
    precondition((6...28).contains(settings.hashBits), "hashBits out of 6...28")
    slotCount = 1 << settings.hashBits
    shift = UInt64(64 - settings.hashBits)
    crosses = settings.crosses
    columnCount = settings.columns.count
    columns = FixedBuffer(
      repeating: Column(isNumber: false, indicates: false, place: -1, column: -1, key: 0),
      count: columnCount)
    var fingerprint = Hash64.combine(UInt64(settings.hashBits), settings.crosses ? 1 : 0)
    var width = 1
    for (index, column) in settings.columns.enumerated() {
      let found = rowSchema.columns.firstIndex { $0.id == column.id && $0.kind == column.kind }
      let indicates = settings.missingIndicators.contains(column.name)
      columns[index] = Column(
        isNumber: column.kind == .number, indicates: indicates,
        place: found.map { rowSchema.places[$0] } ?? -1, column: found ?? -1,
        key: Hash64.combine(column.id, UInt64(column.kind.rawValue)))
      width += column.kind == .number ? Grid.inputsPerNumber : 1
      fingerprint = Hash64.combine(fingerprint, Hash64.combine(column.id, column.kind == .number ? 1 : 2))
      fingerprint = Hash64.combine(fingerprint, indicates ? 1 : 0)
    }
    if settings.crosses { width += columnCount * (columnCount - 1) / 2 }
    self.width = width
    self.fingerprint = fingerprint
  }

  /// Two well-mixed words to one, through all 128 bits of their product.
  @inline(__always)
  static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = (a ^ 0x2d35_8dcc_aa6c_78a5).multipliedFullWidth(by: b ^ 0x8bb8_4b93_962e_acc9)
    return product.high ^ product.low
  }

  /// Writes the inputs of row `slot`; returns how many.
  func encode(_ rows: RowGroup, slot: Int, into inputs: InputBuffer) -> Int {
    let numberCount = rows.schema.numberCount
    let categoryCount = rows.schema.categoryCount
    let missingBase = slot * rows.schema.columns.count
    let shift = self.shift
    precondition(inputs.width >= width && inputs.tokens.count >= columnCount, "buffer too small")
    inputs.slots[0] = UInt32(truncatingIfNeeded: slotCount)
    inputs.values[0] = 1
    var count = 1
    var tokenCount = 0
    for index in 0..<columnCount {
      let column = columns[index]
      var token: UInt64
      let isMissing = column.place < 0 || rows.missing[missingBase + column.column] != 0
      if isMissing {
        if !column.indicates { continue }
        token = Self.mix(column.key, Grid.missingCode)
      } else if column.isNumber {
        let x = rows.numbers[slot * numberCount + column.place]
        token = Self.mix(column.key, Grid.cell(x))
        count = Grid.encode(x, key: column.key, shift: shift, into: inputs, at: count)
        inputs.tokens[tokenCount] = token
        tokenCount &+= 1
        continue
      } else {
        token = Self.mix(column.key, rows.categories[slot * categoryCount + column.place])
      }
      inputs.slots[count] = UInt32(truncatingIfNeeded: token &>> shift)
      inputs.values[count] = 1
      count &+= 1
      inputs.tokens[tokenCount] = token
      tokenCount &+= 1
    }
    return crosses ? cross(inputs, tokens: tokenCount, from: count) : count
  }

  /// Writes one input for every pair of the first `tokens` tokens, from place `count` on.
  @inline(__always)
  private func cross(_ inputs: InputBuffer, tokens: Int, from count: Int) -> Int {
    let end = count + tokens * (tokens - 1) / 2
    precondition(end <= inputs.width && tokens <= inputs.tokens.count, "buffer too small")
    let shift = self.shift
    unsafe inputs.tokens.withElements { token in
      unsafe inputs.slots.withElements { slots in
        // SAFETY: a and b lie below `tokens`, and as many pairs as `end - count` are written; both
        // bounds were checked against the buffers.
        let from = token.baseAddress!
        var to = unsafe slots.baseAddress! + count
        for a in 0..<max(tokens - 1, 0) {
          let first = unsafe from[a]
          for b in (a &+ 1)..<tokens {
            unsafe to.pointee = UInt32(truncatingIfNeeded: Self.mix(first, unsafe from[b]) &>> shift)
            unsafe to += 1
          }
        }
      }
    }
    for at in count..<max(end, count) { inputs.values[at] = Self.crossValue }
    return max(end, count)
  }
}
