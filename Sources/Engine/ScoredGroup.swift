import Features
import Records

/// Events of one partition that wait to be scored together, with what their predictions need.
///
/// Shapes: per-event values at `[slot]`, scores at `[slot * contenderCount + contender]`.
final class ScoredGroup {
  static let capacity = FeatureGroup.capacity

  let features: FeatureGroup
  let scores: FixedBuffer<ServedScore>
  /// Entry of the label join that waits for the row.
  let entries = FixedBuffer<UInt32>(repeating: 0, count: capacity)
  let idHashes = FixedBuffer<UInt64>(repeating: 0, count: capacity)
  let offsets = FixedBuffer<Int64>(repeating: 0, count: capacity)
  let eventTimes = FixedBuffer<Int64>(repeating: 0, count: capacity)
  let timestamps = FixedBuffer<Int64>(repeating: 0, count: capacity)
  let ids = FixedBuffer<ByteArena.Place>(repeating: .none, count: capacity)
  let keys = FixedBuffer<ByteArena.Place>(repeating: .none, count: capacity)
  let headers = FixedBuffer<ByteArena.Place>(repeating: .none, count: capacity)
  let arena = ByteArena(capacity: 16_384)
  /// Smallest event time in the group.
  var earliest = Int64.max
  /// A label came before one of the events: scoring it will make an example.
  var hasEarlyLabels = false

  init(plan: FeaturePlan, contenderCount: Int) {
    features = FeatureGroup(plan: plan)
    scores = FixedBuffer(repeating: .absent, count: Self.capacity * contenderCount)
  }

  var rows: RowGroup { features.rows }
  var count: Int { rows.count }
  var isFull: Bool { rows.count == Self.capacity }

  func clear() {
    features.clear()
    earliest = .max
    hasEarlyLabels = false
    arena.clear()
  }
}
