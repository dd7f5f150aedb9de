import Kafka
@testable import RunChecker
import Testing

/// The laws of the simulated cluster itself: what the worker's guarantees rest on.
@Suite struct SimulatedClusterTests {
  /// A cluster with nothing on it but what a test writes, and one process that acts on a strand.
  final class Bench: @unchecked Sendable {
    let scheduler = Scheduler(seed: 1, stacks: StackPool())
    let network: Network
    let broker: SimulatedBroker
    private(set) var process: SimulatedProcess
    private var failure: (any Error)?

    init() {
      network = Network(scheduler)
      broker = SimulatedBroker(scheduler) { 1_000 }
      process = SimulatedProcess(name: "test", incarnation: 1, scheduler: scheduler)
      broker.create("in", partitions: 2)
      broker.create("out", partitions: 1)
    }
    var side: ClientSide { ClientSide(process: process, network: network, broker: broker, laziness: 0) }

    func producer(_ id: String = "p", milliseconds: Int = 2_000) throws -> (SimulatedProducer, any OpenTopic) {
      let producer = SimulatedProducer(side, transactionalID: id, transactionMilliseconds: milliseconds)
      try producer.initTransactions(timeoutMilliseconds: 5_000)
      return (producer, try producer.open("out"))
    }
    func consumer(_ instance: String) -> SimulatedConsumer {
      SimulatedConsumer(
        side, instance: instance,
        timing: .init(sessionNanoseconds: 3_000_000_000, heartbeatNanoseconds: 500_000_000))
    }
    /// Runs the body on a strand of the process to its end.
    func play(_ body: @escaping () throws -> Void) throws {
      let strand = scheduler.start("test", of: process) { [self] in
        do { try body() } catch { failure = error }
      }
      let ended = scheduler.run(until: scheduler.now + 300_000_000_000, stepsMax: 1_000_000) { strand.isDone }
      if let failure { throw failure }
      #expect(ended)
    }
    func restart() {
      process.kill()
      process = SimulatedProcess(name: "test", incarnation: process.incarnation + 1, scheduler: scheduler)
    }
    func values(committed: Bool) throws -> [String] {
      let partition = broker.topic("out")[0]
      let end = committed ? partition.stable : partition.end
      return (0..<end).filter { committed ? partition.isVisible($0) : !partition.entries[Int($0)].isMarker }
        .map { String(decoding: partition.entries[Int($0)].value ?? [], as: UTF8.self) }
    }
    func settle(_ seconds: UInt64 = 1) { _ = scheduler.run(until: scheduler.now + seconds * 1_000_000_000) { false } }
    /// Polls until the group says something else than nothing.
    func event(_ consumer: SimulatedConsumer) -> ConsumerEvent {
      while true {
        let event = consumer.poll(milliseconds: 0)
        if event != .none { return event }
        scheduler.sleep(20_000_000)
      }
    }
  }

  @Test func `a transaction is seen whole, once its marker is written, and an aborted one never`() throws {
    let bench = Bench()
    try bench.play {
      let (producer, out) = try bench.producer()
      try producer.begin()
      try producer.produce(out, partition: 0, value: Array("a".utf8))
      bench.scheduler.sleep(500_000_000)
      #expect(try bench.values(committed: true) == [])
      #expect(try bench.values(committed: false) == ["a"])
      try producer.commit()
      bench.scheduler.sleep(100_000_000)
      #expect(try bench.values(committed: true) == ["a"])
      try producer.begin()
      try producer.produce(out, partition: 0, value: Array("b".utf8))
      bench.scheduler.sleep(500_000_000)
      try producer.abort()
      try producer.begin()
      try producer.produce(out, partition: 0, value: Array("c".utf8))
      try producer.commit()
    }
    bench.settle()
    #expect(try bench.values(committed: true) == ["a", "c"])
    // Markers take offsets of their own.
    #expect(bench.broker.topic("out")[0].end == 6)
  }

  @Test func `an open transaction holds up readers behind it, not those before`() throws {
    let bench = Bench()
    try bench.play {
      let (first, out) = try bench.producer("first")
      let (second, _) = try bench.producer("second")
      try first.begin()
      try first.produce(out, partition: 0, value: Array("held".utf8))
      bench.scheduler.sleep(100_000_000)
      try second.begin()
      try second.produce(out, partition: 0, value: Array("behind".utf8))
      try second.commit()
      bench.scheduler.sleep(100_000_000)
      #expect(bench.broker.topic("out")[0].stable == 0)
      try first.abort()
      bench.scheduler.sleep(100_000_000)
      #expect(try bench.values(committed: true) == ["behind"])
    }
  }

  @Test func `initialising an id again ends what its last owner left open, and fences him`() throws {
    let bench = Bench()
    try bench.play {
      let (zombie, out) = try bench.producer()
      try zombie.begin()
      try zombie.produce(out, partition: 0, value: Array("lost".utf8))
      bench.scheduler.sleep(100_000_000)
      let (heir, _) = try bench.producer()
      try heir.begin()
      try heir.produce(out, partition: 0, value: Array("kept".utf8))
      try heir.commit()
      let error = #expect(throws: KafkaError.self) { try zombie.commit() }
      #expect(error?.isFenced == true && error?.isFatal == true)
    }
    bench.settle()
    #expect(try bench.values(committed: true) == ["kept"])
  }

  @Test func `a transaction that lasts too long is ended by the broker, and its owner is fenced`() throws {
    let bench = Bench()
    try bench.play {
      let (producer, out) = try bench.producer(milliseconds: 1_000)
      try producer.begin()
      try producer.produce(out, partition: 0, value: Array("late".utf8))
      bench.scheduler.sleep(3_000_000_000)
      let error = #expect(throws: KafkaError.self) { try producer.commit() }
      #expect(error?.isFenced == true)
    }
    #expect(try bench.values(committed: true) == [])
  }

  @Test func `a batch that is sent again after a lost answer is there once`() throws {
    let bench = Bench()
    bench.network.weather.lostAnswers = 0.5
    try bench.play {
      let (producer, out) = try bench.producer(milliseconds: 200_000)
      for number in 0..<10 {
        while true {
          do {
            try producer.begin()
            try producer.produce(out, partition: 0, value: Array("\(number)".utf8))
            while true {
              do { try producer.commit(timeoutMilliseconds: 60_000) } catch let error as KafkaError where error.isRetriable {
                continue
              }
              break
            }
            break
          }
        }
      }
      #expect(producer.isInDoubt)
    }
    bench.settle()
    #expect(try bench.values(committed: true) == (0..<10).map { "\($0)" })
  }

  @Test func `a dead process sends nothing more`() throws {
    let bench = Bench()
    try bench.play {
      let (producer, out) = try bench.producer()
      try producer.begin()
      try producer.produce(out, partition: 0, value: Array("a".utf8))
      bench.process.kill()
      #expect(throws: KafkaError.self) { try producer.commit() }
    }
    bench.settle()
    #expect(try bench.values(committed: false) == [])
  }

  @Test func `offsets of a transaction count with its commit, and are waited for until then`() throws {
    let bench = Bench()
    try bench.play {
      let consumer = bench.consumer("a")
      try consumer.subscribe(["in"])
      #expect(bench.event(consumer) == .assign([TopicPartition("in", 0), TopicPartition("in", 1)]))
      let (producer, out) = try bench.producer()
      try producer.begin()
      try producer.produce(out, partition: 0, value: [1])
      let place = TopicPartition("in", 0)
      try producer.sendOffsets([PartitionOffset(place, offset: 7, metadata: "m")], try consumer.groupIdentity())
      let error = #expect(throws: KafkaError.self) { _ = try consumer.committed([place], timeoutMilliseconds: 300) }
      #expect(error?.action == .retrySameCall)
      try producer.commit()
      let committed = try consumer.committed([place], timeoutMilliseconds: 1_000)
      #expect(committed == [CommittedOffset(partition: place, offset: 7, metadata: "m")])
      consumer.close()
    }
  }

  @Test func `offsets of an older generation are refused, and the transaction has to be aborted`() throws {
    let bench = Bench()
    try bench.play {
      let first = bench.consumer("a")
      try first.subscribe(["in"])
      _ = bench.event(first)
      let stale = try first.groupIdentity()
      let second = bench.consumer("b")
      try second.subscribe(["in"])
      #expect(bench.event(first) == .revoke([TopicPartition("in", 0), TopicPartition("in", 1)], lost: false))
      try first.unassign()
      #expect(bench.event(first) == .assign([TopicPartition("in", 0)]))
      #expect(bench.event(second) == .assign([TopicPartition("in", 1)]))
      let (producer, out) = try bench.producer()
      try producer.begin()
      try producer.produce(out, partition: 0, value: [1])
      let error = #expect(throws: KafkaError.self) {
        try producer.sendOffsets([PartitionOffset(TopicPartition("in", 1), offset: 3)], stale)
      }
      #expect(error?.action == .rejoinGroup)
      first.close()
      second.close()
    }
  }

  @Test func `a static member that comes back takes over at once, and its former self is fenced`() throws {
    let bench = Bench()
    try bench.play {
      let former = bench.consumer("a")
      try former.subscribe(["in"])
      _ = bench.event(former)
      let identity = try former.groupIdentity()
      let generation = bench.broker.group.generation
      let heir = bench.consumer("a")
      try heir.subscribe(["in"])
      #expect(bench.event(heir) == .assign([TopicPartition("in", 0), TopicPartition("in", 1)]))
      #expect(bench.broker.group.generation == generation)
      guard case .error(let error) = bench.event(former) else {
        Issue.record("the former one hears nothing")
        return
      }
      #expect(error.isInstanceFenced)
      let (producer, out) = try bench.producer()
      try producer.begin()
      try producer.produce(out, partition: 0, value: [1])
      let refused = #expect(throws: KafkaError.self) {
        try producer.sendOffsets([PartitionOffset(TopicPartition("in", 0), offset: 3)], identity)
      }
      #expect(refused?.code == KafkaCode.fencedInstance)
      heir.close()
    }
  }

  @Test func `a member that is not heard of for a session loses what it had`() throws {
    let bench = Bench()
    try bench.play {
      let consumer = bench.consumer("a")
      try consumer.subscribe(["in"])
      _ = bench.event(consumer)
      bench.process.heartbeatsLostUntil = bench.scheduler.now + 10_000_000_000
      guard case .revoke(_, let lost) = bench.event(consumer) else {
        Issue.record("nothing was taken back")
        return
      }
      #expect(lost && consumer.isAssignmentLost)
      try consumer.unassign()
      bench.process.heartbeatsLostUntil = 0
      guard case .assign = bench.event(consumer) else {
        Issue.record("it does not come back")
        return
      }
      consumer.close()
    }
  }

  @Test func `compaction keeps the newest record of a key, retention what lies behind its place`() {
    let partition = SimulatedPartition(topic: "t", number: 0)
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("b", nil), ("c", "1")] as [(String, String?)] {
      partition.append(
        .init(timestamp: 1, key: Array(key.utf8), value: value.map { Array($0.utf8) }, headers: []))
    }
    partition.compact()
    #expect((0..<partition.end).filter { partition.isVisible($0) } == [2, 4])
    partition.deleteRecords(before: 3)
    #expect(partition.low == 3)
  }

  @Test func `a crash of the machine keeps what was synced, and may tear what was not`() throws {
    var random = SplitMix(5)
    var seen: Set<[String]> = []
    for _ in 0..<200 {
      let disk = SimulatedDisk()
      let synced = try disk.create("/d/kept")
      disk.write(synced, [1, 2, 3, 4])
      disk.sync(synced)
      disk.syncNames()
      let unsynced = try disk.create("/d/torn")
      disk.write(unsynced, [5, 6, 7, 8])
      _ = disk.crash(&random)
      #expect(try disk.read("/d/kept") == [1, 2, 3, 4])
      seen.insert(disk.list("/d") + [disk.list("/d").contains("torn") ? "\(try disk.read("/d/torn"))" : ""])
    }
    // Not there, empty, a half, zeros, whole.
    #expect(seen.count == 5)
  }
}
