import Features
import Learning
import Records

/// What the declaration says, compiled: all that an engine needs beside its inputs and scorers.
public struct EnginePlan: Sendable {
  public let features: FeaturePlan
  public let join: JoinSettings
  /// Decision of a prediction: probability at or above this.
  public let threshold: Float
  /// Contenders that the charter names: the width of the served scores.
  public let contenderCount: Int
  /// Values larger than this are not produced; their event becomes a dead letter by reference.
  public let outputBytesMax: Int

  public init(
    features: FeaturePlan, join: JoinSettings, threshold: Float, contenderCount: Int,
    outputBytesMax: Int = 1_000_000
  ) {
    self.features = features
    self.join = join
    self.threshold = threshold
    self.contenderCount = contenderCount
    self.outputBytesMax = outputBytesMax
  }

  public var inputs: [InputSchema] { features.settings.inputs }
  public var scoredInput: Int { features.settings.scoredInput }
  public var labelInput: Int? { features.settings.labelInput }

  /// Event time that a replay without a checkpoint has to cover before what is still of use:
  /// horizon + longest window + lateness.
  public var replaySpanMilliseconds: Int64 {
    join.horizonMilliseconds + features.longestWindowMilliseconds
      + (inputs.map(\.latenessMilliseconds).max() ?? 0)
  }
}
