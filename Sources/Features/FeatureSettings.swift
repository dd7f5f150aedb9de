import Records

/// Everything the declaration says about windows, features and the label's target.
public struct FeatureSettings: Sendable, Equatable {
  public var inputs: [InputSchema]
  /// Index into `inputs` of the input whose events are scored.
  public var scoredInput: Int
  /// Index into `inputs` of the input that carries labels; nil where the pipeline does not learn.
  public var labelInput: Int?
  /// Expression over the fields of the label input; true (1) is the positive class. Empty without labels.
  public var target: String
  public var windows: [WindowDeclaration]
  public var features: [FeatureDeclaration]
  /// At most this many keys per window declaration and partition.
  public var windowKeysMax: Int
  public init(
    inputs: [InputSchema], scoredInput: Int, labelInput: Int? = nil, target: String = "",
    windows: [WindowDeclaration] = [], features: [FeatureDeclaration] = [],
    windowKeysMax: Int = 1 << 20
  ) {
    self.inputs = inputs
    self.scoredInput = scoredInput
    self.labelInput = labelInput
    self.target = target
    self.windows = windows
    self.features = features
    self.windowKeysMax = windowKeysMax
  }
}

public enum Aggregate: String, Sendable, CaseIterable {
  case count, sum, mean, std, min, max, last
  /// Seconds from the last record of the key to the event.
  case sinceLast = "since_last"
}

/// Aggregates over event time, per key, over records of one input.
public struct WindowDeclaration: Sendable, Equatable {
  public var name: String
  /// Index into `inputs` of the input whose records are counted.
  public var from: Int
  /// Fields that form the key: they must exist in `from` and, by the same name, in the scored input.
  public var by: [String]
  /// Number expression over the fields of `from`; empty where only `count` and `since_last` are asked.
  public var value: String
  /// Boolean expression over the fields of `from`; empty counts every record.
  public var filter: String
  public var sizesMilliseconds: [Int64]
  /// Pane width; nil derives it.
  public var paneMilliseconds: Int64?
  public var aggregates: [Aggregate]
  /// Smallest step of `value` that is kept; nil derives it.
  public var resolution: Double?
  /// Values outside are clamped and counted; nil derives it.
  public var range: ClosedRange<Double>?
  public init(
    name: String, from: Int, by: [String], value: String = "", filter: String = "",
    sizesMilliseconds: [Int64], paneMilliseconds: Int64? = nil, aggregates: [Aggregate],
    resolution: Double? = nil, range: ClosedRange<Double>? = nil
  ) {
    self.name = name
    self.from = from
    self.by = by
    self.value = value
    self.filter = filter
    self.sizesMilliseconds = sizesMilliseconds
    self.paneMilliseconds = paneMilliseconds
    self.aggregates = aggregates
    self.resolution = resolution
    self.range = range
  }
}

/// One declared feature: a column of the row.
public struct FeatureDeclaration: Sendable, Equatable {
  public enum Missing: String, Sendable, CaseIterable {
    /// The learner sees that the value is missing, as an input of its own.
    case indicator
    /// Missing is zero and says nothing.
    case zero
  }
  public var name: String
  /// Empty: the field of the scored input with the feature's name.
  public var expression: String
  public var kind: RowColumn.Kind
  public var missing: Missing
  public init(
    name: String, expression: String = "", kind: RowColumn.Kind, missing: Missing = .indicator
  ) {
    self.name = name
    self.expression = expression
    self.kind = kind
    self.missing = missing
  }
}

/// A fault in the settings, with the place in the declaration it belongs to.
public struct FeatureFault: Error, Sendable, Equatable {
  /// Path in the declaration, such as `features[3].expr` or `windows[0].by`.
  public var path: String
  /// Column within the expression, from 0, in characters; nil where the whole value is meant.
  public var column: Int?
  public var message: String
  /// What to try instead; empty if nothing better is known.
  public var hint: String
  public init(path: String, column: Int? = nil, message: String, hint: String = "") {
    self.path = path
    self.column = column
    self.message = message
    self.hint = hint
  }
}
