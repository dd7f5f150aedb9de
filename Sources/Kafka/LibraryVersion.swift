import CRdKafka

/// Which librdkafka runs under this process, and whether it can be trusted with exactly-once work.
public struct LibraryVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var major: UInt8
  public var minor: UInt8
  public var patch: UInt8

  public init(_ major: UInt8, _ minor: UInt8, _ patch: UInt8) {
    self.major = major
    self.minor = minor
    self.patch = patch
  }

  /// From the hexadecimal `MMmmrrxx` of `rd_kafka_version()`.
  public init(hexadecimal value: UInt32) {
    self.init(
      UInt8(truncatingIfNeeded: value >> 24), UInt8(truncatingIfNeeded: value >> 16),
      UInt8(truncatingIfNeeded: value >> 8))
  }

  /// The library loaded at run time, which need not be the one compiled against.
  public static var current: LibraryVersion {
    LibraryVersion(hexadecimal: UInt32(bitPattern: rd_kafka_version()))
  }

  public static func < (a: Self, b: Self) -> Bool {
    (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch)
  }
  public var description: String { "\(major).\(minor).\(patch)" }

  /// Why this version must not be used; nil if it may.
  public var refusal: String? {
    if self < LibraryVersion(2, 0, 0) {
      return "librdkafka \(self) is older than 2.0.0, the oldest this worker knows"
    }
    if self >= LibraryVersion(2, 2, 0) && self <= LibraryVersion(2, 5, 2) {
      return "librdkafka \(self) can fail to rebuild message sets, and its metrics push can abort the process"
        + "; use 2.0.2, or 2.10.1 and later"
    }
    if self == LibraryVersion(2, 10, 0) {
      return "librdkafka 2.10.0 can corrupt memory; use 2.10.1 or later"
    }
    return nil
  }

  /// SCRAM sends a wrong client nonce, which brokers since 3.7.2 and 3.8.1 refuse.
  public var hasBrokenSCRAM: Bool { self < LibraryVersion(2, 6, 1) }
}
