import Testing

@testable import Records

/// A small generator, so that a failure names its seed and can be had again.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// Method: the decoder by simdjson and the plain one read the same bytes; every column must be the same. The
/// documents are a corpus of nasty ones, and mutations of valid ones under fixed seeds.
struct DecoderTwinTests {
  static let fragments: [String] = [
    "", "{", "}", "[", "]", "{}", "[]", ":", ",", "\"", "\\", "\\\"", "\\u0000", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\ude00",
    "\\uD83D\\uDE0", "\\/", "\\x", "\u{0}", "\u{1f}", "\u{7f}", "é", "😀", "\t", "\n", "\r", " ", "\u{c}", "\u{feff}", "\u{2028}",
    "0", "-0", "-", "+1", "01", "1.", ".5", "1.e1", "1e", "1e+", "1E5", "1e400", "-1e400", "1e-400", "0.1e-5", "1.0",
    "9007199254740992", "9007199254740993", "-9007199254740993", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616",
    "123456789012345678901234567890", "0.30000000000000004", "2.2250738585072011e-308", "179769313486231580793e289",
    "1.7976931348623159e308", "true", "false", "null", "tru", "nul", "falsey", "True", "NaN", "Infinity", "undefined",
    "\"id\":\"a\",", "\"id\":1,", "\"\\u0069d\":\"b\",", "\"carrier\":null,", "\"carrier\":\"x\",", "\"distance\":1e2,",
    "\"at\":\"2013-07-01T18:00:00Z\",", "\"at\":0,", "\"loaded\":1e9,", "\"loaded\":-1.5,", "\"extra\":[[[[]]]],", "\"\":0,",
    "/*c*/", "//", "'", "2013-07-01T18:00:60Z", "2012-02-29T00:00:00+23:59",
    String(repeating: "[", count: 40), String(repeating: "]", count: 31), String(repeating: "x", count: 1024),
    String(repeating: "ab\\n", count: 400),
  ]

  static func agree(_ documents: [[UInt8]], key: [UInt8]?) -> (usable: Int, fault: String?) {
    var usable = 0
    for chunk in stride(from: 0, to: documents.count, by: InputBatch.capacity) {
      let part = Array(documents[chunk..<min(chunk + InputBatch.capacity, documents.count)])
      let fast = World.batch(part, key: key)
      let plain = World.batch(part, key: key, plainly: true)
      for record in 0..<part.count {
        let a = World.dump(fast, record)
        let b = World.dump(plain, record)
        if a != b {
          return (usable, "\(String(decoding: part[record], as: UTF8.self))\nfast: \(a)\nplain: \(b)")
        }
        if fast.reasons[record] == 0 { usable += 1 }
      }
    }
    return (usable, nil)
  }

  @Test func `both decoders agree on every fragment in every place`() {
    var documents: [[UInt8]] = []
    for fragment in Self.fragments {
      documents.append(Array(fragment.utf8))
      for place in [#""UA-1545""#, "1400.5", "180", "false", #""2013-07-01T18:00:00.250Z""#, "1372701000", "EWR", "7", #""gate":"#] {
        documents.append(Array(World.document.replacing(place, with: fragment, maxReplacements: 1).utf8))
        documents.append(Array(World.document.replacing(place, with: "\"\(fragment)\"").utf8))
      }
      documents.append(Array((fragment + World.document).utf8))
      documents.append(Array((World.document + fragment).utf8))
    }
    let result = Self.agree(documents, key: nil)
    #expect(result.fault == nil)
    #expect(result.usable > 100)
  }

  @Test func `both decoders agree on every truncation and every byte in every place`() {
    let whole = Array(World.document.utf8)
    var documents = (0...whole.count).map { Array(whole[..<$0]) }
    for place in 0..<whole.count {
      for byte in [0x00, 0x20, 0x22, 0x2c, 0x30, 0x5b, 0x5c, 0x5d, 0x65, 0x7b, 0x7d, 0x80, 0xc3, 0xff] as [UInt8] {
        var bent = whole
        bent[place] = byte
        documents.append(bent)
      }
    }
    let result = Self.agree(documents, key: Array("EWR".utf8))
    #expect(result.fault == nil)
    #expect(result.usable > 100)
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `both decoders agree on mutated documents`(_ seed: UInt64) {
    var generator = SplitMix(state: seed)
    var documents: [[UInt8]] = []
    for _ in 0..<5000 {
      var bytes = Array(World.document.utf8)
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let at = Int.random(in: 0..<max(bytes.count, 1), using: &generator)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes.insert(contentsOf: Self.fragments.randomElement(using: &generator)!.utf8, at: min(at, bytes.count))
        case 1: if !bytes.isEmpty { bytes[at] = UInt8.random(in: 0...255, using: &generator) }
        case 2: if !bytes.isEmpty { bytes.remove(at: at) }
        case 3: bytes.removeSubrange(min(at, bytes.count)..<min(at + 9, bytes.count))
        case 4:
          // One of the characters that JSON is made of.
          bytes.insert(Array("{}[]:,\"\\0123456789.eE+-tfn \n".utf8).randomElement(using: &generator)!, at: min(at, bytes.count))
        default:
          // A stretch of the document once more elsewhere: repeats members.
          let stretch = bytes[min(at, bytes.count)..<min(at + Int.random(in: 1...40, using: &generator), bytes.count)]
          bytes.insert(contentsOf: stretch, at: Int.random(in: 0...bytes.count, using: &generator))
        }
      }
      documents.append(bytes)
    }
    let result = Self.agree(documents, key: nil)
    #expect(result.fault == nil, "seed=\(seed)")
    #expect(result.usable > 100)
  }
}
