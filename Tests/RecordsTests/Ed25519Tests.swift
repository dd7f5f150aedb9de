import Testing

@testable import Records

/// Method: vectors of RFC 8032 section 7.1, keys as `openssl genpkey` writes them, then flips of every bit.
struct Ed25519Tests {
  static func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...($0 + 1)]), radix: 16)! }
  }
  struct Vector: Sendable { var seed, key, message, signature: String }
  static let vectors = [
    Vector(
      seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      key: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", message: "",
      signature: "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    Vector(
      seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      key: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", message: "72",
      signature: "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    Vector(
      seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      key: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", message: "af82",
      signature: "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
  ]

  @Test(arguments: vectors) func `keys and signatures are those of RFC 8032`(_ vector: Vector) throws {
    let key = try Ed25519.PrivateKey(seed: Self.bytes(vector.seed))
    #expect(key.publicKey.raw == Self.bytes(vector.key))
    let message = Self.bytes(vector.message)
    let signature = try key.sign(message)
    #expect(signature == Self.bytes(vector.signature))
    #expect(key.publicKey.isValid(signature: signature, of: message))
    #expect(!key.publicKey.isValid(signature: signature, of: message + [0]))
  }

  @Test func `no signature with one bit changed, one byte less or more verifies`() throws {
    let key = try Ed25519.PrivateKey(seed: Self.bytes(Self.vectors[1].seed))
    let signature = try key.sign([1, 2, 3])
    for bit in 0..<512 {
      var bad = signature
      bad[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(!key.publicKey.isValid(signature: bad, of: [1, 2, 3]))
    }
    #expect(!key.publicKey.isValid(signature: Array(signature.dropLast()), of: [1, 2, 3]))
    #expect(!key.publicKey.isValid(signature: signature + [0], of: [1, 2, 3]))
    #expect(!key.publicKey.isValid(signature: [], of: [1, 2, 3]))
    let other = try Ed25519.PrivateKey.generate()
    #expect(!other.publicKey.isValid(signature: signature, of: [1, 2, 3]))
  }

  @Test func `keys survive PEM, and what is no Ed25519 key in PEM is refused`() throws {
    let key = try Ed25519.PrivateKey.generate()
    let text = try key.pem()
    #expect(text.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
    #expect(try Ed25519.PrivateKey(pem: text).seed == key.seed)
    let publicText = try key.publicKey.pem()
    #expect(publicText.hasPrefix("-----BEGIN PUBLIC KEY-----\n"))
    #expect(try Ed25519.PublicKey(pem: publicText) == key.publicKey)
    #expect(key.publicKey.keyID.count == 16)
    // RFC 8410 section 10.3 and 10.1.
    let known = try Ed25519.PrivateKey(
      pem: "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n")
    #expect(
      try known.publicKey.pem()
        == "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n")
    let x25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
    #expect(throws: SignatureError.badKey) { try Ed25519.PublicKey(pem: x25519) }
    for bad in ["", "x", publicText, String(text.dropLast(40)), text.replacing("M", with: "!")] {
      #expect(throws: SignatureError.self) { try Ed25519.PrivateKey(pem: bad) }
    }
    for bad in ["", text, String(publicText.dropLast(40))] {
      #expect(throws: SignatureError.self) { try Ed25519.PublicKey(pem: bad) }
    }
    // A key under a passphrase is refused without asking anyone.
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgAAAAAAAAAAAICCAAw\n-----END ENCRYPTED PRIVATE KEY-----\n"
    #expect(throws: SignatureError.self) { try Ed25519.PrivateKey(pem: encrypted) }
    for count in [0, 31, 33] {
      #expect(throws: SignatureError.badKey) {
        try Ed25519.PrivateKey(seed: [UInt8](repeating: 1, count: count))
      }
      #expect(throws: SignatureError.badKey) {
        try Ed25519.PublicKey(raw: [UInt8](repeating: 1, count: count))
      }
    }
  }
}
