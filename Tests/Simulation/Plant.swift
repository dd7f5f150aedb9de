import Kafka
import Records
@testable import RunChecker
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
  // Inside the folds: a replay, a restore or a block that leaves another state than it must.
  case blockFoldedTwice
  case laterVersionFollowed
  case windowUpdateSkippedInAReplay
  case waitingRowOfAnother
  case joinedLabelsForgotten
  case watermarkNotRestored
  case countForgottenAfterARollback
  case weightNotRestored
  // Of the broker.
  case oldGenerationsAccepted
  case fencedProducersAccepted

  /// Such a fault shows where states are restored and journals followed.
  var isOfTheFolds: Bool {
    switch self {
    case .blockFoldedTwice, .laterVersionFollowed, .windowUpdateSkippedInAReplay, .waitingRowOfAnother,
      .joinedLabelsForgotten, .watermarkNotRestored, .countForgottenAfterARollback, .weightNotRestored:
      true
    default: false
    }
  }
}

/// Puts misbehaving clients, files or brokers into a world, to see whether the judgement notices.
struct Plant {
  var bug: PlantedBug?

  func cluster(_ inner: SimulatedCluster) -> any Cluster {
    bug.map { MisbehavingCluster(inner, $0) } ?? inner
  }
  func broker(_ broker: SimulatedBroker) {
    broker.group.acceptsOldGenerations = bug == .oldGenerationsAccepted
    broker.transactions.acceptsOldEpochs = bug == .fencedProducersAccepted
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
  func members() throws(KafkaError) -> [GroupMember] { try inner.members() }
  func makeWriter() throws(KafkaError) -> any PlainWriter { try inner.makeWriter() }

  func makeConsumer(lane: Int) throws(KafkaError) -> any GroupConsumer {
    let made = try inner.makeConsumer(lane: lane)
    if bug == .pendingOffsetsNotWaitedFor { (made as? SimulatedConsumer)?.waitsForPending = false }
    switch bug {
    case .revocationsNotHeard, .recordsTakenAgainAfterARebalance, .windowUpdateSkippedInAReplay,
      .sentAgainAfterACommitThatTimedOut:
      return MisbehavingConsumer(made, bug, inner.side)
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
    case .learningRecordSkipped where topic.hasSuffix("learning"), .blockFoldedTwice where topic.hasSuffix("learning"),
      .journalOrderIgnored where topic.hasSuffix("journal"), .journalScoresChanged where topic.hasSuffix("journal"),
      .laterVersionFollowed where topic.hasSuffix("journal"), .journalTailForgotten where topic.hasSuffix("journal"):
      return MisbehavingReader(try inner.makeReader(topic, isolation: isolation), bug)
    default: return try inner.makeReader(topic, isolation: isolation)
    }
  }
}
