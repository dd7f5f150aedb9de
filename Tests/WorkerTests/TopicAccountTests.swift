// Method: the account of a run in memory must add up; then one record is taken out of, or put into, each topic in turn, and
// the account must say which sum does not hold any more.
import Engine
import Foundation
import Pipeline
import Records
import Testing

@testable import Worker

@Suite struct TopicAccountTests {
  private func simulated(seed: UInt64) throws -> SimulatedRun {
    let (settings, features) = try Deployed.load("card-fraud")
    let run = SimulatedRun(settings, features, partitions: 3, seed: seed)
    try run.run(payments(seed: seed, count: 500), unit: 60)
    return run
  }

  private func account(
    _ run: SimulatedRun, _ logs: MadeUpLogs, workers: (() throws -> [JSONValue])? = nil
  ) throws -> AccountReport {
    try TopicAccount(
      settings: run.settings, features: run.features, source: logs, directory: nil, workers: workers
    ).run()
  }

  @Test func `every record of every input has come to one end, and all that was published is there`() throws {
    let run = try simulated(seed: 31)
    let logs = MadeUpLogs(run, partitions: 3)
    let report = try account(run, logs)
    #expect(report.isBalanced && report.notes.isEmpty)
    #expect(report.partitions.count == 3)
    for (index, input) in run.settings.features.inputs.enumerated() {
      for partition in report.partitions {
        #expect(partition.inputs[index].consumed == UInt64(logs.records(input.topic, partition.partition).count))
        #expect(partition.inputs[index].outcomes.sum == partition.inputs[index].consumed)
      }
    }
    func total(_ input: Int, _ state: RecordOutcomes.State) -> UInt64 {
      report.partitions.reduce(0) { $0 + ($1.inputs[input].outcomes[state] ?? 0) }
    }
    let labels = run.settings.features.labelInput!
    #expect(total(run.settings.features.scoredInput, .scored) == 500)
    for state in [RecordOutcomes.State.joined, .duplicate, .rejected] { #expect(total(labels, state) > 5, "\(state)") }
    #expect(report.partitions.allSatisfy { $0.checks.count >= 7 })
  }

  @Test func `a record too few or too many in any output is told by the sum that it breaks`() throws {
    let run = try simulated(seed: 32)
    let topics = run.settings.topics
    func broken(_ topic: String, _ partition: Int32, _ change: (inout [OfflineRecord]) -> Void) throws -> [String] {
      let logs = MadeUpLogs(run, partitions: 3)
      logs.change(topic, partition, change)
      let report = try account(run, logs)
      #expect(!report.isBalanced)
      return report.partitions.flatMap { part in part.checks.filter { !$0.holds }.map(\.what) }
    }
    #expect(try broken(topics.predictions, 1) { $0.remove(at: 9) } == ["predictions in the topic for the events scored"])
    #expect(try broken(topics.predictions, 1) { $0.insert($0[9], at: 9) } == ["predictions in the topic for the events scored"])
    #expect(try broken(topics.deadLetters, 0) { $0.remove(at: 2) }
      == ["outcomes: dead letters in the topic for the records rejected"])
    let examples = try broken(topics.learning, 0) { records in
      records.remove(at: records.firstIndex { (try? LearningRecord.decode($0.payload))?.kind == .examples }!)
    }
    #expect(!examples.isEmpty && Set(examples).isSubset(of: ["examples for the labels joined", "examples for the corrections"]))
    // An input that lacks what the journal read does not fit at all.
    let logs = MadeUpLogs(run, partitions: 3)
    logs.change(run.settings.features.inputs[0].topic, 2) { _ = $0.remove(at: 11) }
    #expect(throws: LogFault.self) { try account(run, logs) }
  }

  @Test func `a worker's counts are compared at the offsets where it stands`() throws {
    let run = try simulated(seed: 33)
    let logs = MadeUpLogs(run, partitions: 3)
    let own = try account(run, logs)
    /// A status as a worker writes it, with one count changed.
    func status(_ change: (Int32, String, String) -> UInt64 = { _, _, _ in 0 }, offset: Int64 = 0) throws -> JSONValue {
      var json = JSONWriter()
      json.beginObject()
      json.key("partitions")
      json.beginArray()
      for part in own.partitions {
        json.beginObject()
        json.key("partition")
        json.value(Int(part.partition))
        json.key("inputs")
        json.beginArray()
        for input in part.inputs {
          json.beginObject()
          json.key("next_offset")
          json.value(input.next + offset)
          json.key("consumed")
          json.value(input.consumed)
          json.key("outcomes")
          json.beginObject()
          for (state, count) in input.outcomes.counts {
            json.key(state.rawValue)
            json.value(count + change(part.partition, input.name, state.rawValue))
          }
          json.endObject()
          json.endObject()
        }
        json.endArray()
        json.endObject()
      }
      json.endArray()
      json.endObject()
      return try JSONValue(parsing: json.bytes)
    }
    #expect(try account(run, logs, workers: { [try status()] }).partitions.allSatisfy { $0.worker == .equal })
    let wrong = try account(run, logs, workers: { [try status({ $0 == 1 && $1 == "outcomes" && $2 == "joined" ? 1 : 0 })] })
    #expect(wrong.partitions.map(\.worker) == [.equal, .different, .equal] && !wrong.isBalanced)
    #expect(wrong.partitions[1].checks.filter { !$0.holds }.map(\.what)
      == ["outcomes: the worker's states add up to the records that it counts", "outcomes joined, as the worker has it"])
    // Mid-unit it is asked again; what it says at a unit's end counts.
    var looks = 0
    let later = try account(run, logs) {
      looks += 1
      return [try status(offset: looks < 3 ? 1 : 0)]
    }
    #expect(looks == 3 && later.partitions.allSatisfy { $0.worker == .equal })
  }

  @Test func `addresses of consoles are read strictly`() {
    #expect(hostAndPort("http://127.0.0.1:8080/")?.port == "8080")
    #expect(hostAndPort("http://[::1]:81")?.host == "::1")
    #expect(hostAndPort("http://worker")?.port == "80")
    for text in ["127.0.0.1:80", "https://a", "http://", "http://a:b", "http://a:0", "http://a/b", "http://u@a", "http://[::1"] {
      #expect(hostAndPort(text) == nil, "\(text)")
    }
  }
}
