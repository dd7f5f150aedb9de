import CRdKafka
import Kafka

/// What all simulated clients of one process share.
struct ClientSide {
  let process: SimulatedProcess
  let network: Network
  let broker: SimulatedBroker
  /// Waits end late by so many times their length, so that idle worlds are cheap and lazy ones are met.
  let laziness: UInt64
  var scheduler: Scheduler { network.scheduler }

  /// What a call of a dead process gets: it has no effect, and its thread unwinds.
  func checkAlive(_ call: KafkaCall) throws(KafkaError) {
    guard !process.isAlive else { return }
    throw KafkaError(code: RD_KAFKA_RESP_ERR__FATAL.rawValue, call: call, message: "killed", flags: .fatal)
  }

  func spend(_ nanoseconds: UInt64) { scheduler.sleep(1_000 + scheduler.random.next() % nanoseconds) }

  /// Asks until there is an answer that is final, at most so long.
  func persist<T>(
    _ call: KafkaCall, _ what: StaticString, milliseconds: Int32, _ apply: @escaping () -> Result<T, Refusal>
  ) throws(KafkaError) -> T {
    let deadline = scheduler.now + UInt64(max(milliseconds, 0)) * 1_000_000
    while true {
      try checkAlive(call)
      let answer = network.ask(from: process, what, apply)
      try checkAlive(call)
      switch answer {
      case .success(let value): return value
      case .failure(let why) where why != .unstableOffsets && why != .loading:
        throw KafkaError(code: why.code, call: call)
      case .failure, nil: scheduler.sleep(10_000_000 + scheduler.random.next() % 100_000_000)
      }
      guard scheduler.now < deadline else { throw KafkaError(code: KafkaCode.timedOut, call: call, flags: .retriable) }
    }
  }

  func watermarks(_ place: TopicPartition, committed: Bool, milliseconds: Int32) throws(KafkaError) -> Watermarks {
    try persist(.query, "watermarks", milliseconds: milliseconds) {
      guard let partition = broker.partition(place) else { return .failure(.unknownTopic) }
      return .success(Watermarks(low: partition.low, high: committed ? partition.stable : partition.end))
    }
  }
}

/// Something that a thread waits for and others signal; a signal that comes first is not lost.
final class SimulatedWakeup {
  private let scheduler: Scheduler
  private var isSignalled = false
  private var waiting = WaitList()
  init(_ scheduler: Scheduler) { self.scheduler = scheduler }

  func signal() {
    isSignalled = true
    waiting.wakeAll(scheduler)
  }
  func wait(nanoseconds: UInt64) -> Bool {
    defer { isSignalled = false }
    if isSignalled || nanoseconds == 0 { return isSignalled }
    waiting.add(scheduler.current!)
    _ = scheduler.park(until: scheduler.now + nanoseconds)
    return isSignalled
  }
}

final class SimulatedIdentity: GroupIdentity, @unchecked Sendable {
  let member: String
  let instance: String
  let generation: Int
  init(member: String, instance: String, generation: Int) {
    self.member = member
    self.instance = instance
    self.generation = generation
  }
}

/// A static member of the group, as librdkafka 2.0.2 behaves: eager, heartbeats on a thread of its own.
final class SimulatedConsumer: GroupConsumer, @unchecked Sendable {
  struct Timing {
    var sessionNanoseconds: UInt64
    var heartbeatNanoseconds: UInt64
    var pollNanosecondsMax: UInt64 = 60_000_000_000
  }

  private let side: ClientSide
  private let instance: String
  private let timing: Timing
  private let wakeup: SimulatedWakeup
  private var topics: [String] = []
  /// Whether committed offsets are only told once no transaction about them is open.
  var waitsForPending = true
  private var memberID = ""
  private var generation = -1
  /// Counts joins: an answer to an older one comes too late.
  private var attempt = 0
  private var isMember = false
  private var isClosed = false
  /// A revocation was reported and not answered yet.
  private var isRevoking = false
  private var isLost = false
  private var given: [TopicPartition] = []
  private var events: [ConsumerEvent] = []
  private var fetchers: [Fetcher] = []
  private var lastHeard: UInt64 = 0
  private var lastPoll: UInt64

  init(_ side: ClientSide, instance: String, timing: Timing) {
    self.side = side
    self.instance = instance
    self.timing = timing
    wakeup = SimulatedWakeup(side.scheduler)
    lastPoll = side.scheduler.now
  }

  private var now: UInt64 { side.scheduler.now }
  private var group: GroupCoordinator { side.broker.group }

  // MARK: The group, on the client's own thread

  func subscribe(_ topics: [String]) throws(KafkaError) {
    try side.checkAlive(.consume)
    self.topics = topics
    join()
  }

  private func join() {
    guard !isClosed else { return }
    isMember = false
    attempt += 1
    let mine = attempt
    var isAnswered = false
    let id = memberID
    side.network.send(from: side.process, "join") { [self] in
      group.join(
        id: id, instance: instance, topics: topics, sessionNanoseconds: timing.sessionNanoseconds
      ) { [self] result in
        side.scheduler.after(1_000_000) { [self] in
          guard mine == attempt, !isClosed, side.process.isAlive, !side.network.isCut(side.process) else { return }
          isAnswered = true
          joined(result)
        }
      }
    } then: { [self] (sent: Void?) in
      if sent == nil, mine == attempt, !isAnswered { join() }
      // An answer that never comes: the connection is asked again.
      if sent != nil { retryJoin(mine) }
    }
  }

  private func retryJoin(_ mine: Int) {
    side.scheduler.after(timing.sessionNanoseconds * 2) { [self] in
      guard mine == attempt, !isMember, !isClosed, side.process.isAlive else { return }
      if side.process.stalledUntil > now { return retryJoin(mine) }
      join()
    }
  }

  private func joined(_ result: Result<GroupCoordinator.Place, Refusal>) {
    switch result {
    case .success(let place):
      memberID = place.member
      generation = place.generation
      sync(attempt)
    case .failure(.fencedInstance): fence()
    case .failure:
      memberID = ""
      join()
    }
  }

  private func sync(_ mine: Int) {
    let (id, generation) = (memberID, generation)
    side.network.send(from: side.process, "sync") { [self] in
      group.assignment(of: id, generation: generation)
    } then: { [self] answer in
      guard mine == attempt, !isClosed else { return }
      switch answer {
      case .success(let partitions):
        isMember = true
        isLost = false
        isRevoking = false
        given = partitions
        lastHeard = now
        report(.assign(partitions))
        beat(mine)
      case .failure(.fencedInstance): fence()
      case .failure(let why):
        if why == .unknownMember { memberID = "" }
        join()
      case nil: sync(mine)
      }
    }
  }

  private func beat(_ mine: Int) {
    side.scheduler.after(timing.heartbeatNanoseconds) { [self] in
      guard mine == attempt, isMember, !isClosed, side.process.isAlive else { return }
      guard side.process.stalledUntil <= now else {
        side.scheduler.after(side.process.stalledUntil - now) { [self] in
          if mine == attempt, isMember, !isClosed, side.process.isAlive { heartbeat(mine) }
        }
        return
      }
      if now - lastPoll > timing.pollNanosecondsMax {
        report(.error(KafkaError(code: RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED.rawValue, call: .consume)))
        lose()
        return
      }
      heartbeat(mine)
    }
  }

  private func heartbeat(_ mine: Int) {
    guard now >= side.process.heartbeatsLostUntil else {
      heard(nil, mine)
      return
    }
    let (id, generation) = (memberID, generation)
    side.network.send(from: side.process, "heartbeat") { [self] in
      group.heartbeat(id: id, instance: instance, generation: generation).map { Result<Void, Refusal>.failure($0) }
        ?? .success(())
    } then: { [self] answer in
      if mine == attempt, isMember, !isClosed { heard(answer, mine) }
    }
  }

  private func heard(_ answer: Result<Void, Refusal>?, _ mine: Int) {
    switch answer {
    case .success: lastHeard = now
    case .failure(.rebalanceInProgress):
      lastHeard = now
      if !isRevoking {
        isRevoking = true
        report(.revoke(given, lost: false))
      }
    case .failure(.fencedInstance):
      fence()
      return
    case .failure(let why):
      if why == .unknownMember { memberID = "" }
      lose()
      return
    case nil:
      if now - lastHeard > timing.sessionNanoseconds {
        lose()
        return
      }
    }
    beat(mine)
  }

  /// The group went on without us.
  private func lose() {
    isMember = false
    isLost = true
    report(.revoke(given, lost: true))
  }

  private func fence() {
    isMember = false
    isLost = true
    attempt += 1
    report(.error(KafkaError(code: KafkaCode.fencedInstance, call: .consume, flags: .fatal)))
  }

  private func report(_ event: ConsumerEvent) {
    events.append(event)
    wakeup.signal()
  }

  // MARK: The worker's calls

  func poll(milliseconds: Int32) -> ConsumerEvent {
    side.spend(200_000)
    lastPoll = now
    do throws(KafkaError) { try side.checkAlive(.consume) } catch { return .error(error) }
    return events.isEmpty ? .none : events.removeFirst()
  }

  func assign(_ partitions: [PartitionOffset]) throws(KafkaError) -> [any RecordQueue] {
    try side.checkAlive(.consume)
    stopFetching()
    for item in partitions {
      guard let partition = side.broker.partition(item.partition) else {
        throw KafkaError(code: KafkaCode.unknownPartition, call: .consume)
      }
      fetchers.append(
        Fetcher(
          item.partition, from: item.offset, partition, readsCommitted: true, network: side.network,
          process: side.process, wake: { [wakeup] in wakeup.signal() }))
    }
    return fetchers.map { SimulatedQueue($0, side) }
  }

  func unassign() throws(KafkaError) {
    try side.checkAlive(.consume)
    stopFetching()
    given = []
    if isRevoking || isLost {
      isRevoking = false
      join()
    }
  }

  private func stopFetching() {
    for fetcher in fetchers { fetcher.stop() }
    fetchers = []
  }

  func wait(milliseconds: Int32) -> Bool {
    let lazy = milliseconds >= 20 ? 1 + side.scheduler.random.next() % (side.laziness + 1) : 1
    return wakeup.wait(nanoseconds: UInt64(max(milliseconds, 0)) * 1_000_000 * lazy)
  }
  func wake() { wakeup.signal() }

  var isAssignmentLost: Bool { isLost }

  func groupIdentity() throws(KafkaError) -> any GroupIdentity {
    try side.checkAlive(.query)
    return SimulatedIdentity(member: memberID, instance: instance, generation: generation)
  }

  func committed(
    _ partitions: [TopicPartition], timeoutMilliseconds: Int32
  ) throws(KafkaError) -> [CommittedOffset] {
    try side.persist(.query, "committed", milliseconds: timeoutMilliseconds) { [self] in
      group.fetch(partitions, stable: waitsForPending)
    }
  }

  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks {
    try side.watermarks(partition, committed: true, milliseconds: timeoutMilliseconds)
  }

  func knownEnd(_ partition: TopicPartition) -> Int64? { fetchers.first { $0.place == partition }?.knownEnd }

  func commit(_ offsets: [PartitionOffset]) throws(KafkaError) {
    try side.persist(.query, "commit offsets", milliseconds: 10_000) { [self] in
      group.commit(offsets, member: memberID, instance: instance, generation: generation)
        .map { Result<Void, Refusal>.failure($0) } ?? .success(())
    }
  }

  func close(timeoutMilliseconds: Int32) -> Bool {
    isClosed = true
    attempt += 1
    stopFetching()
    events = []
    side.spend(5_000_000)
    return true
  }

  deinit { for fetcher in fetchers { fetcher.stop() } }
}

final class SimulatedQueue: RecordQueue, @unchecked Sendable {
  private let fetcher: Fetcher
  private let side: ClientSide
  init(_ fetcher: Fetcher, _ side: ClientSide) {
    self.fetcher = fetcher
    self.side = side
  }
  var partition: TopicPartition { fetcher.place }

  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    side.process.isAlive ? fetcher.take(body) : .nothing
  }
  func take(upTo count: Int, _ body: (borrowing Record) -> Void) -> (count: Int, stop: Taken) {
    var taken = 0
    while taken < count {
      let result = next(timeoutMilliseconds: 0, body)
      guard result == .record else { return (taken, result) }
      taken += 1
    }
    return (taken, .record)
  }
}

final class SimulatedReader: LogReader, @unchecked Sendable {
  let topic: String
  private let side: ClientSide
  private let readsCommitted: Bool
  private let wakeup: SimulatedWakeup
  private var fetchers: [Fetcher] = []

  init(_ side: ClientSide, topic: String, readsCommitted: Bool) {
    self.side = side
    self.topic = topic
    self.readsCommitted = readsCommitted
    wakeup = SimulatedWakeup(side.scheduler)
  }

  deinit { for fetcher in fetchers { fetcher.stop() } }

  func start(partition number: Int32, at position: StartPosition) throws(KafkaError) {
    try side.checkAlive(.consume)
    let place = TopicPartition(topic, number)
    guard let partition = side.broker.partition(place) else {
      throw KafkaError(code: KafkaCode.unknownPartition, call: .consume)
    }
    let start: Int64
    switch position {
    case .beginning: start = partition.low
    case .end: start = partition.end
    case .offset(let offset): start = offset
    case .tail(let count): start = max(partition.low, partition.end - count)
    }
    fetchers.append(
      Fetcher(
        place, from: start, partition, readsCommitted: readsCommitted, network: side.network, process: side.process,
        wake: { [wakeup] in wakeup.signal() }))
  }

  func stop(partition: Int32) {
    for fetcher in fetchers where fetcher.place.partition == partition { fetcher.stop() }
    fetchers.removeAll { $0.place.partition == partition }
  }

  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    let deadline = side.scheduler.now + UInt64(max(timeoutMilliseconds, 0)) * 1_000_000
    while true {
      do throws(KafkaError) { try side.checkAlive(.consume) } catch { return .error(error) }
      if let fetcher = fetchers.first(where: { !$0.isEmpty }) { return fetcher.take(body) }
      guard side.scheduler.now < deadline else { return .nothing }
      _ = wakeup.wait(nanoseconds: deadline - side.scheduler.now)
    }
  }

  func read(
    partition: Int32, through end: Int64, timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void
  ) throws(KafkaError) {
    let deadline = side.scheduler.now + UInt64(max(timeoutMilliseconds, 0)) * 1_000_000
    guard let fetcher = fetchers.first(where: { $0.place.partition == partition }) else { return }
    while fetcher.position < end {
      guard side.scheduler.now < deadline else { throw KafkaError(code: KafkaCode.timedOut, call: .query) }
      if case .error(let error) = next(timeoutMilliseconds: 200, body), error.action != .retrySameCall { throw error }
    }
  }

  func wait(milliseconds: Int32) -> Bool {
    let lazy = 1 + side.scheduler.random.next() % (side.laziness + 1)
    return wakeup.wait(nanoseconds: UInt64(max(milliseconds, 0)) * 1_000_000 * lazy)
  }

  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks {
    try side.watermarks(partition, committed: readsCommitted, milliseconds: timeoutMilliseconds)
  }

  func endOffsets(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [Int64] {
    var ends: [Int64] = []
    for partition in partitions {
      ends.append(try watermarks(partition, timeoutMilliseconds: timeoutMilliseconds).high)
    }
    return ends
  }
}
