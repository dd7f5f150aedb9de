/// XXH64: the fixed hash of category values, keys and names, the same in every pipeline and process.
///
/// Cost:     about one cycle a byte; no allocation.
/// Source:   Yann Collet, "xxHash fast digest algorithm", specification 0.1.1 (XXH64).
public enum Hash64 {
  @usableFromInline static let p1: UInt64 = 0x9E37_79B1_85EB_CA87
  @usableFromInline static let p2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  @usableFromInline static let p3: UInt64 = 0x1656_67B1_9E37_79F9
  @usableFromInline static let p4: UInt64 = 0x85EB_CA77_C2B2_AE63
  @usableFromInline static let p5: UInt64 = 0x27D4_EB2F_1656_67C5

  @inlinable static func rotate(_ x: UInt64, _ by: UInt64) -> UInt64 {
    (x &<< by) | (x &>> (64 &- by))
  }
  @inlinable static func round(_ accumulator: UInt64, _ lane: UInt64) -> UInt64 {
    rotate(accumulator &+ lane &* p2, 31) &* p1
  }
  @inlinable static func avalanche(_ value: UInt64) -> UInt64 {
    var hash = value
    hash ^= hash &>> 33
    hash = hash &* p2
    hash ^= hash &>> 29
    hash = hash &* p3
    return hash ^ (hash &>> 32)
  }

  public static func hash(_ bytes: RawSpan, seed: UInt64 = 0) -> UInt64 {
    let count = bytes.byteCount
    var at = 0
    var hash: UInt64
    // SAFETY: each load lies below `count`, which the loop conditions check.
    func load64(_ at: Int) -> UInt64 {
      unsafe UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
    }
    if count >= 32 {
      var a = seed &+ p1 &+ p2
      var b = seed &+ p2
      var c = seed
      var d = seed &- p1
      while at <= count - 32 {
        a = round(a, load64(at))
        b = round(b, load64(at + 8))
        c = round(c, load64(at + 16))
        d = round(d, load64(at + 24))
        at += 32
      }
      hash = rotate(a, 1) &+ rotate(b, 7) &+ rotate(c, 12) &+ rotate(d, 18)
      hash = (hash ^ round(0, a)) &* p1 &+ p4
      hash = (hash ^ round(0, b)) &* p1 &+ p4
      hash = (hash ^ round(0, c)) &* p1 &+ p4
      hash = (hash ^ round(0, d)) &* p1 &+ p4
    } else {
      hash = seed &+ p5
    }
    hash = hash &+ UInt64(count)
    while at <= count - 8 {
      hash = rotate(hash ^ round(0, load64(at)), 27) &* p1 &+ p4
      at += 8
    }
    if at <= count - 4 {
      // SAFETY: four bytes are left.
      let lane = unsafe UInt32(
        littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self))
      hash = rotate(hash ^ (UInt64(lane) &* p1), 23) &* p2 &+ p3
      at += 4
    }
    while at < count {
      // SAFETY: `at` is below `count`.
      let byte = unsafe bytes.unsafeLoad(fromByteOffset: at, as: UInt8.self)
      hash = rotate(hash ^ (UInt64(byte) &* p5), 11) &* p1
      at += 1
    }
    return avalanche(hash)
  }

  public static func hash(_ text: String, seed: UInt64 = 0) -> UInt64 {
    var copy = text
    return copy.withUTF8 { buffer in
      // SAFETY: the span does not outlive the closure that lends the buffer.
      unsafe hash(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(buffer)), seed: seed)
    }
  }

  /// Hash of an ordered pair: `combine(a, b) != combine(b, a)` in general.
  @inlinable public static func combine(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var hash = p5 &+ 16
    hash = rotate(hash ^ round(0, a), 27) &* p1 &+ p4
    hash = rotate(hash ^ round(0, b), 27) &* p1 &+ p4
    return avalanche(hash)
  }
}
