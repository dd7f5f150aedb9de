import Kafka
import Records
@testable import RunChecker
import Storage
@testable import Worker

/// A fault of a kind that workers, clients or brokers have had: put into a world, it has to be found.
enum PlantedBug: String, CaseIterable, Sendable {
  // Of the worker's protocol, as its clients would see it.
  case offsetsCommittedBeforeOutputs
  case offsetsCommittedOutsideOfTheTransaction
  case sentAgainAfterACommitThatTimedOut
  case revocationsNotHeard
  case recordsTakenAgainAfterARebalance
  case producerInDoubtUsedAgain
  case commitTakenForDoneBeforeItIs
  case unitQueuedTwiceAfterAnAbort
  case failedDeliverySwallowed
  // Of what it asks.
  case pendingOffsetsNotWaitedFor
  case journalEndAskedOfTheStableLog
  case journalReadUncommitted
  case learningReadUncommitted
  case learningRecordSkipped
  // Of what it restores.
  case journalOrderIgnored
  case journalScoresChanged
  case journalTailForgotten
  case fileNamedBeforeItIsOnDisk
  // Of the broker.
  case oldGenerationsAccepted
  case fencedProducersAccepted
}

/// Puts misbehaving clients, files or brokers into a world, to see whether the judgement notices.
struct Plant {
  var bug: PlantedBug?

  func cluster(_ inner: SimulatedCluster) -> any Cluster {
    bug.map { MisbehavingCluster(inner, $0) } ?? inner
  }
  func files(_ inner: SimulatedFiles) -> any FileOperations {
    bug == .fileNamedBeforeItIsOnDisk ? HastyFiles(inner: inner) : inner
  }
  func broker(_ broker: SimulatedBroker) {
    broker.group.acceptsOldGenerations = bug == .oldGenerationsAccepted
    broker.transactions.acceptsOldEpochs = bug == .fencedProducersAccepted
  }
}

/// Says that a file is on the device although it is not.
private struct HastyFiles: FileOperations {
  let inner: SimulatedFiles
  func createDirectory(_ path: String) throws(FileFailure) { try inner.createDirectory(path) }
  func create(_ path: String) throws(FileFailure) -> FileHandle { try inner.create(path) }
  func write(_ file: FileHandle, _ bytes: [UInt8], from: Int, path: String) throws(FileFailure) -> Int {
    try inner.write(file, bytes, from: from, path: path)
  }
  func sync(_ file: FileHandle, path: String) throws(FileFailure) {}
  func close(_ file: FileHandle, path: String) throws(FileFailure) { try inner.close(file, path: path) }
  func rename(_ from: String, to: String) throws(FileFailure) { try inner.rename(from, to: to) }
  func remove(_ path: String) throws(FileFailure) { try inner.remove(path) }
  func syncDirectory(_ path: String) throws(FileFailure) { try inner.syncDirectory(path) }
  func list(_ path: String) throws(FileFailure) -> [String] { try inner.list(path) }
  func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]? {
    try inner.read(path, byteCountMax: byteCountMax)
  }
}

private final class MisbehavingCluster: Cluster, @unchecked Sendable {
  private let inner: SimulatedCluster
  private let bug: PlantedBug

  init(_ inner: SimulatedCluster, _ bug: PlantedBug) {
    self.inner = inner
    self.bug = bug
  }

  func clusterID() throws(KafkaError) -> String { try inner.clusterID() }
  func topics() throws(KafkaError) -> [TopicDescription] { try inner.topics() }
  func makeWriter() throws(KafkaError) -> any PlainWriter { try inner.makeWriter() }

  func makeConsumer(lane: Int) throws(KafkaError) -> any GroupConsumer {
    let made = try inner.makeConsumer(lane: lane)
    if bug == .pendingOffsetsNotWaitedFor { (made as? SimulatedConsumer)?.waitsForPending = false }
    switch bug {
    case .revocationsNotHeard: return MisbehavingConsumer(made, isDeaf: true, setsBack: false)
    case .recordsTakenAgainAfterARebalance: return MisbehavingConsumer(made, isDeaf: false, setsBack: true)
    default: return made
    }
  }

  func makeProducer(transactionalID: String) throws(KafkaError) -> any TransactionalWriter {
    let made = try inner.makeProducer(transactionalID: transactionalID)
    // The replica's transactions have no offsets.
    return transactionalID.contains("-replica-") ? made : MisbehavingWriter(made, bug, inner.side)
  }

  func makeReader(_ topic: String, isolation: FetchSettings.Isolation) throws(KafkaError) -> any LogReader {
    switch bug {
    case .journalEndAskedOfTheStableLog: return try inner.makeReader(topic, isolation: .readCommitted)
    case .journalReadUncommitted where topic.hasSuffix("journal"),
      .learningReadUncommitted where topic.hasSuffix("learning"):
      return try inner.makeReader(topic, isolation: .readUncommitted)
    case .learningRecordSkipped where topic.hasSuffix("learning"),
      .journalOrderIgnored where topic.hasSuffix("journal"), .journalScoresChanged where topic.hasSuffix("journal"),
      .journalTailForgotten where topic.hasSuffix("journal"):
      return MisbehavingReader(try inner.makeReader(topic, isolation: isolation), bug)
    default: return try inner.makeReader(topic, isolation: isolation)
    }
  }
}

/// Answers what the group takes back by itself, so that its lane does not hear of it; or reads again what was read.
private final class MisbehavingConsumer: GroupConsumer, @unchecked Sendable {
  private let inner: any GroupConsumer
  private let isDeaf: Bool
  private let setsBack: Bool
  init(_ inner: any GroupConsumer, isDeaf: Bool, setsBack: Bool) {
    self.inner = inner
    self.isDeaf = isDeaf
    self.setsBack = setsBack
  }

  func poll(milliseconds: Int32) -> ConsumerEvent {
    let event = inner.poll(milliseconds: milliseconds)
    guard isDeaf, case .revoke = event else { return event }
    // The lane goes on with what it has.
    do throws(KafkaError) { try inner.unassign() } catch {}
    return .none
  }
  func subscribe(_ topics: [String]) throws(KafkaError) { try inner.subscribe(topics) }
  func assign(_ partitions: [PartitionOffset]) throws(KafkaError) -> [any RecordQueue] {
    guard setsBack else { return try inner.assign(partitions) }
    return try inner.assign(
      partitions.map { PartitionOffset($0.partition, offset: max(0, $0.offset - 1), metadata: $0.metadata) })
  }
  func unassign() throws(KafkaError) { try inner.unassign() }
  func wait(milliseconds: Int32) -> Bool { inner.wait(milliseconds: milliseconds) }
  func wake() { inner.wake() }
  var isAssignmentLost: Bool { false }
  func groupIdentity() throws(KafkaError) -> any GroupIdentity { try inner.groupIdentity() }
  func committed(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [CommittedOffset] {
    try inner.committed(partitions, timeoutMilliseconds: timeoutMilliseconds)
  }
  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks {
    try inner.watermarks(partition, timeoutMilliseconds: timeoutMilliseconds)
  }
  func knownEnd(_ partition: TopicPartition) -> Int64? { inner.knownEnd(partition) }
  func commit(_ offsets: [PartitionOffset]) throws(KafkaError) { try inner.commit(offsets) }
  func close(timeoutMilliseconds: Int32) -> Bool { inner.close(timeoutMilliseconds: timeoutMilliseconds) }
}

private final class MisbehavingWriter: TransactionalWriter, @unchecked Sendable {
  private struct Held {
    var topic: any OpenTopic
    var partition: Int32
    var key, value: [UInt8]?
    var headers: [UInt8]
    var timestamp: Int64
    var tracked: Bool
  }
  private let inner: any TransactionalWriter
  private let bug: PlantedBug
  private let side: ClientSide
  private var held: [Held] = []
  private var offsets: [PartitionOffset] = []
  private var identity: SimulatedIdentity?
  private var isCommitting = false
  private var isAbortPretended = false
  /// Of all writers of one client side: the worker makes a new one after an abort.
  private var hasAborted: Bool {
    get { side.process.hasAborted }
    set { side.process.hasAborted = newValue }
  }

  init(_ inner: any TransactionalWriter, _ bug: PlantedBug, _ side: ClientSide) {
    self.inner = inner
    self.bug = bug
    self.side = side
  }

  var transactionalID: String { inner.transactionalID }
  var isInDoubt: Bool { bug == .producerInDoubtUsedAgain ? false : inner.isInDoubt }
  func initTransactions(timeoutMilliseconds: Int32) throws(KafkaError) {
    try inner.initTransactions(timeoutMilliseconds: timeoutMilliseconds)
  }
  func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic {
    try inner.open(topic, timeoutMilliseconds: timeoutMilliseconds)
  }

  func begin() throws(KafkaError) {
    while isCommitting, side.process.isAlive { side.scheduler.sleep(5_000_000) }
    try inner.begin()
    held = []
    offsets = []
  }

  func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan?, timestamp: Int64, tracked: Bool
  ) throws(KafkaError) {
    if bug == .failedDeliverySwallowed, side.scheduler.random.chance(0.01) { return }
    if bug == .offsetsCommittedBeforeOutputs {
      var block: [UInt8] = []
      if let headers { block = headers.withUnsafeBytes { Array($0) } }
      held.append(
        Held(
          topic: topic, partition: partition, key: key.map { Array($0) }, value: value.map { Array($0) },
          headers: block, timestamp: timestamp, tracked: tracked))
      return
    }
    try inner.produce(
      topic, partition: partition, key: key, value: value, headers: headers, timestamp: timestamp, tracked: tracked)
    if bug == .unitQueuedTwiceAfterAnAbort, hasAborted {
      try inner.produce(
        topic, partition: partition, key: key, value: value, headers: headers, timestamp: timestamp, tracked: tracked)
    }
  }

  func sendOffsets(
    _ offsets: [PartitionOffset], _ group: any GroupIdentity, timeoutMilliseconds: Int32
  ) throws(KafkaError) {
    switch bug {
    case .offsetsCommittedOutsideOfTheTransaction:
      self.offsets = offsets
      identity = group as? SimulatedIdentity
    case .offsetsCommittedBeforeOutputs:
      try inner.sendOffsets(offsets, group, timeoutMilliseconds: timeoutMilliseconds)
      try inner.commit(timeoutMilliseconds: 60_000)
      try inner.begin()
      for item in held {
        try item.value.lent { value throws(KafkaError) in
          try item.key.lent { key throws(KafkaError) in
            try inner.produce(
              item.topic, partition: item.partition, key: key, value: value, headers: item.headers.span.bytes,
              timestamp: item.timestamp, tracked: item.tracked)
          }
        }
      }
    default: try inner.sendOffsets(offsets, group, timeoutMilliseconds: timeoutMilliseconds)
    }
  }

  func commit(timeoutMilliseconds: Int32) throws(KafkaError) {
    switch bug {
    case .commitTakenForDoneBeforeItIs:
      isCommitting = true
      let strand = side.scheduler.start("late commit", of: side.process) { [self] in
        side.scheduler.sleep(side.scheduler.random.next() % 100_000_000)
        // What becomes of it, nobody asks any more.
        do throws(KafkaError) { try inner.commit(timeoutMilliseconds: 5_000) } catch {}
        isCommitting = false
      }
      side.process.add(strand)
    case .sentAgainAfterACommitThatTimedOut:
      do throws(KafkaError) { try inner.commit(timeoutMilliseconds: timeoutMilliseconds) } catch {
        guard error.isRetriable else { throw error }
        isAbortPretended = true
        throw KafkaError(code: error.code, call: .commit, flags: .requiresAbort)
      }
    case .offsetsCommittedOutsideOfTheTransaction:
      try inner.commit(timeoutMilliseconds: timeoutMilliseconds)
      guard let identity, !offsets.isEmpty else { return }
      let (offsets, side) = (offsets, side)
      _ = side.network.ask(from: side.process, "commit offsets") {
        side.broker.group.commit(
          offsets, member: identity.member, instance: identity.instance, generation: identity.generation)
      }
    default: try inner.commit(timeoutMilliseconds: timeoutMilliseconds)
    }
    hasAborted = false
  }

  func abort(timeoutMilliseconds: Int32) throws(KafkaError) {
    hasAborted = true
    if isAbortPretended { return }
    try inner.abort(timeoutMilliseconds: timeoutMilliseconds)
  }
  func trackedOffset(partition: Int32) -> Int64? { inner.trackedOffset(partition: partition) }
  func takeFailures() -> (count: Int, first: KafkaError?) { inner.takeFailures() }
  func poll(milliseconds: Int32) { inner.poll(milliseconds: milliseconds) }
  func purge() { inner.purge() }
}

extension [UInt8]? {
  fileprivate func lent(_ body: (UnsafeRawBufferPointer?) throws(KafkaError) -> Void) throws(KafkaError) {
    guard let self else { return try body(nil) }
    var failure: KafkaError?
    self.withUnsafeBytes { bytes in
      do throws(KafkaError) { try body(bytes) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}

/// Hands on other records than the log has.
private final class MisbehavingReader: LogReader, @unchecked Sendable {
  private let inner: any LogReader
  private let bug: PlantedBug
  private var seen = 0

  init(_ inner: any LogReader, _ bug: PlantedBug) {
    self.inner = inner
    self.bug = bug
  }

  var topic: String { inner.topic }
  func start(partition: Int32, at position: StartPosition) throws(KafkaError) {
    try inner.start(partition: partition, at: position)
  }
  func stop(partition: Int32) { inner.stop(partition: partition) }
  func wait(milliseconds: Int32) -> Bool { inner.wait(milliseconds: milliseconds) }
  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks {
    try inner.watermarks(partition, timeoutMilliseconds: timeoutMilliseconds)
  }
  func endOffsets(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [Int64] {
    try inner.endOffsets(partitions, timeoutMilliseconds: timeoutMilliseconds)
  }
  func read(
    partition: Int32, through end: Int64, timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void
  ) throws(KafkaError) {
    try inner.read(partition: partition, through: end, timeoutMilliseconds: timeoutMilliseconds, body)
  }

  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    inner.next(timeoutMilliseconds: timeoutMilliseconds) { record in
      seen += 1
      switch bug {
      case .learningRecordSkipped:
        if seen % 9 != 8 { body(record) }
      case .journalTailForgotten: break
      case .journalOrderIgnored: lend(record, changed(record.valueBytes) { $0.mergesRuns = true }, body)
      case .journalScoresChanged: lend(record, changed(record.valueBytes) { $0.flipsScores = true }, body)
      default: body(record)
      }
    }
  }

  private func lend(_ record: borrowing Record, _ value: [UInt8], _ body: (borrowing Record) -> Void) {
    let entry = SimulatedPartition.Entry(timestamp: record.timestamp, key: nil, value: value, headers: [])
    entry.lend(partition: record.partition, offset: record.offset, body)
  }

  private struct Change {
    var mergesRuns = false
    var flipsScores = false
  }

  /// A journal record that says something else, well formed.
  private func changed(_ bytes: [UInt8], _ how: (inout Change) -> Void) -> [UInt8] {
    var change = Change()
    how(&change)
    guard let old = try? JournalRecord.decode(bytes) else { return bytes }
    var new = JournalRecord(inputCount: old.nextOffsets.count, contenderCount: old.contenderCount)
    new.planDigest = old.planDigest
    new.nextOffsets = old.nextOffsets
    new.replayFrom = old.replayFrom
    new.totals = old.totals
    new.replayJournal = old.replayJournal
    if change.mergesRuns {
      // As if the inputs had come one after the other.
      for input in old.nextOffsets.indices {
        if let last = old.runs.last(where: { Int($0.input) == input }) {
          new.noteRun(input: UInt8(input), nextOffset: last.nextOffset)
        }
      }
    } else {
      for run in old.runs { new.noteRun(input: run.input, nextOffset: run.nextOffset) }
    }
    let width = old.contenderCount
    var start = 0
    for run in old.versions {
      let count = Int(run.count)
      let buffer = FixedBuffer<ServedScore>(repeating: .absent, count: max(count * width, 1))
      for place in 0..<(count * width) {
        var score = old.scores[start * width + place]
        if change.flipsScores { score.margin = Float(bitPattern: score.margin.bitPattern ^ 1) }
        buffer[place] = score
      }
      new.noteScored(count: count, version: run.version, scores: buffer)
      start += count
    }
    for entry in old.dispositions {
      if let code = JournalDisposition(rawValue: entry.code) {
        new.noteDisposition(input: entry.input, offset: entry.offset, code: code)
      }
    }
    var writer = ByteWriter()
    new.encode(into: &writer)
    return writer.bytes
  }
}
