// Method: lines are captured through the writer's own sink and read back by Foundation's JSON parser; time
// is a number the test sets.
import Foundation
import Records
import Synchronization
import Testing

@testable import Worker

private final class Capture: Sendable {
  let lines = Mutex<[[UInt8]]>([])
  let now = Mutex<Int64>(1_372_701_600_250)
  func writer(
    level: LogLevel = .info, json: Bool = true, secrets: [String] = [],
    limit: LogWriter.Limit = .init(burst: 1_000_000)
  ) -> LogWriter {
    LogWriter(
      pipeline: "flights", instance: "a-1", level: level, json: json, secrets: secrets, limit: limit,
      clock: { self.now.withLock { $0 } }, sink: { line in self.lines.withLock { $0.append(line) } })
  }
  var texts: [String] { lines.withLock { $0.map { String(decoding: $0, as: UTF8.self) } } }
  func objects() throws -> [[String: Any]] {
    try lines.withLock { $0 }.map {
      try #require(try JSONSerialization.jsonObject(with: Data($0)) as? [String: Any])
    }
  }
}

@Test func `a JSON line carries every field and is one line`() throws {
  let capture = Capture()
  capture.writer().warning(
    "checkpoint-failed", "could not \"write\"\n\u{1}é\\",
    LogFields(
      partition: PartitionID(3), offset: Offset(12), modelVersion: ModelVersion("7.42"),
      [("bytes", .integer(5)), ("ratio", .number(0.5)), ("wide", .number(.infinity)), ("last", .boolean(true))]))
  #expect(capture.texts[0].filter { $0 == "\n" }.count == 1 && capture.texts[0].hasSuffix("}\n"))
  let object = try capture.objects()[0]
  #expect(object["ts"] as? String == "2013-07-01T18:00:00.250Z")
  #expect(object["level"] as? String == "warning")
  #expect(object["msg"] as? String == "could not \"write\"\n\u{1}é\\")
  #expect(object["pipeline"] as? String == "flights")
  #expect(object["instance"] as? String == "a-1")
  #expect(object["code"] as? String == "checkpoint-failed")
  #expect(object["partition"] as? Int == 3)
  #expect(object["offset"] as? Int == 12)
  #expect(object["model_version"] as? String == "7.42")
  #expect(object["bytes"] as? Int == 5)
  #expect(object["ratio"] as? Double == 0.5)
  #expect(object["wide"] as? String == "inf")
  #expect(object["last"] as? Bool == true)
  #expect(object.count == 13)
}

@Test func `text lines cannot be forged by what they tell`() {
  let capture = Capture()
  capture.writer(json: false).error(
    "bad", "line one\nERROR line two\u{1b}[2J", LogFields([("key", .text("a b=c\n\"d\""))]))
  #expect(
    capture.texts == [
      "18:00:00.250Z ERROR   line one ERROR line two [2J code=bad key=\"a b=c\\n\\\"d\\\"\"\n"
    ])
}

@Test func `a level that is off builds no argument`() {
  let capture = Capture()
  let writer = capture.writer(level: .warning)
  let built = Atomic<Int>(0)
  func message() -> String {
    built.add(1, ordering: .relaxed)
    return "x"
  }
  writer.info("a", message())
  #expect(built.load(ordering: .relaxed) == 0 && capture.texts.isEmpty)
  writer.level = .debug
  writer.debug("a", message())
  #expect(built.load(ordering: .relaxed) == 1 && capture.texts.count == 1)
}

@Test func `secrets appear nowhere, in whatever field they are told`() throws {
  let capture = Capture()
  let writer = capture.writer(secrets: ["hunter2\"x", "hunter2", ""])
  writer.info(
    "a", "tried hunter2\"x and hunter2hunter2",
    LogFields([
      ("url", .text("sasl://u:hunter2@b")), ("sasl_password", .text("unregistered")),
      ("apiToken", .integer(99)),
    ]))
  let long = String(repeating: "é", count: 508) + "hunter2"  // A secret across the place of the cut.
  writer.info("b", long + long)
  let all = capture.texts.joined()
  #expect(!all.contains("hunt") && !all.contains("unregistered") && !all.contains("99"))
  let objects = try capture.objects()
  #expect(objects[0]["msg"] as? String == "tried *** and ******")
  #expect(objects[0]["url"] as? String == "sasl://u:***@b")
}

@Test func `long values are cut at a whole character and long lines take no further field`() throws {
  let capture = Capture()
  capture.writer().info(
    "a", String(repeating: "é", count: 5000),
    LogFields((0..<50).map { ("k\($0)", .text(String(repeating: "x", count: 900))) }))
  let object = try capture.objects()[0]
  #expect((object["msg"] as? String)?.utf8.count == 1024 + 3)
  #expect(capture.lines.withLock { $0[0].count } < 4096)
}

@Test func `repetitions beyond the burst are counted and told with the next line`() throws {
  let capture = Capture()
  let writer = capture.writer(limit: .init(burst: 2, intervalMilliseconds: 1000))
  for _ in 0..<10 { writer.info("a", "again") }
  writer.info("b", "another code is not held back")
  #expect(capture.texts.count == 3)
  capture.now.withLock { $0 += 1000 }
  writer.info("a", "again")
  #expect(try capture.objects()[3]["repeated"] as? Int == 8)
  for _ in 0..<5 { writer.info("a", "again") }
  writer.flush()
  writer.flush()
  #expect(capture.texts.count == 6)
  #expect(try capture.objects()[5]["repeated"] as? Int == 4)
  // A clock that steps back silences nothing.
  capture.now.withLock { $0 -= 1_000_000 }
  for _ in 0..<3 { writer.info("b", "x") }
  #expect(capture.texts.count == 8)
}

@Test func `more codes than are kept stay within bounds and still appear`() {
  let capture = Capture()
  let writer = capture.writer(limit: .init(burst: 1, intervalMilliseconds: 1000))
  for index in 0..<2000 { writer.info("code-\(index)", "x") }
  #expect(capture.texts.count == 2000)
}

@Test func `timestamps equal Foundation's over the centuries`() {
  let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
  for step in -400..<800 {
    let milliseconds = Int64(step) * 86_400_000 * 91 + Int64(abs(step)) * 1_234_567 + 7
    let date = Date(timeIntervalSince1970: Double(milliseconds / 1000))
    let ours = LogLine.timestamp(milliseconds / 1000 * 1000)
    #expect(ours == date.formatted(style))
  }
  #expect(LogLine.timestamp(-1) == "1969-12-31T23:59:59.999Z")
}

@Test func `a writer on a descriptor that is no terminal writes JSON`() throws {
  var ends: [Int32] = [0, 0]
  #expect(pipe(&ends) == 0)
  LogWriter(pipeline: "p", instance: "i", descriptor: ends[1]).info("a", "hello")
  close(ends[1])
  var buffer = [UInt8](repeating: 0, count: 4096)
  let count = read(ends[0], &buffer, buffer.count)
  close(ends[0])
  let object = try JSONSerialization.jsonObject(with: Data(buffer[..<max(0, count)]))
  #expect((object as? [String: Any])?["msg"] as? String == "hello")
}
