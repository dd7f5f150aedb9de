import Testing

@testable import Records

/// One schema with a field of every kind, and one document of it that every test bends.
enum World {
  static let schema = InputSchema(
    name: "events", topic: "events.v1",
    fields: [
      FieldDeclaration(name: "id", type: .string, required: true),
      FieldDeclaration(name: "carrier", type: .string),
      FieldDeclaration(name: "distance", type: .number),
      FieldDeclaration(name: "seats", type: .integer),
      FieldDeclaration(name: "international", type: .boolean),
      FieldDeclaration(name: "at", type: .time),
      FieldDeclaration(name: "loaded", type: .time, timeUnit: .seconds),
      FieldDeclaration(name: "origin", type: .string),
    ], idField: 0, keyField: 7, eventTimeField: 5)
  /// 2013-07-01T18:00:00Z.
  static let time: Int64 = 1_372_701_600_000
  static let document =
    #"{"id":"UA-1545","carrier":"UA","distance":1400.5,"seats":180,"international":false,"gate":["B",{"n":7}],"at":"2013-07-01T18:00:00.250Z","loaded":1372701000,"origin":"EWR"}"#

  static func batch(
    _ documents: [[UInt8]], schema: InputSchema = schema, key: [UInt8]? = nil, plainly: Bool = false,
    timestamp: Int64 = time
  ) -> InputBatch {
    let batch = InputBatch(schema: schema)
    for (index, document) in documents.enumerated() {
      batch.append(payload: document, key: key, offset: Int64(index), timestamp: timestamp)
    }
    batch.decode(plainly: plainly)
    return batch
  }
  static func reason(_ document: String, key: String? = nil, timestamp: Int64 = time) -> DeadLetterReason? {
    let batch = batch(
      [Array(document.utf8)], key: key.map { Array($0.utf8) }, timestamp: timestamp)
    return DeadLetterReason(rawValue: batch.reasons[0])
  }
  static func text(_ batch: InputBatch, _ field: Int, _ record: Int) -> String {
    batch.withText(field, record) { span in
      span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
  }
  /// All that a batch says of one record, as text, for comparing.
  static func dump(_ batch: InputBatch, _ record: Int) -> String {
    var lines = [
      "reason=\(batch.reasons[record]) fault=\(batch.faultFields[record]) time=\(batch.eventTimes[record]) id=\(batch.idHashes[record])"
    ]
    for field in batch.schema.fields.indices {
      let cell = field * InputBatch.capacity + record
      lines.append(
        "\(field): \(batch.presence[cell]) \(batch.numbers[cell].bitPattern) \(batch.hashes[cell]) \(text(batch, field, record))")
    }
    return lines.joined(separator: "\n")
  }
}

/// Method: one valid document, then one change at a time with the reason it must give.
struct InputBatchTests {
  @Test func `every declared field is read as its type`() {
    let batch = World.batch([Array(World.document.utf8)], key: Array("EWR".utf8))
    let n = InputBatch.capacity
    #expect(batch.reasons[0] == 0)
    #expect(batch.faultMessage(0) == "")
    #expect(World.text(batch, 0, 0) == "UA-1545")
    #expect(batch.idHashes[0] == Hash64.hash("UA-1545"))
    #expect(batch.hashes[1 * n] == Hash64.hash("UA"))
    #expect(batch.numbers[2 * n] == 1400.5)
    #expect(batch.numbers[3 * n] == 180)
    #expect(batch.numbers[4 * n] == 0)
    #expect(batch.numbers[5 * n] == Double(World.time + 250))
    #expect(batch.numbers[6 * n] == 1_372_701_000_000)
    #expect(batch.eventTimes[0] == World.time + 250)
    for field in 0..<8 { #expect(batch.presence[field * n] == Presence.present.rawValue) }
  }

  @Test func `bytes are lent as they came`() {
    let batch = InputBatch(schema: World.schema)
    for index in 0..<InputBatch.capacity {
      batch.append(
        payload: Array(World.document.utf8) + [UInt8](repeating: 32, count: index * 97),
        key: index % 2 == 0 ? nil : Array("EWR".utf8), headers: [UInt8](repeating: 9, count: index),
        offset: Int64(index), timestamp: World.time)
    }
    #expect(batch.isFull)
    batch.decode()
    for index in 0..<InputBatch.capacity {
      #expect(batch.reasons[index] == 0)
      #expect(batch.withPayload(index) { $0.count } == World.document.utf8.count + index * 97)
      #expect(batch.withKey(index) { $0.map { Array($0) } } == (index % 2 == 0 ? nil : Array("EWR".utf8)))
      #expect(batch.withHeaders(index) { Array($0) } == [UInt8](repeating: 9, count: index))
      #expect(World.text(batch, 0, index) == "UA-1545")
    }
  }

  @Test func `missing, null and absent are told apart, and a cleared batch remembers nothing`() {
    let batch = World.batch([Array(#"{"id":"x","at":"2013-07-01T18:00:00Z","carrier":null}"#.utf8)])
    #expect(batch.reasons[0] == 0)
    #expect(batch.presence[1 * InputBatch.capacity] == Presence.null.rawValue)
    #expect(batch.presence[2 * InputBatch.capacity] == Presence.absent.rawValue)
    batch.clear()
    batch.append(payload: Array(World.document.utf8), offset: 0, timestamp: World.time)
    batch.decode()
    let fresh = World.batch([Array(World.document.utf8)])
    #expect(World.dump(batch, 0) == World.dump(fresh, 0))
  }

  @Test func `each fault has its reason and its field`() {
    struct Case { var from, to: String; var reason: DeadLetterReason; var field: Int32 }
    func one(_ from: String, _ to: String, _ reason: DeadLetterReason, _ field: Int32 = -1) -> Case {
      Case(from: from, to: to, reason: reason, field: field)
    }
    let cases = [
      one(#""id":"UA-1545","#, "", .missingID, 0), one(#""UA-1545""#, "null", .missingID, 0),
      one(#""UA-1545""#, #""""#, .missingID, 0), one(#""UA-1545""#, "7", .wrongType, 0),
      one(#""UA""#, "true", .wrongType, 1), one("1400.5", #""1400.5""#, .wrongType, 2),
      one("180", "180.0", .wrongType, 3), one("180", "1e3", .wrongType, 3),
      one("180", "9007199254740993", .outOfRange, 3), one("180", "-99999999999999999999", .outOfRange, 3),
      one("false", "0", .wrongType, 4), one("2013-07-01T18", "2013-02-29T18", .badTime, 5),
      one(#""2013-07-01T18:00:00.250Z""#, "12", .wrongType, 5),
      one(#""at":"#, #""att":"#, .missingField, 5), one("1372701000", "8640000000001", .badTime, 6),
      one("1372701000", #""12""#, .wrongType, 6), one("1372701000", "1e400", .outOfRange),
      one(#""UA""#, #"{"a":1}"#, .wrongType, 1), one(#""carrier""#, #""id""#, .duplicateField, 0),
      one(#""carrier""#, #""\u0069d""#, .duplicateField, 0),
      one("false", "fals", .malformedJSON), one("false", "tru", .malformedJSON),
      one(#""n":7"#, #""n":07"#, .malformedJSON), one(#""B""#, #""\q""#, .malformedJSON),
      one(#""B""#, #""\ud800""#, .malformedJSON), one(#""B""#, #""\udc00""#, .malformedJSON),
      one(#""B""#, "\"\n\"", .malformedJSON), one(#""B""#, #"1e"#, .malformedJSON),
      one("EWR", String(repeating: "x", count: 1025), .textTooLong, 7),
      one("2013-07-01T18:00", "2013-07-01T18:11", .futureTime, 5),
    ]
    for item in cases {
      let bent = World.document.replacing(item.from, with: item.to, maxReplacements: 1)
      #expect(bent != World.document)
      let batch = World.batch([Array(bent.utf8)])
      #expect(DeadLetterReason(rawValue: batch.reasons[0]) == item.reason, "\(bent)")
      #expect(batch.faultFields[0] == item.field, "\(bent)")
      #expect(batch.faultMessage(0).hasPrefix(item.reason.code))
      #expect(batch.eventTimes[0] == World.time && batch.idHashes[0] == 0)
      for field in 0..<8 { #expect(batch.presence[field * InputBatch.capacity] == 0) }
    }
    #expect(World.reason("") == .emptyPayload)
    #expect(World.reason("[1]") == .notAnObject)
    #expect(World.reason(" 7 ") == .notAnObject)
    #expect(World.reason("7x") == .malformedJSON)
    #expect(World.reason(World.document + "{}") == .malformedJSON)
    #expect(World.reason("\u{feff}" + World.document) == .malformedJSON)
    #expect(World.reason(World.document, key: "JFK") == .keyMismatch)
    #expect(World.reason(World.document, key: "EW") == .keyMismatch)
    #expect(World.reason(World.document, key: "EWR") == nil)
    #expect(World.reason(World.document.replacing(#""EWR""#, with: "null"), key: "EWR") == .keyMismatch)
    #expect(World.reason(World.document.replacing(#""EWR""#, with: "null")) == nil)
    var bytes = Array(World.document.utf8)
    bytes[8] = 0xff
    #expect(World.batch([bytes]).reasons[0] == DeadLetterReason.invalidUTF8.rawValue)
  }

  @Test func `nesting is allowed to 32 and no further`() {
    func nested(_ depth: Int, _ inner: String) -> String {
      World.document.replacing(
        #"["B",{"n":7}]"#,
        with: String(repeating: "[", count: depth - 1) + inner + String(repeating: "]", count: depth - 1))
    }
    for inner in ["", "1", #""x""#] {
      #expect(World.reason(nested(32, inner)) == nil)
      #expect(World.reason(nested(33, inner)) == .nestedTooDeep)
      #expect(World.reason(nested(300, inner)) == .nestedTooDeep)
    }
  }

  @Test func `numbers keep their bits, and negative zero has none`() {
    let n = InputBatch.capacity
    for (text, value) in [
      ("-0", "0"), ("-0.0", "0"), ("-0e5", "0"), ("1e-400", "0"), ("0.1", "0x1.999999999999ap-4"),
      ("9007199254740993", "0x1p53"), ("18446744073709551615", "0x1p64"),
      ("123456789012345678901234567890", "0x1.8ee90ff6c373ep+96"), ("5e-324", "0x1p-1074"),
      ("1.7976931348623157e308", "0x1.fffffffffffffp1023"), ("-9223372036854775808", "-0x1p63"),
      ("2.2250738585072011e-308", "0x0.fffffffffffffp-1022"),
      ("179769313486231580793e288", "0x1.fffffffffffffp1023"),
    ] {
      for plainly in [false, true] {
        let batch = World.batch(
          [Array(World.document.replacing("1400.5", with: text).utf8)], plainly: plainly)
        #expect(batch.reasons[0] == 0, "\(text)")
        #expect(batch.numbers[2 * n].bitPattern == Double(value)!.bitPattern, "\(text)")
      }
    }
  }

  @Test func `epoch times are read in their unit, to the millisecond`() {
    func read(_ text: String, _ unit: TimeUnit) -> Double? {
      let schema = InputSchema(
        name: "e", topic: "e",
        fields: [FieldDeclaration(name: "t", type: .time, timeUnit: unit)])
      let batch = World.batch([Array(#"{"t":\#(text)}"#.utf8)], schema: schema, timestamp: 5)
      return batch.reasons[0] == 0 ? batch.numbers[0] : nil
    }
    #expect(read("1372701600", .seconds) == 1_372_701_600_000)
    #expect(read("1372701600.123", .seconds) == 1_372_701_600_123)
    #expect(read("1.3727016e9", .seconds) == 1_372_701_600_000)
    #expect(read("-1", .seconds) == -1000)
    #expect(read("1999", .microseconds) == 1)
    #expect(read("-1", .microseconds) == -1)
    #expect(read("-1000", .microseconds) == -1)
    #expect(read("-1001", .microseconds) == -2)
    #expect(read("8640000000000000", .milliseconds) == 8.64e15)
    #expect(read("8640000000000001", .milliseconds) == nil)
    #expect(read("-8640000000000001", .milliseconds) == nil)
    #expect(read("9223372036854775807", .seconds) == nil)
    #expect(read("-9223372036854775808", .microseconds) == nil)
    #expect(read("99999999999999999999", .milliseconds) == nil)
    #expect(read("1e300", .seconds) == nil)
  }

  @Test func `an integer may be id and key, by its decimal text`() {
    let schema = InputSchema(
      name: "e", topic: "e",
      fields: [
        FieldDeclaration(name: "n", type: .integer), FieldDeclaration(name: "k", type: .integer),
      ], idField: 0, keyField: 1)
    let batch = World.batch(
      [Array(#"{"n":-0,"k":-120}"#.utf8), Array(#"{"n":9007199254740992,"k":-120}"#.utf8)],
      schema: schema, key: Array("-120".utf8))
    #expect(batch.reasons[0] == 0 && batch.reasons[1] == 0)
    #expect(batch.withID(0) { $0.byteCount } == 1)
    #expect(batch.idHashes[0] == Hash64.hash("0"))
    #expect(batch.idHashes[1] == Hash64.hash("9007199254740992"))
    #expect(World.text(batch, 1, 0) == "-120")
  }

  @Test func `an oversized record is rejected by reference`() {
    var schema = World.schema
    schema.recordBytesMax = World.document.utf8.count
    let batch = InputBatch(schema: schema)
    batch.append(payload: Array(World.document.utf8), key: Array("EWR".utf8), offset: 0, timestamp: World.time)
    batch.append(
      payload: Array((World.document + " ").utf8), key: Array("EWR".utf8), headers: [1], offset: 1,
      timestamp: World.time)
    batch.decode()
    #expect(batch.reasons[0] == 0)
    #expect(batch.reasons[1] == DeadLetterReason.oversized.rawValue)
    #expect(batch.withPayload(1) { $0.count } == 0)
    #expect(batch.withKey(1) { $0?.count } == 3)
    #expect(batch.faultMessage(1) == "oversized bytes=\(World.document.utf8.count + 1) max=\(World.document.utf8.count)")
  }

  @Test func `the future is measured from the record's own timestamp`() {
    let limit = World.schema.futureMillisecondsMax
    #expect(World.reason(World.document, timestamp: World.time + 250 - limit) == nil)
    #expect(World.reason(World.document, timestamp: World.time + 249 - limit) == .futureTime)
    #expect(World.reason(World.document, timestamp: -1) == nil)
    var schema = World.schema
    schema.eventTimeField = nil
    let batch = World.batch([Array(World.document.utf8)], schema: schema, timestamp: 77)
    #expect(batch.eventTimes[0] == 77)
    let none = World.batch([Array(World.document.utf8)], schema: schema, timestamp: -1)
    #expect(none.reasons[0] == DeadLetterReason.badTime.rawValue)
  }
}
