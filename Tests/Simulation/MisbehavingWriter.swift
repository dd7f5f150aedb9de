import Kafka
import Records
@testable import RunChecker
@testable import Worker

/// Commits, aborts and sends otherwise than it was told.
final class MisbehavingWriter: TransactionalWriter, @unchecked Sendable {
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
  /// Of all writers of one client side: the worker makes a new one after each that failed.
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

  func trackedOffset(partition: Int32) -> Int64? { inner.trackedOffset(partition: partition) }
  func takeFailures() -> (count: Int, first: KafkaError?) { inner.takeFailures() }
  func poll(milliseconds: Int32) { inner.poll(milliseconds: milliseconds) }
  func purge() {
    hasAborted = true
    inner.purge()
  }
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
