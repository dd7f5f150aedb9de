import CRdKafka
import Kafka
import Records
@testable import RunChecker

/// A transactional producer as librdkafka 2.0.2 behaves: records leave from a queue of its own, in batches with
/// sequence numbers; errors come with the flags that the library gives them.
final class SimulatedProducer: TransactionalWriter, @unchecked Sendable {
  private enum State {
    case new, ready, open
    /// Only an abort helps.
    case failed(KafkaError)
    /// An end was decided and its outcome is not known yet.
    case ending(commit: Bool)
    case fatal(KafkaError)
  }
  final class Topic: OpenTopic, @unchecked Sendable {
    let name: String
    let partitionCount: Int32
    init(name: String, partitionCount: Int32) {
      self.name = name
      self.partitionCount = partitionCount
    }
  }
  private struct Queued {
    var place: TopicPartition
    var entry: SimulatedPartition.Entry
    var isTracked: Bool
  }

  let transactionalID: String
  private let side: ClientSide
  private let transactionMilliseconds: Int
  private var state = State.new
  private var producer = 0
  private var epoch = 0
  private var doubt = false
  private var queue: [Queued] = []
  private var isSending = false
  private var isSendingSoon = false
  private var added: [TopicPartition] = []
  private var hasOffsets = false
  private var sequences: [TopicPartition: Int] = [:]
  private var tracked: [Int32: Int64] = [:]
  private var failures: (count: Int, first: KafkaError?) = (0, nil)
  private var flushing = WaitList()
  /// Its own view of the cluster is stuck: nothing that it asks arrives any more.
  private var isWedged = false
  /// Told of every record as the log takes it; for tests that look at what is sent.
  static let lingerNanoseconds: UInt64 = 5_000_000

  init(_ side: ClientSide, transactionalID: String, transactionMilliseconds: Int) {
    self.side = side
    self.transactionalID = transactionalID
    self.transactionMilliseconds = transactionMilliseconds
  }

  var isInDoubt: Bool { doubt }
  private var transactions: TransactionCoordinator { side.broker.transactions }

  // MARK: Life

  func initTransactions(timeoutMilliseconds: Int32) throws(KafkaError) {
    let deadline = side.scheduler.now + UInt64(max(timeoutMilliseconds, 0)) * 1_000_000
    while true {
      try side.checkAlive(.initTransactions)
      let answer = ask("init") { [self] in
        transactions.initialise(transactionalID, milliseconds: transactionMilliseconds)
      }
      try side.checkAlive(.initTransactions)
      if case .success(let identity) = answer {
        (producer, epoch) = identity
        state = .ready
        return
      }
      side.spend(40_000_000)
      guard side.scheduler.now < deadline else {
        throw KafkaError(code: KafkaCode.timedOut, call: .initTransactions, flags: .retriable)
      }
    }
  }

  func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic {
    let count = try side.persist(.query, "open topic", milliseconds: timeoutMilliseconds) { [self] in
      let partitions = side.broker.topic(topic)
      return partitions.isEmpty ? .failure(.unknownTopic) : .success(Int32(partitions.count))
    }
    return Topic(name: topic, partitionCount: count)
  }

  func begin() throws(KafkaError) {
    try side.checkAlive(.begin)
    switch state {
    case .ready: break
    case .fatal(let error): throw refused(error, .begin)
    default: throw KafkaError(code: KafkaCode.state, call: .begin)
    }
    state = .open
    failures = (0, nil)
    tracked = [:]
    added = []
    hasOffsets = false
  }

  // MARK: Records

  func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan?, timestamp: Int64, tracked: Bool
  ) throws(KafkaError) {
    try side.checkAlive(.produce)
    switch state {
    case .open: break
    case .fatal(let error): throw KafkaError(code: RD_KAFKA_RESP_ERR__FATAL.rawValue, call: .produce, message: error.message)
    default: throw KafkaError(code: KafkaCode.state, call: .produce)
    }
    guard partition >= 0, partition < topic.partitionCount else {
      throw KafkaError(code: KafkaCode.unknownPartition, call: .produce)
    }
    var block: [UInt8] = []
    if let headers { block = headers.withUnsafeBytes { Array($0) } }
    queue.append(
      Queued(
        place: TopicPartition(topic.name, partition),
        entry: .init(
          timestamp: timestamp, key: key.map { Array($0) }, value: value.map { Array($0) }, headers: block,
          transaction: nil), isTracked: tracked))
    if !isSending, !isSendingSoon {
      isSendingSoon = true
      side.scheduler.after(Self.lingerNanoseconds) { [self] in
        isSendingSoon = false
        send()
      }
    }
    // A crash may come between any two records; most of them need no switch.
    if side.scheduler.random.next() % 8 == 0 { side.spend(100_000) }
  }

  /// Sends the records of the partition whose turn it is, then those of the next.
  private func send() {
    guard !isSending, side.process.isAlive else { return }
    guard case .open = state, let place = queue.first?.place else {
      if case .open = state {} else { queue.removeAll() }
      flushing.wakeAll(side.scheduler)
      return
    }
    isSending = true
    guard added.contains(place) else {
      request("add partition", { [self] in transactions.add(place, producer: producer, epoch: epoch).map { .failure($0) } ?? .success(()) }) {
        [self] in added.append(place)
      }
      return
    }
    let batch = queue.filter { $0.place == place }
    let sequence = sequences[place] ?? 0
    let entries = batch.map(\.entry)
    request("produce", { [self] in
      side.broker.produce(place, entries, producer: producer, epoch: epoch, sequence: sequence)
    }) { [self] offset in
      sequences[place] = sequence + batch.count
      // The first of that place: nothing was taken away in between.
      var left = batch.count
      queue.removeAll { item in
        guard left > 0, item.place == place else { return false }
        left -= 1
        return true
      }
      for (index, item) in batch.enumerated() where item.isTracked && offset >= 0 {
        tracked[place.partition] = offset + Int64(index)
      }
    }
  }

  /// One request of the background thread, tried again until there is an answer.
  private func request<T>(
    _ what: StaticString, _ apply: @escaping () -> Result<T, Refusal>, then: @escaping (T) -> Void
  ) {
    send(what, apply) { [self] answer in
      guard case .open = state else {
        isSending = false
        flushing.wakeAll(side.scheduler)
        return
      }
      switch answer {
      case .success(let value):
        isSending = false
        then(value)
        send()
      case .failure(.concurrentTransactions), .failure(.loading), nil:
        if case nil = answer { doubt = true }
        side.scheduler.after(20_000_000) { [self] in request(what, apply, then: then) }
      case .failure(let why):
        isSending = false
        fail(why, .delivery)
      }
    }
  }

  /// As the library judges what a broker said of a transaction.
  private func fail(_ why: Refusal, _ call: KafkaCall) {
    let error: KafkaError
    switch why {
    case .producerFenced, .invalidEpoch:
      error = KafkaError(code: KafkaCode.fenced, call: call, flags: .fatal)
      state = .fatal(error)
    case .outOfOrder, .invalidTransactionState:
      error = KafkaError(code: why.code, call: call, flags: .fatal)
      state = .fatal(error)
    default:
      error = KafkaError(code: why.code, call: call, flags: .requiresAbort)
      state = .failed(error)
    }
    failures.count += queue.count
    failures.first = failures.first ?? error
    queue.removeAll()
    flushing.wakeAll(side.scheduler)
  }

  func wedge() { isWedged = true }

  private func ask<T>(_ what: StaticString, _ apply: @escaping () -> T) -> T? {
    guard isWedged else { return side.network.ask(from: side.process, what, apply) }
    side.scheduler.sleep(1_000_000_000)
    return nil
  }
  private func send<T>(_ what: StaticString, _ apply: @escaping () -> T, then: @escaping (T?) -> Void) {
    guard isWedged else { return side.network.send(from: side.process, what, apply, then: then) }
    side.scheduler.after(1_000_000_000) { then(nil) }
  }

  /// Makes the producer fatal, as the library does to itself after lost answers.
  func desynchronise() {
    if case .open = state { fail(.outOfOrder, .delivery) }
  }

  private func refused(_ error: KafkaError, _ call: KafkaCall) -> KafkaError {
    KafkaError(code: error.code, call: call, message: error.message, flags: error.flags)
  }

  func sendOffsets(
    _ offsets: [PartitionOffset], _ group: any GroupIdentity, timeoutMilliseconds: Int32
  ) throws(KafkaError) {
    try side.checkAlive(.sendOffsets)
    switch state {
    case .open: break
    case .failed(let error), .fatal(let error): throw refused(error, .sendOffsets)
    default: throw KafkaError(code: KafkaCode.state, call: .sendOffsets)
    }
    if offsets.isEmpty { return }
    let identity = group as! SimulatedIdentity
    let deadline = side.scheduler.now + UInt64(max(timeoutMilliseconds, 0)) * 1_000_000
    var isAdded = hasOffsets
    while true {
      try side.checkAlive(.sendOffsets)
      let answer: Result<Void, Refusal>? =
        !isAdded
        ? ask("add offsets") { [self] in
          transactions.add(nil, producer: producer, epoch: epoch).map { .failure($0) } ?? .success(())
        }
        : ask("commit offsets in transaction") { [self] in
          side.broker.group.commitInTransaction(
            offsets, producer: producer, epoch: epoch, member: identity.member, instance: identity.instance,
            generation: identity.generation
          ).map { .failure($0) } ?? .success(())
        }
      try side.checkAlive(.sendOffsets)
      if case .failed(let error) = state { throw refused(error, .sendOffsets) }
      if case .fatal(let error) = state { throw refused(error, .sendOffsets) }
      switch answer {
      case .success:
        if isAdded { return }
        isAdded = true
        hasOffsets = true
      case .failure(.concurrentTransactions), .failure(.loading), nil:
        // It may still arrive, and among the offsets of the next transaction.
        if case nil = answer { doubt = true }
        side.spend(20_000_000)
        guard side.scheduler.now < deadline else {
          throw KafkaError(code: KafkaCode.timedOut, call: .sendOffsets, flags: .retriable)
        }
      case .failure(let why):
        fail(why, .sendOffsets)
        if case .failed(let error) = state { throw error }
        if case .fatal(let error) = state { throw error }
      }
    }
  }

  // MARK: Ends

  func commit(timeoutMilliseconds: Int32) throws(KafkaError) {
    try side.checkAlive(.commit)
    let deadline = timeoutMilliseconds < 0 ? UInt64.max : side.scheduler.now + UInt64(timeoutMilliseconds) * 1_000_000
    if case .open = state {
      while !queue.isEmpty || isSending {
        guard case .open = state else { break }
        guard side.scheduler.now < deadline else {
          throw KafkaError(code: KafkaCode.timedOut, call: .commit, flags: .retriable)
        }
        if !isSending { send() }
        flushing.add(side.scheduler.current!)
        _ = side.scheduler.park(until: side.scheduler.now + 100_000_000)
        try side.checkAlive(.commit)
      }
    }
    switch state {
    case .open:
      if added.isEmpty && !hasOffsets {
        state = .ready
        return
      }
      state = .ending(commit: true)
    case .ending(commit: true): break
    case .failed(let error), .fatal(let error): throw refused(error, .commit)
    default: throw KafkaError(code: KafkaCode.state, call: .commit)
    }
    try end(.commit, deadline)
  }

  func abort(timeoutMilliseconds: Int32 = -1) throws(KafkaError) {
    try side.checkAlive(.abort)
    let deadline = timeoutMilliseconds < 0 ? UInt64.max : side.scheduler.now + UInt64(timeoutMilliseconds) * 1_000_000
    switch state {
    case .open, .failed:
      queue.removeAll()
      let isNothingOpen = added.isEmpty && !hasOffsets
      state = isNothingOpen ? .ready : .ending(commit: false)
      if isNothingOpen { return }
    case .ending(commit: false): break
    case .fatal(let error): throw refused(error, .abort)
    default: throw KafkaError(code: KafkaCode.state, call: .abort)
    }
    try end(.abort, deadline)
    failures = (0, nil)
  }

  /// Asks for the end until there is an answer, or the time is up.
  private func end(_ call: KafkaCall, _ deadline: UInt64) throws(KafkaError) {
    let isCommit = call == .commit
    while true {
      try side.checkAlive(call)
      let answer: Result<Void, Refusal>? = ask("end transaction") { [self] in
        transactions.end(commit: isCommit, producer: producer, epoch: epoch).map { .failure($0) } ?? .success(())
      }
      try side.checkAlive(call)
      switch answer {
      case .success:
        state = .ready
        return
      case .failure(.concurrentTransactions), .failure(.loading): side.spend(20_000_000)
      case nil:
        doubt = true
        // Whoever waits for a bounded time only hears of it.
        if side.scheduler.now >= deadline || side.scheduler.random.chance(0.3) {
          throw KafkaError(code: KafkaCode.timedOut, call: call, flags: .retriable)
        }
      case .failure(let why):
        let code = why == .producerFenced || why == .invalidEpoch ? KafkaCode.fenced : why.code
        let error = KafkaError(code: code, call: call, flags: .fatal)
        state = .fatal(error)
        throw error
      }
    }
  }

  // MARK: What was delivered

  func trackedOffset(partition: Int32) -> Int64? { tracked[partition] }
  func takeFailures() -> (count: Int, first: KafkaError?) {
    defer { failures = (0, nil) }
    return failures
  }
  func poll(milliseconds: Int32) { side.spend(UInt64(max(milliseconds, 1)) * 1_000_000) }
  func purge() {
    queue.removeAll()
    isSending = false
  }
}

/// Writes outside of transactions, in order.
final class SimulatedWriter: PlainWriter, @unchecked Sendable {
  private let side: ClientSide
  private var queue: [(place: TopicPartition, entry: SimulatedPartition.Entry)] = []
  init(_ side: ClientSide) { self.side = side }

  func open(_ topic: String, timeoutMilliseconds: Int32) throws(KafkaError) -> any OpenTopic {
    let count = try side.persist(.query, "open topic", milliseconds: timeoutMilliseconds) { [side] in
      let partitions = side.broker.topic(topic)
      return partitions.isEmpty ? .failure(.unknownTopic) : .success(Int32(partitions.count))
    }
    return SimulatedProducer.Topic(name: topic, partitionCount: count)
  }

  func produce(
    _ topic: any OpenTopic, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: RawSpan?, timestamp: Int64
  ) throws(KafkaError) {
    try side.checkAlive(.produce)
    var block: [UInt8] = []
    if let headers { block = headers.withUnsafeBytes { Array($0) } }
    queue.append(
      (
        TopicPartition(topic.name, partition),
        .init(
          timestamp: timestamp == 0 ? side.broker.wall() : timestamp, key: key.map { Array($0) },
          value: value.map { Array($0) }, headers: block, transaction: nil)
      ))
  }

  /// All that is queued goes in one request. One that is not answered may have been taken all the same.
  func flush(timeoutMilliseconds: Int32) throws(KafkaError) {
    guard !queue.isEmpty else { return }
    let sent = queue
    queue.removeAll()
    let answer: Void? = side.network.ask(from: side.process, "write") { [side] in
      for item in sent { side.broker.partition(item.place)?.append(item.entry) }
    }
    try side.checkAlive(.delivery)
    if answer == nil { throw KafkaError(code: RD_KAFKA_RESP_ERR__MSG_TIMED_OUT.rawValue, call: .delivery) }
  }
}
