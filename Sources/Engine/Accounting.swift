/// What became of every record of one partition since its first one. Part of the state and of the journal, so that
/// the sums hold across restarts and moves: inputs = sum of the states.
public struct Accounting: Equatable, Sendable {
  public var eventsScored: UInt64 = 0
  public var eventsDuplicate: UInt64 = 0
  public var eventsDeadLettered: UInt64 = 0
  public var labelsJoined: UInt64 = 0
  public var labelsCorrection: UInt64 = 0
  public var labelsDuplicate: UInt64 = 0
  public var labelsLate: UInt64 = 0
  public var labelsOrphan: UInt64 = 0
  public var labelsRejected: UInt64 = 0
  /// Records of inputs that only feed windows.
  public var recordsObserved: UInt64 = 0
  public var recordsRejected: UInt64 = 0
  public var predictionsExpired: UInt64 = 0

  public init() {}

  public static func - (a: Self, b: Self) -> Self { a.merged(b) { $0 &- $1 } }
  public static func += (a: inout Self, b: Self) { a = a.merged(b) { $0 &+ $1 } }

  /// Why spelt out: this runs for every record, and key paths cost it more than all else that a record needs.
  @inline(__always)
  private func merged(_ other: Self, _ operation: (UInt64, UInt64) -> UInt64) -> Self {
    var result = Self()
    result.eventsScored = operation(eventsScored, other.eventsScored)
    result.eventsDuplicate = operation(eventsDuplicate, other.eventsDuplicate)
    result.eventsDeadLettered = operation(eventsDeadLettered, other.eventsDeadLettered)
    result.labelsJoined = operation(labelsJoined, other.labelsJoined)
    result.labelsCorrection = operation(labelsCorrection, other.labelsCorrection)
    result.labelsDuplicate = operation(labelsDuplicate, other.labelsDuplicate)
    result.labelsLate = operation(labelsLate, other.labelsLate)
    result.labelsOrphan = operation(labelsOrphan, other.labelsOrphan)
    result.labelsRejected = operation(labelsRejected, other.labelsRejected)
    result.recordsObserved = operation(recordsObserved, other.recordsObserved)
    result.recordsRejected = operation(recordsRejected, other.recordsRejected)
    result.predictionsExpired = operation(predictionsExpired, other.predictionsExpired)
    return result
  }

  /// Why spelt out: a unit's journal record holds them, and key paths would be allocated for each.
  func append(to totals: inout [UInt64]) {
    totals.append(eventsScored)
    totals.append(eventsDuplicate)
    totals.append(eventsDeadLettered)
    totals.append(labelsJoined)
    totals.append(labelsCorrection)
    totals.append(labelsDuplicate)
    totals.append(labelsLate)
    totals.append(labelsOrphan)
    totals.append(labelsRejected)
    totals.append(recordsObserved)
    totals.append(recordsRejected)
    totals.append(predictionsExpired)
  }

  /// Every counter, in the order in which checkpoints and journals hold them.
  public static var all: [WritableKeyPath<Self, UInt64>] {
    [
      \.eventsScored, \.eventsDuplicate, \.eventsDeadLettered, \.labelsJoined, \.labelsCorrection,
      \.labelsDuplicate, \.labelsLate, \.labelsOrphan, \.labelsRejected, \.recordsObserved,
      \.recordsRejected, \.predictionsExpired,
    ]
  }
}
