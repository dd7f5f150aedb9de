// Play files and raw taps, line by line: what is written comes back, and what is not of the form is refused by name.
import Records
import Testing

@Suite struct LineFormatTests {
  @Test func `the bytes of a value are the payload, as they are written`() throws {
    let line = #" {"time":1357046520000 , "value":{"b" : 1.50,"a":"\u00e9\/", "b":2},"input":"arrivals"} "#
    let record = try PlayRecord(parsing: Array(line.utf8))
    #expect(record.input == "arrivals")
    #expect(record.time == 1_357_046_520_000)
    #expect(record.payload == Array(#"{"b" : 1.50,"a":"\u00e9\/", "b":2}"#.utf8))
    #expect(record.key(field: "a") == Array("é/".utf8))
    #expect(record.key(field: "b") == Array("1.50".utf8))
    #expect(record.key(field: "c") == nil && record.key(field: nil) == nil)
  }

  @Test func `raw text is the payload, and a stated key goes before the field`() throws {
    let raw = try PlayRecord(parsing: Array(#"{"input":"a","time":-1,"raw":"{\"id\":","key":"EWR"}"#.utf8))
    #expect(raw.payload == Array(#"{"id":"#.utf8))
    #expect(raw.key(field: "id") == Array("EWR".utf8))
    #expect(try PlayRecord(parsing: Array(#"{"input":"a","time":1,"raw":""}"#.utf8)).payload.isEmpty)
    let stated = try PlayRecord(parsing: Array(#"{"input":"a","time":1,"value":{"k":"x"},"key":"y"}"#.utf8))
    #expect(stated.key(field: "k") == Array("y".utf8))
  }

  @Test(arguments: [
    (#"{"time":1,"value":{}}"#, "'input' is missing"), (#"{"input":"a","value":{}}"#, "'time' is missing"),
    (#"{"input":"a","time":1}"#, "neither 'value' nor 'raw' is there"),
    (#"{"input":"a","time":1,"value":{},"raw":""}"#, "exclude each other"),
    (#"{"input":"a","time":1.5,"value":{}}"#, "'time' is not a whole number"),
    (#"{"input":"a","time":1,"value":[]}"#, "'value' is not an object"),
    (#"{"input":1,"time":1,"value":{}}"#, "'input' is not a string"),
    (#"{"input":"a","time":1,"value":{},"tiem":1}"#, "unknown member 'tiem'"),
    (#"{"input":"a","time":1,"value":{},"time":1}"#, "'time' is given twice"),
    (#"{"input":"a","time":1,"value":{}} x"#, "not a JSON object"), (#"[]"#, "not a JSON object"), ("", "not a JSON object"),
  ])
  func `a line of another form is refused with what is wrong`(_ line: String, _ words: String) {
    #expect(throws: PlayRecord.Fault.self) {
      do { _ = try PlayRecord(parsing: Array(line.utf8)) } catch {
        #expect("\(error)".contains(words), "\(error)")
        throw error
      }
    }
  }

  @Test func `a tapped record comes back as it was`() throws {
    for record in [
      TapRecord(topic: "t", partition: 3, offset: 1 << 40, timestamp: -1, key: nil, value: nil),
      TapRecord(
        topic: "é\"", partition: 0, offset: 0, timestamp: 5, key: [], value: [0, 255, 10, 34],
        headers: [.init("traceparent", Array("x".utf8)), .init("", nil), .init("traceparent", [])]),
    ] {
      var writer = JSONWriter()
      record.write(into: &writer)
      #expect(try TapRecord(parsing: writer.bytes) == record)
      let at = try TapRecord.position(parsing: writer.bytes)
      #expect(at.topic == record.topic && at.partition == record.partition && at.offset == record.offset)
      // Cut anywhere, it is no record; and nothing traps.
      for end in writer.bytes.indices {
        #expect(throws: TapRecord.Fault.self) { try TapRecord(parsing: Array(writer.bytes[..<end])) }
      }
    }
  }

  /// The values of Kafka's own tests of `Utils.murmur2`.
  @Test(arguments: [
    ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
  ] as [(String, Int32)])
  func `a key hashes as Kafka's partitioner hashes it`(_ key: String, _ expected: Int32) {
    #expect(Int32(bitPattern: Murmur2.hash(Array(key.utf8))) == expected)
    let partition = Murmur2.partition(of: Array(key.utf8), partitions: 7)
    #expect(partition == (expected & 0x7fff_ffff) % 7)
  }
}
