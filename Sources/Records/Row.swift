/// One column of a row. Its `id` is stable: the hash of its name, the same in every pipeline.
public struct RowColumn: Hashable, Sendable {
  public enum Kind: UInt8, Sendable { case number = 0, category = 1 }
  public var id: UInt64
  public var name: String
  public var kind: Kind
  public init(name: String, kind: Kind) {
    id = Hash64.hash(name)
    self.name = name
    self.kind = kind
  }
}

/// The columns of a row, in order. Number columns and category columns are stored apart.
public struct RowSchema: Hashable, Sendable {
  public let columns: [RowColumn]
  /// For each column its place among the columns of its kind.
  public let places: [Int]
  public let numberCount: Int
  public let categoryCount: Int

  public init(_ columns: [RowColumn]) {
    self.columns = columns
    var numbers = 0
    var categories = 0
    places = columns.map { column in
      switch column.kind {
      case .number:
        defer { numbers += 1 }
        return numbers
      case .category:
        defer { categories += 1 }
        return categories
      }
    }
    numberCount = numbers
    categoryCount = categories
  }
}

/// The features of up to `capacity` events, as they were when scored.
///
/// Shapes:   `numbers[slot * numberCount + place]`, `categories[slot * categoryCount + place]`,
///           `missing[slot * columnCount + column]` (1 = no value; number then 0, category 0).
/// Units:    numbers are f32 and finite; categories are `Hash64` of the value.
/// Threads:  owned by one thread at a time.
public final class RowGroup {
  public let schema: RowSchema
  public let capacity: Int
  public let numbers: FixedBuffer<Float>
  public let categories: FixedBuffer<UInt64>
  public let missing: FixedBuffer<UInt8>
  /// Rows in use.
  public var count = 0

  public init(schema: RowSchema, capacity: Int) {
    self.schema = schema
    self.capacity = capacity
    numbers = FixedBuffer(repeating: 0, count: capacity * schema.numberCount)
    categories = FixedBuffer(repeating: 0, count: capacity * schema.categoryCount)
    missing = FixedBuffer(repeating: 1, count: capacity * schema.columns.count)
  }
}

/// What one contender said of one event when it was scored.
public struct ServedScore: Hashable, Sendable, BitwiseCopyable {
  /// Uncalibrated margin (log-odds). A quiet NaN means that this contender did not score the event.
  public var margin: Float
  /// Calibrated probability in [0, 1].
  public var probability: Float
  public init(margin: Float, probability: Float) {
    self.margin = margin
    self.probability = probability
  }
  public static let absent = ServedScore(margin: .nan, probability: .nan)
  public var isAbsent: Bool { margin.isNaN }
}
