import CRdKafka
import Kafka
@testable import RunChecker

/// Fetches one partition from a place on, as a client's background thread does: what was fetched waits in a queue.
final class Fetcher: @unchecked Sendable {
  private enum Notice {
    case record(Int64)
    case end(Int64)
    case error(KafkaError)
  }

  let place: TopicPartition
  private let partition: SimulatedPartition
  private let network: Network
  private let process: SimulatedProcess
  private let readsCommitted: Bool
  private let wake: () -> Void
  private var notices: [Notice] = []
  private var first = 0
  private var fetchNext: Int64
  /// Where an end was reported last.
  private var reportedEnd: Int64 = -1
  private var isFetching = false
  private var isStopped = false
  /// Offset after what was taken.
  private(set) var position: Int64
  /// The end as the last fetch told it.
  private(set) var knownEnd: Int64?
  static let recordsMax: UInt64 = 40

  init(
    _ place: TopicPartition, from start: Int64, _ partition: SimulatedPartition, readsCommitted: Bool,
    network: Network, process: SimulatedProcess, wake: @escaping () -> Void
  ) {
    self.place = place
    self.partition = partition
    self.network = network
    self.process = process
    self.readsCommitted = readsCommitted
    self.wake = wake
    fetchNext = start
    position = start
    partition.watchers.append(self)
    fetch()
  }

  func stop() {
    isStopped = true
    notices.removeAll()
    partition.watchers.removeAll { $0 === self }
  }

  /// The log moved: what is new will be fetched.
  func logChanged() {
    if !isFetching, !isStopped, (readsCommitted ? partition.stable : partition.end) > fetchNext { fetch() }
  }

  /// The log is shorter than it was: what is queued of the rest is gone, and the next question will be answered so.
  func recordsLost() {
    notices = notices[first...].filter { notice in
      if case .record(let offset) = notice { offset < partition.end } else { true }
    }
    first = 0
    if !isFetching, !isStopped { fetch() }
  }

  private struct Answer {
    var notices: [Notice]
    var next: Int64
    var end: Int64
  }

  private func fetch() {
    guard !isStopped, process.isAlive else { return }
    isFetching = true
    let from = fetchNext
    let losses = partition.lossCount
    network.send(from: process, "fetch") { [self] in read(from) } then: { [self] answer in
      isFetching = false
      guard !isStopped else { return }
      guard losses == partition.lossCount else { return fetch() }
      guard let answer else {
        // A broker away is news, now and then.
        if network.scheduler.random.chance(0.3) {
          notices.append(.error(KafkaError(code: KafkaCode.transport, call: .consume)))
          wake()
        }
        fetch()
        return
      }
      let moved = answer.next > fetchNext || !answer.notices.isEmpty
      notices += answer.notices
      fetchNext = answer.next
      knownEnd = answer.end
      if fetchNext == answer.end, reportedEnd != answer.end {
        notices.append(.end(answer.end))
        reportedEnd = answer.end
      }
      if moved || !notices.isEmpty { wake() }
      logChanged()
    }
  }

  private func read(_ from: Int64) -> Answer {
    let end = readsCommitted ? partition.stable : partition.end
    guard from >= partition.low, from <= partition.end else {
      let error = KafkaError(
        code: RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET.rawValue, call: .consume, message: "offset out of range \(from)")
      return Answer(notices: [.error(error)], next: partition.end, end: partition.end)
    }
    var notices: [Notice] = []
    var next = from
    let limit = 1 + network.scheduler.random.next() % Self.recordsMax
    while next < end, notices.count < limit {
      if readsCommitted ? partition.isVisible(next) : !partition.entries[Int(next)].isMarker {
        notices.append(.record(next))
      }
      next += 1
    }
    return Answer(notices: notices, next: max(next, from), end: end)
  }

  /// Takes what waits first, lending a record to `body`.
  func take(_ body: (borrowing Record) -> Void) -> Taken {
    guard first < notices.count else { return .nothing }
    defer {
      first += 1
      if first == notices.count {
        notices.removeAll(keepingCapacity: true)
        first = 0
      }
    }
    switch notices[first] {
    case .end(let offset):
      position = max(position, offset)
      return .endOfPartition(partition: place.partition, offset: offset)
    case .error(let error): return .error(error)
    case .record(let offset):
      position = offset + 1
      let entry = partition.entries[Int(offset)]
      entry.lend(partition: place.partition, offset: offset, body)
      return .record
    }
  }

  var isEmpty: Bool { first >= notices.count }
}

extension SimulatedPartition.Entry {
  func lend(partition: Int32, offset: Int64, _ body: (borrowing Record) -> Void) {
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    func lent(_ bytes: [UInt8]?, _ use: (UnsafeRawBufferPointer) -> Void) {
      guard let bytes else { return use(nothing) }
      // An empty array may have no address, which would mean no value at all.
      if bytes.isEmpty { return [0 as UInt8].withUnsafeBytes { use(UnsafeRawBufferPointer(rebasing: $0[..<0])) } }
      bytes.withUnsafeBytes { use($0) }
    }
    lent(key) { key in
      lent(value) { value in
        headers.withUnsafeBytes { headers in
          body(
            Record(
              partition: partition, offset: offset, timestamp: timestamp, key: key, value: value, headers: headers))
        }
      }
    }
  }
}
