internal import COpenSSL

/// A SHA-256 value: 32 bytes, compared, ordered and hashed as such.
public struct Digest: Hashable, Comparable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public static let byteCount = 32
  /// The 32 bytes as big-endian words, so that words compare as bytes do.
  let a, b, c, d: UInt64

  /// All zero: stands for "none" in formats with a fixed place.
  public static let zero = Digest(a: 0, b: 0, c: 0, d: 0)

  init(a: UInt64, b: UInt64, c: UInt64, d: UInt64) {
    self.a = a
    self.b = b
    self.c = c
    self.d = d
  }

  /// nil unless there are exactly 32 bytes.
  public init?(bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    func word(_ from: Int) -> UInt64 {
      var value: UInt64 = 0
      for byte in bytes[from..<(from + 8)] { value = value << 8 | UInt64(byte) }
      return value
    }
    self.init(a: word(0), b: word(8), c: word(16), d: word(24))
  }

  /// Reads 64 hexadecimal digits of either case; nil for anything else.
  public init?(hex: some StringProtocol) {
    guard hex.utf8.count == 64 else { return nil }
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in hex.utf8 {
      let nibble: UInt8
      switch character {
      case 48...57: nibble = character - 48
      case 97...102: nibble = character - 87
      case 65...70: nibble = character - 55
      default: return nil
      }
      if let first = high {
        bytes.append(first << 4 | nibble)
        high = nil
      } else {
        high = nibble
      }
    }
    self.init(bytes: bytes)
  }

  public var bytes: [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(Self.byteCount)
    for word in [a, b, c, d] {
      for shift in stride(from: 56, through: 0, by: -8) {
        result.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
      }
    }
    return result
  }

  /// Lower-case hexadecimal.
  public var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
      decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  public static func < (x: Digest, y: Digest) -> Bool {
    (x.a, x.b, x.c, x.d) < (y.a, y.b, y.c, y.d)
  }

  public static func of(_ bytes: [UInt8]) -> Digest {
    var hash = SHA256()
    hash.update(bytes)
    return hash.finalize()
  }
  public static func of(_ bytes: RawSpan) -> Digest {
    var hash = SHA256()
    hash.update(bytes)
    return hash.finalize()
  }
}

/// Streaming SHA-256.
///
/// Cost:     one allocation at `init`; about 1.5 GB/s on CPUs with SHA instructions.
/// Errors:   none that input can cause; a libcrypto without SHA-256 stops the process at `init`.
/// Source:   FIPS 180-4, by libcrypto.
@safe public struct SHA256: ~Copyable {
  private let context: OpaquePointer

  public init() {
    guard let context = unsafe EVP_MD_CTX_new() else { preconditionFailure("out of memory") }
    unsafe self.context = context
    start()
  }

  deinit { unsafe EVP_MD_CTX_free(context) }

  private func start() {
    // SAFETY: `context` is live until `deinit`; `EVP_sha256` returns a static object.
    let ok = unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil)
    precondition(ok == 1, "libcrypto offers no SHA-256")
  }

  public mutating func update(_ bytes: RawSpan) {
    let ok = unsafe bytes.withUnsafeBytes { buffer in
      // SAFETY: libcrypto reads `count` bytes of the lent buffer.
      unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
    }
    precondition(ok == 1, "SHA-256 update failed")
  }

  public mutating func update(_ bytes: [UInt8]) {
    // SAFETY: bytes have no padding.
    unsafe update(bytes.span.bytes)
  }

  /// The digest of everything given so far; the state is then that of a new `SHA256()`.
  public mutating func finalize() -> Digest {
    var bytes = [UInt8](repeating: 0, count: Digest.byteCount)
    var length: UInt32 = 0
    // SAFETY: SHA-256 writes 32 bytes, which the array has.
    let ok = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      unsafe EVP_DigestFinal_ex(context, buffer.baseAddress, &length)
    }
    precondition(ok == 1 && length == 32, "SHA-256 finalize failed")
    start()
    return Digest(bytes: bytes)!
  }
}
