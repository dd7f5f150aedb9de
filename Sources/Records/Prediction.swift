/// The public record of topic `predictions`: what varies from event to event, some 160 bytes of JSON.
///
///     {"event_id":"…","score":0.25,"decision":false,"version":"1.5000","event_time":"2013-01-01T10:00:00.000Z",
///      "source":{"partition":0,"offset":17}}
///
/// Cost: no allocation beyond the writer's own memory, but for the version's text.
public enum Prediction {
  public static func encode(
    eventID: UnsafeRawBufferPointer, score: Float, decision: Bool, version: ModelVersion,
    eventTime: EventTime, partition: PartitionID, offset: Offset, into json: inout JSONWriter
  ) {
    json.beginObject()
    json.key("event_id")
    unsafe json.value(utf8: eventID)
    json.key("score")
    json.value(score)
    json.key("decision")
    json.value(decision)
    json.key("version")
    json.value(version)
    json.key("event_time")
    json.value(eventTime)
    json.key("source")
    json.beginObject()
    json.key("partition")
    json.value(Int64(partition.value))
    json.key("offset")
    json.value(offset.value)
    json.endObject()
    json.endObject()
  }
}

extension JSONWriter {
  /// A version as text, `"7.184201"`, written digit by digit.
  mutating func value(_ version: ModelVersion) {
    // Room for both numbers at their longest and the dot between them.
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { digits in
      var count = 32
      // SAFETY: at most 20 + 1 + 10 bytes are written, from the end towards the front.
      func put(_ number: UInt64) {
        var rest = number
        repeat {
          count -= 1
          unsafe digits[count] = UInt8(48 + rest % 10)
          rest /= 10
        } while rest > 0
      }
      put(version.sequence.value)
      count -= 1
      unsafe digits[count] = 0x2e
      put(UInt64(version.lineage.value))
      unsafe value(utf8: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(digits)[count...]))
    }
  }
}
