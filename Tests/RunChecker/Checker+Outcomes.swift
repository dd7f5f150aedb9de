import Records

extension Checker {
  /// Every usable first event of the scored input has one prediction, in order, that says what the event says.
  mutating func checkPredictions() {
    for partition in partitions {
      var expected: [Int64: StoredRecord] = [:]
      for record in evidence.inputs[scoredInput][partition] {
        switch record.truth {
        case .valid: expected[record.offset] = record
        case .repeated, .refused: break
        case nil: find(.unreadable, "no truth partition=\(partition) offset=\(record.offset)")
        }
      }
      var seen: Set<Int64> = []
      var last: Int64 = -1
      for record in evidence.predictions[partition] {
        let place = "partition=\(partition) offset=\(record.offset)"
        guard let fields = try? JSONValue(parsing: record.value),
          let source = fields["source"]?["offset"]?.integer
        else {
          find(.unreadable, "prediction \(place)")
          continue
        }
        guard let event = expected[source] else {
          find(.strayPrediction, "\(place) source=\(source)")
          continue
        }
        guard seen.insert(source).inserted else {
          find(.doubledPrediction, "\(place) source=\(source)")
          continue
        }
        if source < last { find(.disorderedPredictions, "\(place) source=\(source) after=\(last)") }
        last = max(last, source)
        if let wrong = difference(fields, record, event, partition) {
          find(.wrongPrediction, "\(place) source=\(source) \(wrong)")
        }
      }
      for source in expected.keys.sorted() where !seen.contains(source) {
        find(.lostPrediction, "partition=\(partition) source=\(source)")
      }
    }
  }

  private func difference(
    _ fields: JSONValue, _ record: StoredRecord, _ event: StoredRecord, _ partition: Int
  ) -> String? {
    guard let told = try? JSONValue(parsing: event.value) else { return "event cannot be read" }
    if fields["event_id"]?.string != told["request"]?.string { return "event_id" }
    if fields["source"]?["partition"]?.integer != Int64(partition) { return "source.partition" }
    if fields["event_time"]?.string.flatMap({ EventTime(rfc3339: $0) })?.milliseconds
      != told["at"]?.integer
    { return "event_time" }
    guard let score = fields["score"]?.double, (0...1).contains(score) else { return "score" }
    if fields["decision"]?.bool != (Float(score) >= plan.threshold) { return "decision" }
    if record.key != event.key { return "key" }
    if record.headers != event.headers { return "headers" }
    return nil
  }

  /// Every record that cannot be used has one dead letter, with its bytes, its place and the reason.
  mutating func checkDeadLetters() {
    struct Place: Hashable {
      var topic: String
      var partition: Int
      var offset: Int64
    }
    var expected: [Place: (record: StoredRecord, codes: [String])] = [:]
    for (input, partitions) in evidence.inputs.enumerated() {
      for (partition, records) in partitions.enumerated() {
        for record in records {
          guard case .refused(let codes) = record.truth else { continue }
          expected[Place(topic: plan.inputs[input].topic, partition: partition, offset: record.offset)] =
            (record, codes)
        }
      }
    }
    var seen: Set<Place> = []
    for letter in evidence.deadLetters {
      guard let topic = letter.header("millrace-error-topic"),
        let partition = letter.header("millrace-error-partition").flatMap({ Int($0) }),
        let offset = letter.header("millrace-error-offset").flatMap({ Int64($0) })
      else {
        find(.wrongDeadLetter, "no source offset=\(letter.offset)")
        continue
      }
      let place = Place(topic: topic, partition: partition, offset: offset)
      guard let (record, codes) = expected[place] else {
        find(.strayDeadLetter, "\(place) code=\(letter.header("millrace-error-code") ?? "none")")
        continue
      }
      guard seen.insert(place).inserted else {
        find(.doubledDeadLetter, "\(place)")
        continue
      }
      let code = letter.header("millrace-error-code") ?? "none"
      if !codes.contains(code) {
        find(.wrongDeadLetter, "\(place) code=\(code) expected=\(codes.joined(separator: "|"))")
      }
      // Oversized ones go by reference.
      let value = code == "oversized" ? [] : record.value
      if letter.value != value || letter.key != record.key {
        find(.wrongDeadLetter, "\(place) bytes differ")
      }
      if code != "oversized", letter.header(Truth.header) != record.header(Truth.header) {
        find(.wrongDeadLetter, "\(place) the record's own headers are gone")
      }
    }
    for (place, _) in expected where !seen.contains(place) { find(.lostDeadLetter, "\(place)") }
  }
}
