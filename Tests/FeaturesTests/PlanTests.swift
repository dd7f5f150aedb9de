import Testing

@testable import Features
@testable import Records

// Faults with their places; what is derived; what the digest covers.

@Test func `all faults of a declaration are told at once, each at its place`() {
  var settings = flagship()
  settings.windows[0].value = "clamp(dep_dely, -30, 180)"
  settings.windows[0].by = ["origin", "plane"]
  settings.windows[1].from = 2
  settings.windows[1].value = ""
  settings.windows[1].paneMilliseconds = 700_000
  settings.windows.append(
    WindowDeclaration(
      name: "origin_dep", from: 1, by: [], filter: "dep_delay", sizesMilliseconds: [],
      aggregates: []))
  settings.features[0].expression = "hour(sched_dep, 'America/New_Yrok')"
  settings.features[1].name = "carrer"
  settings.features[2].missing = .zero
  settings.features[3].kind = .category
  settings.features[4].expression = "origin_dep.mean_3h"
  settings.features[5].expression = "carrier_dep.p90_6h"
  settings.features.append(FeatureDeclaration(name: "route", expression: "origin", kind: .number))
  settings.target = "arr_delay"
  let found = faults(settings)
  let places = found.map { "\($0.path) \($0.column.map(String.init) ?? "-")" }
  #expect(
    Set(places) == [
      "windows[0].by -", "windows[0].value 6", "windows[1].from -", "windows[1].by -",
      "windows[1].value -", "windows[1].pane -", "windows[2].name -", "windows[2].sizes -",
      "windows[2].aggregates -", "windows[2].by -", "windows[2].filter 0", "features[0].expr 16",
      "features[1].name -", "features[2].missing -", "features[4].expr 11", "features[5].expr 12",
      "features[6].name -", "features[6].type -", "labels.target 0",
    ])
  func hint(_ path: String) -> String? { found.first { $0.path == path }?.hint }
  #expect(hint("windows[0].value") == "did you mean 'dep_delay'?")
  #expect(hint("features[1].name") == "did you mean 'carrier'?")
  #expect(hint("features[4].expr") == "sizes: 30m, 2h, 6h")
}

@Test func `a fault in one part hides none in another`() {
  var settings = flagship()
  settings.windows[0].sizesMilliseconds = []
  settings.features[4].expression = "origin_dep.mean_2h +"
  settings.features[5].expression = "nothing"
  #expect(faults(settings).count == 3)
}

@Test(
  arguments: [
    ("clamp(x, -30, 180)", nil, nil, 0x1p-16, -30, 180), ("n", nil, nil, 1, -0x1p29, 0x1p29),
    ("x", nil, nil, 0x1p-9, -0x1p20, 0x1p20), ("x", 0.5, nil, 0.5, -0x1p28, 0x1p28),
    ("x", nil, 0...1, 0x1p-23, 0, 1), ("if(b, 1, 0)", nil, nil, 1, 0, 1), ("b", nil, nil, 1, 0, 1),
    ("hour(t, 'UTC')", nil, nil, 1, 0, 23), ("bucket(x, 1, 2, 3) * 2", nil, nil, 1, 0, 6),
    ("abs(clamp(x, -8, 2))", nil, nil, 0x1p-20, 0, 8), ("floor(clamp(x, 0, 9.5))", nil, nil, 1, 0, 9),
  ] as [(String, Double?, ClosedRange<Double>?, Double, Double, Double)])
func `steps and range follow from the expression`(
  _ value: String, _ resolution: Double?, _ range: ClosedRange<Double>?, _ step: Double,
  _ lower: Double, _ upper: Double
) throws {
  let plan = try compiled(
    FeatureSettings(
      inputs: [mixedSchema], scoredInput: 0,
      windows: [
        WindowDeclaration(
          name: "w", from: 0, by: ["c"], value: value, sizesMilliseconds: [60_000],
          aggregates: [.mean], resolution: resolution, range: range)
      ], features: [FeatureDeclaration(name: "f", expression: "w.mean", kind: .number)]))
  let fixed = plan.windows[0].fixedPoint
  #expect(fixed.resolution == step)
  #expect(fixed.lower == lower && fixed.upper == upper)
}

@Test func `panes divide every size`() {
  var random = SplitMix(81)
  for _ in 0..<2000 {
    let unit = [1, 1000, 7000, 60_000, 3_600_000].randomElement(using: &random)!
    let sizes = (0..<Int.random(in: 1...4, using: &random)).map { _ in
      Int64(unit * Int.random(in: 1...48, using: &random))
    }
    let pane = WindowLayout.derivedPane(sizesMilliseconds: sizes)
    #expect(pane > 0 && sizes.allSatisfy { $0 % pane == 0 })
  }
  #expect(WindowLayout.derivedPane(sizesMilliseconds: [3_600_000]) == 300_000)
}

@Test func `the digest covers what rows depend on, and nothing else`() throws {
  let base = try compiled(flagship()).digest
  #expect(try compiled(flagship()).digest == base)
  var same = flagship()
  same.inputs[0].topic = "elsewhere"
  #expect(try compiled(same).digest == base)
  let changes: [(inout FeatureSettings) -> Void] = [
    { $0.windows[0].value = "clamp(dep_delay, -30, 181)" }, { $0.windows[0].filter = "dep_delay > 0" },
    { $0.windows[0].sizesMilliseconds[2] *= 2 }, { $0.windows[1].paneMilliseconds = 300_000 },
    { $0.windows[1].resolution = 0.5 }, { $0.features[0].expression = "hour(sched_dep, 'UTC')" },
    { $0.features[3].missing = .zero }, { $0.features[3].name = "miles"
      $0.features[3].expression = "distance" }, { $0.target = "arr_delay > 16" },
    { $0.inputs[1].latenessMilliseconds += 1 }, { $0.windowKeysMax -= 1 },
  ]
  for change in changes {
    var settings = flagship()
    change(&settings)
    #expect(try compiled(settings).digest != base)
  }
  // New rules for a zone are another plan.
  let moved = FeaturePlan.compile(flagship()) { _ in .utc }
  #expect(try moved.get().digest != base)
}

@Test func `a window that no feature uses is not kept`() throws {
  var settings = flagship()
  settings.features.removeLast()
  let plan = try compiled(settings)
  #expect(plan.windows.count == 1)
  #expect(plan.describe().contains("window carrier_dep: no feature uses it, so it is not kept"))
}

@Test func `rows hold finite numbers or a mark`() throws {
  let plan = try compiled(
    FeatureSettings(
      inputs: [mixedSchema], scoredInput: 0,
      features: [
        FeatureDeclaration(name: "huge", expression: "x * 1e200", kind: .number),
        FeatureDeclaration(name: "y", kind: .number, missing: .zero),
        FeatureDeclaration(name: "n", kind: .category), FeatureDeclaration(name: "b", kind: .number),
        FeatureDeclaration(name: "d", kind: .category),
      ]))
  let batch = InputBatch(schema: mixedSchema)
  batch.fill([sample])
  let prepared = PreparedBatch(plan: plan, input: 0)
  plan.prepare(batch, input: 0, into: prepared)
  let group = FeatureGroup(plan: plan)
  PartitionFeatures(plan: plan).read(
    prepared: prepared, record: 0, at: EventTime(milliseconds: 0), into: group, slot: 0)
  plan.finish(group)
  #expect(number(group.rows, "huge", slot: 0) == nil)
  #expect(number(group.rows, "y", slot: 0) == 0)
  #expect(number(group.rows, "b", slot: 0) == 1)
  #expect(category(group.rows, "n", slot: 0) == Features.category(ofNumber: -7))
  #expect(category(group.rows, "d", slot: 0) == nil)
}

@Test func `the key table holds what a dictionary holds, over growth and expiry`() {
  var random = SplitMix(91)
  var table = KeyTable(blockBytes: 64)
  var twin: [UInt64: Int64] = [:]
  for round in 0..<20_000 {
    let key = UInt64.random(in: 1...3000, using: &random) &* 0x1_0000_0001
    let stamp = Int64(round)
    if table.find(key) == nil {
      // Only what was old enough to be swept may be gone.
      #expect((twin[key] ?? .min) <= stamp - 2000)
      _ = table.insert(key, stamp: stamp)
      twin[key] = stamp
    } else {
      #expect(twin[key] != nil)
    }
    if round % 50 == 0 { table.sweep(slots: 300, through: stamp - 2000) }
    if round % 1000 == 0 {
      let smallest = table.sweepAll(through: stamp - 2500)
      for (key, value) in twin where table.find(key) == nil {
        #expect(value <= stamp - 2000)
        twin[key] = nil
      }
      #expect(twin.values.allSatisfy { $0 > stamp - 2500 })
      #expect(smallest == twin.values.min() ?? KeyTable.freeStamp)
      #expect(table.count == twin.count)
      #expect(table.sortedKeys(above: .min) == twin.keys.sorted())
    }
  }
}
