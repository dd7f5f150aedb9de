// Method: random streams of events, labels and watermarks run through the join and through an oracle in plain
// dictionaries; every disposition, example and count must agree, also where the state went through bytes in between.
import Records
import Testing

@testable import Learning

struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

let schema = RowSchema([
  RowColumn(name: "a", kind: .number), RowColumn(name: "c", kind: .category),
  RowColumn(name: "b", kind: .number),
])
let contenderCount = 2

/// The row and the scores of an event are a function of its offset, so that anyone can tell what they should be.
final class Scene {
  let rows = RowGroup(schema: schema, capacity: 4)
  let scores = FixedBuffer<ServedScore>(repeating: .absent, count: 3 * contenderCount)

  func write(_ offset: Int64) {
    rows.numbers[2 * 2] = Float(offset) * 0.1
    rows.numbers[2 * 2 + 1] = 0
    rows.categories[2] = UInt64(bitPattern: offset) &* 0x9E37_79B9_7F4A_7C15
    rows.missing[2 * 3] = 0
    rows.missing[2 * 3 + 1] = 0
    rows.missing[2 * 3 + 2] = 1
    scores[2] = ServedScore(margin: Float(offset), probability: 0.25)
    scores[3] = .absent
  }
  static func words(_ offset: Int64) -> [UInt64] {
    [
      UInt64((Float(offset) * 0.1).bitPattern), 0, UInt64(bitPattern: offset) &* 0x9E37_79B9_7F4A_7C15,
      0, 0, 1, UInt64(Float(offset).bitPattern), UInt64(Float(0.25).bitPattern),
      UInt64(ServedScore.absent.margin.bitPattern), UInt64(ServedScore.absent.probability.bitPattern),
    ]
  }
  static func version(_ offset: Int64) -> ModelVersion {
    ModelVersion(lineage: Lineage(2), sequence: Sequence(UInt64(bitPattern: offset) / 7))
  }
}

struct Joined: Equatable, Hashable {
  var offset: Int64
  var labelOffset: Int64
  var kind: ExampleKind
  var value: Float
  var knownAt: Int64
}

func makeBuilder() -> ExampleBlockBuilder {
  ExampleBlockBuilder(schema: schema, contenderCount: contenderCount, planDigest: .zero)
}

/// Takes the examples out of a builder, checking that each row is the one that was scored.
func drain(_ builder: ExampleBlockBuilder) throws -> [Joined] {
  builder.seal()
  var result: [Joined] = []
  for index in 0..<builder.sealedCount {
    guard case .examples(let block) = try LearningRecord.decode(Array(builder.sealed(index))) else {
      throw FormatError(.invalidValue, at: 0)
    }
    let n = block.count
    for (i, header) in block.headers.enumerated() {
      let words: [UInt64] =
        (0..<2).map { UInt64(block.numberBits[$0 * n + i]) } + [block.categories[i]]
        + (0..<3).map { UInt64(block.missing[$0 * n + i]) }
        + (0..<4).map { UInt64(block.scoreBits[$0 * n + i]) }
      #expect(words == Scene.words(header.offset.value))
      #expect(header.version == Scene.version(header.offset.value))
      #expect(header.partition == PartitionID(3) && header.weight == 1)
      result.append(
        Joined(
          offset: header.offset.value, labelOffset: header.labelOffset.value, kind: header.kind,
          value: header.value, knownAt: header.knownAt.milliseconds))
    }
  }
  builder.clear()
  return result
}

/// The rules, written plainly.
struct Oracle {
  struct Event {
    var time: Int64
    var offset: Int64
    var value: Float?
  }
  struct Label {
    var id: String
    var value: Float
    var knownAt: Int64
    var offset: Int64
  }
  var settings: JoinSettings
  var events: [String: Event] = [:]
  var early: [Label] = []
  var watermark = Int64.min
  var counters = JoinCounters()
  var examples: [Joined] = []

  mutating func event(_ id: String, _ time: Int64, _ offset: Int64) -> Bool {
    counters.events += 1
    guard events[id] == nil else {
      counters.duplicateEvents += 1
      return false
    }
    events[id] = Event(time: time, offset: offset)
    let mine = early.filter { $0.id == id }
    early.removeAll { $0.id == id }
    for label in mine { _ = settle(label) }
    return true
  }

  mutating func settle(_ label: Label) -> LabelDisposition {
    let event = events[label.id]!
    if label.knownAt > event.time + settings.horizonMilliseconds {
      counters.late += 1
      return .late
    }
    if event.value == label.value {
      counters.duplicates += 1
      return .duplicate
    }
    let isFirst = event.value == nil
    events[label.id]!.value = label.value
    if isFirst { counters.joined += 1 } else { counters.corrections += 1 }
    examples.append(
      Joined(
        offset: event.offset, labelOffset: label.offset, kind: isFirst ? .matured : .correction,
        value: label.value, knownAt: label.knownAt))
    return isFirst ? .joined : .correction
  }

  mutating func label(_ label: Label) -> LabelDisposition {
    counters.labels += 1
    if events[label.id] != nil { return settle(label) }
    if label.knownAt + settings.horizonMilliseconds < watermark {
      counters.orphans += 1
      return .orphan
    }
    early.append(label)
    guard early.count > settings.earlyLabelsMax else { return .early }
    let first = early.min { ($0.knownAt, $0.offset) < ($1.knownAt, $1.offset) }!
    early.removeAll { $0.offset == first.offset }
    counters.orphans += 1
    return first.offset == label.offset ? .orphan : .early
  }

  mutating func advance(_ to: Int64) {
    guard to > watermark else { return }
    watermark = to
    let over = events.filter { $0.value.time + settings.horizonMilliseconds < to }
      .sorted { ($0.value.time, $0.value.offset) < ($1.value.time, $1.value.offset) }
    for (id, event) in over {
      events[id] = nil
      guard event.value == nil else {
        counters.forgotten += 1
        continue
      }
      counters.expired += 1
      guard settings.atHorizon == .negative else { continue }
      counters.negatives += 1
      examples.append(
        Joined(
          offset: event.offset, labelOffset: -1, kind: .negative, value: 0,
          knownAt: event.time + settings.horizonMilliseconds))
    }
    let orphans = early.filter { $0.knownAt + settings.horizonMilliseconds < to }
    counters.orphans += UInt64(orphans.count)
    early.removeAll { $0.knownAt + settings.horizonMilliseconds < to }
  }
}

extension LabelJoin {
  func event(
    _ id: String, _ time: Int64, _ offset: Int64, _ scene: Scene, _ builder: ExampleBlockBuilder
  ) -> Bool {
    let bytes = Array(id.utf8)
    switch admit(
      idHash: Hash64.hash(id), id: bytes.span.bytes, eventTime: EventTime(milliseconds: time),
      offset: Offset(offset))
    {
    case .duplicate: return false
    case .new(let slot):
      scene.write(offset)
      store(
        slot: slot, rows: scene.rows, rowSlot: 2, version: Scene.version(offset),
        scores: scene.scores, scoreOffset: 2, into: builder)
      return true
    }
  }
  func label(_ label: Oracle.Label, _ builder: ExampleBlockBuilder) -> LabelDisposition {
    let bytes = Array(label.id.utf8)
    return self.label(
      idHash: Hash64.hash(label.id), id: bytes.span.bytes, value: label.value,
      knownAt: EventTime(milliseconds: label.knownAt), offset: Offset(label.offset), into: builder)
  }
  func bytes() -> [UInt8] {
    var writer = ByteWriter()
    encode(into: &writer)
    return writer.bytes
  }
  func copy() throws -> LabelJoin {
    let twin = LabelJoin(
      settings: settings, partition: partition, schema: schema, contenderCount: contenderCount)
    var reader = ByteReader(bytes())
    try twin.restore(from: &reader)
    try reader.expectEnd()
    return twin
  }
}

func makeJoin(_ settings: JoinSettings) -> LabelJoin {
  LabelJoin(
    settings: settings, partition: PartitionID(3), schema: schema, contenderCount: contenderCount,
    capacityHint: 8)
}

@Suite struct LabelJoinTests {
  static func id(_ number: Int) -> String {
    String(repeating: "x", count: number * 7 % 90) + "-\(number)"
  }

  @Test(arguments: 0..<24)
  func `agrees with plain dictionaries, restored from bytes or not`(_ seed: Int) throws {
    var random = SplitMix64(state: UInt64(seed))
    let settings = JoinSettings(
      horizonMilliseconds: 100, atHorizon: seed % 2 == 0 ? .drop : .negative,
      earlyLabelsMax: seed % 3 == 0 ? 5 : 1000)
    var oracle = Oracle(settings: settings)
    var join = makeJoin(settings)
    let never = makeJoin(settings)
    let scene = Scene()
    let builder = makeBuilder()
    let neverBuilder = makeBuilder()
    var examples: [Joined] = []
    var now: Int64 = 1000
    for step in 0..<3000 {
      now += Int64.random(in: 0...3, using: &random)
      let id = Self.id(Int.random(in: 0..<120, using: &random) + step / 40)
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<8:
        let time = now + Int64.random(in: -60...20, using: &random)
        let isNew = oracle.event(id, time, Int64(step))
        #expect(join.event(id, time, Int64(step), scene, builder) == isNew)
        #expect(never.event(id, time, Int64(step), scene, neverBuilder) == isNew)
      case 8..<18:
        let label = Oracle.Label(
          id: id, value: Float(Int.random(in: 0...1, using: &random)),
          knownAt: now + Int64.random(in: -40...120, using: &random), offset: Int64(step))
        let expected = oracle.label(label)
        #expect(join.label(label, builder) == expected)
        #expect(never.label(label, neverBuilder) == expected)
      case 18:
        let mark = now - Int64.random(in: 0...50, using: &random)
        oracle.advance(mark)
        join.advance(labelWatermark: EventTime(milliseconds: mark), into: builder)
        never.advance(labelWatermark: EventTime(milliseconds: mark), into: neverBuilder)
      default:
        examples += try drain(builder)
        join = try join.copy()
      }
      let counters = join.counters
      #expect(counters == oracle.counters)
      #expect(join.earlyLabelCount == oracle.early.count)
      #expect(join.waitingCount + join.settledCount == oracle.events.count)
      #expect(
        counters.labels
          == counters.joined + counters.corrections + counters.duplicates + counters.late
          + counters.orphans + UInt64(join.earlyLabelCount))
      #expect(
        counters.events
          == counters.duplicateEvents + counters.abandonedEvents + counters.expired
          + counters.forgotten + UInt64(join.waitingCount + join.settledCount))
    }
    examples += try drain(builder)
    #expect(examples == oracle.examples)
    #expect(try drain(neverBuilder) == examples)
    #expect(join.bytes() == never.bytes())
    #expect(try join.copy().bytes() == join.bytes())
    #expect(examples.contains { $0.kind == .correction })
  }

  @Test(arguments: 0..<20)
  func `whether events or labels come first makes no difference`(_ seed: Int) throws {
    var random = SplitMix64(state: UInt64(1000 + seed))
    let events = (0..<60).map { (Self.id($0), Int64.random(in: 0...200, using: &random), Int64($0)) }
    let labels = (0..<150).map {
      Oracle.Label(
        id: Self.id(Int.random(in: 0..<70, using: &random)),
        value: Float(Int.random(in: 0...1, using: &random)),
        knownAt: Int64.random(in: 0...400, using: &random), offset: Int64($0))
    }
    var results: [(Set<Joined>, JoinCounters, [UInt8])] = []
    for order in 0..<4 {
      let join = makeJoin(JoinSettings(horizonMilliseconds: 100))
      let builder = makeBuilder()
      let scene = Scene()
      var e = events[...]
      var l = labels[...]
      while !e.isEmpty || !l.isEmpty {
        let takesEvent =
          switch order {
          case 0: !e.isEmpty
          case 1: l.isEmpty
          default: l.isEmpty || (!e.isEmpty && Bool.random(using: &random))
          }
        if takesEvent {
          let (id, time, offset) = e.removeFirst()
          _ = join.event(id, time, offset, scene, builder)
        } else {
          _ = join.label(l.removeFirst(), builder)
        }
      }
      let examples = try drain(builder)
      results.append((Set(examples), join.counters, join.bytes()))
      #expect(Set(examples).count == examples.count)
    }
    for result in results.dropFirst() {
      #expect(result.0 == results[0].0)
      #expect(result.1 == results[0].1)
      #expect(result.2 == results[0].2)
    }
  }

  @Test func `a label that comes while its event is being scored joins when the row is there`() throws {
    let join = makeJoin(JoinSettings(horizonMilliseconds: 100))
    let builder = makeBuilder()
    let scene = Scene()
    let id = Array("e".utf8)
    guard
      case .new(let slot) = join.admit(
        idHash: Hash64.hash("e"), id: id.span.bytes, eventTime: EventTime(milliseconds: 5),
        offset: Offset(1))
    else { Issue.record("not admitted"); return }
    let again = join.admit(
      idHash: Hash64.hash("e"), id: id.span.bytes, eventTime: EventTime(milliseconds: 5),
      offset: Offset(2))
    #expect(again == .duplicate)
    let label = Oracle.Label(id: "e", value: 1, knownAt: 50, offset: 9)
    #expect(join.label(label, builder) == .early)
    scene.write(1)
    join.store(
      slot: slot, rows: scene.rows, rowSlot: 2, version: Scene.version(1), scores: scene.scores,
      scoreOffset: 2, into: builder)
    #expect(try drain(builder).map(\.labelOffset) == [9])
    #expect(join.settledCount == 1 && join.earlyLabelCount == 0)
  }

  @Test func `an abandoned event is forgotten, its labels wait on`() throws {
    let join = makeJoin(JoinSettings(horizonMilliseconds: 100))
    let builder = makeBuilder()
    let id = Array("e".utf8)
    for round in 0..<2 {
      guard
        case .new(let slot) = join.admit(
          idHash: Hash64.hash("e"), id: id.span.bytes, eventTime: EventTime(milliseconds: 5),
          offset: Offset(Int64(round)))
      else { Issue.record("not admitted"); return }
      if round == 0 {
        _ = join.label(Oracle.Label(id: "e", value: 1, knownAt: 50, offset: 9), builder)
      }
      join.abandon(slot: slot)
    }
    #expect(join.earlyLabelCount == 1 && join.counters.abandonedEvents == 2)
    #expect(join.event("e", 5, 7, Scene(), builder))
    #expect(try drain(builder).map(\.offset) == [7])
  }

  @Test func `ids of one hash stay apart`() throws {
    let join = makeJoin(JoinSettings(horizonMilliseconds: 100))
    let builder = makeBuilder()
    let scene = Scene()
    for index in 0..<200 {
      let id = Array(Self.id(index).utf8)
      guard
        case .new(let slot) = join.admit(
          idHash: 42, id: id.span.bytes, eventTime: EventTime(milliseconds: Int64(index)),
          offset: Offset(Int64(index)))
      else { Issue.record("taken for another"); return }
      scene.write(Int64(index))
      join.store(
        slot: slot, rows: scene.rows, rowSlot: 2, version: Scene.version(Int64(index)),
        scores: scene.scores, scoreOffset: 2, into: builder)
    }
    join.advance(labelWatermark: EventTime(milliseconds: 200), into: builder)
    #expect(join.waitingCount == 100)
    for index in 100..<200 {
      let id = Array(Self.id(index).utf8)
      #expect(
        join.label(
          idHash: 42, id: id.span.bytes, value: 1, knownAt: EventTime(milliseconds: 200),
          offset: Offset(Int64(index)), into: builder) == .joined)
    }
    #expect(try drain(builder).map(\.offset) == (100..<200).map { Int64($0) })
  }

  @Test func `memory stops growing once the horizon is full`() {
    let join = makeJoin(JoinSettings(horizonMilliseconds: 1000, earlyLabelsMax: 100))
    let builder = makeBuilder()
    let scene = Scene()
    var after: [Int] = []
    for step in 0..<40_000 {
      let time = Int64(step)
      _ = join.event("event-\(step)", time, time, scene, builder)
      _ = join.label(
        Oracle.Label(id: "event-\(step - 300)", value: 1, knownAt: time, offset: time), builder)
      _ = join.label(Oracle.Label(id: "none-\(step)", value: 1, knownAt: time, offset: -time), builder)
      join.advance(labelWatermark: EventTime(milliseconds: time), into: builder)
      builder.clear()
      if step == 4000 || step == 39_999 { after.append(join.byteCount) }
    }
    #expect(after[0] == after[1])
  }

  @Test func `times at the ends of the range neither trap nor expire wrongly`() throws {
    let join = makeJoin(JoinSettings(horizonMilliseconds: .max))
    let builder = makeBuilder()
    let scene = Scene()
    for (index, time) in [Int64.min, -1, 0, .max].enumerated() {
      #expect(join.event("\(index)", time, Int64(index), scene, builder))
      let label = Oracle.Label(id: "\(index)", value: 1, knownAt: .max, offset: Int64(index))
      #expect(join.label(label, builder) == (time < 0 ? .late : .joined))
    }
    join.advance(labelWatermark: EventTime(milliseconds: .max), into: builder)
    #expect(join.waitingCount + join.settledCount == 2)
  }

  @Test func `bytes that are no state are refused and leave the join empty`() throws {
    var random = SplitMix64(state: 77)
    let join = makeJoin(JoinSettings(horizonMilliseconds: 100))
    let builder = makeBuilder()
    let scene = Scene()
    for index in 0..<20 {
      _ = join.event(Self.id(index), Int64(index), Int64(index), scene, builder)
      _ = join.label(
        Oracle.Label(id: Self.id(index * 2), value: 1, knownAt: 60, offset: Int64(index)), builder)
    }
    let whole = join.bytes()
    let twin = makeJoin(JoinSettings(horizonMilliseconds: 100))
    for count in 0..<whole.count {
      #expect(throws: FormatError.self) {
        var reader = ByteReader(Array(whole[0..<count]))
        try twin.restore(from: &reader)
      }
      #expect(twin.waitingCount + twin.settledCount + twin.earlyLabelCount == 0)
    }
    for _ in 0..<5000 {
      var bytes = whole
      for _ in 0..<3 {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      var reader = ByteReader(bytes)
      do {
        try twin.restore(from: &reader)
        // Whatever was believed must be usable.
        twin.advance(labelWatermark: EventTime(milliseconds: .max), into: builder)
        builder.clear()
      } catch {}
    }
    let other = makeJoin(JoinSettings(horizonMilliseconds: 101))
    #expect(throws: FormatError.self) {
      var reader = ByteReader(whole)
      try other.restore(from: &reader)
    }
  }
}
