import Engine
import Features
import Pipeline
import Records

/// Runs one test: fresh engines and a fresh model, the given records one after the other, then the event.
public struct PipelineTestRun {
  public struct Failure: Sendable, Equatable {
    public var place: Place
    public var message: String
  }

  let settings: PipelineSettings
  let features: FeaturePlan

  public init(settings: PipelineSettings, features: FeaturePlan) {
    self.settings = settings
    self.features = features
  }

  /// Everything that differs from what was expected; empty: passed.
  public func run(_ test: PipelineTestFile.Case) throws -> [Failure] {
    let session = OfflineSession(settings: settings, features: features)
    var time: Int64 = 0
    var failures: [Failure] = []
    for record in test.given {
      let before = session.rejections[record.input]
      for turn in 1...record.repeats {
        give(record, turn, session, &time)
        // Why one by one: each is there, and its label learnt, before the next comes, whatever their event times.
        try session.endUnit()
      }
      if let reason = Self.newReason(before, session.rejections[record.input]) {
        failures.append(Failure(place: record.place, message: "the record is a dead letter: \(reason.code)"))
      }
    }

    let scored = Scored()
    session.listeners.scored = { events in scored.take(events) }
    let before = session.rejections[test.when.input]
    give(test.when, 1, session, &time)
    try session.endUnit()
    guard scored.count == 1 else {
      let why =
        Self.newReason(before, session.rejections[test.when.input]).map { "it is a dead letter: \($0.code)" }
        ?? "an event of its id was given before"
      return failures + [Failure(place: test.when.place, message: "the event is not scored: \(why)")]
    }
    failures += test.features.compactMap { check($0, scored) }
    let score = Double(scored.probability)
    if let (bound, place) = test.above, !(score > bound) {
      failures.append(Failure(place: place, message: "the score is \(scored.probability), not above \(bound)"))
    }
    if let (bound, place) = test.below, !(score < bound) {
      failures.append(Failure(place: place, message: "the score is \(scored.probability), not below \(bound)"))
    }
    if let (value, place) = test.decision {
      let decision = scored.probability >= session.plan.threshold
      if decision != value {
        failures.append(
          Failure(
            place: place,
            message: "the decision is \(decision): the score is \(scored.probability), the threshold \(session.plan.threshold)"))
      }
    }
    return failures
  }

  private static func newReason(
    _ before: [DeadLetterReason: UInt64], _ after: [DeadLetterReason: UInt64]
  ) -> DeadLetterReason? {
    DeadLetterReason.allCases.first { after[$0, default: 0] > before[$0, default: 0] }
  }

  /// What the listener keeps of the event.
  private final class Scored {
    var count = 0
    var numbers: [Float?] = []
    var categories: [UInt64?] = []
    var probability: Float = .nan

    func take(_ events: ScoredEvents) {
      count += events.count
      let rows = events.rows
      let schema = rows.schema
      numbers = []
      categories = []
      for (index, column) in schema.columns.enumerated() {
        let isMissing = rows.missing[index] != 0
        let place = schema.places[index]
        numbers.append(isMissing || column.kind != .number ? nil : rows.numbers[place])
        categories.append(isMissing || column.kind != .category ? nil : rows.categories[place])
      }
      probability = events.score(0, contender: events.champion).probability
    }
  }

  private func check(_ feature: PipelineTestFile.Feature, _ scored: Scored) -> Failure? {
    guard let column = features.rowSchema.columns.firstIndex(where: { $0.name == feature.name }) else {
      return Failure(place: feature.place, message: "\(feature.name) is not in the row")
    }
    let number = scored.numbers[column]
    let category = scored.categories[column]
    let isMissing = number == nil && category == nil
    func failure(_ expected: String, _ found: String) -> Failure {
      Failure(place: feature.place, message: "\(feature.name) is \(found), not \(expected)")
    }
    switch feature.expectation {
    case .missing:
      guard !isMissing else { return nil }
      return failure("missing", number.map { "\($0)" } ?? "there")
    case .number(let expected, let within):
      guard let number else { return failure("\(expected)", "missing") }
      // Rows hold 32-bit floats of windows that count in steps: a plain value means six digits of it.
      let tolerance = within ?? max(expected.magnitude, 1) * 1e-6
      if (Double(number) - expected).magnitude <= tolerance { return nil }
      return failure(within.map { "\(expected) within \($0)" } ?? "\(expected)", "\(number)")
    case .text(let expected):
      guard let category else { return failure("'\(expected)'", "missing") }
      let hashes = [Hash64.hash(expected)] + (Double(expected).map { [FeaturePlan.category(ofNumber: $0)] } ?? [])
      return hashes.contains(category) ? nil : failure("'\(expected)'", "another category")
    }
  }

  // MARK: Records

  private func give(
    _ record: PipelineTestFile.Record, _ turn: Int, _ session: OfflineSession, _ time: inout Int64
  ) {
    let schema = settings.features.inputs[record.input]
    var json = JSONWriter()
    var key: [UInt8]?
    json.beginObject()
    for entry in record.fields {
      json.key(entry.key)
      let declared = schema.index(of: entry.key)
      guard case .scalar(var scalar) = entry.value.content else {
        Self.write(entry.value, into: &json)
        continue
      }
      if let declared, declared == schema.idField, turn > 1 { scalar.text += "#\(turn)" }
      if let declared, declared == schema.keyField { key = Array(scalar.text.utf8) }
      if let declared, declared == schema.eventTimeField {
        time = Self.milliseconds(scalar.text, schema.fields[declared].timeUnit) ?? time
      }
      let isText =
        declared.map {
          schema.fields[$0].type == .string
            || schema.fields[$0].type == .time && schema.fields[$0].timeUnit == .rfc3339
        } ?? false
      if isText && !scalar.isNull {
        json.value(scalar.text)
      } else {
        Self.write(scalar, into: &json)
      }
    }
    json.endObject()
    session.take(input: record.input, payload: json.bytes, key: key, timestamp: time)
  }

  private static func milliseconds(_ text: String, _ unit: TimeUnit) -> Int64? {
    if unit == .rfc3339 { return EventTime(rfc3339: text)?.milliseconds }
    guard let number = Double(text) else { return nil }
    switch unit {
    case .seconds: return Int64(exactly: (number * 1000).rounded())
    case .microseconds: return Int64(exactly: (number / 1000).rounded(.down))
    case .milliseconds, .rfc3339: return Int64(exactly: number.rounded())
    }
  }

  private static func write(_ node: YAMLNode, into json: inout JSONWriter) {
    switch node.content {
    case .scalar(let scalar): write(scalar, into: &json)
    case .sequence(let nodes):
      json.beginArray()
      for node in nodes { write(node, into: &json) }
      json.endArray()
    case .mapping(let entries):
      json.beginObject()
      for entry in entries {
        json.key(entry.key)
        write(entry.value, into: &json)
      }
      json.endObject()
    }
  }

  /// As YAML's core schema reads it: plain words may be null, booleans or numbers; all else is text.
  private static func write(_ scalar: YAMLScalar, into json: inout JSONWriter) {
    if scalar.isNull { return json.null() }
    guard scalar.isPlain else { return json.value(scalar.text) }
    switch scalar.text {
    case "true": json.value(true)
    case "false": json.value(false)
    default:
      // A number that JSON spells alike keeps its spelling.
      if case .integer? = try? JSONValue(parsing: scalar.text) {
        json.value(json: Array(scalar.text.utf8))
      } else if case .number? = try? JSONValue(parsing: scalar.text) {
        json.value(json: Array(scalar.text.utf8))
      } else {
        json.value(scalar.text)
      }
    }
  }
}
