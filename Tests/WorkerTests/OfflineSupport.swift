// Payments of the pipeline that ships, made up under a seed; files for them; and a live run of several partitions in
// memory, with lanes that adopt late, a tag, a brake and a rollback, written down as `tap --raw` would.
import Engine
import Features
import Foundation
import Learning
import Models
import Pipeline
import Records

@testable import Worker

struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

enum Deployed {
  static func path(_ name: String) -> String {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    return "/\(root)/deploy/pipelines/\(name)"
  }
  static func load(_ name: String) throws -> (settings: PipelineSettings, features: FeaturePlan) {
    let loaded = PipelineLoader.load(
      files: [path(name) + "/pipeline.yaml"],
      surroundings: Surroundings(variables: ["HOSTNAME": "test"], read: { Surroundings.readFile($0) }))
    var settings = try loaded.get()
    // Smaller tables than in production: the laws are the same, and a debug build is done sooner.
    for index in settings.learning.contenders.indices {
      if case .ftrl(let learner, var encoder) = settings.learning.contenders[index].kind {
        encoder.hashBits = 12
        settings.learning.contenders[index].kind = .ftrl(learner, encoder)
      }
    }
    return (settings, loaded.plan!)
  }
}

/// One line of a play file.
struct PlayedLine {
  var input: String
  var time: Int64
  var card: String
  var value: String
  var text: String { #"{"input":"\#(input)","time":\#(time),"value":\#(value)}"# }
}

/// Payments, logins and outcomes in order of time; some labels never come, come twice, or are broken.
func payments(seed: UInt64, count: Int) -> [PlayedLine] {
  var random = SplitMix(seed)
  var lines: [PlayedLine] = []
  var now: Int64 = 1_741_000_000_000
  func text(_ time: Int64) -> String { EventTime(milliseconds: time).rfc3339 }
  for number in 0..<count {
    now += Int64.random(in: 1...600_000, using: &random)
    let card = "c\(Int.random(in: 0..<30, using: &random))"
    let amount = Double(Int.random(in: 1...40_000, using: &random)) / 100
    lines.append(
      PlayedLine(
        input: "payments", time: now, card: card,
        value: #"{"payment_id":"p\#(number)","card":"\#(card)","merchant":"m\#(number % 9)","category":"g\#(number % 5)","amount":\#(amount),"country":"DE","channel":"online","paid_at":"\#(text(now))"}"#))
    if number % 3 == 0 {
      lines.append(
        PlayedLine(
          input: "logins", time: now, card: card,
          value: #"{"login_id":"l\#(number)","card":"\#(card)","country":"DE","failed":\#(number % 2 == 0),"seen_at":"\#(text(now))"}"#))
    }
    guard number % 11 != 0 else { continue }
    let known = now + Int64.random(in: 60_000...80_000_000, using: &random)
    let outcome = PlayedLine(
      input: "outcomes", time: known, card: card,
      value: #"{"payment_id":"p\#(number)","card":"\#(card)","charged_back":\#(amount > 250 ? 1 : 0),"known_at":"\#(text(known))"}"#)
    lines.append(outcome)
    if number % 17 == 0 { lines.append(outcome) }
    if number % 23 == 0 {
      lines.append(PlayedLine(input: "outcomes", time: known, card: card, value: #"{"payment_id":"p\#(number)","card":"\#(card)"}"#))
    }
  }
  return lines.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
}

/// A directory of its own that goes away with its owner.
final class Scratch {
  let path: String
  init() {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)").path
    try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }  // What stays is in the system's temporary directory.

  func write(_ name: String, _ lines: [String]) -> String {
    let file = path + "/" + name
    try! (lines.joined(separator: "\n") + (lines.isEmpty ? "" : "\n")).write(toFile: file, atomically: false, encoding: .utf8)
    return file
  }
}

/// A live run in memory: what its topics hold at the end.
final class SimulatedRun {
  let settings: PipelineSettings
  let features: FeaturePlan
  let state = ModelState()
  /// Every topic's records.
  private(set) var topics: [String: [TapRecord]] = [:]
  private var nextOffsets: [String: Int64] = [:]
  private let partitions: Int
  private var now: Int64 = 0
  private(set) var servedVersions: [String] = []
  private var random: SplitMix

  init(_ settings: PipelineSettings, _ features: FeaturePlan, partitions: Int, seed: UInt64) {
    self.settings = settings
    self.features = features
    self.partitions = partitions
    random = SplitMix(seed)
  }

  private func publish(
    _ topic: String, _ partition: Int32, key: [UInt8]? = nil, value: [UInt8], headers: [TapRecord.Header] = [],
    timestamp: Int64, isTransactional: Bool
  ) {
    let place = "\(topic)/\(partition)"
    let offset = nextOffsets[place, default: 0]
    topics[topic, default: []].append(
      TapRecord(
        topic: topic, partition: partition, offset: offset, timestamp: timestamp, key: key, value: value,
        headers: headers))
    // Markers of transactions leave gaps.
    nextOffsets[place] = offset + (isTransactional && Bool.random(using: &random) ? 2 : 1)
  }

  private func learn(_ bytes: [UInt8]) {
    publish(settings.topics.learning, 0, value: bytes, timestamp: now, isTransactional: true)
    let record = topics[settings.topics.learning]!.last!
    for effect in state.fold(bytes, offset: Offset(record.offset), timestamp: EventTime(milliseconds: now)) {
      if case .keep(let version, let digest, let learned) = effect {
        let ledger = state.ledgerHash
        publishVersion(version, learned, state.ledgerPart(), next: record.offset + 1)
        for fold in 1...2 as ClosedRange<UInt8> {
          learn(
            HashClaim(instance: "w", version: version, stateHash: digest, fold: fold, ledgerHash: ledger).record())
        }
        learn(KeptVersion(version: version, digest: digest).record())
      }
    }
  }

  private func publishVersion(_ version: ModelVersion, _ learned: [UInt8], _ ledger: [UInt8], next: Int64) {
    let parts = [ChunkedContent.cut(learned), ChunkedContent.cut(ledger)]
    var records = parts.flatMap { part in zip(part.content.chunks, part.chunks).map { CheckpointRecord.chunk($0, $1) } }
    records.append(
      .manifest(
        CheckpointManifest(
          pipeline: settings.name, clusterID: "sim", instance: "w", charter: Digest.of(state.ledger.charter!.record()),
          version: version, next: Offset(next), learned: parts[0].content, ledger: parts[1].content)))
    for record in records {
      publish(
        settings.topics.checkpoints, 0, key: record.key, value: record.value ?? [], timestamp: now,
        isTransactional: true)
    }
  }

  private func command(_ id: String, _ action: Command.Action) -> LoggedCommand {
    let command = Command(
      id: id, pipeline: settings.name, clusterID: "sim", action: action, issuer: "test", keyID: "k", reason: "test",
      issuedAt: EventTime(milliseconds: now), expiresAt: EventTime(milliseconds: now + 3_600_000))
    return LoggedCommand(
      value: command.json(), signature: [], keyID: "k", controlOffset: Offset(0),
      controlTimestamp: EventTime(milliseconds: now), isVerified: true)
  }

  func run(_ lines: [PlayedLine], unit size: Int) throws {
    now = lines[0].time
    learn(ModelState.charter(settings.learning, clusterID: "sim").record())
    let plan = EnginePlan(
      features: features, join: settings.join, threshold: Float(settings.decisionThreshold),
      contenderCount: state.contenderNames.count)
    let pending = PendingRecords(partitions: partitions, inputs: plan.inputs.count)
    var engines: [PartitionEngine] = []
    var feeds: [OfflineFeed<Never>] = []
    for partition in 0..<partitions {
      let engine = PartitionEngine(
        plan: plan, partition: PartitionID(Int32(partition)), start: plan.inputs.map { _ in 0 })
      engines.append(engine)
      feeds.append(OfflineFeed(engine) { pending.take(partition, $0) })
    }
    let unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: features.rowSchema, contenderCount: plan.contenderCount, planDigest: features.digest),
      inputCount: plan.inputs.count)
    // Each partition serves what it adopted last, not always the newest.
    var adopted = Array(repeating: state.scorers()!, count: partitions)
    var pinned: ScorerSet?
    var units = 0
    for start in stride(from: 0, to: lines.count, by: size) {
      for line in lines[start..<min(start + size, lines.count)] {
        now = line.time
        let input = plan.inputs.firstIndex { $0.name == line.input }!
        let partition = Int(Murmur2.partition(of: Array(line.card.utf8), partitions: Int32(partitions)))
        let headers = input == 0 ? [TapRecord.Header("traceparent", Array("00-\(line.time)".utf8)), .init("empty", nil)] : []
        publish(
          plan.inputs[input].topic, Int32(partition), key: Array(line.card.utf8), value: Array(line.value.utf8),
          headers: headers, timestamp: line.time, isTransactional: false)
        pending.add(
          partition, input, payload: Array(line.value.utf8), key: Array(line.card.utf8), timestamp: line.time,
          headers: HeaderBlock(headers).bytes)
      }
      for partition in 0..<partitions {
        if let pinned {
          adopted[partition] = pinned
        } else if Int.random(in: 0..<3, using: &random) > 0 {
          adopted[partition] = state.scorers()!
        }
        while true {
          feeds[partition].fill()
          if try engines[partition].step(into: unit, scorers: adopted[partition], budget: .max) == .idle { break }
        }
        if engines[partition].seal(into: unit) { servedVersions.append(adopted[partition].version.description) }
      }
      unit.sealExamples()
      for record in unit.records {
        let value = unit.value(of: record)
        switch record.destination {
        case .predictions:
          publish(
            settings.topics.predictions, record.partition, key: unit.bytes(record.key), value: value,
            headers: (HeaderBlock(bytes: unit.bytes(record.headers) ?? []).list ?? []).map { .init($0.name, $0.value) },
            timestamp: record.timestamp, isTransactional: true)
        case .journal:
          publish(settings.topics.journal, record.partition, value: value, timestamp: record.timestamp, isTransactional: true)
        case .learning: learn(value)
        case .deadLetters:
          publish(
            settings.topics.deadLetters, 0, key: unit.bytes(record.key), value: value,
            headers: (HeaderBlock(bytes: unit.bytes(record.headers) ?? []).list ?? []).map { .init($0.name, $0.value) },
            timestamp: now, isTransactional: true)
        case .acks: break
        }
      }
      unit.clear()
      units += 1
      switch units {
      case 8: learn(command("c1", .tag(name: "good")).record())
      case 16:
        // The brake: the tagged version is served before the log brings the command.
        pinned = state.scorers(of: state.ledger.tagged("good")!)
      case 18:
        learn(command("c2", .rollback(to: .tag("good"), then: .continue)).record())
        pinned = nil
      default: break
      }
    }
  }

  func tap(_ topics: [String], in scratch: Scratch, _ name: String, change: (inout TapRecord) -> Void = { _ in }) -> String {
    var lines: [String] = []
    for topic in topics {
      for var record in self.topics[topic] ?? [] {
        change(&record)
        var writer = JSONWriter()
        record.write(into: &writer)
        lines.append(writer.text)
      }
    }
    return scratch.write(name, lines)
  }

  var tappedTopics: [String] {
    settings.features.inputs.map(\.topic) + [settings.topics.journal, settings.topics.learning]
  }
}
