internal import COpenSSL

/// Why a key or signature could not be used.
public enum SignatureError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Not 32 bytes, or not an Ed25519 key.
  case badKey
  /// Not a PEM block of the expected kind (`PUBLIC KEY` or unencrypted `PRIVATE KEY`).
  case badPEM
  /// libcrypto refused, with its error code.
  case library(UInt)

  public var description: String {
    switch self {
    case .badKey: "not an ed25519 key"
    case .badPEM: "not a PEM block with an unencrypted ed25519 key"
    case .library(let code): "libcrypto refused code=\(code)"
    }
  }
}

/// Ed25519 signatures over whole messages, as RFC 8032 defines them; keys in PEM as `openssl` writes them.
///
/// Cost:     30 to 120 us an operation; for commands and packages, not for events.
/// Errors:   `SignatureError`; no key, text or signature can trap. `isValid` is false for whatever does not verify.
/// Source:   RFC 8032 (EdDSA), RFC 8410 (keys in PKCS #8 and SPKI), by libcrypto.
public enum Ed25519 {
  public static let signatureByteCount = 64

  public struct PublicKey: Hashable, Sendable {
    /// 32 bytes, the encoded point.
    public let raw: [UInt8]

    public init(raw: [UInt8]) throws(SignatureError) {
      let key = try Key(rawPublic: raw)
      self.raw = try key.rawPublic()
    }

    /// Reads the first SPKI block, `-----BEGIN PUBLIC KEY-----`.
    public init(pem: String) throws(SignatureError) {
      raw = try Key(publicPEM: pem).rawPublic()
    }

    public func pem() throws(SignatureError) -> String { try Key(rawPublic: raw).publicPEM() }

    /// Names the key in commands: the first 16 hexadecimal digits of SHA-256 of the 32 bytes.
    public var keyID: String { String(Digest.of(raw).description.prefix(16)) }

    public func isValid(signature: [UInt8], of message: [UInt8]) -> Bool {
      guard signature.count == signatureByteCount, let key = try? Key(rawPublic: raw) else {
        // A signature of another length, or a key that libcrypto will not take, verifies nothing.
        return false
      }
      return key.verifies(signature, message)
    }
  }

  /// Holds the seed in memory until released; it is not erased.
  public struct PrivateKey: Sendable {
    /// 32 bytes, the seed from which RFC 8032 derives both halves.
    public let seed: [UInt8]
    public let publicKey: PublicKey

    public init(seed: [UInt8]) throws(SignatureError) {
      let key = try Key(rawPrivate: seed)
      self.seed = seed
      publicKey = try PublicKey(raw: try key.rawPublic())
    }

    /// Reads the first unencrypted PKCS #8 block, `-----BEGIN PRIVATE KEY-----`. Never asks for a passphrase.
    public init(pem: String) throws(SignatureError) {
      try self.init(seed: try Key(privatePEM: pem).rawPrivate())
    }

    public func pem() throws(SignatureError) -> String { try Key(rawPrivate: seed).privatePEM() }

    public func sign(_ message: [UInt8]) throws(SignatureError) -> [UInt8] {
      try Key(rawPrivate: seed).sign(message)
    }

    /// A new key pair from the operating system's randomness.
    public static func generate() throws(SignatureError) -> PrivateKey {
      try PrivateKey(seed: try Key.generated().rawPrivate())
    }
  }
}

/// Owner of one `EVP_PKEY`.
@safe private struct Key: ~Copyable {
  private let pointer: OpaquePointer

  deinit { unsafe EVP_PKEY_free(pointer) }

  private init(owning pointer: OpaquePointer) { unsafe self.pointer = pointer }

  /// `pointer` if it is an Ed25519 key; otherwise it is freed here.
  private static func checked(
    _ pointer: OpaquePointer?, otherwise error: SignatureError
  ) throws(SignatureError) -> OpaquePointer {
    guard let pointer = unsafe pointer else {
      ERR_clear_error()
      throw error
    }
    guard unsafe EVP_PKEY_get_id(pointer) == EVP_PKEY_ED25519 else {
      unsafe EVP_PKEY_free(pointer)
      throw .badKey
    }
    return unsafe pointer
  }

  init(rawPublic bytes: [UInt8]) throws(SignatureError) {
    guard bytes.count == 32 else { throw .badKey }
    // SAFETY: libcrypto copies the 32 bytes of the lent array.
    let pointer = unsafe bytes.withUnsafeBufferPointer {
      unsafe EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, $0.baseAddress, $0.count)
    }
    unsafe self.init(owning: try Self.checked(pointer, otherwise: .badKey))
  }

  init(rawPrivate bytes: [UInt8]) throws(SignatureError) {
    guard bytes.count == 32 else { throw .badKey }
    // SAFETY: libcrypto copies the 32 bytes of the lent array.
    let pointer = unsafe bytes.withUnsafeBufferPointer {
      unsafe EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, $0.baseAddress, $0.count)
    }
    unsafe self.init(owning: try Self.checked(pointer, otherwise: .badKey))
  }

  init(publicPEM pem: String) throws(SignatureError) {
    let bio = try Memory.reading(Array(pem.utf8))
    // SAFETY: `bio` lives through the call; the callback never asks anyone.
    let pointer = unsafe PEM_read_bio_PUBKEY(bio.pointer, nil, { _, _, _, _ in -1 }, nil)
    unsafe self.init(owning: try Self.checked(pointer, otherwise: .badPEM))
  }

  init(privatePEM pem: String) throws(SignatureError) {
    let bio = try Memory.reading(Array(pem.utf8))
    // SAFETY: as above. The callback refuses, so an encrypted key is an error and not a prompt.
    let pointer = unsafe PEM_read_bio_PrivateKey(bio.pointer, nil, { _, _, _, _ in -1 }, nil)
    unsafe self.init(owning: try Self.checked(pointer, otherwise: .badPEM))
  }

  static func generated() throws(SignatureError) -> Key {
    guard let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil) else { throw failure() }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var pointer: OpaquePointer?
    // SAFETY: `context` is live; on success the new key is ours.
    guard unsafe EVP_PKEY_keygen_init(context) == 1, unsafe EVP_PKEY_keygen(context, &pointer) == 1
    else { throw failure() }
    return unsafe Key(owning: try checked(pointer, otherwise: .badKey))
  }

  static func failure() -> SignatureError {
    let code = ERR_get_error()
    ERR_clear_error()
    return .library(UInt(code))
  }

  func rawPublic() throws(SignatureError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 32)
    var count = 32
    // SAFETY: at most `count` bytes are written, which the array has.
    let ok = unsafe bytes.withUnsafeMutableBufferPointer {
      unsafe EVP_PKEY_get_raw_public_key(pointer, $0.baseAddress, &count)
    }
    guard ok == 1, count == 32 else { throw Self.failure() }
    return bytes
  }

  func rawPrivate() throws(SignatureError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 32)
    var count = 32
    // SAFETY: at most `count` bytes are written, which the array has.
    let ok = unsafe bytes.withUnsafeMutableBufferPointer {
      unsafe EVP_PKEY_get_raw_private_key(pointer, $0.baseAddress, &count)
    }
    guard ok == 1, count == 32 else { throw Self.failure() }
    return bytes
  }

  func publicPEM() throws(SignatureError) -> String {
    let bio = try Memory()
    guard unsafe PEM_write_bio_PUBKEY(bio.pointer, pointer) == 1 else { throw Self.failure() }
    return bio.text()
  }

  func privatePEM() throws(SignatureError) -> String {
    let bio = try Memory()
    let ok = unsafe PEM_write_bio_PKCS8PrivateKey(bio.pointer, pointer, nil, nil, 0, nil, nil)
    guard ok == 1 else { throw Self.failure() }
    return bio.text()
  }

  func sign(_ message: [UInt8]) throws(SignatureError) -> [UInt8] {
    guard let context = unsafe EVP_MD_CTX_new() else { throw Self.failure() }
    defer { unsafe EVP_MD_CTX_free(context) }
    guard unsafe EVP_DigestSignInit(context, nil, nil, nil, pointer) == 1 else {
      throw Self.failure()
    }
    var signature = [UInt8](repeating: 0, count: Ed25519.signatureByteCount)
    var count = signature.count
    // SAFETY: at most `count` bytes are written; both arrays are lent for the call.
    let ok = unsafe signature.withUnsafeMutableBufferPointer { out in
      unsafe message.withUnsafeBufferPointer { text in
        unsafe EVP_DigestSign(context, out.baseAddress, &count, text.baseAddress, text.count)
      }
    }
    guard ok == 1, count == signature.count else { throw Self.failure() }
    return signature
  }

  func verifies(_ signature: [UInt8], _ message: [UInt8]) -> Bool {
    guard let context = unsafe EVP_MD_CTX_new() else { return false }
    defer { unsafe EVP_MD_CTX_free(context) }
    guard unsafe EVP_DigestVerifyInit(context, nil, nil, nil, pointer) == 1 else { return false }
    // SAFETY: both arrays are lent for the call, with their lengths.
    let ok = unsafe signature.withUnsafeBufferPointer { given in
      unsafe message.withUnsafeBufferPointer { text in
        unsafe EVP_DigestVerify(context, given.baseAddress, given.count, text.baseAddress, text.count)
      }
    }
    ERR_clear_error()
    return ok == 1
  }
}

/// Owner of one memory `BIO`.
@safe private struct Memory: ~Copyable {
  let pointer: OpaquePointer

  deinit { unsafe BIO_free(pointer) }

  init() throws(SignatureError) {
    guard let pointer = unsafe BIO_new(BIO_s_mem()) else { throw Key.failure() }
    unsafe self.pointer = pointer
  }

  static func reading(_ bytes: [UInt8]) throws(SignatureError) -> Memory {
    guard let count = Int32(exactly: bytes.count) else { throw .badPEM }
    let bio = try Memory()
    // SAFETY: libcrypto copies `count` bytes of the lent array.
    let written = unsafe bytes.withUnsafeBufferPointer {
      unsafe BIO_write(bio.pointer, $0.baseAddress, count)
    }
    guard written == count || count == 0 else { throw Key.failure() }
    return bio
  }

  func text() -> String {
    var result: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 512)
    while true {
      // SAFETY: at most 512 bytes are written to the lent array.
      let read = unsafe chunk.withUnsafeMutableBufferPointer { unsafe BIO_read(pointer, $0.baseAddress, 512) }
      guard read > 0 else { break }
      result.append(contentsOf: chunk[0..<Int(read)])
    }
    return String(decoding: result, as: UTF8.self)
  }
}
