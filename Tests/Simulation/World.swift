import Engine
import Kafka
import Learning
import Pipeline
import Records
@testable import RunChecker
@testable import Storage
@testable import Worker

/// A cluster, disks, a clock and some processes, played from one seed to the end.
///
/// Method: the real worker's threads run on strands; records are fed while faults befall the world; then faults cease,
/// everything has to drain within a bound, the workers stop, and what lies in logs and on disks is judged.
final class World: @unchecked Sendable {
  /// What the tests' own pipeline says, loaded once.
  static let pipeline = try! TestPipeline(name: "p")
  static let operatorKey = try! Ed25519.PrivateKey(seed: [UInt8](repeating: 7, count: 32))
  static let directory = "/state"
  /// Bounds of one world. Virtual time that draining may take once faults have ceased: a client that is stuck is given up
  /// after half a minute, and the one after it may be stuck as well.
  static let drainNanoseconds: UInt64 = 120_000_000_000
  static let stepsMax = 400_000

  let scenario: Scenario
  let scheduler: Scheduler
  let network: Network
  let broker: SimulatedBroker
  let settings: PipelineSettings
  let stream: [PlayedRecord]
  var slots: [Slot] = []
  var twins: [Slot] = []
  var wallOffset: Int64 = 0
  let begin: UInt64
  var isDiskFull: [UInt64]
  var isCalm = false
  private var isEnding = false
  private let foldedModel = ModelState()
  private var foldedNext: Int64 = 0
  /// Faults that the checker of logs cannot see.
  var findings: [String] = []
  var counts = Counts()
  var sentCommands: [String] = []
  /// Wraps the clients or files of a process in ones that misbehave; for tests of the simulation itself.
  let plant: Plant

  struct Counts {
    var starts = 0
    var kills = 0
    var abandoned = 0
    /// How long it took once faults had ceased.
    var drainMilliseconds: UInt64 = 0
    /// States that were made without a checkpoint.
    var bareReplays = 0
    /// Workers that ended because another bears their name.
    var gaveWay = 0
    /// Acknowledged records that brokers lost.
    var lostRecords = 0
    /// A worker said that a log is not the one it knew.
    var isLossTold = false
    var byFault: [String: Int] = [:]
    /// What the workers logged, by code: shows which ways were gone.
    var byCode: [String: Int] = [:]
  }

  /// One name under which processes run, one after the other, and their disk.
  final class Slot: @unchecked Sendable {
    let name: String
    let disk = SimulatedDisk()
    var process: SimulatedProcess?
    var context: WorkerContext?
    var incarnation = 0
    var isStopping = false
    var isStartPlanned = false
    var disksWiped = false
    init(name: String) { self.name = name }
  }

  init(_ scenario: Scenario, stacks: StackPool, plant: Plant = Plant()) {
    self.scenario = scenario
    self.plant = plant
    let scheduler = Scheduler(seed: scenario.seed, stacks: stacks)
    self.scheduler = scheduler
    begin = scheduler.now
    network = Network(scheduler)
    var wall: () -> Int64 = { 0 }
    broker = SimulatedBroker(scheduler) { wall() }
    isDiskFull = scenario.instances.map { _ in 0 }
    var settings = Self.pipeline.settings
    settings.learning.keepEvery = UInt64(scenario.keepEvery)
    settings.delivery.transactionRecords = scenario.transactionRecords
    settings.delivery.transactionIntervalMilliseconds = scenario.transactionMilliseconds
    settings.delivery.transactionTimeoutMilliseconds = 2_500
    settings.delivery.mode = scenario.isAtLeastOnce ? .atLeastOnce : .exactlyOnce
    settings.worker.sessionTimeoutMilliseconds = 3_000
    settings.worker.heartbeatMilliseconds = 900
    settings.worker.lanes = scenario.lanes
    settings.checkpoints.everyMilliseconds = scenario.checkpointMilliseconds
    settings.checkpoints.directory = Self.directory
    settings.errors.then = .carryOn
    self.settings = settings
    stream = Stream(seed: scenario.seed, requests: scenario.requests, partitions: scenario.partitions).records
    wall = { [unowned self] in self.wall }
    createTopics()
    broker.markerNanoseconds = scenario.markerNanoseconds
    plant.broker(broker)
    slots = scenario.instances.map { Slot(name: $0) }
  }

  var wall: Int64 { Stream.start + Int64((scheduler.now - begin) / 1_000_000) + wallOffset }
  var milliseconds: UInt64 { (scheduler.now - begin) / 1_000_000 }

  func createTopics() {
    let topics = settings.topics
    for name in settings.features.inputs.map(\.topic) + [topics.predictions, topics.journal] {
      broker.create(name, partitions: scenario.partitions)
    }
    for name in [topics.learning, topics.control, topics.acks, topics.deadLetters, topics.alerts, topics.checkpoints] {
      broker.create(name, partitions: 1)
    }
  }

  func find(_ text: String) {
    findings.append(text)
    scheduler.note("FINDING \(text)")
  }

  // MARK: The run

  /// Plays the scenario; everything that is wrong.
  func run() -> [String] {
    network.weather = scenario.weather
    for (index, slot) in slots.enumerated() {
      plan(slot, after: UInt64(index) * (scheduler.random.next() % (2 * Scenario.second)))
    }
    feed()
    if scenario.hasCommands { planCommands() }
    for fault in scenario.faults { scheduler.after(fault.at) { [self] in befall(fault) } }
    let calmAt = begin + scenario.feedNanoseconds
    guard scheduler.run(until: calmAt, stepsMax: Self.stepsMax, { false }) || scheduler.steps < Self.stepsMax else {
      find("livelock: \(scheduler.steps) steps in \(milliseconds) ms")
      return end()
    }
    calm()
    if !drain() { return end() }
    stop()
    return end()
  }

  /// No more faults: whoever is down comes back.
  func calm() {
    isCalm = true
    scheduler.note("calm")
    network.weather = Network.Weather(latencyNanoseconds: scenario.weather.latencyNanoseconds)
    network.downUntil = 0
    for twin in twins { kill(twin, machine: false) }
    for slot in slots {
      slot.process?.cutOffUntil = 0
      slot.process?.heartbeatsLostUntil = 0
      isDiskFull = isDiskFull.map { _ in 0 }
      if slot.process == nil || slot.isStopping { plan(slot, after: 0) }
    }
  }

  func drain() -> Bool {
    var nextLook: UInt64 = 0
    let began = scheduler.now
    let deadline = scheduler.now + Self.drainNanoseconds
    let isDrained = scheduler.run(until: deadline, stepsMax: Self.stepsMax) { [self] in
      if !findings.isEmpty || counts.isLossTold { return true }
      guard scheduler.now >= nextLook else { return false }
      nextLook = scheduler.now + 50_000_000
      return self.isDrained
    }
    counts.drainMilliseconds = (scheduler.now - began) / 1_000_000
    // Some losses only the watch can see, which looks every five seconds and believes the second look.
    if isDrained, counts.lostRecords > 0 {
      _ = scheduler.run(until: scheduler.now + 16 * Scenario.second, stepsMax: scheduler.steps + 50_000) { [self] in
        counts.isLossTold
      }
    }
    if !isDrained, !counts.isLossTold { find("not drained \(drainText)") }
    return isDrained && findings.isEmpty
  }

  var isDrained: Bool {
    let inputs = settings.features.inputs.map(\.topic) + (sentCommands.isEmpty ? [] : [settings.topics.control])
    for topic in inputs {
      for partition in broker.topic(topic) {
        guard lastRecordEnd(partition) <= committed(TopicPartition(topic, partition.number)) ?? 0 else { return false }
      }
    }
    let learning = broker.topic(settings.topics.learning)[0]
    guard learning.stable == learning.end else { return false }
    // Every worker has folded all there is, and serves it.
    return slots.allSatisfy { slot in
      guard let process = slot.process, process.isAlive, !slot.isStopping, let context = slot.context else { return false }
      guard let model = context.model.withLock({ $0 }), context.hub.pinnedBy == nil else { return false }
      return model.version == folded.version && model.counters == folded.ledger.counters
    }
  }

  /// A fold of `learning` of our own, as far as it is stable.
  var folded: ModelState {
    let learning = broker.topic(settings.topics.learning)[0]
    while foldedNext < learning.stable {
      if learning.isVisible(foldedNext) { foldedModel.fold(StoredRecord(learning, at: foldedNext)) }
      foldedNext += 1
    }
    return foldedModel
  }

  var drainText: String {
    var text = "at \(milliseconds) ms:"
    for topic in settings.features.inputs.map(\.topic) {
      for partition in broker.topic(topic) {
        let place = TopicPartition(topic, partition.number)
        text += " \(place)=\(committed(place) ?? -1)/\(lastRecordEnd(partition))"
        if partition.stable != partition.end { text += "(stable \(partition.stable))" }
      }
    }
    let learning = broker.topic(settings.topics.learning)[0]
    text += " learning=\(learning.stable)/\(learning.end)"
    for slot in slots {
      text += " \(slot.name):\(slot.process?.isAlive ?? false ? "up" : "down")"
      if let context = slot.context {
        text += " model=\(context.model.withLock { $0.map { "\($0.version) \($0.counters)" } ?? "none" }) pin=\(context.hub.pinnedBy ?? "no")"
        for lane in context.lanes { text += " \(lane.snapshot.phase)" }
      }
    }
    return text
  }

  func committed(_ place: TopicPartition) -> Int64? { committed([place])[0] }

  /// What the group has committed; where that was forgotten and nothing came since, what the journal says.
  func committed(_ places: [TopicPartition]) -> [Int64?] {
    let told = (try? broker.group.fetch(places, stable: false).get())?.map(\.offset) ?? places.map { _ in nil }
    guard counts.byFault["offsets are gone"] != nil else { return told }
    return zip(places, told).map { place, offset in
      let journal = broker.topic(settings.topics.journal)[Int(place.partition)]
      guard offset == nil, let input = settings.features.inputs.firstIndex(where: { $0.topic == place.topic }),
        let last = (0..<journal.stable).last(where: { journal.isVisible($0) }),
        let record = try? JournalRecord.decode(journal.entries[Int(last)].value ?? [])
      else { return offset }
      return record.nextOffsets[input]
    }
  }
  func lastRecordEnd(_ partition: SimulatedPartition) -> Int64 {
    (partition.entries.indices.last { partition.isVisible(Int64($0)) }).map { Int64($0) + 1 } ?? 0
  }

  /// Everybody is told to stop, and has to come to an end by himself.
  func stop() {
    isEnding = true
    for slot in slots {
      slot.isStopping = true
      slot.context?.stop()
    }
    let deadline = scheduler.now + Self.drainNanoseconds
    let stopped = scheduler.run(until: deadline, stepsMax: Self.stepsMax + 100_000) { [self] in
      slots.allSatisfy { $0.process == nil }
    }
    if !stopped {
      find("not stopped: \(slots.filter { $0.process != nil }.map(\.name)) after \(milliseconds) ms")
    }
    // The last markers are written.
    _ = scheduler.run(until: scheduler.now + 3 * Scenario.second) { false }
  }

  func end() -> [String] {
    for slot in slots + twins {
      slot.process?.kill()
      slot.context?.stop()
    }
    // Those that were killed unwind.
    _ = scheduler.run(until: .max, stepsMax: scheduler.steps + 300_000) { [self] in
      processes.allSatisfy { $0.isGone }
    }
    counts.abandoned = processes.reduce(0) { $0 + $1.abandonedCount }
    scheduler.close()
    // What refers to each other would stay for ever.
    for process in processes { process.forget() }
    for topic in broker.topics { for partition in topic.partitions { partition.forgetWatchers() } }
    return findings
  }

  // MARK: Processes

  var processes: [SimulatedProcess] = []

  func plan(_ slot: Slot, after nanoseconds: UInt64) {
    guard !slot.isStartPlanned else { return }
    slot.isStartPlanned = true
    scheduler.after(nanoseconds) { [self] in
      slot.isStartPlanned = false
      guard !isEnding else { return }
      // A process that is still on its way out is waited for.
      if slot.process != nil { return plan(slot, after: 100_000_000) }
      start(slot)
    }
  }

  func start(_ slot: Slot) {
    counts.starts += 1
    slot.incarnation += 1
    slot.isStopping = twins.contains { $0 === slot }
    let process = SimulatedProcess(name: slot.name, incarnation: slot.incarnation, scheduler: scheduler)
    slot.process = process
    processes.append(process)
    scheduler.note("\(slot.name) starts, incarnation \(slot.incarnation)", UInt64(slot.incarnation))
    let strand = scheduler.start("\(slot.name).main", of: process) { [self] in
      main(slot, process)
    }
    process.add(strand)
  }

  /// As the worker's own `run`, on this world.
  func main(_ slot: Slot, _ process: SimulatedProcess) {
    var settings = settings
    settings.worker.instance = slot.name
    let index = slots.firstIndex { $0.name == slot.name }!
    let files = plant.files(
      SimulatedFiles(slot.disk, process) { [self] in
        SimulatedFiles.Trouble(
          failures: isCalm ? 0 : scenario.diskFailures, isFull: scheduler.now < isDiskFull[index])
      })
    let store = CheckpointStore(Self.directory, files: files)
    let blobs: BlobStore
    do {
      try store.sweep()
      blobs = try BlobStore(in: Self.directory, files: files)
    } catch {
      return ended(slot, process, .failed(.storage("\(error)")))
    }
    let side = ClientSide(process: process, network: network, broker: broker, laziness: scenario.laziness)
    let runtime = SimulatedRuntime(process, lateness: 1_000_000 * (scenario.laziness + 1)) { [self] in wall }
    let log = LogWriter(
      pipeline: settings.name, instance: slot.name, level: .info, json: false, secrets: [],
      limit: .init(burst: 1_000), clock: { 0 }, sink: { [weak self] line in self?.hear(line, slot) })
    let context = WorkerContext(
      settings: settings, cluster: plant.cluster(SimulatedCluster(side, settings)), runtime: runtime,
      clusterID: SimulatedCluster.id, clientLog: LogQueue(), store: store, blobs: blobs, files: files,
      trust: [Self.operatorKey.publicKey],
      metrics: WorkerMeter(
        settings, windowNames: Self.pipeline.plan.features.windowNames, WorkerBuild(version: "0", commit: "0")),
      log: log, untilEnd: false)
    slot.context = context
    process.onKill = { context.stop() }
    let worker = Worker(context: context, features: Self.pipeline.plan.features)
    // Threads always start in this world.
    let threads = try! worker.startThreads()
    while !context.isStopping { runtime.pause(milliseconds: 150) }
    for thread in threads { thread.join() }
    ended(slot, process, worker.failure.map { .failed($0) } ?? .stopped)
  }

  func hear(_ line: [UInt8], _ slot: Slot) {
    let words = line.dropLast().split(separator: UInt8(ascii: " "))
    guard let code = words.first(where: { $0.starts(with: "code=".utf8) })?.dropFirst(5) else { return }
    counts.byCode[String(decoding: code, as: UTF8.self), default: 0] += 1
    if code.elementsEqual("restoring".utf8), words.contains(where: { $0.elementsEqual("checkpoint=no".utf8) }) {
      counts.bareReplays += 1
    }
    scheduler.trace?(scheduler.now, "\(slot.name): \(String(decoding: line.dropLast(), as: UTF8.self))")
  }

  func ended(_ slot: Slot, _ process: SimulatedProcess, _ exit: SimulatedProcess.Exit) {
    guard process.isAlive, slot.process === process else { return }
    process.exit = exit
    slot.process = nil
    slot.context = nil
    slot.disk.processEnded()
    scheduler.note("\(slot.name) ended: \(exit)")
    if case .failed(let why) = exit {
      switch why.exitCode {
      // Whoever gives way to another of his name must have one.
      case 75 where twins.isEmpty: find("worker \(slot.name) gave way to nobody: \(why)")
      case 75: counts.gaveWay += 1
      case 69, 74: break
      case 65 where counts.lostRecords > 0: counts.isLossTold = true
      default: find("worker \(slot.name) gave up: \(why) exit=\(why.exitCode)")
      }
    }
    // A supervisor starts again what did not stop because it was told to.
    if !slot.isStopping { plan(slot, after: Scenario.second / 2) }
  }

  func kill(_ slot: Slot, machine: Bool, after pause: UInt64? = nil) {
    guard let process = slot.process else { return }
    counts.kills += 1
    process.kill()
    slot.process = nil
    slot.context = nil
    if machine {
      for path in slot.disk.crash(&scheduler.random) { find("\(slot.name) named \(path) before it was on disk") }
    } else {
      slot.disk.processEnded()
    }
    if !twins.contains(where: { $0 === slot }) {
      plan(slot, after: pause ?? scheduler.random.next() % (5 * Scenario.second))
    }
  }
}
