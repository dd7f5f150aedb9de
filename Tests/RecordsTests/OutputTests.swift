import Testing

@testable import Records

/// Method: the public records are read back with the project's own strict reader.
struct OutputTests {
  @Test func `a prediction holds what varies from event to event`() throws {
    var writer = JSONWriter()
    let id = Array("UA-1545 \"x\"".utf8)
    func encode(_ score: Float) {
      writer.clear()
      id.withUnsafeBytes { id in
        Prediction.encode(
          eventID: id, score: score, decision: score >= 0.5,
          version: ModelVersion(lineage: Lineage(.max), sequence: Sequence(.max)),
          eventTime: EventTime(milliseconds: 1_372_701_600_250), partition: PartitionID(3), offset: Offset(17),
          into: &writer)
      }
    }
    encode(0.25)
    #expect(
      writer.text
        == #"{"event_id":"UA-1545 \"x\"","score":0.25,"decision":false,"version":"4294967295.18446744073709551615","event_time":"2013-07-01T18:00:00.250Z","source":{"partition":3,"offset":17}}"#)
    var generator = SplitMix(state: 2)
    for _ in 0..<2000 {
      let score = Float(generator.next() >> 40) / 0x1p24
      encode(score)
      let read = try JSONValue(parsing: writer.bytes)["score"]?.double
      #expect(read.map { Float($0) }?.bitPattern == score.bitPattern)
    }
  }

  @Test func `a dead letter says why and where, and keeps the headers it came with`() {
    func headers(_ original: [UInt8], bytesMax: Int = 1000) -> [String] {
      let bytes = original.withUnsafeBytes { original in
        DeadLetter.headers(
          reason: .badTime, stage: "decode", message: "bad-time field=at", topic: "events", partition: 2, offset: 99,
          original: original, bytesMax: bytesMax)
      }
      return (HeaderBlock(bytes: bytes).list ?? []).map {
        "\($0.name)=\($0.value.map { String(decoding: $0, as: UTF8.self) } ?? "nil")"
      }
    }
    let ours = [
      "millrace-error-code=bad-time", "millrace-error-stage=decode", "millrace-error-message=bad-time field=at",
      "millrace-error-topic=events", "millrace-error-partition=2", "millrace-error-offset=99",
    ]
    var block = HeaderBlock()
    block.append("traceparent", "00-ab")
    block.append("none", nil as [UInt8]?)
    #expect(headers(block.bytes) == ["traceparent=00-ab", "none=nil"] + ours)
    #expect(headers(block.bytes, bytesMax: block.bytes.count - 1) == ours)
    #expect(headers(Array(block.bytes.dropLast())) == ours)
    #expect(headers([]) == ours)
    // Sent again after a first rejection: one reason, the last.
    var again = block
    again.append("millrace-error-code", "wrong-type")
    #expect(headers(again.bytes) == ["traceparent=00-ab", "none=nil"] + ours)
  }
}
