/// What became of every record of one partition since its state began. Part of the state, so that
/// the sums hold across restarts: inputs = sum of the states.
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

  public static func - (a: Self, b: Self) -> Self {
    var result = Self()
    for path in Self.all { result[keyPath: path] = a[keyPath: path] &- b[keyPath: path] }
    return result
  }
  public static func += (a: inout Self, b: Self) {
    for path in Self.all { a[keyPath: path] &+= b[keyPath: path] }
  }

  /// Every counter, in the order in which checkpoints hold them.
  public static var all: [WritableKeyPath<Self, UInt64>] {
    [
      \.eventsScored, \.eventsDuplicate, \.eventsDeadLettered, \.labelsJoined, \.labelsCorrection,
      \.labelsDuplicate, \.labelsLate, \.labelsOrphan, \.labelsRejected, \.recordsObserved,
      \.recordsRejected, \.predictionsExpired,
    ]
  }
}
