import Testing

@testable import Records

/// Method: what is written reads back the same, bit for bit; what is no JSON is refused with its place.
struct JSONTests {
  static func text(_ body: (inout JSONWriter) -> Void) -> String {
    var writer = JSONWriter()
    body(&writer)
    return writer.text
  }

  @Test func `documents come out compact, with commas where they belong`() {
    let text = Self.text { json in
      json.beginObject()
      json.key("a")
      json.value(1)
      json.key("b")
      json.beginArray()
      json.value(true)
      json.null()
      json.beginObject()
      json.endObject()
      json.value("x")
      json.endArray()
      json.key("c\"")
      json.value(EventTime(milliseconds: 0))
      json.endObject()
      json.newline()
      json.beginArray()
      json.endArray()
    }
    #expect(text == "{\"a\":1,\"b\":[true,null,{},\"x\"],\"c\\\"\":\"1970-01-01T00:00:00.000Z\"}\n[]")
  }

  @Test func `every scalar survives being written as text`() throws {
    let every = String(String.UnicodeScalarView((0...0x2fff).compactMap { Unicode.Scalar($0) })) + "😀\u{10ffff}"
    let text = Self.text { $0.value(every) }
    #expect(try JSONValue(parsing: text) == .string(every))
    #expect(text.utf8.allSatisfy { $0 >= 0x20 })
  }

  @Test func `doubles and floats read back with the same bits`() throws {
    var generator = SplitMix(state: 7)
    for round in 0..<20_000 {
      let bits = generator.next()
      // Every kind: raw bits, decimals as people write them, whole numbers.
      let value =
        round % 3 == 0
        ? Double(bitPattern: bits)
        : round % 3 == 1 ? Double(Int64(bitPattern: bits) >> 20) / 1000 : Double(Int64(bitPattern: bits) >> (bits & 63))
      guard value.isFinite else { continue }
      let text = Self.text { $0.value(value) }
      #expect(Double(text)?.bitPattern == value.bitPattern, "\(text)")
      let parsed = try JSONValue(parsing: text).double
      #expect(parsed == value)
      let single = Float(bitPattern: UInt32(truncatingIfNeeded: bits))
      guard single.isFinite else { continue }
      let short = Self.text { $0.value(single) }
      #expect(Float(short)?.bitPattern == single.bitPattern, "\(short)")
    }
    #expect(Self.text { $0.value(Float(0.1)) } == "0.1")
    #expect(Self.text { $0.value(100_000.0) } == "100000")
    #expect(Self.text { $0.value(-0.0) } == "-0.0")
    #expect(Self.text { $0.value(Double.nan) } == "null")
    #expect(Self.text { $0.value(-Float.infinity) } == "null")
  }

  @Test func `integers read back, the extremes included`() throws {
    for value in [0, 1, -1, 9, 10, 99, 100, Int64.max, Int64.min, 1 << 53] as [Int64] {
      #expect(Self.text { $0.value(value) } == String(value))
      #expect(try JSONValue(parsing: String(value)) == .integer(value))
    }
    #expect(Self.text { $0.value(UInt64.max) } == String(UInt64.max))
  }

  @Test func `documents lie back to back, and an unfinished one can be dropped`() {
    var writer = JSONWriter(capacity: 1)
    writer.beginObject()
    writer.endObject()
    let kept = writer.count
    writer.beginObject()
    writer.key("a")
    writer.beginArray()
    writer.value(1)
    writer.truncate(to: kept)
    writer.beginArray()
    writer.value(2)
    writer.endArray()
    #expect(writer.text == "{}[2]")
    writer.clear()
    #expect(writer.count == 0)
  }

  @Test func `a tree reads back what it writes, in its order`() throws {
    let text = #"{"z":[1,-0.5,true,false,null,"é\n"],"a":{"":{}},"big":1e+30}"#
    let tree = try JSONValue(parsing: text)
    #expect(String(decoding: tree.bytes, as: UTF8.self) == text)
    #expect(tree["z"]?.array?.count == 6)
    #expect(tree["a"]?[""]?.members == [])
    #expect(tree["big"]?.double == 1e30)
    #expect(tree["none"] == nil)
  }

  @Test func `what is no JSON of ours is refused with its place`() {
    struct Case { var text: String; var reason: JSONError.Reason; var at: Int }
    func one(_ text: String, _ reason: JSONError.Reason, _ at: Int) -> Case { Case(text: text, reason: reason, at: at) }
    for item in [
      one("", .malformed, 0), one("  ", .malformed, 2), one("{", .malformed, 1), one("{\"a\" 1}", .malformed, 5),
      one("[1,]", .malformed, 3), one("[1 2]", .malformed, 3), one("{\"a\":1,}", .malformed, 7),
      one("tru", .malformed, 0), one("nulll", .malformed, 4), one("01", .malformed, 1), one("-", .malformed, 1),
      one("1.", .malformed, 2), one("1e", .malformed, 2), one("\"a", .malformed, 2), one("\"\\x\"", .malformed, 2),
      one("\"\\u12g4\"", .malformed, 5), one("\"\\udc00\"", .malformed, 1), one("\u{feff}1", .malformed, 0),
      one("[1e309]", .numberOutOfRange, 1), one("{\"a\":1,\"a\":2}", .duplicateKey, 7),
      one("{\"a\":1,\"\\u0061\":2}", .duplicateKey, 7),
      one(String(repeating: "[", count: 33), .nestedTooDeep, 32),
    ] {
      #expect(throws: JSONError(item.reason, at: item.at), "\(item.text)") { try JSONValue(parsing: item.text) }
    }
    // Composed and decomposed é are different names.
    #expect(throws: Never.self) { try JSONValue(parsing: "{\"\\u00e9\":1,\"e\\u0301\":2}") }
  }

  @Test func `UTF-8 is judged as the standard library judges it`() {
    var generator = SplitMix(state: 3)
    let lead: [UInt8] = [0x22, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff, 0x9f, 0xa0, 0x90, 0x8f]
    for _ in 0..<50_000 {
      var bytes: [UInt8] = [0x61, 0x61, 0x61, 0x61, 0x61, 0x61]
      for _ in 0..<4 { bytes.append(lead.randomElement(using: &generator)!) }
      let valid = String(validating: bytes, as: UTF8.self) != nil
      let ours = bytes.withUnsafeBufferPointer { buffer in
        do {
          try JSONScanner(buffer).checkUTF8()
          return true
        } catch { return false }
      }
      #expect(valid == ours, "\(bytes)")
    }
  }

  @Test func `random bytes never trap`() {
    var generator = SplitMix(state: 11)
    let alphabet = Array("{}[]:,\"\\u0123456789.eE+-truefalsn \u{e9}".utf8)
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in alphabet.randomElement(using: &generator)! }
      // Either outcome is right; what matters is that there is one.
      _ = try? JSONValue(parsing: bytes)
    }
  }
}
