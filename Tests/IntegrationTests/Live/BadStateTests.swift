import Foundation
import Kafka
import Records
@testable import RunChecker
import Testing

extension LiveTests {
  /// States of the cluster that no lane could work through: each is recognised and named, and none is waited out for ever
  /// or passed over in silence.
  @Suite(.serialized) struct BadStates {
    private static let stream = Stream(seed: 41, requests: 400, partitions: TestPipeline.partitions).records

    @Test func `a hanging transaction on the learning log is told by name, and when it is over`() throws {
      let scene = try Scene("stalled", settings: ["delivery.transaction.timeout=1s"])
      try scene.worker.start()
      try scene.produce(Self.stream[..<200])
      try scene.drain()
      let settings = scene.broker.settings("hanging")
      // Longer than the alert takes: brokers that know time-outs would end it before.
      let hanging = try TransactionalProducer(
        settings, transactionalID: "hanging-\(scene.pipeline.settings.name)", ProducerSettings(transactionMilliseconds: 120_000))
      try hanging.initTransactions()
      let learning = try hanging.open(scene.pipeline.settings.topics.learning)
      try hanging.begin()
      try hanging.produce(learning, partition: 0, value: Array("not one of ours".utf8))
      // Twice the time-out, ten seconds, and a look.
      try wait(seconds: 45, "the alert: \(scene.worker.log.suffix(600))") {
        try scene.worker.checkRunning()
        return try scene.alerts("lso-stalled").contains { $0.contains("topic=\(scene.pipeline.settings.topics.learning)") }
      }
      try hanging.abort()
      try wait(seconds: 20, "the end of the alert") { try scene.alerts("lso-stalled").contains { $0.hasPrefix("over:") } }
      // And everything goes on.
      try scene.produce(Self.stream[200...])
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
    }

    @Test func `a topic made anew while the worker was away is refused, even where it is as long as before`() throws {
      let scene = try Scene("anew")
      try scene.worker.start()
      try scene.produce(Self.stream)
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      let signals = scene.pipeline.settings.features.inputs[1].topic
      let before = try scene.read(signals)
      try scene.admin.delete(topics: [signals])
      try again(scene, Self.topic(signals))
      // As many records as before, and others.
      let producer = try Producer(scene.broker.settings("again"))
      let topic = try producer.open(signals)
      for (partition, records) in before.enumerated() {
        for record in records {
          try producer.produce(
            topic, partition: Int32(partition), key: record.key, value: record.value + [0x20], headers: HeaderBlock(),
            timestamp: record.timestamp)
        }
      }
      try producer.flush()
      try scene.worker.start()
      #expect(try scene.worker.waitForExit(seconds: 60) == 65)
      #expect(scene.worker.log.contains("another record where one was read"), "\(scene.worker.log.suffix(2_000))")
      #expect(scene.worker.log.contains("topic=\(signals)"))
      #expect(try scene.alerts("topic-recreated").count >= 1)
    }

    @Test func `a topic that is shorter than what was read of it is refused`() throws {
      let scene = try Scene("shorter")
      try scene.worker.start()
      try scene.produce(Self.stream)
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      let outcomes = scene.pipeline.settings.features.inputs[2].topic
      try scene.admin.delete(topics: [outcomes])
      try again(scene, Self.topic(outcomes))
      try scene.worker.start()
      #expect(try scene.worker.waitForExit(seconds: 60) == 65)
      #expect(scene.worker.log.contains("made anew or cut") && scene.worker.log.contains("topic=\(outcomes)"), "\(scene.worker.log.suffix(2_000))")
    }

    @Test func `a learning log made anew while the worker was away is refused, and nothing is forgotten in silence`() throws {
      let scene = try Scene("forgotten")
      try scene.worker.start()
      try scene.produce(Self.stream[..<200])
      try scene.drain()
      #expect(try scene.worker.terminate() == 0)
      let learning = scene.pipeline.settings.topics.learning
      try scene.admin.delete(topics: [learning])
      try again(scene, NewTopic(name: learning, partitions: 1, replication: 1, config: [.init("retention.ms", "-1")]))
      try scene.worker.start()
      #expect(try scene.worker.waitForExit(seconds: 60) == 65)
      #expect(scene.worker.log.contains("ends before what was folded of it"), "\(scene.worker.log.suffix(2_000))")
    }

    @Test func `producers that place keys by different partitioners are told by the inputs' names`() throws {
      let scene = try Scene("placed")
      let producer = try Producer(scene.broker.settings("placing"))
      let inputs = scene.pipeline.settings.features.inputs
      let now = Int64(Date().timeIntervalSince1970 * 1_000)
      for (input, value) in [(0, #""request":"r%","kind":"k","amount":1"#), (1, #""level":1"#)] {
        let topic = try producer.open(inputs[input].topic)
        for number in 0..<200 {
          let account = "account-\(number)"
          let key = Array(account.utf8)
          let text = value.replacing("%", with: "\(number)")
          try producer.produce(
            topic, partition: input == 0
              ? Murmur2.partition(of: key, partitions: TestPipeline.partitions)
              : CRC32.partition(of: key, partitions: TestPipeline.partitions), key: key,
            value: Array("{\(text),\"account\":\"\(account)\",\"at\":\(now)}".utf8), headers: HeaderBlock(), timestamp: now)
        }
      }
      try producer.flush()
      try scene.worker.start()
      try wait(seconds: 30, "the alert: \(scene.worker.log.suffix(600))") {
        try scene.worker.checkRunning()
        return try scene.alerts("partitioner-mismatch").contains {
          $0.contains("\(inputs[0].name)=murmur2") && $0.contains("\(inputs[1].name)=crc32")
        }
      }
      #expect(try scene.worker.terminate() == 0)
    }

    /// Makes a topic that was just deleted.
    private func again(_ scene: Scene, _ topic: NewTopic) throws {
      try wait(seconds: 20, "the topic to be made again") {
        do { try scene.admin.create([topic]) } catch let error as KafkaError where error.code == KafkaCode.topicExists {
          return false
        }
        return true
      }
    }

    @Test func `partitions added under the worker stop it, with what to do`() throws {
      let scene = try Scene("wider")
      try scene.worker.start()
      try scene.produce(Self.stream[..<100])
      try scene.drain()
      // After the first look, which takes down what there is.
      try wait(seconds: 20, "the first look") { scene.metric("millrace_stable_offset_stalled_seconds") != nil }
      try scene.admin.createPartitions(scene.pipeline.settings.features.inputs[0].topic, count: TestPipeline.partitions + 2)
      #expect(try scene.worker.waitForExit(seconds: 60) == 78)
      #expect(scene.worker.log.contains("partition counts changed under the worker") && scene.worker.log.contains("equal counts"))
      #expect(try scene.alerts("partitions-changed").count == 1)
    }

    private static func topic(_ name: String) -> NewTopic {
      NewTopic(name: name, partitions: TestPipeline.partitions, replication: 1, config: [.init("retention.ms", "-1")])
    }
  }
}

extension Scene {
  /// Texts of the alerts of one kind so far.
  func alerts(_ kind: String) throws -> [String] {
    try read(pipeline.settings.topics.alerts).joined().compactMap { Alert(parsing: $0.value) }
      .filter { $0.kind == kind }.map(\.text)
  }

  /// The first sample of a series that the first worker exports.
  func metric(_ name: String) -> Double? {
    guard let address = try? consoleAddress(), let port = address.split(separator: ":").last.flatMap({ UInt16($0) }),
      let page = httpGet(port: port, path: "/metrics")
    else { return nil }
    let line = String(decoding: page, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix(name + "{") || $0.hasPrefix(name + " ") }
    return line?.split(separator: " ").last.flatMap { Double($0) }
  }
}
