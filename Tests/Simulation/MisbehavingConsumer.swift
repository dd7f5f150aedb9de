import Kafka
import Records
@testable import RunChecker
@testable import Worker

/// Answers what the group takes back by itself, so that its lane does not hear of it; or reads again what was read; or
/// changes what is replayed; or knows nothing of what was just committed.
final class MisbehavingConsumer: GroupConsumer, @unchecked Sendable {
  private let inner: any GroupConsumer
  private let bug: PlantedBug
  private let side: ClientSide
  init(_ inner: any GroupConsumer, _ bug: PlantedBug, _ side: ClientSide) {
    self.inner = inner
    self.bug = bug
    self.side = side
  }

  func poll(milliseconds: Int32) -> ConsumerEvent {
    let event = inner.poll(milliseconds: milliseconds)
    guard bug == .revocationsNotHeard, case .revoke = event else { return event }
    // The lane goes on with what it has.
    do throws(KafkaError) { try inner.unassign() } catch {}
    return .none
  }
  func subscribe(_ topics: [String]) throws(KafkaError) { try inner.subscribe(topics) }
  func assign(_ partitions: [PartitionOffset]) throws(KafkaError) -> [any RecordQueue] {
    switch bug {
    case .recordsTakenAgainAfterARebalance:
      return try inner.assign(
        partitions.map { PartitionOffset($0.partition, offset: max(0, $0.offset - 1), metadata: $0.metadata) })
    case .windowUpdateSkippedInAReplay:
      return try inner.assign(partitions).map { $0.partition.topic.hasSuffix("signals") ? ForgetfulQueue($0, side) : $0 }
    default: return try inner.assign(partitions)
    }
  }
  func unassign() throws(KafkaError) { try inner.unassign() }
  func wait(milliseconds: Int32) -> Bool { inner.wait(milliseconds: milliseconds) }
  func wake() { inner.wake() }
  var isAssignmentLost: Bool { bug == .revocationsNotHeard ? false : inner.isAssignmentLost }
  func groupIdentity() throws(KafkaError) -> any GroupIdentity { try inner.groupIdentity() }
  func committed(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [CommittedOffset] {
    let told = try inner.committed(partitions, timeoutMilliseconds: timeoutMilliseconds)
    // Only those who ask what became of a unit wait for so long.
    guard bug == .sentAgainAfterACommitThatTimedOut, timeoutMilliseconds >= 30_000 else { return told }
    return told.map { CommittedOffset(partition: $0.partition, offset: nil, metadata: "") }
  }
  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks {
    try inner.watermarks(partition, timeoutMilliseconds: timeoutMilliseconds)
  }
  func knownEnd(_ partition: TopicPartition) -> Int64? { inner.knownEnd(partition) }
  func commit(_ offsets: [PartitionOffset]) throws(KafkaError) { try inner.commit(offsets) }
  func close(timeoutMilliseconds: Int32) -> Bool { inner.close(timeoutMilliseconds: timeoutMilliseconds) }
}

/// Hands out what the group has committed already, which is a replay, under another key: the window that it belongs to
/// does not see it.
private final class ForgetfulQueue: RecordQueue, @unchecked Sendable {
  private let inner: any RecordQueue
  private let side: ClientSide
  init(_ inner: any RecordQueue, _ side: ClientSide) {
    self.inner = inner
    self.side = side
  }
  var partition: TopicPartition { inner.partition }

  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    inner.next(timeoutMilliseconds: timeoutMilliseconds) { pass($0, body) }
  }
  func take(upTo count: Int, _ body: (borrowing Record) -> Void) -> (count: Int, stop: Taken) {
    inner.take(upTo: count) { pass($0, body) }
  }

  private func pass(_ record: borrowing Record, _ body: (borrowing Record) -> Void) {
    let committed = (try? side.broker.group.fetch([partition], stable: false).get())?.first?.offset
    guard record.offset < committed ?? 0 else { return body(record) }
    var headers = HeaderBlock()
    record.appendHeaders(to: &headers)
    let entry = SimulatedPartition.Entry(
      timestamp: record.timestamp, key: elsewhere(Array(record.unsafeKey)), value: elsewhere(record.valueBytes),
      headers: headers.bytes)
    entry.lend(partition: record.partition, offset: record.offset, body)
  }

  private func elsewhere(_ bytes: [UInt8]) -> [UInt8] {
    Array(String(decoding: bytes, as: UTF8.self).replacing("account-", with: "account_").utf8)
  }
}
