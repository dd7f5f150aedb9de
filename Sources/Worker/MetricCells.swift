import Synchronization

/// A total that only grows.
///
/// Cost:     `add` is one relaxed atomic addition: no lock, no allocation. Hot loops count in a local and add
///           once a batch.
/// Threads:  any. Relaxed: a scrape may see one total older than another.
public final class Counter: Sendable {
  private let cell = Atomic<UInt64>(0)
  public init() {}
  public func add(_ count: UInt64 = 1) { cell.wrappingAdd(count, ordering: .relaxed) }
  public func add(_ count: Int) {
    precondition(count >= 0, "a counter only grows")
    add(UInt64(count))
  }
  /// For a total that is kept elsewhere, by its one owner. A smaller value than before is ignored.
  public func advance(to total: UInt64) { cell.max(total, ordering: .relaxed) }
  public var value: UInt64 { cell.load(ordering: .relaxed) }
}

/// A value that goes up and down.
public final class Gauge: Sendable {
  private let bits: Atomic<UInt64>
  public init(_ value: Double = 0) { bits = Atomic(value.bitPattern) }
  public func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
  public func set(_ value: some BinaryInteger) { set(Double(value)) }
  public func set(_ flag: Bool) { set(flag ? 1.0 : 0.0) }
  public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// Counts of observations in fixed buckets, and their sum.
///
/// Cost:     `observe` is a search among the bounds and two atomic updates; no allocation.
/// Errors:   an observation that is not a number is a programmer error of no consequence: it is ignored.
public final class Histogram: Sendable {
  /// Upper bounds, inclusive, ascending and finite; the bucket of all others comes on top.
  public let bounds: [Double]
  private let buckets: [Counter]
  private let sumBits = Atomic<UInt64>(0)

  public init(bounds: [Double]) {
    precondition(bounds.allSatisfy(\.isFinite), "bounds are finite")
    precondition(zip(bounds, bounds.dropFirst()).allSatisfy(<), "bounds ascend")
    self.bounds = bounds
    buckets = (0...bounds.count).map { _ in Counter() }
  }

  /// Counts `value`, `count` times over.
  public func observe(_ value: Double, count: UInt64 = 1) {
    guard !value.isNaN, count > 0 else { return }
    var low = 0
    var high = bounds.count
    while low < high {
      let middle = (low + high) / 2
      if value <= bounds[middle] { high = middle } else { low = middle + 1 }
    }
    buckets[low].add(count)
    let increment = value * Double(count)
    var seen = sumBits.load(ordering: .relaxed)
    while true {
      let next = (Double(bitPattern: seen) + increment).bitPattern
      let (done, current) = sumBits.weakCompareExchange(
        expected: seen, desired: next, ordering: .relaxed)
      if done { return }
      seen = current
    }
  }

  public var sum: Double { Double(bitPattern: sumBits.load(ordering: .relaxed)) }
  /// Observations at or below each bound, and all of them last. Cumulative over one reading, so that the
  /// last is the count whatever is observed meanwhile.
  public var cumulativeCounts: [UInt64] {
    var total: UInt64 = 0
    return buckets.map { bucket in
      total += bucket.value
      return total
    }
  }
}
