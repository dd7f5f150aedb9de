import Engine
import Kafka
import Learning
import Pipeline
import Records
@testable import RunChecker
@testable import Storage
@testable import Worker

/// What a scenario brings upon its world: records, commands, faults.
extension World {
  // MARK: What is fed

  func feed() {
    guard let first = stream.first?.timestamp, let last = stream.last?.timestamp else { return }
    let span = Double(max(last - first, 1))
    var next = 0
    while next < stream.count {
      // A few records at a time, as producers send them.
      let count = min(1 + Int(scheduler.random.next() % 6), stream.count - next)
      let records = stream[next..<(next + count)]
      let at = Double(records.first!.timestamp - first) / span * Double(scenario.feedNanoseconds) * 0.95
      scheduler.after(UInt64(at)) { [self] in
        for record in records {
          broker.topic(settings.features.inputs[record.input].topic)[Int(record.partition)].append(
            .init(
              timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers,
              transaction: nil))
        }
      }
      next += count
    }
  }

  func planCommands() {
    let count = 1 + Int(scheduler.random.next() % 5)
    for index in 0..<count {
      scheduler.after(scheduler.random.next() % scenario.feedNanoseconds) { [self] in command(index) }
    }
  }

  func command(_ index: Int) {
    let proposal = proposedSettings(index)
    let actions: [Command.Action] = [
      .tag(name: "t\(index)"), .rollback(to: .previous, then: .continue), .rollback(to: .previous, then: .freeze),
      .freeze, .unfreeze, .rollback(to: .tag("t0"), then: .continue),
      .charter(args: CharterProposal(settings: proposal.canonicalBytes(), rowSchema: proposal.rowSchema).args),
    ]
    let id = "command-\(index)"
    let now = EventTime(milliseconds: wall)
    var command = Command(
      id: id, pipeline: settings.name, clusterID: SimulatedCluster.id,
      action: actions[Int(scheduler.random.next() % UInt64(actions.count))], issuer: "test",
      keyID: Self.operatorKey.publicKey.keyID, reason: "simulated", issuedAt: now,
      expiresAt: EventTime(milliseconds: wall + 3_600_000))
    // Another lineage may begin before it is folded: then it is refused.
    if case .charter = command.action { command.expectLineage = folded.ledger.lineage }
    var isForged = false
    switch scheduler.random.next() % 8 {
    case 0: isForged = true
    case 1: (command.issuedAt, command.expiresAt) = (EventTime(milliseconds: wall - 1_000), EventTime(milliseconds: wall - 1))
    case 2: command.clusterID = "another"
    default: break
    }
    let signed = try! command.signed(with: Self.operatorKey)
    var headers = HeaderBlock()
    headers.append(
      Command.signatureHeader, isForged ? Base64.encode([UInt8](repeating: 1, count: 64)) : signed.signature)
    let entry = SimulatedPartition.Entry(
      timestamp: wall, key: Array(settings.name.utf8), value: signed.value, headers: headers.bytes, transaction: nil)
    sentCommands.append(id)
    let control = broker.topic(settings.topics.control)[0]
    control.append(entry)
    scheduler.note("command \(id) \(command.action.kind)")
    // The same bytes once more: they must have no second effect.
    if scheduler.random.chance(0.3) { control.append(entry) }
  }

  /// Learning settings that somebody may want next: versions are kept at other places, and one contender learns at
  /// another rate, so that it begins anew while the rest goes on.
  private func proposedSettings(_ index: Int) -> LearningSettings {
    var learning = settings.learning
    learning.keepEvery = UInt64(scenario.keepEvery + index)
    let place = index % learning.contenders.count
    if case .ftrl(var ftrl, let encoder) = learning.contenders[place].kind {
      ftrl.alpha = [0.02, 0.2][index % 2]
      learning.contenders[place].kind = .ftrl(ftrl, encoder)
    }
    return learning
  }

  // MARK: What befalls the world

  func befall(_ fault: Scenario.Fault) {
    guard !isCalm else { return }
    let slot = slots[fault.instance]
    let name = "\(fault.kind)"
    scheduler.note("fault \(name) \(slot.name)", UInt64(fault.instance))
    counts.byFault[String(name.prefix { $0 != "(" }), default: 0] += 1
    let now = scheduler.now
    switch fault.kind {
    case .kill(let machine): kill(slot, machine: machine)
    case .stop:
      guard slot.process != nil else { return }
      slot.isStopping = true
      slot.context?.stop()
      plan(slot, after: Scenario.second + scheduler.random.next() % (4 * Scenario.second))
    case .stall(let time): slot.process?.stall(time)
    case .stallThread(let time): slot.process?.stallThread(time)
    case .twin(let time):
      let twin = Slot(name: slot.name)
      // Nobody starts it again, and it does not live long.
      twin.isStopping = true
      twins.append(twin)
      start(twin)
      scheduler.after(time) { [self] in kill(twin, machine: false) }
    case .joiningForgotten: broker.group.forgetJoining(of: "\(slot.name)-")
    case .offsetsForgotten:
      for slot in slots { kill(slot, machine: false, after: 5 * Scenario.second) }
      scheduler.after(9 * Scenario.second / 2) { [self] in
        let inputs = settings.features.inputs.map(\.topic)
        if broker.group.forgetOffsets(of: inputs) { counts.byFault["offsets are gone", default: 0] += 1 }
      }
    case .cutOff(let time): slot.process?.cutOffUntil = now + time
    case .loseHeartbeats(let time): slot.process?.heartbeatsLostUntil = now + time
    case .brokersDown(let time): network.downUntil = now + time
    case .rebalance: broker.group.forceRebalance()
    case .diskFull(let time): isDiskFull[fault.instance] = now + time
    case .damageCheckpoint:
      let files = slot.disk.paths.filter { $0.hasSuffix(".ckpt") }
      if let path = files.last { slot.disk.damage(path, at: scheduler.random.next()) }
    case .wipeDisk:
      kill(slot, machine: false)
      slot.disk.wipe()
      slot.disksWiped = true
    case .wallClock(let jump): wallOffset += jump
    case .foreignTransaction(let time): foreignTransaction(time)
    case .retention: expireInputs()
    case .compaction: broker.topic(settings.topics.checkpoints)[0].compact()
    case .dataLoss(let count, let draw): loseRecords(count, draw)
    case .wedge(let next):
      slot.process?.wedgesNextProducer = next
      for producer in slot.process?.producers ?? [] { if next { producer.desynchronise() } else { producer.wedge() } }
    case .desynchronise: for producer in slot.process?.producers ?? [] { producer.desynchronise() }
    }
  }

  /// Somebody else's producer hangs on `learning`, and gives up after a while.
  func foreignTransaction(_ time: UInt64) {
    let topic = scheduler.random.chance(0.5) ? settings.topics.learning : settings.topics.journal
    let partition = broker.topic(topic)[0]
    let transaction = LoggedTransaction(writer: "foreign")
    partition.append(.init(timestamp: wall, key: nil, value: [1, 2, 3], headers: [], transaction: transaction))
    scheduler.after(time) { [self] in
      transaction.outcome = .aborted
      partition.mark(transaction, timestamp: wall)
    }
  }

  /// A replica that lagged becomes leader: the last records of one partition of a topic that workers read are gone,
  /// although they were acknowledged, whole transactions at a time.
  private func loseRecords(_ count: Int64, _ draw: UInt64) {
    let topics = settings.features.inputs.map(\.topic) + [settings.topics.journal]
    let partitions = broker.topic(topics[Int(draw % UInt64(topics.count))])
    let partition = partitions[Int(draw >> 32 % UInt64(partitions.count))]
    let lost = partition.loseRecords(count)
    if lost > 0 { counts.lostRecords += Int(lost) }
    scheduler.note("\(partition.topic)[\(partition.number)] loses \(lost), ends at \(partition.end)", UInt64(lost))
  }

  /// Retention takes what no replay of what is committed can need.
  func expireInputs() {
    for topic in settings.features.inputs.map(\.topic) {
      for partition in broker.topic(topic) {
        let place = TopicPartition(topic, partition.number)
        let metadata = (try? broker.group.fetch([place], stable: false).get()[0].metadata) ?? ""
        guard let from = metadata.split(whereSeparator: { $0 == "=" || $0 == " " }).dropFirst().first.flatMap({ Int64($0) }) else { continue }
        partition.deleteRecords(before: from)
      }
    }
  }
}
