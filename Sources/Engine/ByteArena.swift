import Records

/// Bytes appended one after the other, addressed by place, emptied at once.
///
/// Cost:     no allocation once it has grown to its working size; growth doubles.
/// Errors:   more than 2 GiB is a programmer error (units are bounded far below).
/// Threads:  owned by one thread at a time.
public final class ByteArena {
  /// Where some bytes of an arena lie. A negative length says "none", as of a record without a key.
  public struct Place: BitwiseCopyable, Sendable {
    public var start: Int32
    public var length: Int32
    public static let none = Place(start: 0, length: -1)
    public static let empty = Place(start: 0, length: 0)
  }

  private var buffer: FixedBuffer<UInt8>
  public private(set) var used = 0

  private let capacityMin: Int
  public var capacity: Int { buffer.count }

  public init(capacity: Int) {
    capacityMin = capacity
    buffer = FixedBuffer(repeating: 0, count: capacity)
  }

  public func clear() { used = 0 }

  /// Empties it; memory beyond `most` bytes is given back.
  public func clear(keeping most: Int) {
    used = 0
    if buffer.count > most { buffer = FixedBuffer(repeating: 0, count: min(capacityMin, most)) }
  }

  public func append(_ bytes: UnsafeRawBufferPointer) -> Place {
    let start = used
    let count = bytes.count
    reserve(count)
    if count > 0 {
      unsafe buffer.withElements { target in
        // SAFETY: `reserve` made room for `count` bytes behind `start`.
        unsafe UnsafeMutableRawPointer(target.baseAddress! + start)
          .copyMemory(from: bytes.baseAddress!, byteCount: count)
      }
    }
    used = start + count
    return Place(start: Int32(start), length: Int32(count))
  }

  public func append(_ bytes: RawSpan) -> Place {
    // SAFETY: the span is borrowed for the whole call.
    unsafe bytes.withUnsafeBytes { unsafe append($0) }
  }

  public func append(_ bytes: [UInt8]) -> Place {
    // SAFETY: the array outlives the call.
    unsafe bytes.withUnsafeBytes { unsafe append($0) }
  }

  /// Copies a place of another arena into this one; `none` stays `none`.
  public func append(_ place: Place, of other: ByteArena) -> Place {
    guard place.length >= 0 else { return .none }
    return unsafe other.withBytes(place) { unsafe append($0) }
  }

  /// Lends the bytes of a place; nil buffer for `none`.
  public func withBytes<R, E: Error>(
    _ place: Place, _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    precondition(place.length >= 0 && Int(place.start) + Int(place.length) <= used)
    return try unsafe buffer.withElements { elements throws(E) -> R in
      // SAFETY: the place was checked against what is in use.
      try unsafe body(
        UnsafeRawBufferPointer(
          start: elements.baseAddress! + Int(place.start), count: Int(place.length)))
    }
  }

  private func reserve(_ count: Int) {
    let needed = used + count
    precondition(needed <= Int(Int32.max), "arena beyond 2 GiB")
    if needed <= buffer.count { return }
    let larger = FixedBuffer<UInt8>(repeating: 0, count: max(needed, buffer.count * 2))
    larger.copy(from: buffer, at: 0, to: 0, count: used)
    buffer = larger
  }
}
