import Foundation
import Kafka
@testable import RunChecker
import TestSupport
import Testing

extension LiveTests.Faults {
  /// Brokers that stop, die and come again under load, and transactions of strangers.
  @Suite(.serialized) struct Brokers {
    @Test(.long, .needsOwnBroker, .needsKafka("noida-db forgets the numbers of producers when it is killed"))
    func `row 22: the only broker is away for a while`() throws {
      let broker = try LocalBroker()
      defer { broker.stop() }
      let scene = try Scene("outage", broker: broker)
      let feed = Feed(scene, requests: 700)
      for forced in [false, true] {
        if scene.worker.id == nil { try scene.worker.start() }
        try feed.advance(150)
        for number in 1...Int(broker.replication) { broker.halt(number, kill: forced) }
        let size = scene.worker.logSize
        // Until the worker has met it: nobody can be asked meanwhile.
        try wait(seconds: 30, "the worker to meet the outage") {
          try scene.checkRunning()
          return scene.worker.log(since: size).contains("refused") || scene.worker.log(since: size).contains("rejoin")
        }
        try broker.startAll()
        try feed.advance(100, seconds: 120)
      }
      try feed.finish(seconds: 120)
    }

    @Test(.long, .needsThreeBrokers) func `row 23: brokers restart one after the other, cleanly and hard, under load`() throws {
      let broker = try LocalBroker()
      defer { broker.stop() }
      let scene = try Scene("rolling", broker: broker)
      let feed = Feed(scene, requests: 1_500)
      try scene.worker.start()
      try feed.advance(100)
      for (number, forced) in [(1, false), (2, true), (3, false), (1, true)] {
        broker.halt(number, kill: forced)
        try feed.advance(60, seconds: 180)
        try broker.start(number)
        try feed.advance(30, seconds: 180)
      }
      try feed.finish(seconds: 120)
    }

    @Test(.long, .needsThreeBrokers) func `row 24: too few copies in sync stop the writing, and nothing is lost when they are back`() throws {
      let broker = try LocalBroker()
      defer { broker.stop() }
      let scene = try Scene("in-sync", broker: broker)
      let feed = Feed(scene, requests: 900)
      try scene.worker.start()
      try feed.advance(150)
      broker.halt(2, kill: true)
      broker.halt(3)
      let size = scene.worker.logSize
      try wait(seconds: 60, "the worker to meet it") {
        try scene.checkRunning()
        return scene.worker.logSize > size
      }
      try broker.start(2)
      try broker.start(3)
      try feed.advance(100, seconds: 120)
      try feed.finish(seconds: 120)
    }

    @Test(.long) func `row 47: a stranger's open transaction on an input holds up its partition and loses nothing`() throws {
      let scene = try Scene("stranger")
      let feed = Feed(scene, requests: 450)
      try scene.worker.start()
      try feed.advance(100)
      let stranger = try TransactionalProducer(
        scene.broker.settings("stranger"), transactionalID: "stranger-\(UUID().uuidString.prefix(6))",
        ProducerSettings(transactionMilliseconds: 600_000))
      try stranger.initTransactions()
      let signals = try stranger.open(scene.pipeline.settings.features.inputs[Stream.signals].topic)
      let end = try scene.inputEnds()[1][Stream.signals]
      try stranger.begin()
      try stranger.produce(signals, partition: 1, key: Array("a".utf8), value: Array("{}".utf8))
      try wait(seconds: 20, "the stranger's record") { try scene.inputEnds()[1][Stream.signals] > end }
      // Everything else goes on; what stands behind the open transaction waits.
      for _ in 0..<3 { try feed.advance(100) }
      #expect(try scene.committed()[1][Stream.signals] ?? 0 <= end)
      try stranger.abort()
      try feed.finish()
    }
  }
}
