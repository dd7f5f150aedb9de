import Engine
import Records
import Synchronization

/// What a lane tells others about itself: written by its threads, read by replica and console.
final class LaneProgress: Sendable {
  let index: Int
  /// Generation of scorers that the lane serves.
  let adopted = Atomic<UInt64>(0)
  /// Every prediction scored by an older generation is committed or dropped.
  let resolved = Atomic<UInt64>(0)
  let ownsControl = Atomic<Bool>(false)
  let isReady = Atomic<Bool>(false)
  private let snapshotState = Mutex(LaneSnapshot())

  init(index: Int) { self.index = index }

  func update(_ change: (inout LaneSnapshot) -> Void) { snapshotState.withLock { change(&$0) } }
  var snapshot: LaneSnapshot { snapshotState.withLock { $0 } }
}

/// One look at a lane, of one moment.
struct LaneSnapshot: Sendable {
  enum Phase: String, Sendable { case starting, waiting, restoring, running, draining, stopped }
  struct Partition: Sendable {
    var partition: Int32
    var accounting: Accounting
    var waiting: Int
    var earlyLabels: Int
    /// Per window in use: keys in memory, and records too old for it.
    var windowKeys: [Int]
    var windowLate: [UInt64]
    var windowBytes: Int
    var waitingBytes: Int
    /// Per input.
    var nextOffsets: [Int64]
    /// Offset of the journal behind this partition's last record there, as far as it is known.
    var journalNext: Int64
    var watermarks: [Int64?]
    /// Per input: the end as last fetched, nil before.
    var ends: [Int64?]
    /// Per input: largest event time, and records consumed.
    var eventTimes: [Int64?]
    var records: [UInt64]
    var restoreRemaining: Int
  }
  var phase: Phase = .starting
  var partitions: [Partition] = []
  var unitsCommitted: UInt64 = 0
  var recordsConsumed: UInt64 = 0
  var rebalances: UInt64 = 0
}
