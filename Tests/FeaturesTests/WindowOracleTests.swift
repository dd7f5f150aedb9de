import Testing

@testable import Features
@testable import Records

// Every aggregate against a recount from the raw records, on random streams with disorder, late
// records, gaps, missing keys and values; then the laws that make recovery possible.

private let windowSchemaFields = [
  FieldDeclaration(name: "k", type: .string), FieldDeclaration(name: "j", type: .integer),
  FieldDeclaration(name: "v", type: .integer), FieldDeclaration(name: "ok", type: .boolean),
]

struct Declared {
  var settings: FeatureSettings
  var window: Int
  var aggregate: Aggregate
  var size: Int64
  var column: String
}

/// Windows over the scored input and over a feed, with and without filter; one column an aggregate and size.
func windowSettings(keysMax: Int = 1 << 20) -> FeatureSettings {
  let inputs = [
    InputSchema(
      name: "scored", topic: "s", fields: windowSchemaFields, latenessMilliseconds: 20_000),
    InputSchema(name: "feed", topic: "f", fields: windowSchemaFields, latenessMilliseconds: 35_000),
  ]
  let windows = [
    WindowDeclaration(
      name: "feed_k", from: 1, by: ["k"], value: "v", sizesMilliseconds: [120_000, 30_000, 60_000],
      paneMilliseconds: 10_000, aggregates: Aggregate.allCases, range: -1000...1000),
    WindowDeclaration(
      name: "own", from: 0, by: ["k", "j"], value: "clamp(v, -50, 50)", filter: "ok",
      sizesMilliseconds: [60_000], aggregates: [.count, .mean, .std]),
    WindowDeclaration(
      name: "seen", from: 1, by: ["j"], sizesMilliseconds: [40_000, 200_000],
      paneMilliseconds: 20_000, aggregates: [.count, .sinceLast]),
  ]
  var features: [FeatureDeclaration] = []
  for window in windows {
    for size in window.sizesMilliseconds {
      for aggregate in window.aggregates {
        let reference = "\(window.name).\(aggregate.rawValue)_\(size / 1000)s"
        features.append(
          FeatureDeclaration(name: reference, expression: reference, kind: .number))
      }
    }
  }
  // After the windows: over fields, over results, shared, a category, and one carried whole.
  features += [
    FeatureDeclaration(
      name: "ratio", expression: "feed_k.sum_30s / feed_k.count_120s + v", kind: .number),
    FeatureDeclaration(
      name: "filled", expression: "coalesce(feed_k.mean_60s, 0) > 10", kind: .number),
    FeatureDeclaration(
      name: "banded", expression: "cross(k, bucket(feed_k.count_120s, 1, 5))", kind: .category),
    FeatureDeclaration(name: "k", kind: .category),
    FeatureDeclaration(name: "v", kind: .number, missing: .zero),
  ]
  return FeatureSettings(
    inputs: inputs, scoredInput: 0, windows: windows, features: features, windowKeysMax: keysMax)
}

struct StreamEvent: Equatable {
  var input: Int
  var record: TestRecord
}

/// Time moves on by steps, sometimes far; records are behind it by up to `disorder`, some by more.
func stream(
  count: Int, seed: UInt64, disorder: Int64, lateShare: Int = 0, keys: Int = 5, gaps: Bool = true
) -> [StreamEvent] {
  var random = SplitMix(seed)
  var now: Int64 = -300_000
  return (0..<count).map { index in
    now += Int64.random(in: 0...3000, using: &random)
    if gaps, Int.random(in: 0..<80, using: &random) == 0 {
      now += Int64.random(in: 20_000...400_000, using: &random)
    }
    var time = now - Int64.random(in: 0...disorder, using: &random)
    if lateShare > 0, Int.random(in: 0..<lateShare, using: &random) == 0 {
      time -= Int64.random(in: 0...400_000, using: &random)
    }
    func missing() -> Bool { Int.random(in: 0..<12, using: &random) == 0 }
    return StreamEvent(
      input: Int.random(in: 0...1, using: &random),
      record: TestRecord(
        time: time, offset: Int64(index),
        cells: [
          missing() ? .missing : .text("k\(Int.random(in: 0..<keys, using: &random))"),
          missing() ? .missing : .number(Double(Int.random(in: 0..<3, using: &random))),
          missing() ? .missing : .number(Double(Int.random(in: -1200...1200, using: &random))),
          missing() ? .missing : .number(Double(Int.random(in: 0...1, using: &random))),
        ]))
  }
}

/// Drives a partition over a stream: batches of `cut` records an input, groups of `group` rows.
struct Driver {
  let plan: FeaturePlan
  var features: PartitionFeatures
  var rows: [[UInt64]] = []

  init(_ plan: FeaturePlan) {
    self.plan = plan
    features = PartitionFeatures(plan: plan)
  }

  mutating func run(_ events: [StreamEvent], cut: Int = 32, group size: Int = 32, reads: Bool = true)
  {
    var prepared: [Int: (PreparedBatch, Int)] = [:]
    for input in plan.settings.inputs.indices {
      let mine = events.indices.filter { events[$0].input == input }
      for start in stride(from: 0, to: mine.count, by: cut) {
        let chunk = mine[start..<min(start + cut, mine.count)]
        let batch = InputBatch(schema: plan.settings.inputs[input])
        batch.fill(chunk.map { events[$0].record })
        let ready = PreparedBatch(plan: plan, input: input)
        plan.prepare(batch, input: input, into: ready)
        for (place, index) in chunk.enumerated() { prepared[index] = (ready, place) }
      }
    }
    let group = FeatureGroup(plan: plan)
    func flush(_ rows: inout [[UInt64]]) {
      features.finish(group)
      for slot in 0..<group.rows.count { rows.append(bits(group.rows, slot: slot)) }
      group.clear()
    }
    for (index, event) in events.enumerated() {
      let (ready, place) = prepared[index]!
      let time = EventTime(milliseconds: event.record.time)
      if reads, event.input == plan.settings.scoredInput {
        features.read(
          prepared: ready, record: place, at: time, into: group, slot: group.rows.count)
        if group.rows.count == size { flush(&rows) }
      }
      features.observe(input: event.input, prepared: ready, record: place, at: time)
    }
    flush(&rows)
  }

  var state: [UInt8] {
    var writer = ByteWriter()
    features.encode(into: &writer)
    return writer.bytes
  }

  mutating func restore(_ bytes: [UInt8]) throws {
    features = PartitionFeatures(plan: plan)
    var reader = ByteReader(bytes)
    try features.restore(from: &reader)
    try reader.expectEnd()
  }
}

private func floorPane(_ time: Int64, _ pane: Int64) -> Int64 {
  Int64((Double(time) / Double(pane)).rounded(.down))
}

/// What a window says, by going through every record seen so far.
private func recount(
  _ window: WindowDeclaration, pane: Int64, panes: Int64, _ aggregate: Aggregate, _ size: Int64,
  _ seen: [StreamEvent], _ event: TestRecord, bound: Double
) -> Double? {
  let names = windowSchemaFields.map(\.name)
  func key(_ record: TestRecord) -> [Cell]? {
    let cells = window.by.map { record.cells[names.firstIndex(of: $0)!] }
    return cells.contains(.missing) ? nil : cells
  }
  guard let wanted = key(event) else { return nil }
  let feed = seen.filter { $0.input == window.from }.map(\.record)
  let newest = feed.map { floorPane($0.time, pane) }.max() ?? 0
  let now = floorPane(event.time, pane)
  var records: [(time: Int64, offset: Int64, value: Double)] = []
  for record in feed {
    let at = floorPane(record.time, pane)
    guard key(record) == wanted, at <= now, at > now - size / pane, at > newest - panes else {
      continue
    }
    if !window.filter.isEmpty, record.cells[3] != .number(1) { continue }
    var value = 0.0
    if !window.value.isEmpty {
      guard case .number(let v) = record.cells[2] else { continue }
      value = min(max(v, -bound), bound)
    }
    records.append((record.time, record.offset, value))
  }
  let values = records.map(\.value)
  let last = records.max { ($0.time, $0.offset) < ($1.time, $1.offset) }
  switch aggregate {
  case .count: return Double(values.count)
  case .sum: return values.reduce(0, +)
  case .mean: return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  case .std:
    guard !values.isEmpty else { return nil }
    let mean = values.reduce(0, +) / Double(values.count)
    return (values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(values.count))
      .squareRoot()
  case .min: return values.min()
  case .max: return values.max()
  case .last: return last?.value
  case .sinceLast: return last.map { Double(max(0, event.time - $0.time)) / 1000 }
  }
}

@Test(arguments: [(1, 0, 0), (2, 15_000, 0), (3, 30_000, 10), (4, 90_000, 3)] as [(UInt64, Int64, Int)])
func `each aggregate equals a recount from the raw records`(
  _ seed: UInt64, _ disorder: Int64, _ lateShare: Int
) throws {
  let settings = windowSettings()
  let plan = try compiled(settings)
  let events = stream(count: 700, seed: seed, disorder: disorder, lateShare: lateShare)
  var driver = Driver(plan)
  driver.run(events)
  let panes: [Int64] = plan.windows.map { $0.layout.paneMilliseconds }
  let counts: [Int64] = plan.windows.map { Int64($0.layout.paneCount) }
  let schema = plan.rowSchema
  var row = 0
  var compared = 0
  var wrong: [String] = []
  for (index, event) in events.enumerated() where event.input == 0 {
    let seen = Array(events[..<index])
    let found = driver.rows[row]
    row += 1
    let maskStart = schema.numberCount + schema.categoryCount
    var column = 0
    for (w, window) in settings.windows.enumerated() {
      for size in window.sizesMilliseconds {
        for aggregate in window.aggregates {
          let expected = recount(
            window, pane: panes[w], panes: counts[w], aggregate, size, seen, event.record,
            bound: w == 0 ? 1000 : 50)
          let missing = found[maskStart + column] == 1
          if missing != (expected == nil) {
            wrong.append("\(schema.columns[column].name) row \(row): missing \(missing)")
          }
          if let expected, !missing {
            let value = Float(bitPattern: UInt32(found[schema.places[column]]))
            let tolerance = aggregate == .std ? 1e-4 + abs(expected) * 1e-6 : abs(expected) * 1e-7
            if abs(Double(value) - expected) > tolerance {
              wrong.append("\(schema.columns[column].name) row \(row): \(value) for \(expected)")
            }
            if expected != 0 { compared += 1 }
          }
          column += 1
        }
      }
    }
  }
  #expect(wrong == [])
  #expect(compared > 1500)
  if lateShare > 0 { #expect(driver.features.counters.late[0] > 0) }
  #expect(driver.features.counters.clamped[0] > 0)
}

@Test func `where batches and groups are cut does not matter`() throws {
  let plan = try compiled(windowSettings())
  let events = stream(count: 1500, seed: 21, disorder: 30_000, lateShare: 10)
  var whole = Driver(plan)
  whole.run(events)
  for (cut, group) in [(1, 1), (3, 32), (31, 7)] {
    var other = Driver(plan)
    other.run(events, cut: cut, group: group)
    #expect(other.rows == whole.rows)
    #expect(other.state == whole.state)
  }
}

@Test func `a partition restored in the middle goes on as if never stopped, bit for bit`() throws {
  let plan = try compiled(windowSettings(keysMax: 6))
  let events = stream(count: 2000, seed: 31, disorder: 30_000, lateShare: 8, keys: 12)
  var whole = Driver(plan)
  whole.run(events)
  #expect(whole.features.counters.refused[0] > 0)
  for stop in [1, 17, 500, 1111, 1999] {
    var first = Driver(plan)
    first.run(Array(events[..<stop]))
    let state = first.state
    var second = Driver(plan)
    try second.restore(state)
    #expect(second.state == state)
    second.rows = first.rows
    second.run(Array(events[stop...]))
    #expect(second.rows == whole.rows)
    #expect(second.state == whole.state)
  }
}

@Test func `reading changes nothing that can be seen`() throws {
  let plan = try compiled(windowSettings())
  let events = stream(count: 800, seed: 41, disorder: 30_000, lateShare: 10)
  var reading = Driver(plan)
  reading.run(events)
  var blind = Driver(plan)
  blind.run(events, reads: false)
  #expect(reading.state == blind.state)
}

@Test func `the order of records within the lateness changes neither state nor later reads`() throws {
  let plan = try compiled(windowSettings())
  var random = SplitMix(51)
  // Shuffled within spans of five seconds, so that nothing falls behind by more than the lateness.
  // Whole multiples of four seconds, so that many records share an event time and offsets decide.
  let ordered = stream(count: 900, seed: 52, disorder: 0, gaps: false).map { event in
    var event = event
    event.record.time = event.record.time / 4000 * 4000
    return event
  }
  var shuffled = ordered
  for start in stride(from: 0, to: ordered.count, by: 12) {
    shuffled[start..<min(start + 12, ordered.count)].shuffle(using: &random)
  }
  let end = ordered.last!.record.time
  let probe = (0..<24).map { (index: Int) -> StreamEvent in
    let cells: [Cell] = [
      .text("k\(index % 5)"), .number(Double(index % 3)), .number(1), .number(1),
    ]
    let time = end + Int64(index * 5000)
    return StreamEvent(
      input: 0, record: TestRecord(time: time, offset: Int64(10_000 + index), cells: cells))
  }
  var a = Driver(plan)
  a.run(ordered, reads: false)
  var b = Driver(plan)
  b.run(shuffled, reads: false)
  #expect(a.features.counters.late == [0, 0, 0])
  #expect(a.state == b.state)
  a.run(probe)
  b.run(probe)
  #expect(a.rows == b.rows && !a.rows.isEmpty)
}

@Test func `a window sees only records of its own input`() throws {
  let plan = try compiled(windowSettings())
  let events = stream(count: 600, seed: 61, disorder: 10_000)
  var mixed = Driver(plan)
  mixed.run(events, reads: false)
  var feedOnly = Driver(plan)
  feedOnly.run(events.filter { $0.input == 1 }, reads: false)
  // Same panes of the feed's windows, whatever the scored input did.
  #expect(mixed.features.counters.keys[0] == feedOnly.features.counters.keys[0])
  feedOnly.run(events.filter { $0.input == 0 }, reads: false)
  #expect(mixed.state == feedOnly.state)
}

@Test func `keys expire by the time of their input and their memory is used again`() throws {
  let plan = try compiled(windowSettings())
  var driver = Driver(plan)
  var bytes = 0
  for round in 0..<60 {
    driver.run(
      (0..<200).map { (index: Int) -> StreamEvent in
        let number = round * 200 + index
        let cells: [Cell] = [
          .text("k\(number)"), .number(Double(number)), .number(1), .number(1),
        ]
        let time = Int64(round) * 600_000 + Int64(index)
        return StreamEvent(
          input: 1, record: TestRecord(time: time, offset: Int64(number), cells: cells))
      })
    if round == 2 { bytes = driver.features.stateBytes }
  }
  #expect(driver.features.stateBytes <= bytes)
  #expect(driver.features.counters.refused == [0, 0, 0])
}

@Test func `a full window refuses new keys, says so, and takes them once old ones expired`() throws {
  let plan = try compiled(windowSettings(keysMax: 3))
  var driver = Driver(plan)
  func event(_ key: String, _ time: Int64) -> StreamEvent {
    StreamEvent(
      input: 1,
      record: TestRecord(
        time: time, offset: time, cells: [.text(key), .missing, .number(1), .number(1)]))
  }
  driver.run(["a", "b", "c", "d", "a"].enumerated().map { event($1, Int64($0)) })
  #expect(driver.features.counters.refused[0] == 1)
  #expect(driver.features.counters.keys[0] == 3)
  driver.run([event("d", 1_000_000), event("e", 1_000_001)])
  #expect(driver.features.counters.refused[0] == 1)
  #expect(driver.features.counters.keys[0] == 2)
}

@Test func `damaged state throws or is whole, and never traps`() throws {
  let plan = try compiled(windowSettings())
  var driver = Driver(plan)
  driver.run(stream(count: 50, seed: 71, disorder: 20_000))
  let state = driver.state
  for count in 0..<state.count {
    #expect(throws: FormatError.self) { try driver.restore(Array(state[..<count])) }
  }
  var random = SplitMix(72)
  let more = stream(count: 12, seed: 73, disorder: 20_000)
  for at in state.indices {
    var bytes = state
    bytes[at] ^= UInt8.random(in: 1...255, using: &random)
    if (try? driver.restore(bytes)) != nil {
      driver.run(more)
      _ = driver.state
    }
  }
  // Another plan's state is refused.
  let other = try compiled(windowSettings(keysMax: 99))
  var stranger = Driver(other)
  #expect(throws: FormatError.self) { try stranger.restore(state) }
}

@Test func `no event time traps, however far`() throws {
  let plan = try compiled(windowSettings())
  var driver = Driver(plan)
  let times: [Int64] = [0, .max, .min, .max - 1, 1 << 54, -(1 << 54), 5]
  var events: [StreamEvent] = []
  for (index, time) in times.enumerated() {
    let cells: [Cell] = [.text("k"), .number(1), .number(1), .number(1)]
    let record = TestRecord(time: time, offset: Int64(index), cells: cells)
    events += [StreamEvent(input: 0, record: record), StreamEvent(input: 1, record: record)]
  }
  driver.run(events)
  let state = driver.state
  try driver.restore(state)
  #expect(driver.state == state)
}
