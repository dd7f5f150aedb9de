import Checkpoints
import Engine
import Kafka
import Learning
import Records
@testable import RunChecker
import Storage

extension World {
  /// Everything that the logs and disks of an ended world have wrong.
  func judge() -> [String] {
    // What is delivered at least once may be seen again, late, and as a worker computed it whose unit was dropped.
    let allowed: [Finding.Kind] =
      scenario.isAtLeastOnce ? [.doubledPrediction, .disorderedPredictions, .predictionDiffers, .unknownVersion] : []
    var found = Checker.check(evidence(), plan: Self.pipeline.plan).filter { !allowed.contains($0.kind) }
      .map(\.description)
    found += commandFindings()
    // Whoever differs folds again, and what he leaves is right: that he differed is the fault.
    if counts.byCode["replicas-differ"] != nil { found.append("a replica differed") }
    if !scenario.hasCommands, !scenario.isAtLeastOnce { found += versionFindings() }
    return found
  }

  /// Digest of every record of every topic, in order.
  var logs: Digest {
    var writer = ByteWriter()
    for topic in broker.topics {
      for partition in topic.partitions {
        for (offset, entry) in partition.entries.enumerated() {
          writer.write(entry.timestamp)
          writer.write(partition.isVisible(Int64(offset)))
          for part in [entry.key, entry.value, entry.headers] { writer.write(sized: part ?? []) }
        }
      }
    }
    return Digest.of(writer.bytes)
  }

  /// What a read_committed reader is given of a partition.
  private func visible(_ partition: SimulatedPartition) -> [StoredRecord] {
    (0..<partition.stable).filter { partition.isVisible($0) }.map { StoredRecord(partition, at: $0) }
  }
  private func visible(_ topic: String) -> [[StoredRecord]] { broker.topic(topic).map { visible($0) } }

  private func evidence() -> Evidence {
    let topics = settings.topics
    let inputs = settings.features.inputs.map(\.topic)
    return Evidence(
      inputs: inputs.map { visible($0) }, predictions: visible(topics.predictions), journal: visible(topics.journal),
      deadLetters: Array(visible(topics.deadLetters).joined()), learning: visible(topics.learning)[0],
      committed: (0..<scenario.partitions).map { partition in
        committed(inputs.map { TopicPartition($0, partition) })
      }, modelStates: modelStates(),
      partitionStates: (0..<scenario.partitions).map { partitionState(PartitionID($0)) })
  }

  /// The last state of a partition that any worker wrote. A state that a bare replay made has forgotten what no score
  /// can see any more, and its counts began anew: it is not compared.
  private func partitionState(_ partition: PartitionID) -> [String: [UInt8]]? {
    guard counts.bareReplays == 0 else { return nil }
    var newest: Checkpoint?
    for slot in slots {
      let store = store(slot)
      for name in (try? store.list(.partition, partition)) ?? [] {
        guard let checkpoint = try? store.load(name) else { continue }
        if newest.map({ $0.identity.logNext < checkpoint.identity.logNext }) ?? true { newest = checkpoint }
      }
    }
    guard let newest else { return nil }
    // One that could not be written last leaves an older one, which is none of the end.
    let inputs = settings.features.inputs.map { TopicPartition($0.topic, partition.value) }
    guard newest.identity.inputs.map({ Optional($0.next.value) }) == committed(inputs) else { return nil }
    return newest.sections.byName
  }

  private func store(_ slot: Slot) -> CheckpointStore {
    let process = SimulatedProcess(name: "judge", incarnation: 0, scheduler: scheduler)
    return CheckpointStore(Self.directory, files: SimulatedFiles(slot.disk, process) { .init() })
  }

  /// The last model state that each worker wrote.
  private func modelStates() -> [(worker: String, bytes: [UInt8], next: Int64)] {
    slots.compactMap { slot in
      let store = store(slot)
      guard let name = (try? store.list(.model, PartitionID(0)))?.last, let checkpoint = try? store.load(name),
        let bytes = try? checkpoint.section("model")
      else { return nil }
      return (slot.name, bytes, checkpoint.identity.logNext.value)
    }
  }

  /// Each command that stands in `control` with a good signature is logged once and received once, and all workers
  /// say the same of it.
  private func commandFindings() -> [String] {
    var found: [String] = []
    let control = visible(settings.topics.control)[0]
    var verified: [Int64: String] = [:]
    var byID: [String: Int] = [:]
    for record in control {
      let logged = LoggedCommand(
        verifying: record.value, header: record.header(Command.signatureHeader).map { Array($0.utf8) },
        trusted: [Self.operatorKey.publicKey], controlOffset: Offset(record.offset),
        controlTimestamp: EventTime(milliseconds: record.timestamp))
      guard logged.isVerified, let command = try? Command(parsing: record.value) else { continue }
      verified[record.offset] = command.id
      byID[command.id, default: 0] += 1
    }
    var seen: [Int64] = []
    for record in visible(settings.topics.learning)[0] {
      guard case .command(let logged)? = try? LearningRecord.decode(record.value) else { continue }
      let offset = logged.controlOffset.value
      if verified[offset] == nil { found.append("command that nobody signed control_offset=\(offset)") }
      if seen.contains(offset) { found.append("command logged twice control_offset=\(offset)") }
      if offset < seen.last ?? -1 { found.append("commands out of order control_offset=\(offset)") }
      seen.append(offset)
    }
    for offset in verified.keys.sorted() where !seen.contains(offset) {
      found.append("command lost control_offset=\(offset)")
    }
    let acks = visible(settings.topics.acks).joined().compactMap { CommandAck(parsing: $0.value) }
    for (id, count) in byID.sorted(by: { $0.key < $1.key }) {
      let received = acks.count { $0.id == id && $0.status == .received }
      if received != count { found.append("command \(id) received \(received) times, sent \(count)") }
      let verdicts = Set(acks.filter { $0.id == id && ($0.status == .accepted || $0.status == .rejected) }.map(\.status))
      if verdicts.count > 1 { found.append("command \(id) was accepted and rejected") }
    }
    return found
  }

  /// What one lane publishes for one partition names versions that only rise, where no command lets them fall.
  private func versionFindings() -> [String] {
    var found: [String] = []
    for partition in broker.topic(settings.topics.predictions) {
      var last: [String: ModelVersion] = [:]
      for offset in 0..<partition.stable where partition.isVisible(offset) {
        let record = StoredRecord(partition, at: offset)
        let writer = partition.entries[Int(offset)].transaction?.writer ?? "nobody"
        // Without the number of the incarnation.
        let lane = writer.split(separator: "-").dropLast().joined(separator: "-")
        guard let version = (try? JSONValue(parsing: record.value))?["version"]?.string.flatMap({ ModelVersion($0) })
        else { continue }
        if let before = last[lane], version < before {
          found.append("version fell lane=\(lane) partition=\(partition.number) offset=\(offset) \(before) → \(version)")
        }
        last[lane] = version
      }
    }
    return found
  }
}

extension StoredRecord {
  init(_ partition: SimulatedPartition, at offset: Int64) {
    let entry = partition.entries[Int(offset)]
    self.init(
      offset: offset, timestamp: entry.timestamp, key: entry.key, value: entry.value ?? [], headers: entry.headers)
  }
}
