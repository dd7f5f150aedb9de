// A small pipeline and hostile streams for it: three inputs that lie, repeat, come late, early or broken.
import Checkpoints
import Features
import Learning
import Models
import Records

@testable import Engine

extension SplitMix {
  mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &self) < share }
}

struct HostileRecord {
  var payload: [UInt8]
  var key: [UInt8]?
  var headers: [UInt8] = []
  var offset: Int64
  var timestamp: Int64
}

/// Inputs 0 (scored), 1 (labels) and 2 (only seen by windows).
struct HostileStreams {
  var inputs: [[HostileRecord]]

  /// Event times rise on the whole; ids come twice, labels before their event, twice, changed and never.
  static func hostile(seed: UInt64, events: Int) -> HostileStreams {
    var random = SplitMix(seed)
    var inputs: [[HostileRecord]] = [[], [], []]
    var next: [Int64] = [3, 0, 11]
    var time: Int64 = 1_700_000_000_000
    func put(_ input: Int, _ text: String, at timestamp: Int64, gap: Int64) {
      inputs[input].append(
        HostileRecord(
          payload: Array(text.utf8), key: Array("k\(next[input] % 5)".utf8), offset: next[input],
          timestamp: timestamp))
      next[input] += 1 + gap
    }
    let broken = [
      "", "{", "null", "[]", #"{"id":7}"#, #"{"id":"","t":1,"carrier":"a"}"#,
      #"{"id":"x","t":9223372036854775807,"carrier":"a","value":1}"#,
      #"{"id":"x","t":-9223372036854775808,"carrier":"a","value":1}"#,
      #"{"id":"x","t":1e308,"carrier":"a","value":1}"#, #"{"id":"x","id":"x","t":1,"carrier":"a"}"#,
    ]
    for _ in 0..<events {
      time += Int64.random(in: 0...400, using: &random)
      if random.chance(0.01) { time += 30_000 }
      let late = random.chance(0.1) ? Int64.random(in: 0...25_000, using: &random) : 0
      let carrier = ["a", "b", "c"].randomElement(using: &random)!
      let gap = random.chance(0.1) ? Int64.random(in: 1...3, using: &random) : 0
      switch Int.random(in: 0..<20, using: &random) {
      case 0: put(Int.random(in: 0..<3, using: &random), broken.randomElement(using: &random)!, at: time, gap: gap)
      case 1..<9:
        let id = "e\(Int.random(in: 0..<12, using: &random) + Int(time / 3_000 % 100_000) * 12)"
        let x = Double.random(in: -5...5, using: &random)
        put(0, #"{"id":"\#(id)","t":\#(time - late),"carrier":"\#(carrier)","x":\#(x)}"#, at: time, gap: gap)
      case 9..<17:
        let back = Int64.random(in: -2_000...14_000, using: &random)
        let id = "e\(Int.random(in: 0..<12, using: &random) + Int((time - back) / 3_000 % 100_000) * 12)"
        let value = random.chance(0.05) ? "null" : random.chance(0.5) ? "1" : "0"
        put(1, #"{"id":"\#(id)","t":\#(time - late),"value":\#(value)}"#, at: time, gap: gap)
      default: put(2, #"{"t":\#(time - late),"carrier":"\#(carrier)","y":2}"#, at: time, gap: gap)
      }
    }
    return HostileStreams(inputs: inputs)
  }
}

/// The plan, and scorers of rising versions.
struct HostileWorld {
  let plan: EnginePlan
  let scorers: [ScorerSet]

  init(atHorizon: JoinSettings.AtHorizon = .drop, earlyLabelsMax: Int = 40) {
    let time = FieldDeclaration(name: "t", type: .time, timeUnit: .milliseconds, required: true)
    func schema(_ name: String, _ fields: [FieldDeclaration], id: Int?) -> InputSchema {
      InputSchema(
        name: name, topic: name, fields: fields, idField: id,
        eventTimeField: fields.firstIndex { $0.name == "t" }, latenessMilliseconds: 2_000,
        futureMillisecondsMax: 60_000)
    }
    let settings = FeatureSettings(
      inputs: [
        schema(
          "events",
          [
            FieldDeclaration(name: "id", type: .string), time,
            FieldDeclaration(name: "carrier", type: .string, required: true),
            FieldDeclaration(name: "x", type: .number),
          ], id: 0),
        schema(
          "labels",
          [
            FieldDeclaration(name: "id", type: .string), time,
            FieldDeclaration(name: "value", type: .number),
          ], id: 0),
        schema(
          "side",
          [
            time, FieldDeclaration(name: "carrier", type: .string, required: true),
            FieldDeclaration(name: "y", type: .number),
          ], id: nil),
      ],
      scoredInput: 0, labelInput: 1, target: "value > 0",
      windows: [
        WindowDeclaration(
          name: "own", from: 0, by: ["carrier"], value: "x", sizesMilliseconds: [5_000],
          aggregates: [.count, .sum], resolution: 0.01, range: -10...10),
        WindowDeclaration(
          name: "other", from: 2, by: ["carrier"], sizesMilliseconds: [20_000], aggregates: [.count]),
      ],
      features: [
        FeatureDeclaration(name: "carrier", kind: .category), FeatureDeclaration(name: "x", kind: .number),
        FeatureDeclaration(name: "recent", expression: "own.count_5s + own.sum_5s", kind: .number),
        FeatureDeclaration(name: "around", expression: "other.count_20s", kind: .number),
      ])
    let features: FeaturePlan
    switch FeaturePlan.compile(settings, zones: { _ in nil }) {
    case .success(let made): features = made
    case .failure(let faults): fatalError("\(faults)")
    }
    plan = EnginePlan(
      features: features,
      join: JoinSettings(horizonMilliseconds: 12_000, atHorizon: atHorizon, earlyLabelsMax: earlyLabelsMax),
      threshold: 0.5, contenderCount: 2)
    scorers = Self.makeScorers(features.rowSchema)
  }

  private static func makeScorers(_ schema: RowSchema) -> [ScorerSet] {
    let contenders = [
      Contender(
        settings: ContenderSettings(
          name: "champion", kind: .ftrl(FTRLSettings(), EncoderSettings(hashBits: 8, columns: schema.columns))),
        rowSchema: schema),
      Contender(settings: ContenderSettings(name: "base", kind: .baseRate), rowSchema: schema),
    ]
    let rows = RowGroup(schema: schema, capacity: 1)
    rows.count = 1
    return (0..<4).map { version in
      rows.categories[0] = Hash64.hash(version % 2 == 0 ? "a" : "b")
      rows.numbers[0] = Float(version)
      for contender in contenders {
        contender.learn(rows: rows, slot: 0, label: Float(version % 2), weight: 1, served: .absent, calibrate: false)
      }
      return ScorerSet(
        version: ModelVersion(lineage: Lineage(1), sequence: Sequence(UInt64(version))),
        scorers: contenders.map { $0.scorer() }, names: ["champion", "base"], championIndex: 0,
        rowSchema: schema)
    }
  }

  func makeUnit() -> CommitUnit {
    CommitUnit(
      examples: ExampleBlockBuilder(
        schema: plan.features.rowSchema, contenderCount: 2, planDigest: plan.features.digest),
      inputCount: plan.inputs.count)
  }

  func makeEngine(_ streams: HostileStreams) -> PartitionEngine {
    PartitionEngine(plan: plan, partition: PartitionID(4), start: streams.inputs.map { $0.first?.offset ?? 0 })
  }
}

/// Hands the records of streams to an engine, from the offsets on at which it stands.
struct Feeder {
  let streams: HostileStreams
  private var places: [Int]

  init(_ streams: HostileStreams, _ engine: PartitionEngine) {
    self.streams = streams
    places = streams.inputs.indices.map { input in
      streams.inputs[input].firstIndex { $0.offset >= engine.consumedOffsets[input] }
        ?? streams.inputs[input].count
    }
  }

  var isExhausted: Bool { places.indices.allSatisfy { places[$0] == streams.inputs[$0].count } }

  /// Appends up to `most` records an input. What is read to the end is said to be; with `premature`, some inputs
  /// before: as if a producer were slow.
  mutating func feed(_ engine: PartitionEngine, most: (Int) -> Int, premature: (Int) -> Bool = { _ in false }) {
    for input in streams.inputs.indices {
      var left = min(most(input), engine.room(input: input))
      while left > 0, places[input] < streams.inputs[input].count {
        engine.append(input: input, streams.inputs[input][places[input]])
        places[input] += 1
        left -= 1
      }
      if places[input] == streams.inputs[input].count || premature(input) { engine.markAtEnd(input: input) }
      engine.seal(input: input)
    }
  }
}

extension PartitionEngine {
  func append(input: Int, _ record: HostileRecord) {
    _ = record.payload.withUnsafeBytes { payload in
      record.headers.withUnsafeBytes { headers in
        (record.key ?? []).withUnsafeBytes { key in
          append(
            input: input, payload: payload, key: record.key == nil ? nil : key, headers: headers,
            offset: record.offset, timestamp: record.timestamp)
        }
      }
    }
  }

  /// The whole state, as a checkpoint has it.
  func checkpointBytes() -> [UInt8] {
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: .partition,
        fingerprint: CheckpointFingerprint(
          clusterID: "c", topic: "events", partition: partition, pipeline: "p",
          settings: plan.features.digest),
        inputs: consumedOffsets.map { InputPosition(topic: "t", next: Offset($0)) }, logNext: Offset(0),
        generation: 1))
    encode(into: &writer)
    return writer.encode().bytes
  }
}

/// What a unit published, by destination, as bytes.
struct Published: Equatable {
  var predictions: [[UInt8]] = []
  var examples: [[UInt8]] = []
  var journal: JournalRecord?

  init(_ unit: CommitUnit) {
    for record in unit.records {
      let value = unit.arena.withBytes(record.value) { Array($0) }
      switch record.destination {
      case .predictions: predictions.append(value)
      case .learning: examples.append(value)
      case .journal: journal = try! JournalRecord.decode(value)
      case .deadLetters, .acks: break
      }
    }
  }
}
