// A small pipeline, random streams for it with labels early, late, twice and about nobody, and a run of engines over them:
// the inputs are cut into batches, steps and units as a seed says, the model learns between units.
import Checkpoints
import Engine
import Features
import Learning
import Models
import Records

struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

enum World {
  static let horizon: Int64 = 1_000

  static let settings: FeatureSettings = {
    func schema(_ name: String, _ fields: [FieldDeclaration], lateness: Int64) -> InputSchema {
      InputSchema(
        name: name, topic: name, fields: [
          FieldDeclaration(name: "id", type: .string), FieldDeclaration(name: "card", type: .string),
          FieldDeclaration(name: "at", type: .time, timeUnit: .milliseconds),
        ] + fields, idField: 0, keyField: 1, eventTimeField: 2, latenessMilliseconds: lateness)
    }
    return FeatureSettings(
      inputs: [
        schema("events", [FieldDeclaration(name: "amount", type: .number)], lateness: 50),
        schema("sides", [FieldDeclaration(name: "x", type: .number)], lateness: 50),
        schema("labels", [FieldDeclaration(name: "y", type: .number, required: true)], lateness: 200),
      ], scoredInput: 0, labelInput: 2, target: "y > 0",
      windows: [
        WindowDeclaration(
          name: "paid", from: 0, by: ["card"], value: "clamp(amount, 0, 100)", sizesMilliseconds: [500, 2_000],
          paneMilliseconds: 100, aggregates: [.count, .mean, .max, .sinceLast], resolution: 0.01),
        WindowDeclaration(
          name: "seen", from: 1, by: ["card"], value: "clamp(x, -10, 10)", sizesMilliseconds: [1_000],
          paneMilliseconds: 100, aggregates: [.count, .sum], resolution: 0.01),
      ],
      features: [
        FeatureDeclaration(name: "card", kind: .category),
        FeatureDeclaration(name: "amount", kind: .number),
        FeatureDeclaration(name: "count_500", expression: "paid.count_500ms", kind: .number),
        FeatureDeclaration(name: "mean_2s", expression: "paid.mean_2s", kind: .number),
        FeatureDeclaration(name: "since", expression: "paid.since_last", kind: .number),
        FeatureDeclaration(name: "seen", expression: "seen.sum_1s", kind: .number),
      ])
  }()

  static let features: FeaturePlan = {
    switch FeaturePlan.compile(settings, zones: { _ in nil }) {
    case .success(let plan): return plan
    case .failure(let faults): preconditionFailure("\(faults.faults)")
    }
  }()

  static let learning = LearningSettings(
    pipeline: "laws", rowSchema: features.rowSchema,
    contenders: [
      ContenderSettings(
        name: "champion",
        kind: .ftrl(FTRLSettings(), EncoderSettings(hashBits: 8, columns: features.rowSchema.columns)),
        calibration: .platt(rate: 0.05)),
      ContenderSettings(name: "base-rate", kind: .baseRate),
    ], keepEvery: 500, keep: 3)

  static func plan(_ atHorizon: JoinSettings.AtHorizon = .negative, earlyLabelsMax: Int = 64) -> EnginePlan {
    EnginePlan(
      features: features,
      join: JoinSettings(
        horizonMilliseconds: horizon, atHorizon: atHorizon, earlyLabelsMax: earlyLabelsMax),
      threshold: 0.5, contenderCount: learning.contenders.count)
  }

  static func examples(_ plan: EnginePlan) -> ExampleBlockBuilder {
    ExampleBlockBuilder(
      schema: plan.features.rowSchema, contenderCount: plan.contenderCount,
      planDigest: plan.features.digest)
  }
}

struct StreamRecord {
  var payload: [UInt8]
  var key: [UInt8]
  var timestamp: Int64
}

/// Records of the three inputs of one partition, in the order of their offsets.
struct Stream {
  var inputs: [[StreamRecord]] = [[], [], []]
  var eventIDs: Set<String> = []

  init(seed: UInt64, events: Int, cards: Int = 7) {
    var random = SplitMix(seed)
    var pending: [(time: Int64, input: Int, text: String, card: String)] = []
    var now: Int64 = 1_000_000
    for number in 0..<events {
      now += Int64.random(in: 0...20, using: &random)
      let card = "c\(Int.random(in: 0..<cards, using: &random))"
      let id = "e\(number)"
      eventIDs.insert(id)
      // Now and then an event so late that its horizon has passed for the labels.
      let time = now - (Int.random(in: 0..<20, using: &random) == 0 ? Int64.random(in: 0...2_500, using: &random) : 0)
      func event(_ amount: Int) -> String { #"{"id":"\#(id)","card":"\#(card)","at":\#(time),"amount":\#(amount)}"# }
      let amount = Int.random(in: 0...120, using: &random)
      pending.append((now, 0, event(amount), card))
      // The same id again while the first is remembered, which is until its horizon.
      if time == now, Int.random(in: 0..<15, using: &random) == 0 {
        pending.append((now + Int64.random(in: 0...500, using: &random), 0, event(amount + 1), card))
      }
      if Int.random(in: 0..<30, using: &random) == 0 { pending.append((now, 0, #"{"id":"\#(id)x","card":1}"#, card)) }
      if Bool.random(using: &random) {
        pending.append(
          (now, 1, #"{"id":"s\#(number)","card":"\#(card)","at":\#(now),"x":\#(Int.random(in: -12...12, using: &random))}"#, card))
      }
      func label(_ known: Int64, _ value: Int, _ about: String) {
        pending.append((known, 2, #"{"id":"\#(about)","card":"\#(card)","at":\#(known),"y":\#(value)}"#, card))
      }
      let value = amount > 60 ? 1 : 0
      switch Int.random(in: 0..<12, using: &random) {
      case 0: break  // nobody ever says
      case 1: label(time - Int64.random(in: 0...300, using: &random), value, id)  // known before the event
      case 2: label(time, value, id)
      case 3: label(time + World.horizon + Int64.random(in: 0...400, using: &random), value, id)
      case 4:
        label(time + 3, value, id)
        label(time + 3 + Int64.random(in: 0...900, using: &random), value, id)
      case 5:
        label(time + 5, value, id)
        label(time + 5 + Int64.random(in: 0...900, using: &random), 1 - value, id)
      case 6: label(time + 10, value, "nobody\(number)")
      case 7: pending.append((now, 2, #"{"id":"\#(id)","card":"\#(card)","at":\#(now),"y":"x"}"#, card))
      default: label(time + Int64.random(in: 0...900, using: &random), value, id)
      }
    }
    // By the time they are sent, except that some are overtaken.
    var order = pending.enumerated().map { index, record in
      (record.time + (Int.random(in: 0..<10, using: &random) == 0 ? 150 : 0), index)
    }
    order.sort { $0 < $1 }
    for (_, index) in order {
      let record = pending[index]
      inputs[record.input].append(
        StreamRecord(payload: Array(record.text.utf8), key: Array(record.card.utf8), timestamp: max(record.time, 0)))
    }
  }
}

/// What one unit published.
struct UnitOutput {
  var predictions: [[UInt8]] = []
  var journal: [UInt8]?
  var blocks: [[UInt8]] = []
  var deadLetters = 0
  /// The version whose scorers served it.
  var version: ModelVersion?
}

/// One engine over one stream, fed and cut as a seed says.
final class Run {
  let engine: PartitionEngine
  let stream: Stream
  let unit: CommitUnit
  private var cursors: [Int]
  private var random: SplitMix

  init(_ engine: PartitionEngine, _ stream: Stream, cuts seed: UInt64) {
    self.engine = engine
    self.stream = stream
    unit = CommitUnit(examples: World.examples(engine.plan), inputCount: 3)
    cursors = engine.consumedOffsets.map { Int($0) }
    random = SplitMix(seed)
  }

  static func fresh(_ stream: Stream, cuts: UInt64, plan: EnginePlan = World.plan(), partition: Int32 = 0) -> Run {
    Run(PartitionEngine(plan: plan, partition: PartitionID(partition), start: [0, 0, 0]), stream, cuts: cuts)
  }

  var isDone: Bool { engine.consumedOffsets.indices.allSatisfy { engine.consumedOffsets[$0] == Int64(stream.inputs[$0].count) } }

  /// Some records of an input, or word of its end; true: something new was said.
  private func feed(_ input: Int) {
    var left = Int.random(in: 1...40, using: &random)
    while left > 0, engine.room(input: input) > 0, cursors[input] < stream.inputs[input].count {
      let record = stream.inputs[input][cursors[input]]
      _ = record.payload.withUnsafeBytes { payload in
        record.key.withUnsafeBytes { key in
          engine.append(
            input: input, payload: payload, key: key, headers: UnsafeRawBufferPointer(start: nil, count: 0),
            offset: Int64(cursors[input]), timestamp: record.timestamp)
        }
      }
      cursors[input] += 1
      left -= 1
    }
    if cursors[input] == stream.inputs[input].count { engine.markAtEnd(input: input) }
    engine.seal(input: input)
  }

  /// Takes up to `records` records live and seals the unit.
  func live(_ scorers: ScorerSet, records: Int) throws -> UnitOutput {
    unit.clear()
    loop: while unit.consumed < records {
      let budget = min(records, unit.consumed + Int.random(in: 1...50, using: &random))
      switch try engine.step(into: unit, scorers: scorers, budget: budget) {
      case .waiting(let input): feed(input)
      case .idle: break loop
      case .budgetSpent, .followed: continue
      }
      if Bool.random(using: &random) { feed(Int.random(in: 0..<3, using: &random)) }
    }
    _ = engine.seal(into: unit)
    unit.sealExamples()
    return output(scorers.version)
  }

  /// Follows journal records, silently or computing again.
  func follow(_ records: [JournalRecord], recompute: ((ModelVersion) -> ScorerSet?)? = nil, any: ScorerSet) throws
    -> UnitOutput
  {
    unit.clear()
    engine.follow(records, recompute: recompute)
    while engine.followedRemaining > 0 {
      switch try engine.step(into: unit, scorers: any, budget: .max) {
      case .waiting(let input): feed(input)
      case .idle, .budgetSpent, .followed: continue
      }
    }
    return output(nil)
  }

  private func output(_ version: ModelVersion?) -> UnitOutput {
    var output = UnitOutput(version: version)
    for record in unit.records {
      let value = unit.arena.withBytes(record.value) { Array($0) }
      switch record.destination {
      case .predictions: output.predictions.append(value)
      case .learning: output.blocks.append(value)
      case .journal: output.journal = value
      case .deadLetters: output.deadLetters += 1
      case .acks: break
      }
    }
    return output
  }

  /// The whole state, as a checkpoint holds it.
  func sections() -> [String: [UInt8]] {
    var sections: [String: [UInt8]] = [:]
    for section in checkpoint().sections where PartitionEngine.stateSections.contains(section.name) {
      sections[section.name] = section.bytes
    }
    return sections
  }

  func checkpoint() -> CheckpointWriter {
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: .partition,
        fingerprint: CheckpointFingerprint(
          clusterID: "c", topic: "events", partition: engine.partition, pipeline: "laws",
          settings: engine.plan.features.digest),
        inputs: [], logNext: Offset(0), generation: 1, parent: nil))
    engine.encode(into: &writer)
    return writer
  }
}

/// The model beside the engines: folds what units made.
final class Replica {
  let state = ModelState()
  private var next: Int64 = 0
  /// Every scorer that was ever served, by version.
  var served: [ModelVersion: ScorerSet] = [:]

  init() { fold(ModelState.charter(World.learning, clusterID: "c").record()) }

  var scorers: ScorerSet {
    let scorers = state.scorers()!
    served[scorers.version] = scorers
    return scorers
  }
  func fold(_ record: [UInt8]) {
    _ = state.fold(record, offset: Offset(next), timestamp: EventTime(milliseconds: next))
    next += 1
  }

  /// A scorer that has learnt something, and learns no more.
  static func frozen(seed: UInt64 = 99) throws -> ScorerSet {
    let replica = Replica()
    let run = Run.fresh(Stream(seed: seed, events: 400), cuts: 1)
    while !run.isDone { for block in try run.live(replica.scorers, records: 60).blocks { replica.fold(block) } }
    precondition(replica.state.version.sequence.value > 100)
    return replica.scorers
  }
}

/// Examples of blocks in an order of their own, without their versions: what is taught, wherever blocks were cut.
func examples(_ blocks: [[UInt8]]) throws -> [String] {
  var all: [String] = []
  for bytes in blocks {
    guard case .examples(let block) = try LearningRecord.decode(bytes) else { continue }
    for index in 0..<block.count {
      let header = block.headers[index]
      var text = "\(header.offset.value) \(header.labelOffset.value) \(header.kind) \(header.value) \(header.knownAt)"
      var numbers = 0
      var categories = 0
      for (column, declared) in block.columns.enumerated() {
        let isMissing = block.missing[column * block.count + index]
        switch declared.kind {
        case .number:
          text += " \(isMissing) \(block.numberBits[numbers * block.count + index])"
          numbers += 1
        case .category:
          text += " \(isMissing) \(block.categories[categories * block.count + index])"
          categories += 1
        }
      }
      for contender in 0..<block.contenderCount {
        let score = block.score(contender: contender, example: index)
        text += " \(score.margin.bitPattern) \(score.probability.bitPattern)"
      }
      all.append(text)
    }
  }
  return all.sorted()
}
