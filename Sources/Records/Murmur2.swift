/// The partition that Kafka's default partitioner gives a key.
///
/// Source:   Austin Appleby, MurmurHash2 (32 bits), as in `org.apache.kafka.common.utils.Utils.murmur2`; librdkafka's
///           `murmur2` partitioner agrees.
public enum Murmur2 {
  public static func hash(_ bytes: [UInt8]) -> UInt32 {
    let m: UInt32 = 0x5bd1_e995
    var hash: UInt32 = 0x9747_b28c ^ UInt32(truncatingIfNeeded: bytes.count)
    var at = 0
    while at + 4 <= bytes.count {
      var k =
        UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16
        | UInt32(bytes[at + 3]) << 24
      k = k &* m
      k ^= k >> 24
      k = k &* m
      hash = hash &* m ^ k
      at += 4
    }
    let left = bytes.count - at
    if left >= 3 { hash ^= UInt32(bytes[at + 2]) << 16 }
    if left >= 2 { hash ^= UInt32(bytes[at + 1]) << 8 }
    if left >= 1 { hash = (hash ^ UInt32(bytes[at])) &* m }
    hash ^= hash >> 13
    hash = hash &* m
    return hash ^ hash >> 15
  }

  public static func partition(of key: [UInt8], partitions: Int32) -> Int32 {
    Int32(hash(key) & 0x7fff_ffff) % partitions
  }
}
