import Records

/// FTRL-Proximal, per coordinate.
public struct FTRLSettings: Hashable, Sendable {
  /// Learning rate.
  public var alpha: Float
  public var beta: Float
  public var l1: Float
  public var l2: Float
  public init(alpha: Float = 0.08, beta: Float = 1, l1: Float = 0, l2: Float = 0) {
    self.alpha = alpha
    self.beta = beta
    self.l1 = l1
    self.l2 = l2
  }
}

/// How a row becomes learner input. Belongs to the model, not to the row.
public struct EncoderSettings: Hashable, Sendable {
  /// The weight table has 2^hashBits slots.
  public var hashBits: Int
  /// Names of row columns that this encoder uses, in order; a name the row lacks is missing in every row.
  public var columns: [RowColumn]
  /// Names of columns whose missing values count as an input of their own.
  public var missingIndicators: [String]
  /// Cross every pair of columns automatically.
  public var crosses: Bool
  public init(
    hashBits: Int = 18, columns: [RowColumn], missingIndicators: [String] = [], crosses: Bool = true
  ) {
    self.hashBits = hashBits
    self.columns = columns
    self.missingIndicators = missingIndicators
    self.crosses = crosses
  }
}

public enum CalibrationSettings: Hashable, Sendable {
  case none
  /// Online Platt scaling with this gradient step.
  case platt(rate: Float)
}

public enum ContenderKind: Hashable, Sendable {
  case ftrl(FTRLSettings, EncoderSettings)
  /// Predicts the decayed share of positives among the labels seen.
  case baseRate
}

/// One model that learns from the log: the champion, a challenger or a baseline.
public struct ContenderSettings: Hashable, Sendable {
  public var name: String
  public var kind: ContenderKind
  public var calibration: CalibrationSettings
  public init(name: String, kind: ContenderKind, calibration: CalibrationSettings = .none) {
    self.name = name
    self.kind = kind
    self.calibration = calibration
  }
}
