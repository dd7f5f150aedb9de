// The offline runs: play files are run alike every time, and a live run is computed again from its taps, byte for byte.
import Engine
import Foundation
import Pipeline
import Records
import Testing

@testable import Worker

@Suite struct OfflineReplayTests {
  private func replay(
    _ file: String, partitions: Int = 1, unit: Int = 256, _ emission: OfflineReplay.Emission? = nil
  ) throws -> (report: OfflineReport, output: [String]) {
    let (settings, features) = try Deployed.load("card-fraud")
    var options = OfflineReplay.Options()
    options.partitions = partitions
    options.unitRecords = unit
    options.emission = emission
    var bytes: [UInt8] = []
    let report = try OfflineReplay(settings: settings, features: features, options: options)
      .run([file]) { bytes += $0 }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    return (report, lines)
  }

  @Test func `every record comes to one end, whatever the partitions and units`() throws {
    let scratch = Scratch()
    let lines = payments(seed: 1, count: 900)
    let file = scratch.write("play.ndjson", lines.map(\.text))
    for (partitions, unit) in [(1, 256), (4, 64), (3, 5_000)] {
      let (report, output) = try replay(file, partitions: partitions, unit: unit, .predictions)
      #expect(report.imbalances.isEmpty)
      #expect(report.recordCount == UInt64(lines.count))
      #expect(report.predictions == 900 && output.count == 900)
      let ids = try output.map { try #require(JSONValue(parsing: $0)["event_id"]?.string) }
      #expect(Set(ids).count == 900)
      #expect(report.accounting.labelsJoined > 500)
      #expect(report.accounting.labelsDuplicate > 10 && report.accounting.labelsRejected > 10)
      #expect(report.contenders.map(\.name) == ["champion", "no-logins", "base-rate"])
      #expect(report.contenders[0].summary.count == report.accounting.labelsJoined)
      #expect(report.contenders[0].gap.rows > 0 && report.contenders[0].gap.probabilityMax < 0.02)
      #expect(report.windowKeys > 30 && report.bytesPerKey > 0)
    }
  }

  @Test func `the same files give the same bytes and the same model`() throws {
    let scratch = Scratch()
    let file = scratch.write("play.ndjson", payments(seed: 2, count: 500).map(\.text))
    for emission in OfflineReplay.Emission.allCases {
      let first = try replay(file, partitions: 2, emission)
      let second = try replay(file, partitions: 2, emission)
      #expect(first.output == second.output && !first.output.isEmpty)
      #expect(first.report.stateHash == second.report.stateHash)
      for line in first.output { #expect(throws: Never.self) { try JSONValue(parsing: line) } }
    }
  }

  @Test func `the rows of examples are those that were scored`() throws {
    let scratch = Scratch()
    let file = scratch.write("play.ndjson", payments(seed: 3, count: 400).map(\.text))
    let rows = try replay(file, .features).output.map { try JSONValue(parsing: $0) }
    let examples = try replay(file, .examples).output.map { try JSONValue(parsing: $0) }
    var scored: [Int64: JSONValue] = [:]
    for row in rows { scored[try #require(row["source"]?["offset"]?.integer)] = row["features"] }
    #expect(scored.count == 400 && examples.count > 250)
    for example in examples {
      #expect(example["features"] == scored[try #require(example["source"]?["offset"]?.integer)])
    }
  }

  @Test func `a bad line ends the run with its file and number`() throws {
    let scratch = Scratch()
    var lines = payments(seed: 4, count: 20).map(\.text)
    lines[7] = #"{"input":"payments","time":"soon","value":{}}"#
    let file = scratch.write("play.ndjson", lines)
    #expect(throws: OfflineFault.badLine(file: file, line: 8, reason: "'time' is not a whole number of milliseconds")) {
      try replay(file)
    }
    lines[7] = #"{"input":"refunds","time":1,"value":{}}"#
    let unknown = scratch.write("unknown.ndjson", lines)
    #expect(throws: OfflineFault.self) { try replay(unknown) }
    #expect(throws: OfflineFault.self) { try replay(scratch.path + "/absent.ndjson") }
  }

  // MARK: A live run

  private func simulated(seed: UInt64, partitions: Int = 2) throws -> SimulatedRun {
    let (settings, features) = try Deployed.load("card-fraud")
    var quick = settings
    quick.learning.keepEvery = 100
    let run = SimulatedRun(quick, features, partitions: partitions, seed: seed)
    try run.run(payments(seed: seed, count: 700), unit: 60)
    return run
  }

  private func again(_ run: SimulatedRun, _ taps: [String], against: String? = nil) throws -> (VerificationReport, [[UInt8]]) {
    var emitted: [[UInt8]] = []
    let report = try Verification(
      settings: run.settings, features: run.features, taps: try TapIndex(taps),
      published: try against.map { try TapIndex([$0]) }
    ).run(emit: { emitted.append($0) })
    return (report, emitted)
  }

  @Test(arguments: [1, 3])
  func `a live run is computed again from its taps, byte for byte`(_ partitions: Int) throws {
    let run = try simulated(seed: 10, partitions: partitions)
    #expect(run.state.version.lineage.value == 2, "the run shows a rollback")
    #expect(Set(run.servedVersions).count > 8)
    let scratch = Scratch()
    let taps = run.tap(run.tappedTopics, in: scratch, "taps.ndjson")
    let predictions = run.tap([run.settings.topics.predictions], in: scratch, "predictions.ndjson")
    let (report, emitted) = try again(run, [taps], against: predictions)
    #expect(report.equal == 700 && report.differing == 0)
    #expect(report.partitions.count == partitions)
    #expect(report.versionsHeldMax < Set(run.servedVersions).count)
    #expect(report.model?.stateHash == run.state.stateHash && report.model?.version == run.state.version)
    let published = run.topics[run.settings.topics.predictions]!.map { $0.value! }
    #expect(Set(emitted) == Set(published))
    // Files may be split and shuffled: offsets say what comes first.
    var lines = try String(contentsOfFile: taps, encoding: .utf8).split(separator: "\n").map(String.init)
    var random = SplitMix(1)
    lines.shuffle(using: &random)
    let parts = [scratch.write("a", Array(lines[..<500])), scratch.write("b", Array(lines[500...]))]
    #expect(try again(run, parts, against: predictions).0.equal == 700)
    // Without the predictions there are still the journal's scores.
    #expect(try again(run, parts).0.equal == 700)
  }

  @Test func `a published prediction that differs in one bit is told with its place`() throws {
    let run = try simulated(seed: 11)
    let scratch = Scratch()
    let taps = run.tap(run.tappedTopics, in: scratch, "taps")
    let victim = run.topics[run.settings.topics.predictions]![333]
    let changes: [(inout TapRecord) -> Void] = [
      { $0.value![20] ^= 1 }, { $0.key![0] ^= 1 }, { $0.headers[0].value![0] ^= 1 }, { $0.timestamp += 1 },
    ]
    for change in changes {
      let changed = run.tap([run.settings.topics.predictions], in: scratch, "predictions") { record in
        if record.partition == victim.partition && record.offset == victim.offset { change(&record) }
      }
      let report = try again(run, [taps], against: changed).0
      let first = report.partitions[Int(victim.partition)].first
      #expect(report.differing >= 1 && first?.partition == victim.partition && first?.offset == victim.offset)
    }
  }

  @Test func `an altered log is told with topic, partition and offset`() throws {
    let run = try simulated(seed: 12)
    let scratch = Scratch()
    let events = run.settings.features.inputs[0].topic
    let victim = run.topics[events]![50]
    // Another amount: the score is not the one that was served.
    let altered = run.tap(run.tappedTopics, in: scratch, "altered") { record in
      guard record.topic == events, record.partition == victim.partition, record.offset == victim.offset else { return }
      let text = String(decoding: record.value!, as: UTF8.self)
      record.value = Array(text.replacing(#""amount":"#, with: #""amount":9"#).utf8)
    }
    let told = try #require(try again(run, [altered]).0.partitions[Int(victim.partition)].first)
    #expect(told.kind == .scoreDiffers && told.sourceOffset ?? -1 >= victim.offset)
    // Without a block of the learning log its version is never made.
    let learning = run.settings.topics.learning
    let cut = run.topics[learning]!.filter { (try? LearningRecord.decode($0.value!))?.kind == .examples }[2].offset
    let lines = try String(contentsOfFile: run.tap(run.tappedTopics, in: scratch, "all"), encoding: .utf8)
      .split(separator: "\n").map(String.init)
    let without = lines.filter { line in
      guard let at = try? TapRecord.position(parsing: Array(line.utf8)) else { return true }
      return !(at.topic == learning && at.offset == cut)
    }
    let lacking = try again(run, [scratch.write("without", without)]).0
    #expect(lacking.partitions.contains { $0.first?.kind == .unknownVersion || $0.first?.kind == .scoreDiffers })
    #expect(throws: OfflineFault.self) { try again(run, [scratch.write("twice", lines + [lines[3]])]) }
    #expect(throws: OfflineFault.self) { try again(run, [scratch.write("broken", lines + ["{"])]) }
    #expect(throws: LogFault.self) { try again(run, [scratch.write("none", [])]) }
  }
}
