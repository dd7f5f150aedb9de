import Foundation
import Kafka
import Records
import Testing

@testable import Worker

/// Plays and taps, against librdkafka's own cluster inside the process.
struct ToolTests {
  private static let stops = InputSchema(
    name: "stops", topic: "stops.v1",
    fields: [
      FieldDeclaration(name: "station", type: .string), FieldDeclaration(name: "at", type: .time, timeUnit: .seconds),
    ], keyField: 0, eventTimeField: 1)
  private static let doors = InputSchema(
    name: "doors", topic: "doors.v1", fields: [FieldDeclaration(name: "door", type: .integer)], keyField: 0)

  private func cluster() throws -> (MockCluster, ClientSettings) {
    let cluster = try MockCluster()
    for topic in ["stops.v1", "doors.v1"] { try cluster.createTopic(topic, partitions: 3) }
    return (cluster, ClientSettings(bootstrap: cluster.bootstrap, clientID: "test"))
  }

  private func play(
    _ lines: [String], _ client: ClientSettings, _ change: (inout PlayOptions) -> Void = { _ in }
  ) throws -> PlayProgress {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("play-\(UUID().uuidString)")
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    var options = PlayOptions()
    options.speed = nil
    change(&options)
    return try playFile(file.path, into: [Self.stops, Self.doors], client, options, shouldStop: { false })
  }

  private func tap(_ topic: String, _ client: ClientSettings, limit: Int? = nil, raw: Bool = true) throws -> [String] {
    var options = TapOptions()
    options.from = .beginning
    options.untilEnd = true
    options.raw = raw
    options.limit = limit
    var out: [UInt8] = []
    _ = try tapTopic(topic, client, options, shouldStop: { false }) { out += $0 }
    return String(decoding: out, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  @Test func `what is played is tapped: payload verbatim, key, time and the partition of a Java client`() throws {
    let (cluster, client) = try cluster()
    let done = try play(
      [
        #"{"input":"stops","time":1000,"value":{ "station" : "Zoo","at":1, "é":1.50 }}"#, "",
        #"{"input":"doors","time":1500,"value":{"door":17}}"#,
        #"{"input":"stops","time":2000,"raw":"{\"station\":","key":"Zoo"}"#,
        #"{"input":"stops","time":3000,"value":{"at":3}}"#,
      ], client)
    #expect(done.records == 4 && done.time == 3000)
    let stops = try tap("stops.v1", client).map { try TapRecord(parsing: Array($0.utf8)) }
    let place = Murmur2.partition(of: Array("Zoo".utf8), partitions: 3)
    let keyed = stops.filter { $0.key != nil }
    #expect(keyed.map(\.partition) == [place, place])
    #expect(keyed.map(\.timestamp) == [1000, 2000])
    #expect(
      keyed.map { String(decoding: $0.value ?? [], as: UTF8.self) }
        == [#"{ "station" : "Zoo","at":1, "é":1.50 }"#, #"{"station":"#])
    // Without a key: the partition of the line's number.
    #expect(stops.filter { $0.key == nil }.map(\.partition) == [5 % 3])
    let doors = try tap("doors.v1", client).map { try TapRecord(parsing: Array($0.utf8)) }
    #expect(doors.map(\.key) == [Array("17".utf8)])
    #expect(doors.map(\.partition) == [Murmur2.partition(of: Array("17".utf8), partitions: 3)])
    withExtendedLifetime(cluster) {}
  }

  @Test func `a play stops before its end time, and keeps its rate`() throws {
    let (cluster, client) = try cluster()
    let lines = (0..<60).map { #"{"input":"doors","time":\#($0 * 100),"value":{"door":\#($0)}}"# }
    #expect(try play(lines, client) { $0.until = 2_000 }.records == 20)
    let slow = try play(lines, client) { $0.rate = 500 }
    #expect(slow.records == 60 && slow.elapsedMilliseconds >= 118)
    // Event time runs a hundred times as fast as the clock: 5.9 s in 59 ms.
    #expect(try play(lines, client) { $0.speed = 100 }.elapsedMilliseconds >= 59)
    #expect(try tap("doors.v1", client).count == 140)
    #expect(try tap("doors.v1", client, limit: 7).count == 7)
    withExtendedLifetime(cluster) {}
  }

  @Test func `lines of one input are its payloads, at the time they tell`() throws {
    let (cluster, client) = try cluster()
    let lines = [#"{"station":"Zoo","at":7}"#, #"{"station":"Zoo","at":8}"#]
    #expect(try play(lines, client) { $0.input = "stops" }.time == 8_000)
    let text = try tap("stops.v1", client, raw: false)
    #expect(text.count == 2)
    #expect(text[0].hasPrefix("1970-01-01T00:00:07.000Z ") && text[0].hasSuffix(#":0 Zoo {"station":"Zoo","at":7}"#), "\(text)")
    withExtendedLifetime(cluster) {}
  }

  @Test(arguments: [
    (#"{"input":"gates","time":1,"value":{}}"#, "gates"), (#"{"input":"doors","value":{}}"#, "time"),
    ("nothing", "JSON"), (#"{"input":"doors","time":1,"value":{},"extra":1}"#, "extra"),
  ])
  func `a line that is no record ends the play and is named`(line: String, word: String) throws {
    let (cluster, client) = try cluster()
    do {
      _ = try play([#"{"input":"doors","time":1,"value":{"door":1}}"#, line], client)
      Issue.record("it was played")
    } catch let failure as PlayFailure {
      #expect(failure.line == 2 && failure.description.contains(word), "\(failure)")
    }
    #expect(throws: PlayFailure.self) { try play([], client) { $0.input = "gates" } }
    #expect(throws: PlayFailure.self) {
      try playFile("/nowhere/at/all", into: [], client, PlayOptions(), shouldStop: { false })
    }
    withExtendedLifetime(cluster) {}
  }

  @Test func `what is plain in a tap is text, the rest base64`() {
    let record = TapRecord(
      topic: "t", partition: 2, offset: 9, timestamp: .max, key: nil, value: [0, 255],
      headers: [TapRecord.Header("a", Array("b".utf8)), TapRecord.Header("n", nil)])
    #expect(String(decoding: record.text, as: UTF8.self) == "9223372036854775807 2:9 - base64:AP8= a=b n=-\n")
  }
}
