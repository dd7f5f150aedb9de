import Testing

@testable import Features
@testable import Records

// The declaration of the flight pipeline, fed by hand.

@Test func `forty late departures from an origin are the mean its next schedule reads`() throws {
  let plan = try compiled(flagship())
  let features = PartitionFeatures(plan: plan)
  let start: Int64 = 1_372_701_600_000  // 2013-07-01T18:00:00Z
  let departures = InputBatch(schema: plan.settings.inputs[1])
  let departed = PreparedBatch(plan: plan, input: 1)
  for part in 0..<2 {
    departures.fill(
      (0..<20).map {
        TestRecord(
          time: start, offset: Int64(part * 20 + $0),
          cells: [
            .text("A"), .text("EWR"), .text("UA"), .number(140), .number(Double(start)),
          ])
      })
    plan.prepare(departures, input: 1, into: departed)
    for record in 0..<20 {
      features.observe(
        input: 1, prepared: departed, record: record, at: EventTime(milliseconds: start))
    }
  }
  let schedules = InputBatch(schema: plan.settings.inputs[0])
  func schedule(_ origin: String) -> TestRecord {
    TestRecord(
      time: start + 3_600_000, offset: 0,
      cells: [
        .text("B"), .text(origin), .text("IAH"), .text("UA"), .number(1400),
        .number(Double(start + 10_800_000)), .number(Double(start + 3_600_000)),
      ])
  }
  schedules.fill([schedule("EWR"), schedule("JFK")])
  let prepared = PreparedBatch(plan: plan, input: 0)
  plan.prepare(schedules, input: 0, into: prepared)
  let group = FeatureGroup(plan: plan)
  for record in 0..<2 {
    features.read(
      prepared: prepared, record: record, at: EventTime(milliseconds: start + 3_600_000),
      into: group, slot: record)
  }
  features.finish(group)
  let rows = group.rows
  #expect(rows.count == 2)
  #expect(number(rows, "origin_delay_mean_2h", slot: 0) == 140)
  #expect(number(rows, "origin_delay_mean_2h", slot: 1) == nil)
  #expect(number(rows, "carrier_delay_mean_6h", slot: 1) == 140)
  #expect(number(rows, "distance", slot: 0) == 1400)
  // 21:00 UTC is 17 o'clock in New York in July.
  #expect(category(rows, "hour", slot: 0) == Features.category(ofNumber: 17))
  #expect(category(rows, "carrier", slot: 0) == Hash64.hash("UA"))
  #expect(
    category(rows, "route", slot: 0) == Hash64.combine(Hash64.hash("EWR"), Hash64.hash("IAH")))
  #expect(plan.windowColumnNames == ["origin_delay_mean_2h", "carrier_delay_mean_6h"])
  #expect(plan.longestWindowMilliseconds == 21_600_000)
  #expect(features.watermark(input: 1) == EventTime(milliseconds: start - 900_000))
  #expect(features.watermark(input: 0) == nil)
}

@Test func `the target of a label is its expression, and missing where a field is`() throws {
  let plan = try compiled(flagship())
  let batch = InputBatch(schema: plan.settings.inputs[2])
  batch.fill(
    [.number(15), .number(16), .missing].enumerated().map {
      TestRecord(
        time: 0, offset: Int64($0), cells: [.text("A"), .text("EWR"), $1, .number(0)])
    })
  let prepared = PreparedBatch(plan: plan, input: 2)
  plan.prepare(batch, input: 2, into: prepared)
  #expect(prepared.target(0) == 0)
  #expect(prepared.target(1) == 1)
  #expect(prepared.target(2) == nil)
}

@Test func `check can print what was derived`() throws {
  let lines = try compiled(flagship()).describe()
  #expect(
    lines == [
      "window origin_dep: 30m 2h 6h of departures by origin, 76 panes of 5m, value from -30.0 to "
        + "180.0 (derived) in steps of 1.52587890625e-05 (derived), 1024 bytes a key, at most 1048576 "
        + "keys a partition",
      "window carrier_dep: 6h of departures by carrier, 26 panes of 15m, value from -30.0 to 180.0 "
        + "(derived) in steps of 1.52587890625e-05 (derived), 384 bytes a key, at most 1048576 keys a "
        + "partition",
      "row: 6 features, 2 of them from windows",
    ])
}
