import Engine
import Features

/// What became of the records of one input of one partition, since its first one: the states that they end in, in a
/// fixed order. The counts add up to the records consumed.
///
/// `waiting` labels are those that came before their event: they end as one of the others.
public struct RecordOutcomes: Sendable, Equatable {
  public enum State: String, Sendable, CaseIterable {
    case scored, duplicate, deadLettered = "dead_lettered", shed
    case joined, correction, late, orphan, rejected, waiting
    case observed
  }
  public var counts: [(state: State, count: UInt64)]

  public init(_ account: Accounting, input: Int, of features: FeatureSettings, earlyLabels: Int) {
    if input == features.scoredInput {
      counts = [
        (.scored, account.eventsScored), (.duplicate, account.eventsDuplicate),
        (.deadLettered, account.eventsDeadLettered), (.shed, 0),
      ]
    } else if input == features.labelInput {
      counts = [
        (.joined, account.labelsJoined), (.correction, account.labelsCorrection),
        (.duplicate, account.labelsDuplicate), (.late, account.labelsLate), (.orphan, account.labelsOrphan),
        (.rejected, account.labelsRejected), (.waiting, UInt64(earlyLabels)),
      ]
    } else {
      counts = [(.observed, account.recordsObserved), (.rejected, account.recordsRejected)]
    }
  }

  public var sum: UInt64 { counts.reduce(0) { $0 + $1.count } }
  public subscript(_ state: State) -> UInt64? { counts.first { $0.state == state }?.count }

  public static func == (a: Self, b: Self) -> Bool {
    a.counts.count == b.counts.count && zip(a.counts, b.counts).allSatisfy { $0 == $1 }
  }
}
