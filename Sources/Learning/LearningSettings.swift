import Models
import Records

/// How labels meet the events they are about.
public struct JoinSettings: Hashable, Sendable {
  /// A label may be known at most this long after its event's time; then the event expires.
  public var horizonMilliseconds: Int64
  public enum AtHorizon: UInt8, Sendable { case drop = 0, negative = 1 }
  public var atHorizon: AtHorizon
  /// Labels that may wait for their event, per partition.
  public var earlyLabelsMax: Int
  public init(
    horizonMilliseconds: Int64, atHorizon: AtHorizon = .drop, earlyLabelsMax: Int = 65_536
  ) {
    self.horizonMilliseconds = horizonMilliseconds
    self.atHorizon = atHorizon
    self.earlyLabelsMax = earlyLabelsMax
  }
}

/// The settings that decide what the fold does: they stand in the charter and in no worker's memory alone.
public struct LearningSettings: Hashable, Sendable {
  public var pipeline: String
  public var rowSchema: RowSchema
  /// The first is the champion.
  public var contenders: [ContenderSettings]
  /// Examples between kept versions.
  public var keepEvery: UInt64
  /// Untagged kept versions that stay.
  public var keep: Int
  public init(
    pipeline: String, rowSchema: RowSchema, contenders: [ContenderSettings],
    keepEvery: UInt64 = 5_000, keep: Int = 10
  ) {
    self.pipeline = pipeline
    self.rowSchema = rowSchema
    self.contenders = contenders
    self.keepEvery = keepEvery
    self.keep = keep
  }
}
