/// CRC-32 as zlib and Ethernet have it: what librdkafka's `consistent` partitioners take of a key.
///
/// Cost: a table look-up a byte.
public enum CRC32 {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1 }
  }

  public static func of(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { crc, byte in (crc >> 8) ^ table[Int((crc ^ UInt32(byte)) & 0xff)] }
  }

  /// The partition that librdkafka's `consistent` partitioner gives a key.
  public static func partition(of key: [UInt8], partitions: Int32) -> Int32 {
    Int32(of(key) % UInt32(partitions))
  }
}
