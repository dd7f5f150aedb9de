@testable import Features
@testable import Records

/// A small generator with a seed, so that a failure can be played again.
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

enum Cell: Equatable {
  case number(Double)
  case text(String)
  case missing
}

/// One decoded record: cells in the order of the input's fields.
struct TestRecord: Equatable {
  var time: Int64
  var offset: Int64
  var cells: [Cell]
}

extension InputBatch {
  /// Fills the columns as the decoder would.
  func fill(_ records: [TestRecord]) {
    precondition(records.count <= Self.capacity)
    clear()
    count = records.count
    for (index, record) in records.enumerated() {
      offsets[index] = record.offset
      timestamps[index] = record.time
      eventTimes[index] = record.time
      reasons[index] = 0
      for (field, cell) in record.cells.enumerated() {
        let place = field * Self.capacity + index
        numbers[place] = 0
        hashes[place] = 0
        presence[place] = Presence.present.rawValue
        switch cell {
        case .number(let value): numbers[place] = value
        case .text(let text): hashes[place] = Hash64.hash(text)
        case .missing: presence[place] = Presence.null.rawValue
        }
      }
    }
  }
}

/// New York from 2007 on, as the foot of its zone file has it.
func newYork() -> TimeZoneRules {
  var parser = PosixRuleParser(Array("EST5EDT,M3.2.0,M11.1.0".utf8))
  return TimeZoneRules(
    transitions: [0], offsets: [-18_000], initialOffset: -17_762, rule: parser.rule()!)!
}

func testZones(_ name: String) -> TimeZoneRules? { name == "America/New_York" ? newYork() : nil }

/// One input of every type.
let mixedSchema = InputSchema(
  name: "mixed", topic: "mixed",
  fields: [
    FieldDeclaration(name: "x", type: .number), FieldDeclaration(name: "y", type: .number),
    FieldDeclaration(name: "n", type: .integer), FieldDeclaration(name: "b", type: .boolean),
    FieldDeclaration(name: "c", type: .string), FieldDeclaration(name: "d", type: .string),
    FieldDeclaration(name: "t", type: .time), FieldDeclaration(name: "u", type: .time),
  ])

func compiled(_ settings: FeatureSettings) throws -> FeaturePlan {
  try FeaturePlan.compile(settings, zones: testZones).get()
}

func faults(_ settings: FeatureSettings) -> [FeatureFault] {
  switch FeaturePlan.compile(settings, zones: testZones) {
  case .success: return []
  case .failure(let found): return found.faults
  }
}

/// Rows of a group as bits: number, category and mask.
func bits(_ rows: RowGroup, slot: Int) -> [UInt64] {
  let schema = rows.schema
  var all: [UInt64] = []
  for place in 0..<schema.numberCount {
    all.append(UInt64(rows.numbers[slot * schema.numberCount + place].bitPattern))
  }
  for place in 0..<schema.categoryCount {
    all.append(rows.categories[slot * schema.categoryCount + place])
  }
  for column in schema.columns.indices {
    all.append(UInt64(rows.missing[slot * schema.columns.count + column]))
  }
  return all
}

/// The number of a named column; nil where it is missing.
func number(_ rows: RowGroup, _ name: String, slot: Int) -> Float? {
  let schema = rows.schema
  let column = schema.columns.firstIndex { $0.name == name }!
  guard rows.missing[slot * schema.columns.count + column] == 0 else { return nil }
  return rows.numbers[slot * schema.numberCount + schema.places[column]]
}

func category(_ rows: RowGroup, _ name: String, slot: Int) -> UInt64? {
  let schema = rows.schema
  let column = schema.columns.firstIndex { $0.name == name }!
  guard rows.missing[slot * schema.columns.count + column] == 0 else { return nil }
  return rows.categories[slot * schema.categoryCount + schema.places[column]]
}

/// The flagship's inputs, windows and features.
func flagship() -> FeatureSettings {
  func input(
    _ name: String, _ fields: [(String, FieldType)], time: String, late: Int64
  ) -> InputSchema {
    let declared = fields.map { FieldDeclaration(name: $0.0, type: $0.1) }
    return InputSchema(
      name: name, topic: "flights.\(name).v1", fields: declared, idField: 0, keyField: 1,
      eventTimeField: declared.firstIndex { $0.name == time }, latenessMilliseconds: late)
  }
  return FeatureSettings(
    inputs: [
      input(
        "schedules",
        [
          ("flight_id", .string), ("origin", .string), ("dest", .string), ("carrier", .string),
          ("distance", .number), ("sched_dep", .time), ("published_at", .time),
        ], time: "published_at", late: 600_000),
      input(
        "departures",
        [
          ("flight_id", .string), ("origin", .string), ("carrier", .string),
          ("dep_delay", .number), ("departed_at", .time),
        ], time: "departed_at", late: 900_000),
      input(
        "arrivals",
        [
          ("flight_id", .string), ("origin", .string), ("arr_delay", .number), ("arrived_at", .time),
        ], time: "arrived_at", late: 7_200_000),
    ],
    scoredInput: 0, labelInput: 2, target: "arr_delay > 15",
    windows: [
      WindowDeclaration(
        name: "origin_dep", from: 1, by: ["origin"], value: "clamp(dep_delay, -30, 180)",
        sizesMilliseconds: [1_800_000, 7_200_000, 21_600_000], paneMilliseconds: 300_000,
        aggregates: [.count, .mean]),
      WindowDeclaration(
        name: "carrier_dep", from: 1, by: ["carrier"], value: "clamp(dep_delay, -30, 180)",
        sizesMilliseconds: [21_600_000], paneMilliseconds: 900_000, aggregates: [.count, .mean]),
    ],
    features: [
      FeatureDeclaration(
        name: "hour", expression: "hour(sched_dep, 'America/New_York')", kind: .category),
      FeatureDeclaration(name: "carrier", kind: .category),
      FeatureDeclaration(name: "route", expression: "cross(origin, dest)", kind: .category),
      FeatureDeclaration(name: "distance", kind: .number),
      FeatureDeclaration(
        name: "origin_delay_mean_2h", expression: "origin_dep.mean_2h", kind: .number),
      FeatureDeclaration(
        name: "carrier_delay_mean_6h", expression: "carrier_dep.mean_6h", kind: .number),
    ])
}
