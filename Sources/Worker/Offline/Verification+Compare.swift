import Engine
import Records

/// A prediction as it was computed again.
struct ComputedPrediction {
  var value: [UInt8]
  var key: [UInt8]?
  var headers: [UInt8]
  var timestamp: Int64

  init(_ unit: CommitUnit, _ output: OutputRecord) {
    value = unit.value(of: output)
    key = unit.bytes(output.key)
    headers = unit.bytes(output.headers) ?? []
    timestamp = output.timestamp
  }
}

/// What of a prediction tells which it is; nil for whatever it does not say.
struct PublishedFields {
  private let root: JSONValue?
  init(_ bytes: [UInt8]) { root = try? JSONValue(parsing: bytes) }  // What is no JSON says nothing.

  var eventID: String? { root?["event_id"]?.string }
  var version: String? { root?["version"]?.string }
  var source: Int64? { root?["source"]?["offset"]?.integer }

  /// The first member in which two predictions differ, in the order in which they are written.
  func firstDifference(from other: PublishedFields) -> String {
    guard let ours = root?.object, let theirs = other.root?.object else { return "value" }
    for name in ["event_id", "score", "decision", "version", "event_time", "source"] where ours[name] != theirs[name] {
      return name
    }
    return "value"
  }
}

extension JSONValue {
  /// Members by name; nil for anything but an object.
  fileprivate var object: [String: JSONValue]? {
    guard case .object(let members) = self else { return nil }
    return Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
  }
}

extension Verification {
  enum Verdict {
    case equal
    case differs(PredictionDifference)
    /// Published, if it was, before what is left of the predictions.
    case expired
  }

  /// How long a prediction may take to be seen once its journal record is: the markers of one transaction reach its
  /// partitions one after the other.
  private static let lagMilliseconds: Int32 = 5_000

  /// Finds what was published for a computed prediction; what stands before it and belongs to no other is noted.
  func match(_ computed: ComputedPrediction, _ part: Part) throws(LogFault) -> Verdict {
    var ours: PublishedFields?
    while true {
      let patience: Int32 = Self.lagMilliseconds
      guard let record = try part.published.peek(before: .max, patienceMilliseconds: patience) else {
        let fields = PublishedFields(computed.value)
        part.lastValue = computed.value
        return .differs(missing(computed, fields, part))
      }
      if record.payload == computed.value {
        _ = try part.published.take(before: .max)
        part.isMet = true
        part.lastValue = computed.value
        return beside(record, computed, part)
      }
      let fields = ours ?? PublishedFields(computed.value)
      ours = fields
      let theirs = PublishedFields(record.payload)
      let wanted = fields.source ?? 0
      guard let source = theirs.source else {
        _ = try part.published.take(before: .max)
        part.report.note(unexplained(record, part.followed.number))
        continue
      }
      if !part.isMet {
        // The predictions' own retention: what came before the first one left cannot be missed.
        if source > wanted {
          part.lastValue = computed.value
          return .expired
        }
        if source == wanted { part.isMet = true }
      }
      if source == wanted {
        _ = try part.published.take(before: .max)
        part.lastValue = computed.value
        return .differs(different(record, theirs, computed, fields, part))
      }
      if source > wanted {
        part.lastValue = computed.value
        return .differs(missing(computed, fields, part))
      }
      _ = try part.published.take(before: .max)
      // Behind the place from which on things are compared.
      if source < part.followed.start.complete[settings.features.scoredInput] { continue }
      if source <= part.lastSource {
        part.report.note(unexplained(record, part.followed.number, kind: .repeated))
      } else {
        part.report.note(unexplained(record, part.followed.number))
      }
    }
  }

  /// Drops what was published for events before `source`, uncompared.
  func passOver(_ part: Part, before source: Int64) throws(LogFault) {
    part.lastSource = max(part.lastSource, source - 1)
    while let record = try part.published.peek(before: part.publishedEnd) {
      if let theirs = PublishedFields(record.payload).source, theirs >= source { return }
      _ = try part.published.take(before: part.publishedEnd)
      part.isMet = true
    }
  }

  /// What was published before the start and is left over is explained by nothing.
  func checkLeftOver(_ part: Part) throws(LogFault) {
    guard part.report.first?.kind != .brokenOff else { return }
    while let record = try part.published.take(before: part.publishedEnd) {
      let source = PublishedFields(record.payload).source
      part.report.note(
        unexplained(
          record, part.followed.number, kind: source.map { $0 <= part.lastSource } ?? false ? .repeated : .unexplained))
    }
  }

  /// The values are equal: is everything beside them?
  private func beside(_ record: OfflineRecord, _ computed: ComputedPrediction, _ part: Part) -> Verdict {
    func differs(_ field: String, _ published: String, _ ours: String) -> Verdict {
      let told = PublishedFields(computed.value)
      return .differs(
        PredictionDifference(
          kind: .different, partition: part.followed.number, offset: record.offset, sourceOffset: told.source,
          eventID: told.eventID, field: field, published: published, computed: ours))
    }
    if record.key != computed.key { return differs("key", plain(record.key), plain(computed.key)) }
    if record.headers != computed.headers {
      return differs("headers", Base64.encode(record.headers), Base64.encode(computed.headers))
    }
    if record.timestamp != computed.timestamp {
      return differs("timestamp", "\(record.timestamp)", "\(computed.timestamp)")
    }
    return served(computed, part, at: record.offset)
  }

  /// Whether a computed prediction has the scores that the journal says were served.
  func served(
    _ computed: ComputedPrediction, _ part: Part, at offset: Int64? = nil
  ) -> Verdict {
    // Only a difference needs to know which event it is.
    guard !scoreDifferences.isEmpty else { return .equal }
    let fields = PublishedFields(computed.value)
    guard let source = fields.source, let found = scoreDifferences[source] else { return .equal }
    return .differs(
      PredictionDifference(
        kind: .scoreDiffers, partition: part.followed.number, offset: offset, sourceOffset: source,
        eventID: fields.eventID, field: "served score of \(name(found.contender))",
        published: "\(found.served.probability)", computed: "\(found.computed.probability)", detail: words(found)))
  }

  private func different(
    _ record: OfflineRecord, _ theirs: PublishedFields, _ computed: ComputedPrediction, _ ours: PublishedFields,
    _ part: Part
  ) -> PredictionDifference {
    PredictionDifference(
      kind: .different, partition: part.followed.number, offset: record.offset, sourceOffset: ours.source,
      eventID: ours.eventID, field: ours.firstDifference(from: theirs),
      published: String(decoding: record.payload, as: UTF8.self),
      computed: String(decoding: computed.value, as: UTF8.self),
      detail: ours.source.flatMap { scoreDifferences[$0] }.map(words))
  }

  private func missing(
    _ computed: ComputedPrediction, _ fields: PublishedFields, _ part: Part
  ) -> PredictionDifference {
    PredictionDifference(
      kind: .missing, partition: part.followed.number, sourceOffset: fields.source, eventID: fields.eventID,
      computed: String(decoding: computed.value, as: UTF8.self))
  }

  func unexplained(
    _ record: OfflineRecord, _ partition: Int32, kind: PredictionDifference.Kind = .unexplained
  ) -> PredictionDifference {
    let fields = PublishedFields(record.payload)
    return PredictionDifference(
      kind: kind, partition: partition, offset: record.offset, sourceOffset: fields.source,
      eventID: fields.eventID, published: String(decoding: record.payload, as: UTF8.self))
  }

  private func words(_ difference: ScoreDifference) -> String {
    "the journal says that '\(name(difference.contender))' served margin=\(difference.served.margin) probability=\(difference.served.probability), computed margin=\(difference.computed.margin) probability=\(difference.computed.probability)"
  }

  private func name(_ contender: Int) -> String { contender < contenders.count ? contenders[contender] : "\(contender)" }

  private func plain(_ bytes: [UInt8]?) -> String {
    bytes.map { String(validating: $0, as: UTF8.self) ?? "base64:\(Base64.encode($0))" } ?? "none"
  }
}
