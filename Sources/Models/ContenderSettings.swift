import Records

/// FTRL-Proximal, per coordinate.
///
/// The defaults were the best of those compared on flight delays (labels at once and hours late),
/// electricity prices and weather together, without a word about any of their columns.
public struct FTRLSettings: Hashable, Sendable {
  /// Learning rate; 0.05 where labels are late and noisy, up to 0.2 where the last label tells the next.
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

extension ContenderSettings {
  /// Whether a `Contender` can be made of these settings: ask before building from a charter read from a log.
  public var isValid: Bool {
    if case .platt(let rate) = calibration {
      guard rate >= 0, rate <= 1 else { return false }
    }
    guard case .ftrl(let ftrl, let encoder) = kind else { return true }
    return ftrl.alpha >= 1e-6 && ftrl.alpha <= 100 && ftrl.beta >= 1e-6 && ftrl.beta <= 1e6
      && ftrl.l1 >= 0 && ftrl.l1 <= 1e6 && ftrl.l2 >= 0 && ftrl.l2 <= 1e6
      && (6...28).contains(encoder.hashBits) && encoder.columns.count <= 1024
  }
}
