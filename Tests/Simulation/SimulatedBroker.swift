import CRdKafka
import Kafka

/// What a broker answers in place of a result.
enum Refusal: Error, Equatable {
  case producerFenced, invalidEpoch, concurrentTransactions, invalidTransactionState, outOfOrder
  case illegalGeneration, unknownMember, fencedInstance, rebalanceInProgress
  case unstableOffsets, unknownTopic, loading

  var code: Int32 {
    switch self {
    case .producerFenced: RD_KAFKA_RESP_ERR_PRODUCER_FENCED.rawValue
    case .invalidEpoch: RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH.rawValue
    case .concurrentTransactions: RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS.rawValue
    case .invalidTransactionState: RD_KAFKA_RESP_ERR_INVALID_TXN_STATE.rawValue
    case .outOfOrder: RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER.rawValue
    case .illegalGeneration: RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION.rawValue
    case .unknownMember: RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID.rawValue
    case .fencedInstance: RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID.rawValue
    case .rebalanceInProgress: RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS.rawValue
    case .unstableOffsets: RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT.rawValue
    case .unknownTopic: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue
    case .loading: RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS.rawValue
    }
  }
}

/// The simulated cluster's own side: logs, the transaction coordinator and the group coordinator.
///
/// Modelled on Apache Kafka 3.6 – 4.x as librdkafka 2.0.2 meets it: transactions by `EndTxn` with an epoch for each
/// initialisation, partitions verified before a produce is taken, markers written some time after the decision.
final class SimulatedBroker {
  let scheduler: Scheduler
  let wall: () -> Int64
  private(set) var topics: [(name: String, partitions: [SimulatedPartition])] = []
  private(set) lazy var transactions = TransactionCoordinator(self)
  private(set) lazy var group = GroupCoordinator(self)
  /// Markers are written up to this many nanoseconds after the decision.
  var markerNanoseconds: UInt64 = 5_000_000

  init(_ scheduler: Scheduler, wall: @escaping () -> Int64) {
    self.scheduler = scheduler
    self.wall = wall
  }

  func create(_ name: String, partitions: Int32) {
    topics.append((name, (0..<partitions).map { SimulatedPartition(topic: name, number: $0) }))
  }

  func topic(_ name: String) -> [SimulatedPartition] { topics.first { $0.name == name }?.partitions ?? [] }

  func partition(_ place: TopicPartition) -> SimulatedPartition? {
    let partitions = topic(place.topic)
    return partitions.indices.contains(Int(place.partition)) ? partitions[Int(place.partition)] : nil
  }

  /// Appends a batch of a producer's open transaction; the offset of its first record.
  func produce(
    _ place: TopicPartition, _ records: [SimulatedPartition.Entry], producer: Int, epoch: Int, sequence: Int
  ) -> Result<Int64, Refusal> {
    guard let partition = partition(place) else { return .failure(.unknownTopic) }
    let transaction: LoggedTransaction
    switch transactions.verify(place, producer: producer, epoch: epoch) {
    case .success(let open): transaction = open
    case .failure(let why): return .failure(why)
    }
    if transactions.acceptsOldEpochs {
      // Nobody is refused.
    } else if let known = partition.producers[producer], known.epoch == epoch {
      // Came before, and its answer was lost.
      if sequence + records.count <= known.sequence { return .success(-1) }
      guard sequence == known.sequence else { return .failure(.outOfOrder) }
    } else if sequence != 0 {
      return .failure(.outOfOrder)
    }
    partition.producers[producer] = .init(epoch: epoch, sequence: sequence + records.count)
    let first = partition.end
    scheduler.note("log: producer \(producer) writes \(records.count) to \(place) at \(first)", UInt64(first))
    for var record in records {
      record.transaction = transaction
      if record.timestamp == 0 { record.timestamp = wall() }
      partition.append(record)
    }
    return .success(first)
  }
}

/// Decides transactions and writes their markers.
final class TransactionCoordinator {
  private enum State { case empty, ongoing, preparing(commit: Bool), complete(commit: Bool) }
  private final class Identity {
    let name: String
    let producer: Int
    var epoch = 0
    var state = State.empty
    var partitions: [TopicPartition] = []
    var hasOffsets = false
    var transaction: LoggedTransaction
    var milliseconds: Int
    /// Counts the transactions of this identity.
    var number = 0
    init(_ name: String, producer: Int, milliseconds: Int) {
      self.name = name
      self.producer = producer
      self.milliseconds = milliseconds
      transaction = LoggedTransaction(writer: name)
    }
  }

  private unowned let broker: SimulatedBroker
  private var identities: [String: Identity] = [:]
  private var byProducer: [Int: Identity] = [:]
  private(set) var timedOutCount = 0
  /// A planted fault: nobody is fenced.
  var acceptsOldEpochs = false

  init(_ broker: SimulatedBroker) { self.broker = broker }

  /// A new epoch; whatever an older one left open is aborted first, and has to be waited for.
  func initialise(_ name: String, milliseconds: Int) -> Result<(producer: Int, epoch: Int), Refusal> {
    let identity: Identity
    if let known = identities[name] {
      identity = known
    } else {
      identity = Identity(name, producer: byProducer.count + 1, milliseconds: milliseconds)
      identities[name] = identity
      byProducer[identity.producer] = identity
    }
    switch identity.state {
    case .ongoing:
      identity.epoch += 1
      decide(identity, commit: false)
      return .failure(.concurrentTransactions)
    case .preparing: return .failure(.concurrentTransactions)
    case .empty, .complete:
      identity.epoch += 1
      identity.state = .empty
      return .success((identity.producer, identity.epoch))
    }
  }

  /// Adds a partition to the open transaction, or opens one.
  func add(_ place: TopicPartition?, producer: Int, epoch: Int) -> Refusal? {
    guard let identity = byProducer[producer], identity.epoch == epoch || acceptsOldEpochs else { return .producerFenced }
    switch identity.state {
    case .preparing: return .concurrentTransactions
    case .empty, .complete:
      identity.state = .ongoing
      identity.transaction = LoggedTransaction(writer: identity.name)
      identity.number += 1
      let number = identity.number
      broker.scheduler.after(UInt64(identity.milliseconds) * 1_000_000) { [weak self] in
        guard let self, identity.number == number, case .ongoing = identity.state else { return }
        timedOutCount += 1
        identity.epoch += 1
        decide(identity, commit: false)
      }
    case .ongoing: break
    }
    guard let place else {
      identity.hasOffsets = true
      return nil
    }
    if !identity.partitions.contains(place) { identity.partitions.append(place) }
    return nil
  }

  /// Whether a producer may write here now.
  func verify(_ place: TopicPartition, producer: Int, epoch: Int) -> Result<LoggedTransaction, Refusal> {
    guard let identity = byProducer[producer], identity.epoch == epoch || acceptsOldEpochs else { return .failure(.invalidEpoch) }
    guard case .ongoing = identity.state, identity.partitions.contains(place) else {
      return .failure(.invalidTransactionState)
    }
    return .success(identity.transaction)
  }

  func verifyOffsets(producer: Int, epoch: Int) -> Refusal? {
    guard let identity = byProducer[producer], identity.epoch == epoch || acceptsOldEpochs else { return .invalidEpoch }
    guard case .ongoing = identity.state, identity.hasOffsets else { return .invalidTransactionState }
    return nil
  }

  func end(commit: Bool, producer: Int, epoch: Int) -> Refusal? {
    guard let identity = byProducer[producer], identity.epoch == epoch || acceptsOldEpochs else { return .producerFenced }
    switch identity.state {
    case .ongoing:
      decide(identity, commit: commit)
      return nil
    case .preparing(let decided): return decided == commit ? .concurrentTransactions : .invalidTransactionState
    case .complete(let decided): return decided == commit ? nil : .invalidTransactionState
    case .empty: return .invalidTransactionState
    }
  }

  /// The decision stands; markers make it known, each partition in its own time.
  private func decide(_ identity: Identity, commit: Bool) {
    identity.state = .preparing(commit: commit)
    broker.scheduler.note("transactions: \(identity.name) \(identity.producer) epoch \(identity.epoch) \(commit ? "commits" : "aborts")")
    identity.transaction.outcome = commit ? .committed : .aborted
    let transaction = identity.transaction
    let producer = identity.producer
    let places = identity.partitions
    let hasOffsets = identity.hasOffsets
    identity.partitions = []
    identity.hasOffsets = false
    var left = places.count + (hasOffsets ? 1 : 0)
    func written() {
      left -= 1
      if left <= 0 { identity.state = .complete(commit: commit) }
    }
    if left == 0 { written() }
    for place in places {
      later { [broker] in
        let partition = broker.partition(place)!
        if partition.open.contains(where: { $0.transaction === transaction }) {
          partition.mark(transaction, timestamp: broker.wall())
        }
        written()
      }
    }
    if hasOffsets {
      later { [broker] in
        broker.group.endTransaction(producer: producer, commit: commit)
        written()
      }
    }
  }

  private func later(_ body: @escaping () -> Void) {
    broker.scheduler.after(broker.scheduler.random.next() % (broker.markerNanoseconds + 1), body)
  }
}
