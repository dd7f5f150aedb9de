import Engine
import Features
import Pipeline
import Records

/// Runs a pipeline over play files: units of some hundred lines, each scored by what was learnt before it.
///
/// Memory:   the state of a worker, and one unit.
/// Replay:   the same lines, unit size and partition count give the same output on every host.
public struct OfflineReplay {
  public enum Emission: String, Sendable, CaseIterable { case predictions, features, examples }

  public struct Options: Sendable {
    public var partitions = 1
    /// Lines a unit: the model learns between units.
    public var unitRecords = 256
    public var emission: Emission?
    /// Lines before the first and from the second on are passed over (milliseconds since 1970).
    public var from: Int64?
    public var to: Int64?
    public init() {}
  }

  /// How far a run has come.
  public struct Progress: Sendable {
    public var records: Int
    /// Bytes read of those there are; nil where that is not known.
    public var share: Double?
    public var seconds: Double
  }

  let settings: PipelineSettings
  let features: FeaturePlan
  let options: Options

  public init(settings: PipelineSettings, features: FeaturePlan, options: Options = Options()) {
    self.settings = settings
    self.features = features
    self.options = options
  }

  /// Runs the files one after the other as one stream.
  ///
  /// - Parameters:
  ///   - write: takes lines of NDJSON, their ends included.
  ///   - progress: called after every unit.
  public func run(
    _ files: [String], write: @escaping ([UInt8]) -> Void = { _ in }, progress: (Progress) -> Void = { _ in }
  ) throws -> OfflineReport {
    let begun = Monotonic.nanoseconds()
    func seconds() -> Double { Double(Monotonic.nanoseconds() - begun) / 1e9 }
    let session = OfflineSession(settings: settings, features: features, partitions: options.partitions)
    listen(session, write)
    var inUnit = 0
    var records = 0
    for (index, file) in files.enumerated() {
      let play = try PlayFile(file)
      while let record = try play.next() {
        guard record.time >= options.from ?? .min, record.time < options.to ?? .max else { continue }
        guard let input = session.input(named: record.input) else {
          throw play.fault(
            "no input '\(record.input)' in pipeline '\(settings.name)'; there are \(session.plan.inputs.map(\.name).joined(separator: ", "))")
        }
        let schema = session.plan.inputs[input]
        session.take(
          input: input, payload: record.payload,
          key: record.key(field: schema.keyField.map { schema.fields[$0].name }), timestamp: record.time,
          line: play.lines.line)
        records += 1
        inUnit += 1
        guard inUnit == options.unitRecords else { continue }
        inUnit = 0
        try session.endUnit()
        let share = play.lines.byteCount.map {
          (Double(index) + Double(play.lines.consumed) / Double(max($0, 1))) / Double(files.count)
        }
        progress(Progress(records: records, share: share, seconds: seconds()))
      }
    }
    if inUnit > 0 { try session.endUnit() }
    progress(Progress(records: records, share: 1, seconds: seconds()))
    let report = session.report(seconds: seconds())
    guard report.imbalances.isEmpty else {
      throw OfflineFault.unbalanced(report.imbalances.joined(separator: "; "))
    }
    return report
  }

  private func listen(_ session: OfflineSession, _ write: @escaping ([UInt8]) -> Void) {
    let schema = session.plan.features.rowSchema
    switch options.emission {
    case nil: break
    case .predictions:
      session.listeners.prediction = { value in write(value + [0x0a]) }
    case .features:
      session.listeners.scored = { events in write(Self.lines(of: events, schema)) }
    case .examples:
      session.listeners.examples = { block in write(Self.lines(of: block, schema)) }
    }
  }

  // MARK: NDJSON

  /// Numbers as the row holds them; categories as the hash that the row holds, in hexadecimal; missing as null.
  static func lines(of events: ScoredEvents, _ schema: RowSchema) -> [UInt8] {
    var json = JSONWriter()
    let rows = events.rows
    for slot in 0..<events.count {
      json.beginObject()
      json.key("event_id")
      json.value(String(decoding: events.eventID(slot), as: UTF8.self))
      json.key("event_time")
      json.value(events.eventTime(slot))
      source(events.partition, events.offset(slot), &json)
      json.key("features")
      json.beginObject()
      for (index, column) in schema.columns.enumerated() {
        json.key(column.name)
        if rows.missing[slot * schema.columns.count + index] != 0 {
          json.null()
        } else if column.kind == .number {
          json.value(rows.numbers[slot * schema.numberCount + schema.places[index]])
        } else {
          json.value(hexadecimal(rows.categories[slot * schema.categoryCount + schema.places[index]]))
        }
      }
      json.endObject()
      json.endObject()
      json.newline()
    }
    return json.bytes
  }

  static func lines(of block: ExampleBlock, _ schema: RowSchema) -> [UInt8] {
    var json = JSONWriter()
    var places: [Int] = []
    var counts = [0, 0]
    for column in block.columns {
      let kind = column.kind == .number ? 0 : 1
      places.append(counts[kind])
      counts[kind] += 1
    }
    let names = block.columns.map { column in
      schema.columns.first { $0.id == column.id }?.name ?? hexadecimal(column.id)
    }
    for example in 0..<block.count {
      let header = block.headers[example]
      json.beginObject()
      source(header.partition, header.offset, &json)
      json.key("label_offset")
      json.value(header.labelOffset.value)
      json.key("kind")
      json.value("\(header.kind)")
      json.key("label")
      json.value(header.value)
      json.key("weight")
      json.value(header.weight)
      json.key("known_at")
      json.value(header.knownAt)
      json.key("version")
      json.value(header.version.description)
      json.key("features")
      json.beginObject()
      for (index, column) in block.columns.enumerated() {
        json.key(names[index])
        let cell = places[index] * block.count + example
        if block.missing[index * block.count + example] != 0 {
          json.null()
        } else if column.kind == .number {
          json.value(Float(bitPattern: block.numberBits[cell]))
        } else {
          json.value(hexadecimal(block.categories[cell]))
        }
      }
      json.endObject()
      json.key("served")
      json.beginArray()
      for contender in 0..<block.contenderCount {
        let score = block.score(contender: contender, example: example)
        if score.isAbsent { json.null() } else { json.value(score.probability) }
      }
      json.endArray()
      json.endObject()
      json.newline()
    }
    return json.bytes
  }

  private static func source(_ partition: PartitionID, _ offset: Offset, _ json: inout JSONWriter) {
    json.key("source")
    json.beginObject()
    json.key("partition")
    json.value(Int64(partition.value))
    json.key("offset")
    json.value(offset.value)
    json.endObject()
  }

  private static func hexadecimal(_ hash: UInt64) -> String {
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
