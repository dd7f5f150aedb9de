/// How an example came to be.
public enum ExampleKind: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// The first label of its event.
  case matured = 0
  /// A later label of another value for an event that has been settled.
  case correction = 1
  /// No label came before the horizon, and the settings say that this means 0.
  case negative = 2
}

/// What is known of one example beside its row and its served scores.
public struct ExampleHeader: Sendable, Equatable, BitwiseCopyable {
  /// Where the scored event stands in the scored input.
  public var partition: PartitionID
  public var offset: Offset
  /// Where the label stands in its input; -1 where there is none.
  public var labelOffset: Offset
  public var kind: ExampleKind
  /// The target's value: 0 or 1.
  public var value: Float
  public var weight: Float
  /// When the truth became known.
  public var knownAt: EventTime
  /// The version that scored the event.
  public var version: ModelVersion

  public init(
    partition: PartitionID, offset: Offset, labelOffset: Offset, kind: ExampleKind, value: Float,
    weight: Float = 1, knownAt: EventTime, version: ModelVersion
  ) {
    self.partition = partition
    self.offset = offset
    self.labelOffset = labelOffset
    self.kind = kind
    self.value = value
    self.weight = weight
    self.knownAt = knownAt
    self.version = version
  }
}

/// How a row and its served scores lie in 32-bit words: as the label join keeps them and the builder takes them.
///
/// Shapes:   numbers (1 word each), categories (2 words, low first), missing (1 bit a column, 32 a word),
///           then per contender margin and probability (1 word each).
public struct ExampleRowLayout: Sendable, Equatable {
  public let numberCount: Int
  public let categoryCount: Int
  public let columnCount: Int
  public let contenderCount: Int
  public let categoryStart: Int
  public let missingStart: Int
  public let scoreStart: Int
  public let wordCount: Int

  public init(schema: RowSchema, contenderCount: Int) {
    precondition(contenderCount >= 0, "negative count")
    numberCount = schema.numberCount
    categoryCount = schema.categoryCount
    columnCount = schema.columns.count
    self.contenderCount = contenderCount
    categoryStart = numberCount
    missingStart = categoryStart + 2 * categoryCount
    scoreStart = missingStart + (columnCount + 31) / 32
    wordCount = scoreStart + 2 * contenderCount
  }

  /// Writes row `slot` and the scores from `scoreOffset` on as `wordCount` words at `offset`.
  public func pack(
    _ rows: RowGroup, slot: Int, scores: borrowing FixedBuffer<ServedScore>, scoreOffset: Int,
    into words: borrowing FixedBuffer<UInt32>, at offset: Int
  ) {
    for place in 0..<numberCount {
      words[offset + place] = rows.numbers[slot * numberCount + place].bitPattern
    }
    for place in 0..<categoryCount {
      let value = rows.categories[slot * categoryCount + place]
      words[offset + categoryStart + 2 * place] = UInt32(truncatingIfNeeded: value)
      words[offset + categoryStart + 2 * place + 1] = UInt32(truncatingIfNeeded: value >> 32)
    }
    var bits: UInt32 = 0
    for column in 0..<columnCount {
      if rows.missing[slot * columnCount + column] != 0 { bits |= 1 << UInt32(column & 31) }
      if column & 31 == 31 || column == columnCount - 1 {
        words[offset + missingStart + column / 32] = bits
        bits = 0
      }
    }
    for contender in 0..<contenderCount {
      let score = scores[scoreOffset + contender]
      words[offset + scoreStart + 2 * contender] = score.margin.bitPattern
      words[offset + scoreStart + 2 * contender + 1] = score.probability.bitPattern
    }
  }
}

/// A column as a block names it: by the hash of its name.
public struct ExampleColumn: Sendable, Hashable {
  public var id: UInt64
  public var kind: RowColumn.Kind
  public init(id: UInt64, kind: RowColumn.Kind) {
    self.id = id
    self.kind = kind
  }
}

/// The examples of one commit unit, column by column.
///
/// Constraints: at most `countMax` examples; every index and count is checked before it is believed; a column
/// costs what its values vary: a constant one 5 bytes, one of few values a byte an example.
///
///     plan digest 32; target text
///     columns: varint count, then id u64 and kind u8 each
///     contenders: varint K (at most 255)
///     examples: varint n
///     partitions: runs (zigzag varint partition, varint length) up to n
///     versions that served: runs (varint lineage, varint sequence, varint length) up to n
///     kinds: runs (u8, varint length) up to n
///     offsets, label offsets, known-at: n zigzag varints each, every one less its predecessor (the first: less 0)
///     values, weights: word column each
///     for each column of numbers: word column; of categories: varint m, m x u64, then n indices
///         (none where m = 1, u8 where m <= 256, u16 where m <= 65536, else u32)
///     for each column: missing u8: 0 none, 1 all, 2 bits (n bits in bytes, lowest first)
///     for each contender: margins, probabilities: word column each
///
/// A word column is u8 0: one u32 for all; u8 1: m - 1 as u8, m x u32, n x u8; u8 2: n x u32.
public struct ExampleBlock: Sendable, Equatable {
  public static let countMax = 1 << 20
  public static let contenderCountMax = 255

  public var planDigest: Digest
  public var target: String
  public var columns: [ExampleColumn]
  public var contenderCount: Int
  /// In the order in which they are learnt.
  public var headers: [ExampleHeader]
  /// Bits of number columns: `numberBits[place * count + example]`, place among the number columns.
  public var numberBits: [UInt32]
  /// `categories[place * count + example]`, place among the category columns.
  public var categories: [UInt64]
  /// `missing[column * count + example]`, 1 = no value.
  public var missing: [UInt8]
  /// Bits of margin and probability: `scoreBits[(2 * contender + 0 or 1) * count + example]`.
  public var scoreBits: [UInt32]

  public var count: Int { headers.count }

  public func score(contender: Int, example: Int) -> ServedScore {
    ServedScore(
      margin: Float(bitPattern: scoreBits[2 * contender * count + example]),
      probability: Float(bitPattern: scoreBits[(2 * contender + 1) * count + example]))
  }
}
