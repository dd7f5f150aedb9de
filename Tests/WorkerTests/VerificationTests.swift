// Method: a live run in memory with a tag, a brake and a rollback; its logs are altered, cut or robbed in one place each,
// and the verification must name exactly that place.
import Engine
import Foundation
import Learning
import Pipeline
import Records
import Testing

@testable import Worker

@Suite struct VerificationTests {
  private func simulated(seed: UInt64, partitions: Int = 3, count: Int = 700) throws -> SimulatedRun {
    let (settings, features) = try Deployed.load("card-fraud")
    var quick = settings
    quick.learning.keepEvery = 100
    quick.join.horizonMilliseconds = 12 * 3_600_000
    let run = SimulatedRun(quick, features, partitions: partitions, seed: seed)
    try run.run(payments(seed: seed, count: count), unit: 60)
    return run
  }

  private func verify(
    _ run: SimulatedRun, _ logs: MadeUpLogs, directory: String? = nil,
    _ change: (inout Verification.Options) -> Void = { _ in }
  ) throws -> VerificationReport {
    var options = Verification.Options()
    change(&options)
    return try Verification(
      settings: run.settings, features: run.features, source: logs, directory: directory, options: options
    ).run()
  }

  private func predictions(_ run: SimulatedRun) -> String { run.settings.topics.predictions }

  @Test(arguments: [1, 3])
  func `every prediction of an unaltered run is equal, whatever was served when`(partitions: Int) throws {
    let run = try simulated(seed: 20, partitions: partitions)
    let logs = MadeUpLogs(run, partitions: Int32(partitions))
    let report = try verify(run, logs)
    #expect(report.equal == 700 && report.differing == 0 && report.equalByJournal == 0)
    #expect(report.partitions.count == partitions)
    #expect(report.partitions.allSatisfy { $0.unreachable == nil && $0.first == nil && $0.from == 0 })
    let published = (0..<Int32(partitions)).flatMap { logs.records(predictions(run), $0) }
    let versions = Set(published.map { PublishedFields($0.payload).version })
    #expect(report.versions == versions.count && versions.count > 8)
    #expect(report.versionsHeldMax < report.versions)
  }

  @Test func `one altered bit anywhere in a published prediction is named with place and field`() throws {
    let run = try simulated(seed: 21)
    let whole = MadeUpLogs(run, partitions: 3)
    let victim = whole.records(predictions(run), 1)[40]
    func replaced(_ old: String, _ new: String) -> [UInt8] {
      Array(String(decoding: victim.payload, as: UTF8.self).replacing(old, with: new).utf8)
    }
    let fields = PublishedFields(victim.payload)
    let text = String(decoding: victim.payload, as: UTF8.self)
    let decision = text.contains(#""decision":true"#)
    let changes: [(String, (inout OfflineRecord) -> Void)] = [
      ("event_id", { $0.payload = replaced(#""event_id":"p"#, #""event_id":"q"#) }),
      ("score", { $0.payload = replaced(#""score":"#, #""score":1"#) }),
      ("decision", { $0.payload = replaced(#""decision":\#(decision)"#, #""decision":\#(!decision)"#) }),
      ("version", { $0.payload = replaced(#""version":""#, #""version":"9"#) }),
      ("key", { $0.key![0] ^= 1 }), ("headers", { $0.headers[$0.headers.count - 1] ^= 1 }),
      ("timestamp", { $0.timestamp += 1 }),
    ]
    for (field, change) in changes {
      let logs = MadeUpLogs(run, partitions: 3)
      logs.change(predictions(run), 1) { change(&$0[40]) }
      let report = try verify(run, logs)
      #expect(report.differing == 1 && report.equal == 699, "\(field)")
      let first = try #require(report.partitions[1].first)
      #expect(first.kind == .different && first.field == field && first.offset == victim.offset, "\(first)")
      #expect(first.sourceOffset == fields.source && first.eventID == fields.eventID, "\(first)")
      #expect(report.partitions[0].first == nil && report.partitions[2].first == nil)
    }
  }

  @Test func `what is missing, doubled or out of nowhere is told as that, and the rest is equal`() throws {
    let run = try simulated(seed: 22)
    let topic = predictions(run)
    func kind(_ change: (inout [OfflineRecord]) -> Void) throws -> (PredictionDifference.Kind?, UInt64, UInt64) {
      let logs = MadeUpLogs(run, partitions: 3)
      logs.change(topic, 2, change)
      let report = try verify(run, logs)
      return (report.partitions[2].first?.kind, report.differing, report.equal)
    }
    #expect(try kind { $0.remove(at: 17) } == (.missing, 1, 699))
    #expect(try kind { $0.removeLast() } == (.missing, 1, 699))
    #expect(try kind { $0.insert($0[17], at: 18) } == (.repeated, 1, 700))
    #expect(try kind { $0.insert($0[3], at: 30) } == (.repeated, 1, 700))
    #expect(try kind { $0.append($0[17]) } == (.repeated, 1, 700))
    #expect(try kind { $0.insert(OfflineRecord(payload: Array("{}".utf8), offset: 0, timestamp: 0), at: 5) }
      == (.unexplained, 1, 700))
    // Of an event that nobody has sent.
    let stranger = Array(#"{"event_id":"x","source":{"partition":2,"offset":99999}}"#.utf8)
    let end = MadeUpLogs(run, partitions: 3).records(topic, 2).last!.offset
    #expect(try kind { $0.append(OfflineRecord(payload: stranger, offset: end, timestamp: 0)) } == (.unexplained, 1, 700))
  }

  @Test func `a learning log that lacks a block makes other scores, which are told against those served`() throws {
    let run = try simulated(seed: 23)
    let logs = MadeUpLogs(run, partitions: 3)
    let learning = run.settings.topics.learning
    let events = run.settings.features.inputs[0].topic
    // Another amount: scores differ from there on.
    logs.change(events, 0) { records in
      records[20].payload = Array(
        String(decoding: records[20].payload, as: UTF8.self).replacing(#""amount":"#, with: #""amount":9"#).utf8)
    }
    var report = try verify(run, logs)
    #expect(report.differing > 0 && report.partitions[1].differing == 0)
    let first = try #require(report.partitions[0].first)
    #expect(first.kind == .different && first.field == "score" && first.detail?.contains("served") == true, "\(first)")

    let cut = MadeUpLogs(run, partitions: 3)
    cut.change(learning, 0) { records in
      let block = records.indices.filter { (try? LearningRecord.decode(records[$0].payload))?.kind == .examples }[2]
      records.remove(at: block)
    }
    report = try verify(run, cut)
    #expect(report.differing > 0)
    let kinds = report.partitions.compactMap { $0.first?.kind }
    #expect(!kinds.isEmpty && kinds.allSatisfy { [.unknownVersion, .different, .scoreDiffers].contains($0) })
  }

  @Test func `a version, an event, a partition or a number of predictions can be asked for`() throws {
    let run = try simulated(seed: 24)
    let logs = MadeUpLogs(run, partitions: 3)
    let all = (0..<3).flatMap { logs.records(predictions(run), $0).map { PublishedFields($0.payload) } }
    let versions = Dictionary(grouping: all.compactMap(\.version)) { $0 }.mapValues(\.count)
    for version in [versions.keys.min()!, versions.keys.max()!] {
      let report = try verify(run, logs) { $0.version = ModelVersion(version) }
      #expect(report.equal == UInt64(versions[version]!) && report.differing == 0, "\(version)")
    }
    let one = all[333]
    #expect(try verify(run, logs) { $0.eventID = one.eventID }.equal == 1)
    #expect(throws: LogFault.self) { try verify(run, logs) { $0.eventID = "nobody" } }
    #expect(try verify(run, logs) { $0.partition = 1 }.equal == UInt64(logs.records(predictions(run), 1).count))
    let cut = try verify(run, logs) { $0.limit = 50 }
    #expect(cut.equal == 50 && cut.isCut)
  }

  @Test func `logs cut by retention are verified from where the state is whole again`() throws {
    // Horizon and windows together span days: a long run, so that something lies behind them.
    let run = try simulated(seed: 25, partitions: 1, count: 3_600)
    let logs = MadeUpLogs(run, partitions: 1)
    let journalTopic = run.settings.topics.journal
    let journal = logs.records(journalTopic, 0)
    let low = journal[journal.count / 10].offset
    logs.retain(journalTopic, 0, from: low)
    let decoded = try logs.records(journalTopic, 0).map { try JournalRecord.decode($0.payload) }
    for (input, schema) in run.settings.features.inputs.enumerated() {
      logs.retain(schema.topic, 0, from: decoded[0].nextOffsets[input])
    }
    let report = try verify(run, logs)
    let part = report.partitions[0]
    #expect(part.unreachable == nil && part.differing == 0, "\(String(describing: part.first))")
    #expect(part.equal > 100 && part.equal < 3_600)
    #expect(try #require(part.from) > decoded[0].nextOffsets[0])
    // Without what the model began with, the journal's own scores are what is left to compare with.
    logs.retain(run.settings.topics.learning, 0, from: 40)
    logs.retain(run.settings.topics.checkpoints, 0, from: 1 << 40)
    let without = try verify(run, logs)
    #expect(without.equal == 0 && without.equalByJournal == part.equal && without.differing == 0)
    #expect(without.modelStart != nil)
    // And where too little is left, that is said.
    logs.retain(journalTopic, 0, from: journal[journal.count - 3].offset)
    let nothing = try verify(run, logs)
    #expect(nothing.partitions[0].unreachable != nil && nothing.equal == 0)
  }

  @Test func `a learning log without its beginning is folded from what was published, and rollbacks return to it`() throws {
    let run = try simulated(seed: 26)
    let logs = MadeUpLogs(run, partitions: 3)
    let topics = run.settings.topics
    let blocks = try logs.records(topics.learning, 0).map { (record: $0, decoded: try LearningRecord.decode($0.payload)) }
    // The tag, then the rollback.
    let commands = blocks.filter { if case .command = $0.decoded { true } else { false } }.map(\.record.offset)
    #expect(commands.count == 2)
    // Between the tag and the rollback: what the rollback returns to is older than what is left of the log.
    let low = (commands[0] + commands[1]) / 2
    logs.retain(topics.learning, 0, from: low)
    let report = try verify(run, logs)
    #expect(report.differing == 0 && report.equal + report.equalByJournal == 700, "\(report.partitions.compactMap(\.first))")
    #expect(report.equal > 100 && report.equalByJournal > 0)

    // The kept versions before it are still computed again, each as it was published.
    let begun = try #require(report.modelStart)
    #expect(begun.contains("published"))
    let base = try #require(ModelVersion(String(begun.prefix { $0 != " " })))
    let kept = blocks.compactMap { block in
      if case .kept(let kept) = block.decoded { kept.version } else { nil }
    }.filter { version in
      version < base && (0..<3).contains { partition in
        logs.records(topics.predictions, partition).contains { PublishedFields($0.payload).version == version.description }
      }
    }
    #expect(try !kept.isEmpty && kept.allSatisfy { version in try verify(run, logs) { $0.version = version }.equal > 0 })

    // What a worker published and the log does not confirm is passed over, and the next one is begun with.
    let chosen = base
    logs.change(topics.learning, 0) { records in
      records.removeAll { record in
        if case .claim(let claim)? = try? LearningRecord.decode(record.payload) { claim.version == chosen } else { false }
      }
    }
    let later = try verify(run, logs)
    #expect(later.differing == 0 && later.equal > 0)
    #expect(later.modelStart != begun && later.modelStart?.contains("published") == true, "\(later.modelStart ?? "")")
  }
}
