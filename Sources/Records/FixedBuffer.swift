/// Flat memory of plain elements, allocated once and never resized: what the hot path works on.
///
/// Why not an array: an array held by a class pays for run-time exclusivity and uniqueness checks
/// at every write; this pays one comparison.
///
/// Cost:     O(1) and no allocation per access; zeroed at `init` by `repeating`.
/// Errors:   an index out of bounds is a programmer error and stops the process.
/// Threads:  owned by one thread at a time; not `Sendable`.
@safe public struct FixedBuffer<Element: BitwiseCopyable>: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<Element>
  public let count: Int

  public init(repeating value: Element, count: Int) {
    precondition(count >= 0, "negative count")
    unsafe base = UnsafeMutablePointer<Element>.allocate(capacity: max(count, 1))
    self.count = count
    // Why by doubling: a loop over elements of a generic type is a call each; copies of plain memory are one.
    // SAFETY: `base` was just allocated for `max(count, 1)` elements of a trivial type; both ranges lie within.
    unsafe base.initialize(to: value)
    var filled = 1
    while filled < count {
      let more = min(filled, count - filled)
      unsafe (base + filled).initialize(from: base, count: more)
      filled += more
    }
  }

  deinit { unsafe base.deallocate() }

  @inlinable @inline(__always)
  public subscript(index: Int) -> Element {
    get {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "index out of bounds")
      // SAFETY: the index was checked against the count that was allocated.
      return unsafe base[index]
    }
    nonmutating set {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "index out of bounds")
      // SAFETY: as above.
      unsafe base[index] = newValue
    }
  }

  /// The elements, lent for the duration of `body`.
  @inlinable @inline(__always)
  public func withElements<R, E: Error>(
    _ body: (UnsafeMutableBufferPointer<Element>) throws(E) -> R
  ) throws(E) -> R {
    // SAFETY: the memory lives as long as `self`, which is borrowed for the whole call.
    try unsafe body(UnsafeMutableBufferPointer(start: base, count: count))
  }

  public func fill(_ value: Element) {
    // SAFETY: all `count` elements are initialised since `init`.
    unsafe base.update(repeating: value, count: count)
  }

  /// Copies `count` elements of `source` to `offset`.
  @inlinable
  public func copy(from source: borrowing FixedBuffer<Element>, at sourceOffset: Int, to offset: Int, count n: Int)
  {
    precondition(n >= 0 && sourceOffset >= 0 && sourceOffset <= source.count - n)
    precondition(offset >= 0 && offset <= count - n)
    // SAFETY: both ranges were checked; `update` allows overlap.
    unsafe (base + offset).update(from: source.base + sourceOffset, count: n)
  }
}
