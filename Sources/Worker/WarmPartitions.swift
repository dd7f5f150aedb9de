import Synchronization

/// States of partitions that the group took back a moment ago. Rebalances are eager: everything is taken back and most
/// of it is given again at once, to the same lane or to another one of this process. What nobody has moved on since
/// goes on from memory; a rebalance that changes nothing costs nothing.
///
/// Invariant: only states whose every unit is committed come here.
/// Threads:  any.
final class WarmPartitions: Sendable {
  /// How long a state is kept that is not asked for.
  static let graceNanoseconds: UInt64 = 60_000_000_000

  private struct Entry {
    var partition: LanePartition
    var since: UInt64
  }
  private let entries = Mutex<[Int32: Entry]>([:])

  func keep(_ partition: LanePartition, now: UInt64) {
    partition.queues = []
    entries.withLock { $0[partition.number] = Entry(partition: partition, since: now) }
  }

  func take(_ number: Int32) -> LanePartition? { entries.withLock { $0.removeValue(forKey: number)?.partition } }

  /// Lets go of those that nobody asked for in time.
  func expire(now: UInt64) {
    entries.withLock { entries in
      guard !entries.isEmpty else { return }
      entries = entries.filter { now - min(now, $0.value.since) < Self.graceNanoseconds }
    }
  }
}
