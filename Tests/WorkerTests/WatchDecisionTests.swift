// Method: each decision is led through the states that a cluster can be in, moment by moment; what must not be told is
// tested beside what must.
import Kafka
import Records
import Testing

@testable import Worker

private let second: UInt64 = 1_000_000_000
private let place = TopicPartition("learning", 0)
private func ends(_ stable: Int64, _ end: Int64, _ partition: TopicPartition = place) -> LogEnds {
  LogEnds(partition: partition, stable: stable, end: end)
}

@Suite struct WatchDecisionTests {
  @Test func `a stable offset that stands still behind the end is told once, and once when it moves`() {
    var watch = StallWatch(transactionTimeoutMilliseconds: 10_000)
    #expect(watch.look([ends(5, 9)], now: 0).isEmpty)
    #expect(watch.look([ends(5, 12)], now: 30 * second).isEmpty, "twice the time-out and ten seconds are 30")
    let told = watch.look([ends(5, 12)], now: 31 * second)
    guard case .began(.stableOffsetStalled, let text)? = told.first else {
      Issue.record("\(told)")
      return
    }
    #expect(text.contains("topic=learning") && text.contains("partition=0") && text.contains("offset=5") && text.contains("seconds=31"))
    #expect(watch.look([ends(5, 40)], now: 60 * second).isEmpty)
    #expect(watch.ages([ends(5, 40)], now: 60 * second).map(\.seconds) == [60])
    let over = watch.look([ends(40, 41)], now: 61 * second)
    guard case .ended(.stableOffsetStalled, _)? = over.first, over.count == 1 else {
      Issue.record("\(over)")
      return
    }
    // The count begins anew.
    #expect(watch.look([ends(40, 41)], now: 91 * second).isEmpty)
    #expect(watch.look([ends(40, 41)], now: 92 * second).count == 1)
  }

  @Test func `a stable offset that moves, or stands at the end, is no stall however long it takes`() {
    var watch = StallWatch(transactionTimeoutMilliseconds: 10_000)
    for step in 0..<100 {
      let now = UInt64(step) * 25 * second
      #expect(watch.look([ends(Int64(step), 1_000), ends(7, 7, TopicPartition("quiet", 0))], now: now).isEmpty)
    }
    #expect(watch.ages([ends(7, 7, TopicPartition("quiet", 0))], now: 9_999 * second).map(\.seconds) == [0])
  }

  @Test func `a log that ends before what is known of it is told at the second look, and not at the first`() {
    var watch = RegressionWatch()
    #expect(watch.look([ends(10, 10)], positions: [:]).isEmpty)
    #expect(watch.look([ends(3, 3)], positions: [:]).isEmpty, "a new leader may lag")
    #expect(watch.look([ends(10, 10)], positions: [:]).isEmpty)
    #expect(watch.look([ends(3, 3)], positions: [:]).isEmpty)
    let told = watch.look([ends(4, 4)], positions: [:])
    guard case .fail(.topicRecreated(let text))? = told.first else {
      Issue.record("\(told)")
      return
    }
    #expect(text.contains("end=4") && text.contains("known=10"))
    // A position of the worker's own counts as well.
    var other = RegressionWatch()
    #expect(other.look([ends(3, 3)], positions: [place: 9]).isEmpty)
    #expect(other.look([ends(3, 3)], positions: [place: 9]).count == 1)
    var equal = RegressionWatch()
    for _ in 0..<5 { #expect(equal.look([ends(9, 9)], positions: [place: 9]).isEmpty) }
  }

  private func topics(_ counts: [String: Int32]) -> [TopicDescription] {
    counts.map { TopicDescription(name: $0.key, partitionCount: $0.value, replication: 1) }
  }

  @Test func `changed partition counts stop the worker, with what they mean`() {
    func told(_ counts: [String: Int32]) -> String? {
      var watch = TopicWatch([("events", 3), ("labels", 3), ("journal", 3)])
      #expect(watch.look(topics(["events": 3, "labels": 3, "journal": 3, "more": 1])).isEmpty)
      #expect(watch.look(topics(counts)).isEmpty && watch.look(topics(counts)).isEmpty)
      guard case .fail(.topicsChanged(let text))? = watch.look(topics(counts)).first else { return nil }
      return text
    }
    #expect(told(["events": 6, "labels": 3, "journal": 3])?.contains("need equal counts") == true)
    #expect(told(["events": 6, "labels": 6, "journal": 6])?.contains("keys have moved") == true)
    #expect(told(["events": 6, "labels": 6, "journal": 9])?.contains("need equal counts") == true)
    #expect(told(["events": 3, "journal": 3])?.contains("missing, or there is no right to see it any more topic=labels") == true)
    #expect(told(["events": 3, "labels": 3, "journal": 3]) == nil)
    // For a moment, while leaders change.
    var watch = TopicWatch([("events", 3)])
    for _ in 0..<5 {
      #expect(watch.look([]).isEmpty && watch.look([]).isEmpty)
      #expect(watch.look(topics(["events": 3])).isEmpty)
    }
  }

  private func sampled(_ kinds: [(String, (([UInt8]) -> Int32)?)], keys: Int = 500) -> PartitionerWatch {
    var watch = PartitionerWatch(kinds.map(\.0))
    for (input, (_, place)) in kinds.enumerated() {
      guard let place else { continue }
      for number in 0..<keys {
        let key = Array("key-\(number)".utf8)
        watch.sample(input: input, key: key, partition: place(key), of: 6)
      }
    }
    return watch
  }

  @Test func `inputs whose producers place keys differently are told, by name, once`() {
    let murmur = { (key: [UInt8]) in Murmur2.partition(of: key, partitions: 6) }
    let crc = { (key: [UInt8]) in CRC32.partition(of: key, partitions: 6) }
    let odd = { (key: [UInt8]) in Int32(key.count % 6) }
    var differing = sampled([("events", murmur), ("labels", crc)])
    #expect(differing.kind(0) == .murmur2 && differing.kind(1) == .crc32)
    guard case .began(.partitionerMismatch, let text)? = differing.look().first else {
      Issue.record("nothing told")
      return
    }
    #expect(text.contains("events=murmur2") && text.contains("labels=crc32"))
    #expect(differing.look().isEmpty)
    var foreign = sampled([("events", murmur), ("side", murmur), ("labels", odd)])
    #expect(foreign.look().count == 1 && foreign.kind(2) == .other)
    for same in [murmur, crc, odd] {
      var agreeing = sampled([("events", same), ("labels", same)])
      #expect(agreeing.look().isEmpty)
    }
    // Too few samples say nothing, nor do keys that both would place alike.
    var few = sampled([("events", murmur), ("labels", crc)], keys: 63)
    #expect(few.look().isEmpty && few.kind(0) == nil && few.needsSamples(input: 0))
    var unsent = sampled([("events", murmur), ("labels", nil)])
    #expect(unsent.look().isEmpty)
    var alone = PartitionerWatch(["events"])
    for _ in 0..<100 { alone.sample(input: 0, key: [1], partition: 0, of: 1) }
    #expect(alone.kind(0) == nil)
  }

  @Test func `mostly orphaned labels of a partition are told, and when they find their events again`() {
    var watch = OrphanWatch()
    #expect(watch.look(partition: 1, labels: 5_000, orphans: 4_999).isEmpty, "history is not counted")
    #expect(watch.look(partition: 1, labels: 5_999, orphans: 5_900).isEmpty)
    let told = watch.look(partition: 1, labels: 6_000, orphans: 5_600)
    guard case .began(.labelsOrphaned, let text)? = told.first else {
      Issue.record("\(told)")
      return
    }
    #expect(text.contains("partition=1") && text.contains("labels=1000"))
    #expect(watch.look(partition: 1, labels: 7_000, orphans: 6_300).isEmpty)
    guard case .ended(.labelsOrphaned, _)? = watch.look(partition: 1, labels: 8_000, orphans: 6_310).first else {
      Issue.record("not told that it is over")
      return
    }
    #expect(watch.look(partition: 2, labels: 0, orphans: 0).isEmpty)
    #expect(watch.look(partition: 2, labels: 1_000, orphans: 500).isEmpty, "half is not most")
  }

  @Test func `a refused call names the right that it needs`() throws {
    let settings = try Deployed.load("card-fraud").settings
    func words(_ code: Int32, _ call: KafkaCall) -> String {
      let failure = WorkerFailure.kafka(KafkaError(code: code, call: call)).namingRights(settings)
      #expect(failure.exitCode == 77 && failure.alertKind == .rightMissing)
      return failure.description
    }
    #expect(words(29, .consume).contains("Read the topic") && words(29, .consume).contains(settings.features.inputs[0].topic))
    #expect(words(29, .produce).contains("Write a topic") && words(29, .delivery).contains(settings.topics.predictions))
    #expect(words(29, .query).contains("Describe"))
    #expect(words(30, .query).contains("group=\(settings.name)"))
    #expect(words(53, .initTransactions).contains("prefix=\(settings.name)-\(settings.worker.instance)-"))
    #expect(words(31, .initTransactions).contains("IdempotentWrite"))
    #expect(words(-181, .query).contains("kafka.security.ca") && words(-169, .query).contains("credentials"))
    let other = WorkerFailure.kafka(KafkaError(code: KafkaCode.timedOut, call: .query))
    #expect(other.namingRights(settings) == other && other.alertKind == .stopped)
    #expect(WorkerFailure.topicRecreated("").exitCode == 65 && WorkerFailure.topicsChanged("").exitCode == 78)
    // More threads may be there at another time: a supervisor starts it again.
    #expect(WorkerFailure.exhausted("").exitCode == 71)
  }

  @Test func `alerts wait in a bounded box, and those put back go first`() {
    let box = AlertBox()
    for number in 0..<(AlertBox.countMax + 5) { box.raise(.stopped, "\(number)") }
    let taken = box.take()
    #expect(taken.count == AlertBox.countMax && taken[0].text == "0" && box.take().isEmpty)
    box.raise(.labelsOrphaned, "new")
    box.putBack([(.stopped, "old")])
    #expect(box.take().map(\.text) == ["old", "new"])
  }
}
