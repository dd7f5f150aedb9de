import Engine
import Kafka
import Synchronization

/// Publishes predictions as soon as they are scored, outside of the unit's transaction: delivery at least once.
///
/// A consumer sees them without waiting for a commit, and sees one again where its unit had to be computed again.
/// Everything else (journal, examples, dead letters, offsets) stays in the transaction: what is learnt is learnt once.
/// A unit commits only after its predictions are acknowledged; after a failed delivery all of them are sent again.
///
/// Threads: `publish` and `seal` by the fold thread, `settle` by the commit thread.
final class EarlyPredictions: Sendable {
  static let flushMilliseconds: Int32 = 5_000
  static let attemptsMax = 10

  private struct State {
    /// Units that ended so far.
    var sealed: UInt64 = 0
    /// Units up to this one, counted likewise, may lack a prediction.
    var suspect: UInt64 = 0
    /// Records of the open unit that were looked at.
    var looked = 0
    var settled: UInt64 = 0
  }
  private let writer: any PlainWriter
  private let topic: any OpenTopic
  private let state = Mutex(State())

  init(_ context: WorkerContext) throws(KafkaError) {
    writer = try context.makeWriter()
    topic = try writer.open(context.settings.topics.predictions, timeoutMilliseconds: 10_000)
  }

  /// Sends what the open unit gained since the last call. Never waits for the broker beyond a full queue's time: what
  /// could not be queued is sent when the unit settles.
  func publish(_ unit: CommitUnit) {
    let start = state.withLock { $0.looked }
    guard start < unit.records.count else { return }
    do throws(KafkaError) { try send(unit, from: start) } catch { noteFailure() }
    state.withLock { $0.looked = unit.records.count }
  }

  /// The open unit ended.
  func seal() {
    state.withLock {
      $0.sealed += 1
      $0.looked = 0
    }
  }

  /// Returns once every prediction of the next unit, in the order of their ends, is acknowledged.
  func settle(_ unit: CommitUnit) throws(KafkaError) {
    let number = state.withLock { $0.settled } + 1
    for attempt in 1... {
      do throws(KafkaError) {
        try writer.flush(timeoutMilliseconds: Self.flushMilliseconds)
        guard state.withLock({ $0.suspect }) >= number else { break }
        try send(unit, from: 0)
        try writer.flush(timeoutMilliseconds: Self.flushMilliseconds)
        break
      } catch {
        noteFailure()
        guard attempt < Self.attemptsMax, error.action != .denied, error.action != .misconfigured else { throw error }
      }
    }
    state.withLock { $0.settled = number }
  }

  /// Nobody knows which unit a failed delivery belongs to: all that are open or under way are sent again.
  private func noteFailure() { state.withLock { $0.suspect = $0.sealed + 1 } }

  private func send(_ unit: CommitUnit, from start: Int) throws(KafkaError) {
    for record in unit.records[start...] where record.destination == .predictions {
      try unsafe unit.withParts(of: record) { (key, value, headers) throws(KafkaError) in
        try unsafe writer.produce(
          topic, partition: record.partition, key: key, value: value, headers: headers,
          timestamp: max(record.timestamp, 0))
      }
    }
  }
}
