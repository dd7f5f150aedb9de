import Records

/// Which labels must become examples, told from the inputs alone, whatever the order in which a worker read them.
///
/// Rules: a label belongs to the first usable event of its id in its partition; it counts if it was known no later
/// than the event's time + horizon; the first one that counts joins, a later one of another value than the one
/// before corrects, the same value again does nothing. Labels of one event act in the order of their offsets.
///
/// Certain: only where neither event nor labels were behind the watermark of their input. What is may come when
///          the other one has expired; what comes of it depends on the reading.
struct LabelOracle {
  struct Expectation: Equatable {
    var eventOffset: Int64
    var kind: ExampleKind
    var value: Float
    var knownAt: Int64
  }
  /// By label offset.
  var certain: [Int64: Expectation] = [:]
  /// Labels that may join, by label offset: offset of their event and when they were known.
  var possible: [Int64: (eventOffset: Int64, knownAt: Int64)] = [:]

  init(
    events: [StoredRecord], eventLatenessMilliseconds: Int64, labels: [StoredRecord],
    horizonMilliseconds horizon: Int64, latenessMilliseconds lateness: Int64
  ) throws {
    var eventsByID: [String: (offset: Int64, time: Int64)] = [:]
    var uncertain: Set<String> = []
    var newestEvent = Int64.min
    for record in events where record.truth == .valid {
      let fields = try JSONValue(parsing: record.value)
      let id = fields["request"]!.string!
      let time = fields["at"]!.integer!
      if newestEvent > .min, time < newestEvent - eventLatenessMilliseconds { uncertain.insert(id) }
      newestEvent = max(newestEvent, time)
      if eventsByID[id] == nil { eventsByID[id] = (record.offset, time) }
    }
    struct Label {
      var offset: Int64
      var value: Float
      var knownAt: Int64
    }
    var labelsByID: [String: [Label]] = [:]
    var newest = Int64.min
    for record in labels where record.truth == .valid {
      let fields = try JSONValue(parsing: record.value)
      let id = fields["request"]!.string!
      let knownAt = fields["at"]!.integer!
      if newest > .min, knownAt < newest - lateness { uncertain.insert(id) }
      newest = max(newest, knownAt)
      labelsByID[id, default: []].append(
        Label(offset: record.offset, value: fields["bad"]!.double! > 0 ? 1 : 0, knownAt: knownAt))
    }
    for (id, labels) in labelsByID {
      guard let event = eventsByID[id] else { continue }
      var last: Float?
      for label in labels where label.knownAt <= event.time + horizon {
        if uncertain.contains(id) {
          possible[label.offset] = (event.offset, label.knownAt)
          continue
        }
        if last == label.value { continue }
        certain[label.offset] = Expectation(
          eventOffset: event.offset, kind: last == nil ? .matured : .correction, value: label.value,
          knownAt: label.knownAt)
        last = label.value
      }
    }
  }
}
