import Checkpoints
import Foundation
import Kafka
import Learning
import Records
@testable import RunChecker
import Storage
import Synchronization
import TestSupport
import Testing

/// A pipeline of its own on a real broker: its topics, its workers, their state directories, and what they left behind.
final class Scene {
  let broker: LocalBroker
  /// What stands between the workers and the broker, if anything; the tests' own clients go past it.
  let proxy: KafkaProxy?
  let pipeline: TestPipeline
  let directory: URL
  private(set) var members: [Member] = []
  private let settings: [String]
  private let variables: [String: String]
  let admin: Admin
  let clusterID: String
  let operatorKey: Ed25519.PrivateKey
  private let producer: Producer
  private var topics: [String: ProducerTopic] = [:]
  private let group: Consumer
  private let ends: [Reader]

  /// One worker and what belongs to it.
  final class Member {
    let instance: String
    let worker: WorkerProcess
    let stateDirectory: String
    fileprivate let adminPort: UInt16

    fileprivate init(_ instance: String, _ worker: WorkerProcess, _ stateDirectory: String, _ adminPort: UInt16) {
      self.instance = instance
      self.worker = worker
      self.stateDirectory = stateDirectory
      self.adminPort = adminPort
    }
    /// The worker's own word; only ever waited for, never believed.
    var status: JSONValue? { page("/api/v1/status").flatMap { try? JSONValue(parsing: $0) } }
    /// A page of its console.
    func page(_ path: String) -> [UInt8]? { httpGet(port: adminPort, path: path) }
  }

  /// The first member.
  var worker: WorkerProcess { members[0].worker }
  var stateDirectory: String { members[0].stateDirectory }
  var status: JSONValue? { members[0].status }

  /// `settings`: `path=value` for every member; `variables`: of their environment. A broker of the scene's own is one that it may stop.
  init(
    _ name: String, partitions: [String: Int32] = [:], seed: UInt8 = 7, broker ownBroker: LocalBroker? = nil,
    isProxied: Bool = false, settings: [String] = [], variables: [String: String] = [:],
    topicSettings: [NewTopic.Setting] = []
  ) throws {
    broker = try ownBroker ?? LocalBroker.shared()
    proxy = isProxied ? try KafkaProxy(to: broker.bootstrap) : nil
    self.settings = settings
    self.variables = variables
    let name = "\(name)-\(UUID().uuidString.prefix(6).lowercased())"
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(name)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    operatorKey = try Ed25519.PrivateKey(seed: [UInt8](repeating: seed, count: 32))
    let keyFile = directory.appendingPathComponent("operator.pub")
    try operatorKey.publicKey.pem().write(to: keyFile, atomically: true, encoding: .utf8)
    pipeline = try TestPipeline(
      name: name, bootstrap: proxy?.bootstrap ?? broker.bootstrap,
      directory: directory.appendingPathComponent("state").path, operatorKey: keyFile.path)
    admin = try Admin(broker.settings("scene"))
    try Self.createTopics(pipeline, admin, partitions, replication: broker.replication, topicSettings)
    clusterID = try admin.clusterID()
    producer = try Producer(broker.settings("scene"), ProducerSettings(messageBytesMax: 64 << 20))
    // Same group, never joined: for what is committed alone.
    group = try Consumer(broker.settings("scene"), GroupSettings(groupID: name))
    let client = broker.settings("scene")
    ends = try pipeline.settings.features.inputs.map {
      try Reader(client, topic: $0.topic, fetch: FetchSettings(isolation: .readUncommitted))
    }
    try addMember("one")
  }

  /// Another worker of this pipeline, not started, with a state directory of its own; of another build or declaration
  /// where these are given.
  @discardableResult
  func addMember(
    _ instance: String, settings more: [String] = [], variables own: [String: String] = [:],
    program: String? = WorkerProcess.program, file: String = TestPipeline.file
  ) throws -> Member {
    let port = try freePort()
    let name = members.isEmpty ? "state" : "state-\(members.count + 1)"
    let state = directory.appendingPathComponent(name).path
    var variables = pipeline.variables.merging(variables) { $1 }.merging(own) { $1 }
    variables["INSTANCE"] = instance
    variables["STATE_DIRECTORY"] = state
    let log = members.isEmpty ? "log" : "log-\(members.count + 1)"
    let worker = WorkerProcess(
      program: program,
      arguments: ["run", "--config", file, "--log-format", "json"]
        + (["admin.listen=127.0.0.1:\(port)"] + settings + more).flatMap { ["--set", $0] },
      variables: variables, logFile: directory.appendingPathComponent(log).path)
    let member = Member(instance, worker, state, port)
    members.append(member)
    return member
  }

  /// What the workers of the scenes that ended wrote last.
  static let lastLogs = Mutex<[String]>([])

  deinit {
    for member in members {
      member.worker.kill()
      Self.lastLogs.withLock { $0.append("the last of \(member.instance):\n\(member.worker.tail(of: 40))") }
    }
    proxy?.stop()
    // Left-overs in the temporary directory harm nobody.
    if ProcessInfo.processInfo.environment["MILLRACE_KEEP_SCENES"] == nil {
      try? FileManager.default.removeItem(at: directory)
    }
  }

  private static func createTopics(
    _ pipeline: TestPipeline, _ admin: Admin, _ partitions: [String: Int32], replication: Int32,
    _ settings: [NewTopic.Setting]
  ) throws {
    let topics = pipeline.settings.topics
    let wide = pipeline.settings.features.inputs.map(\.topic) + [topics.predictions, topics.journal]
    let narrow = [
      topics.learning, topics.control, topics.acks, topics.deadLetters, topics.alerts, topics.checkpoints,
    ]
    try admin.create(
      (wide + narrow).map { name in
        // Records carry times of the past: nothing may be taken for too old.
        NewTopic(
          name: name,
          partitions: partitions[String(name.split(separator: ".").last!)]
            ?? (wide.contains(name) ? TestPipeline.partitions : 1), replication: replication,
          config: [.init("retention.ms", "-1")] + settings)
      })
  }

  // MARK: Sending

  /// Sends records a few at a time, so that no input runs minutes of event time ahead of another: a worker that finds
  /// an input at its end goes on without it, and then labels may expire before their events are there.
  func produce(_ records: some Collection<PlayedRecord>) throws {
    for (index, record) in records.enumerated() {
      if index % 20 == 19 { try producer.flush() }
      let topic = try open(pipeline.settings.features.inputs[record.input].topic)
      try producer.produce(
        topic, partition: record.partition, key: record.key, value: record.value,
        headers: HeaderBlock(bytes: record.headers), timestamp: record.timestamp)
    }
    try producer.flush()
  }

  /// Sends to `control`; the time is the broker's.
  func command(_ value: [UInt8], signature: String?) throws {
    var headers = HeaderBlock()
    if let signature { headers.append(Command.signatureHeader, signature) }
    try producer.produce(
      try open(pipeline.settings.topics.control), partition: 0, key: Array(pipeline.settings.name.utf8),
      value: value, headers: headers)
    try producer.flush()
  }

  private func open(_ name: String) throws -> ProducerTopic {
    if let topic = topics[name] { return topic }
    var topic: ProducerTopic!
    // One of several brokers may not know of a new topic yet.
    try wait(seconds: 10, "topic \(name) to be known") {
      topic = try? producer.open(name)
      return topic != nil
    }
    topics[name] = topic
    return topic
  }

  // MARK: Reading

  /// `[partition][input]`.
  func committed() throws -> [[Int64?]] {
    try (0..<TestPipeline.partitions).map { partition in
      try asking {
        try group.committed(
          pipeline.settings.features.inputs.map { TopicPartition($0.topic, partition) }
        ).map(\.offset)
      }
    }
  }

  /// A coordinator or leader that is away, or just moves, is asked again.
  private func asking<T>(_ question: () throws -> T) throws -> T {
    let deadline = ContinuousClock.now + .seconds(180)
    while true {
      do { return try question() } catch let error as KafkaError where error.action == .retrySameCall {
        guard ContinuousClock.now < deadline else { throw error }
      }
    }
  }

  /// Records of the inputs that the group has committed so far.
  func committedCount() throws -> Int64 {
    try committed().joined().reduce(0) { $0 + ($1 ?? 0) }
  }

  func watermarks(_ topic: String, _ partition: Int32) throws -> Watermarks {
    let reader = try #require(ends.first { $0.topic == topic })
    return try asking { try reader.watermarks(TopicPartition(topic, partition)) }
  }

  /// True ends: `[partition][input]`.
  func inputEnds() throws -> [[Int64]] {
    try (0..<TestPipeline.partitions).map { partition in
      try ends.map { reader in
        try asking { try reader.watermarks(TopicPartition(reader.topic, partition)).high }
      }
    }
  }

  /// Waits until the group has committed the end of every input, and the model has folded all that followed.
  func drain(seconds: Double = 60) throws {
    let ends = try inputEnds()
    try wait(seconds: seconds, "every input to be consumed: \(try! committed()) of \(ends)") {
      try checkRunning()
      let committed = try committed()
      return zip(committed, ends).allSatisfy { zip($0, $1).allSatisfy { ($0 ?? 0) == $1 } }
    }
    let version = try foldedVersion()
    for member in members where member.worker.id != nil {
      try wait(seconds: 20, "the model of \(member.instance) to reach \(version): \(member.version ?? "none")") {
        try checkRunning()
        return member.version == version.description
      }
    }
  }

  /// Throws where one that was started has ended by itself.
  func checkRunning() throws {
    for member in members { try member.worker.checkRunning() }
  }

  /// Version that a fresh fold of `learning` reaches.
  func foldedVersion() throws -> ModelVersion { try folded().version }

  func folded() throws -> ModelState {
    let state = ModelState()
    for record in try read(pipeline.settings.topics.learning)[0] {
      _ = state.fold(
        record.value, offset: Offset(record.offset), timestamp: EventTime(milliseconds: record.timestamp))
    }
    return state
  }

  /// All committed records of a topic, by partition, to its true end: open transactions are waited for, unless only what
  /// is committed by now is asked for.
  func read(_ topic: String, waitsForOpen: Bool = true) throws -> [[StoredRecord]] {
    let settings = broker.settings("checker")
    let ends = try Reader(settings, topic: topic, fetch: FetchSettings(isolation: .readUncommitted))
    let reader = try Reader(settings, topic: topic)
    return try (0..<(try reader.partitionCount())).map { partition in
      let marks = try asking { try (waitsForOpen ? ends : reader).watermarks(TopicPartition(topic, partition)) }
      guard marks.low < marks.high else { return [] }
      var records: [StoredRecord] = []
      try reader.start(partition: partition, at: .offset(marks.low))
      defer { reader.stop(partition: partition) }
      try reader.read(partition: partition, through: marks.high, timeoutMilliseconds: 120_000) { record in
        guard record.partition == partition, record.offset < marks.high else { return }
        records.append(StoredRecord(record))
      }
      return records
    }
  }

  /// Answers on `control-acks` so far.
  func acks() throws -> [CommandAck] {
    try read(pipeline.settings.topics.acks).joined().compactMap { CommandAck(parsing: $0.value) }
  }

  func waitForAck(_ id: String, _ status: CommandAck.Status, seconds: Double = 20) throws -> CommandAck {
    var found: CommandAck?
    try wait(seconds: seconds, "ack \(status) of \(id)") {
      try checkRunning()
      found = try acks().first { $0.id == id && $0.status == status }
      return found != nil
    }
    return found!
  }

  // MARK: Judging

  /// What the run has left behind. The workers must have ended: their last checkpoints are compared as well.
  func evidence(comparesPartitionStates: Bool = true) throws -> Evidence {
    let topics = pipeline.settings.topics
    let model = try newest(.model, PartitionID(0))
    return Evidence(
      inputs: try pipeline.settings.features.inputs.map { try read($0.topic) },
      predictions: try read(topics.predictions), journal: try read(topics.journal),
      deadLetters: Array(try read(topics.deadLetters).joined()), learning: try read(topics.learning)[0],
      committed: try committed(),
      modelStates: try model.map { [("the worker", try $0.section("model"), $0.identity.logNext.value)] } ?? [],
      partitionStates: try (0..<TestPipeline.partitions).map { partition in
        guard comparesPartitionStates else { return nil }
        return try newest(.partition, PartitionID(partition))?.sections.byName
      })
  }

  /// The checkpoint that stands furthest, of all members'.
  private func newest(_ kind: CheckpointKind, _ partition: PartitionID) throws -> Checkpoint? {
    try members.compactMap { member in
      guard FileManager.default.fileExists(atPath: member.stateDirectory) else { return nil }
      let store = CheckpointStore(member.stateDirectory)
      return try store.list(kind, partition).last.map { try store.load($0) }
    }.max { $0.identity.logNext < $1.identity.logNext }
  }

  /// Every finding of the checker.
  func findings(
    comparesPartitionStates: Bool = true, of change: (inout Evidence) -> Void = { _ in }
  ) throws -> [Finding] {
    var evidence = try evidence(comparesPartitionStates: comparesPartitionStates)
    change(&evidence)
    return Checker.check(evidence, plan: pipeline.plan)
  }
}

extension Scene.Member {
  /// Version of the model that it says it holds.
  var version: String? { status?["model"]?["version"]?.string }
}

extension StoredRecord {
  init(_ record: borrowing Record) {
    var headers = HeaderBlock()
    record.appendHeaders(to: &headers)
    self.init(
      offset: record.offset, timestamp: record.timestamp,
      key: record.hasKey ? Array(record.unsafeKey) : nil, value: Array(record.unsafeValue),
      headers: headers.bytes)
  }
}

/// A loopback port that nothing listens on.
func freePort() throws -> UInt16 {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  var address = loopback(port: 0)
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let bound = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
      bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
    }
  }
  guard descriptor >= 0, bound else { throw WorkerProcess.Failure(description: "no free port") }
  return UInt16(bigEndian: address.sin_port)
}

private func loopback(port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  address.sin_port = port.bigEndian
  return address
}

/// Body of a page on loopback; nil for anything but 200 within two seconds.
func httpGet(port: UInt16, path: String) -> [UInt8]? {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var patience = timeval(tv_sec: 2, tv_usec: 0)
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  var address = loopback(port: port)
  let length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let connected = withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, length) == 0 }
  }
  guard connected else { return nil }
  let request = Array("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n".utf8)
  guard write(descriptor, request, request.count) == request.count else { return nil }
  var answer: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = read(descriptor, &buffer, buffer.count)
    if count <= 0 { break }
    answer += buffer[..<count]
  }
  let text = String(decoding: answer, as: UTF8.self)
  guard text.hasPrefix("HTTP/1.1 200"), let end = text.range(of: "\r\n\r\n") else { return nil }
  return Array(text[end.upperBound...].utf8)
}
