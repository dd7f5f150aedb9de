import Engine
import Records

/// Two counts that must be the same.
public struct AccountCheck: Sendable, Equatable {
  public var what: String
  public var expected: UInt64
  public var found: UInt64
  public var holds: Bool { expected == found }
}

/// What became of the records of one input in one partition.
public struct InputAccount: Sendable, Equatable {
  public var name: String
  public var topic: String
  /// Records between where the state began and `next`: counted in the topic, so that markers are none.
  public var consumed: UInt64
  /// Offset after the last one.
  public var next: Int64
  public var outcomes: RecordOutcomes
}

public struct PartitionAccount: Sendable, Equatable {
  public enum Comparison: Sendable, Equatable {
    case notAsked
    /// The worker's counts at the same offsets are these.
    case equal
    case different
    /// The worker counts from another place on: its state was made again from a journal that holds no sums yet.
    case otherStart
    /// No worker was seen to stand at the end of a unit of this partition.
    case notSeen
  }
  public var partition: Int32
  public var begun: String
  public var inputs: [InputAccount]
  /// Predictions that wait for their label, and those for which none came in time.
  public var waitingPredictions: Int
  public var expiredPredictions: UInt64
  public var checks: [AccountCheck]
  public var worker: Comparison
  /// Why it could not be followed; nil where it could.
  public var unreachable: String?

  public var isBalanced: Bool { checks.allSatisfy(\.holds) && worker != .different }
}

public struct AccountReport: Sendable {
  public var partitions: [PartitionAccount] = []
  /// What was not compared, and why.
  public var notes: [String] = []
  public var isBalanced: Bool { partitions.allSatisfy(\.isBalanced) }
}
