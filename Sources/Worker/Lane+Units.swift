import Checkpoints
import Engine
import Kafka
import Records

/// How units end: sealed, waited for, and with which checkpoints.
extension Lane {
  /// Offsets of topics that the group does not subscribe to are forgotten a week after their last commit.
  static let reaffirmNanoseconds: UInt64 = 6 * 3_600 * 1_000_000_000

  func sealIfDue() throws(WorkerFailure) {
    let now = context.now()
    guard let first = unitFirstTaken else {
      if now - lastSeal >= Self.reaffirmNanoseconds {
        for partition in live { partition.engine.reaffirm(into: unit) }
        try seal(forcingCheckpoint: false)
      } else if isDirty && checkpointIsDue(now) {
        try seal(forcingCheckpoint: true)
      }
      return
    }
    let delivery = context.settings.delivery
    let due =
      unit.consumed >= delivery.transactionRecords || unit.isFull
      || now - first >= UInt64(delivery.transactionIntervalMilliseconds) * 1_000_000
    guard due else { return }
    let rejected = unit.rejections.reduce(0) { $0 + $1.count }
    try seal(forcingCheckpoint: false)
    guard errorBudget.isExceeded(adding: rejected, now: context.now()) else { return }
    // What was taken is committed first: the dead letters say what was wrong with it.
    _ = drain()
    throw .beyondTolerance(
      "more than \(context.settings.errors.records) dead letters within \(context.settings.errors.perMilliseconds) ms; the dead-letter topic says why")
  }

  private var live: [LanePartition] { partitions.filter { $0.restoring == nil } }

  private func checkpointIsDue(_ now: UInt64) -> Bool {
    now - lastCheckpoint >= UInt64(context.settings.checkpoints.everyMilliseconds) * 1_000_000
  }

  /// Ends the open unit and hands it to the commit thread; waits where three are in flight already.
  func seal(forcingCheckpoint: Bool) throws(WorkerFailure) {
    var journals: [(partition: Int32, chain: CheckpointChain)] = []
    for partition in live {
      let place = partition.chain.journalNext.load(ordering: .acquiring)
      if partition.engine.seal(into: unit, journalPlace: place) {
        journals.append((partition.number, partition.chain))
      }
    }
    unit.sealExamples()
    let now = context.now()
    var checkpoints: [PendingCheckpoint] = []
    if forcingCheckpoint || checkpointIsDue(now) {
      checkpoints = live.map { pendingCheckpoint($0) }
      lastCheckpoint = now
      isDirty = false
    }
    let group = try kafka { () throws(KafkaError) in try consumer.groupIdentity() }
    let sealedUnit = SealedUnit(
      unit: unit, group: group, controlNext: control?.takeNextOffset(), checkpoints: checkpoints,
      journals: journals, generation: generation, mark: "\(sessionMark).\(sealedCount)",
      firstTakenNanoseconds: unitFirstTaken ?? now)
    lastSeal = now
    noteProgress()
    early?.seal()
    Failpoints.pass(.afterApply)
    guard sealed.push(sealedUnit) else { throw .superseded("commit thread ended") }
    sealedCount += 1
    guard let next = free.pop() else { throw .superseded("commit thread ended") }
    next.clear()
    unit = next
    unitFirstTaken = nil
  }

  /// Waits until everything sealed is committed; false if that does not come within a session's time. A revocation
  /// waits for a third of it: the group must hear from us in time.
  func drain(share: UInt64 = 1) -> Bool {
    let deadline =
      context.now() + UInt64(context.settings.worker.sessionTimeoutMilliseconds) * 1_000_000 / share
    // Every unit but the open one comes back through `free` once it is committed.
    var units: [CommitUnit] = []
    for _ in 0..<Self.unitsInFlight {
      guard let unit = free.pop(untilNanoseconds: deadline) else { return false }
      units.append(unit)
    }
    for unit in units { _ = free.push(unit) }
    return true
  }

  private func pendingCheckpoint(_ partition: LanePartition) -> PendingCheckpoint {
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: .partition,
        fingerprint: context.fingerprint(plan: plan, partition: partition.engine.partition),
        inputs: partition.engine.consumedOffsets.enumerated().map {
          InputPosition(topic: plan.inputs[$0.offset].topic, next: Offset($0.element))
        },
        logNext: Offset(0), generation: 0))
    partition.engine.encode(into: &writer)
    return PendingCheckpoint(writer: writer, chain: partition.chain)
  }

  /// Commits all that was taken, so that the partitions can be let go.
  func release(forcingCheckpoint: Bool, share: UInt64 = 1) throws(WorkerFailure) {
    progress.update { $0.phase = .draining }
    if !partitions.isEmpty || unitFirstTaken != nil {
      try seal(forcingCheckpoint: forcingCheckpoint)
      guard drain(share: share) else {
        throw .superseded("what was taken could not be committed in time; it is dropped and taken again")
      }
    }
  }
}
