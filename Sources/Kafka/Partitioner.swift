/// The partition a Java client's default partitioner gives a key: `murmur2(key) & 0x7fffffff` modulo the count.
///
/// Cost:     about a cycle a byte, no allocation.
/// Source:   `org.apache.kafka.common.utils.Utils.murmur2`, the 32-bit MurmurHash2 of Austin Appleby with seed
///           0x9747b28c.
public enum Partitioner {
  public static func partition(key: RawSpan, count: Int32) -> Int32 {
    precondition(count > 0, "a topic has at least one partition")
    return Int32(murmur2(key) & 0x7fff_ffff) % count
  }

  public static func murmur2(_ key: RawSpan) -> UInt32 {
    let multiplier: UInt32 = 0x5bd1_e995
    let length = key.byteCount
    var hash: UInt32 = 0x9747_b28c ^ UInt32(truncatingIfNeeded: length)
    var at = 0
    while at + 4 <= length {
      // SAFETY: four bytes from `at` lie within the span.
      var block = unsafe UInt32(
        littleEndian: key.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self))
      block = block &* multiplier
      block ^= block >> 24
      hash = (hash &* multiplier) ^ (block &* multiplier)
      at += 4
    }
    if at < length {
      for index in stride(from: length - 1, through: at, by: -1) {
        // SAFETY: `index` lies within the span.
        let byte = unsafe key.unsafeLoad(fromByteOffset: index, as: UInt8.self)
        hash ^= UInt32(byte) << UInt32(8 * (index - at))
      }
      hash = hash &* multiplier
    }
    hash ^= hash >> 13
    hash = hash &* multiplier
    return hash ^ (hash >> 15)
  }
}
