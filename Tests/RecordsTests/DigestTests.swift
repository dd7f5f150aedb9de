import Testing

@testable import Records

/// Method: published vectors, then laws that tie the streaming and whole forms together.
struct DigestTests {
  @Test func `SHA-256 gives the published values`() {
    #expect(
      Digest.of([]).description
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(
      Digest.of(Array("abc".utf8)).description
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      Digest.of(Array(repeating: 0x61, count: 1_000_000)).description
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test func `where the bytes are cut does not change the digest, and finalize starts afresh`() {
    let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    var hash = SHA256()
    for cut in stride(from: 0, through: 300, by: 13) {
      hash.update(Array(bytes[..<cut]))
      hash.update(Array(bytes[cut...]))
      #expect(hash.finalize() == Digest.of(bytes))
    }
  }

  @Test func `a digest reads back from its text and bytes, and nothing else reads`() {
    let digest = Digest.of([1, 2, 3])
    #expect(Digest(hex: digest.description) == digest)
    #expect(Digest(hex: digest.description.uppercased()) == digest)
    #expect(Digest(bytes: digest.bytes) == digest)
    #expect(Digest(bytes: Array(digest.bytes.dropLast())) == nil)
    #expect(Digest(hex: String(digest.description.dropLast())) == nil)
    #expect(Digest(hex: String(digest.description.dropLast()) + "g") == nil)
    #expect(Digest.zero.bytes == [UInt8](repeating: 0, count: 32))
    #expect(Digest.zero < digest)
  }

  @Test func `CRC-32C gives the published values, whole or in parts`() {
    #expect(CRC32C.of(Array("123456789".utf8)) == 0xE306_9283)
    // RFC 3720 appendix B.4.
    #expect(CRC32C.of([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.of([UInt8](repeating: 0xff, count: 32)) == 0x62A8_AB43)
    #expect(CRC32C.of((0..<32).map { UInt8($0) }) == 0x46DD_794E)
    let bytes = (0..<100).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    for cut in 0...100 {
      let first = CRC32C.of(Array(bytes[..<cut]))
      #expect(first == CRC32C.of(bytes, count: cut))
      #expect(CRC32C.of(Array(bytes[cut...]), after: first) == CRC32C.of(bytes))
    }
  }

  @Test func `XXH64 gives the published values`() {
    func hash(_ bytes: [UInt8], _ seed: UInt64) -> UInt64 { Hash64.hash(bytes.span.bytes, seed: seed) }
    // The sanity buffer of the reference implementation: bytes 56..63 of a multiplicative sequence.
    var generator: UInt64 = 2_654_435_761
    let buffer = (0..<222).map { _ in
      defer { generator = generator &* 11_400_714_785_074_694_797 }
      return UInt8(truncatingIfNeeded: generator >> 56)
    }
    #expect(hash([], 0) == 0xEF46_DB37_51D8_E999)
    #expect(hash([], 2_654_435_761) == 0xAC75_FDA2_929B_17EF)
    #expect(hash(Array(buffer[..<1]), 0) == 0xE934_A84A_DB05_2768)
    #expect(hash(Array(buffer[..<1]), 2_654_435_761) == 0x5014_607643A9_B4C3)
    #expect(hash(Array(buffer[..<4]), 0) == 0x9136_A0DC_A57457EE)
    #expect(hash(Array(buffer[..<14]), 0) == 0x8282_DCC4_994E_35C8)
    #expect(hash(Array(buffer[..<14]), 2_654_435_761) == 0xC3BD_6BF6_3DEB_6DF0)
    #expect(hash(buffer, 0) == 0xB641_AE8C_B691_C174)
    #expect(hash(buffer, 2_654_435_761) == 0x20CB_8AB7_AE10_C14A)
    #expect(Hash64.hash("abc") == 0x44BC_2CF5_AD77_0999)
    #expect(Hash64.combine(1, 2) != Hash64.combine(2, 1))
  }

  @Test func `Base64 gives the values of RFC 4648 and reads only what it writes`() {
    let vectors = [
      "": "", "f": "Zg==", "fo": "Zm8=", "foo": "Zm9v", "foob": "Zm9vYg==", "fooba": "Zm9vYmE=",
      "foobar": "Zm9vYmFy",
    ]
    for (plain, encoded) in vectors {
      #expect(Base64.encode(Array(plain.utf8)) == encoded)
      #expect(Base64.decode(encoded) == Array(plain.utf8))
    }
    let every = (0...255).map { UInt8($0) }
    for count in 0...256 {
      #expect(Base64.decode(Base64.encode(Array(every[..<count]))) == Array(every[..<count]))
    }
    for bad in ["Zg", "Zg=", "Zh==", "Zm9=", "Zm 8", "Zg==Zg==", "====", "Z===", "Zm-v", "Zm9v\n", "=Zg="] {
      #expect(Base64.decode(bad) == nil, "\(bad)")
    }
  }
}

@Test func `the checksum of librdkafka's partitioner is zlib's`() {
  #expect(CRC32.of(Array("123456789".utf8)) == 0xCBF4_3926)
  #expect(CRC32.of([]) == 0)
  #expect(CRC32.partition(of: Array("123456789".utf8), partitions: 7) == Int32(0xCBF4_3926 % 7))
}
