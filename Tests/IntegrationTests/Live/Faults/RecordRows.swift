import Foundation
import Kafka
import Records
@testable import RunChecker
import Testing

extension LiveTests.Faults {
  /// Records that no output can hold.
  @Suite(.serialized) struct Oversized {
    @Test func `row 33: payloads beyond every limit are dead letters by reference, headers beyond them are left out, and the rest flows`() throws {
      let scene = try Scene("oversized", topicSettings: [.init("max.message.bytes", "20000000")])
      let feed = Feed(scene, requests: 300)
      try scene.worker.start()
      try feed.advance(60)
      var serial = 0
      for (payload, headers) in [(3_000_000, 0), (0, 1_200_000), (12_000_000, 0), (1_000, 990_000), (0, 19_900_000)] {
        for partition in [0, 2] as [Int32] {
          serial += 1
          let note = String(repeating: "x", count: payload)
          let text = #"{"request":"big-\#(serial)","account":"big","kind":"k","amount":1,"at":\#(Stream.start),"note":"\#(note)"}"#
          var block = HeaderBlock()
          block.append(Truth.header, (payload > 2_048 ? Truth.refused(["oversized"]) : .valid).text)
          if headers > 0 { block.append("weight", String(repeating: "h", count: headers)) }
          try scene.produce([
            PlayedRecord(
              input: Stream.requests, partition: partition, key: Array("big".utf8), value: Array(text.utf8),
              headers: block.bytes, timestamp: Stream.start)
          ])
        }
        try feed.advance(60)
      }
      var restored = 0
      try feed.finish(of: { evidence in
        // The checker expects the headers of the event: these are put back where they were left out.
        for partition in evidence.predictions.indices {
          for index in evidence.predictions[partition].indices where evidence.predictions[partition][index].headers.isEmpty {
            guard let fields = try? JSONValue(parsing: evidence.predictions[partition][index].value),
              let source = fields["source"]?["offset"]?.integer,
              let event = evidence.inputs[Stream.requests][partition].first(where: { $0.offset == source }),
              event.headers.count > 250_000
            else { continue }
            evidence.predictions[partition][index].headers = event.headers
            restored += 1
          }
        }
      })
      #expect(restored == 6)
    }
  }
}
