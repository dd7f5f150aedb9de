import Checkpoints
import Engine
import Kafka
import Records
import Storage
import Synchronization

/// One partition as a lane holds it: its state, the queues of its inputs, and what is still to be restored of it.
///
/// Invariant: one lane at a time has it; between two assignments it lies in `WarmPartitions`, untouched. The state
/// hashes of the tests that move partitions about would notice.
final class LanePartition: @unchecked Sendable {
  let engine: PartitionEngine
  let chain: CheckpointChain
  /// In the order of the pipeline's inputs.
  var queues: [any RecordQueue] = []
  /// Per input, when its end was reported last and nothing came since; nil otherwise.
  var endedAt: [UInt64?] = []
  /// nil once it is live.
  var restoring: Restoring?
  /// Records of the inputs that its checkpoint was made with: the topics must still hold them.
  var remembered: [RememberedRecord] = []
  /// Records that are still to be taken one at a time, since a process died near here.
  var careLeft = 0

  /// The journal that is followed, and where that has to lead.
  struct Restoring {
    let feed: JournalFeed
    /// Per input, the offset at which it goes live.
    let target: [Int64]
    /// Whether its state was begun in the middle of the log, so that only the journal knows its sums.
    let adoptsTotals: Bool
  }

  init(engine: PartitionEngine, chain: CheckpointChain, restoring: Restoring?) {
    self.engine = engine
    self.chain = chain
    self.restoring = restoring
  }

  var number: Int32 { engine.partition.value }

  /// Records that have to be followed before it goes live.
  var restoreRemaining: Int {
    guard let target = restoring?.target else { return 0 }
    return zip(target, engine.consumedOffsets).reduce(0) { $0 + Int(max(0, $1.0 - $1.1)) }
  }
}

/// What links one checkpoint of a partition to the next.
///
/// Threads: the fold thread reads where the journal is, the commit thread moves it and names checkpoints.
final class CheckpointChain: Sendable {
  private struct State {
    var generation: UInt64
    var parent: Digest?
  }
  /// Offset after this partition's newest journal record that is known to be committed, or one before that.
  let journalNext: Atomic<Int64>
  private let state: Mutex<State>

  init(journalNext: Int64, generation: UInt64, parent: Digest?) {
    self.journalNext = Atomic(journalNext)
    state = Mutex(State(generation: generation, parent: parent))
  }

  /// Ends a checkpoint whose unit is committed: only now is its place in the journal known.
  func encode(_ writer: CheckpointWriter) -> (name: CheckpointName, bytes: [UInt8]) {
    var writer = writer
    return state.withLock { state in
      writer.identity.logNext = Offset(journalNext.load(ordering: .acquiring))
      writer.identity.generation = state.generation
      writer.identity.parent = state.parent
      state.generation += 1
      let (bytes, id) = writer.encode()
      state.parent = id
      return (CheckpointName(writer.identity), bytes)
    }
  }
}

/// A partition's journal, read in pieces from where its state stands to the end it had at the assignment.
///
/// Waits for nobody: while transactions are open before the end there is nothing to pull.
final class JournalFeed {
  private let reader: any LogReader
  private let partition: Int32
  private let end: Int64
  private var next: Int64

  init(_ reader: any LogReader, partition: Int32, from start: Int64, to end: Int64) throws(KafkaError) {
    self.reader = reader
    self.partition = partition
    self.end = end
    next = start
    if start < end { try reader.start(partition: partition, at: .offset(start)) }
  }

  var isFinished: Bool { next >= end }

  /// Up to `count` records, in order; none where none is there yet.
  func pull(upTo count: Int) throws(WorkerFailure) -> [(record: JournalRecord, offset: Int64)] {
    var records: [(record: JournalRecord, offset: Int64)] = []
    while records.count < count, !isFinished {
      var fault: String?
      let taken = reader.next(timeoutMilliseconds: 0) { record in
        next = record.offset + 1
        guard record.offset < end else { return }
        do throws(FormatError) {
          records.append((try JournalRecord.decode(record.valueBytes), record.offset))
        } catch {
          fault = "journal record cannot be read partition=\(partition) offset=\(record.offset): \(error)"
        }
      }
      if let fault { throw .unrecoverable(fault) }
      switch taken {
      case .record: continue
      case .endOfPartition(_, let offset): next = max(next, offset)
      case .nothing: return records
      case .error(let error):
        guard error.action == .retrySameCall else { throw .kafka(error) }
        return records
      }
    }
    return records
  }
}
