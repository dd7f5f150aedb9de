import Kafka
import Learning
import Records

/// Where a fold may start again: a state beyond doubt, and the log's next record.
struct FoldBase {
  var state: ModelState
  var next: Int64
}

/// A second fold of the log beside the replica's own, from a version beyond doubt: it confirms what the own fold
/// reached, or takes its place.
///
/// Threads: the replica's.
final class FoldAgain {
  let number: UInt8
  /// The record up to which `base` was folded.
  let basePlace: Offset
  let state: ModelState
  private let reader: any LogReader
  private var fault: TestFault

  init(
    _ context: WorkerContext, _ base: FoldBase, number: UInt8, fault: TestFault
  ) throws(WorkerFailure) {
    self.number = number
    self.fault = fault
    state = base.state
    basePlace = base.state.ledger.offset
    reader = try kafka { () throws(KafkaError) in try context.makeReader(context.settings.topics.learning) }
    try kafka { () throws(KafkaError) in try reader.start(partition: 0, at: .offset(base.next)) }
  }

  /// Folds what is there, at most `count` records and none past `place`; how many. `take` is lent what the fold asks
  /// for, and gives the states that are missing.
  func turn(
    upTo count: Int, through place: Offset, missing: (Digest, ModelVersion) throws(WorkerFailure) -> [UInt8],
    kept: (ModelVersion) -> Void
  ) throws(WorkerFailure) -> Int {
    var folded = 0
    while folded < count, state.ledger.offset < place {
      guard let record = try reader.takeRecord() else { return folded }
      folded += 1
      let before = state.version
      for effect in try state.fold(record, missing: missing) {
        if case .keep(let version, _, _) = effect { kept(version) }
      }
      fault.strike(state, since: before)
    }
    return folded
  }
}

/// One record of `learning`, taken out of the client.
struct LearningLogRecord {
  var bytes: [UInt8]
  var offset: Offset
  var timestamp: EventTime
}

extension LogReader {
  /// The next record that is there; nil where none is.
  func takeRecord() throws(WorkerFailure) -> LearningLogRecord? {
    while true {
      var record: LearningLogRecord?
      let taken = next(timeoutMilliseconds: 0) { lent in
        record = LearningLogRecord(
          bytes: lent.valueBytes, offset: Offset(lent.offset), timestamp: EventTime(milliseconds: lent.timestamp))
      }
      switch taken {
      case .record: return record
      case .endOfPartition: continue
      case .nothing: return nil
      case .error(let error):
        guard error.action == .retrySameCall else { throw .kafka(error) }
        return nil
      }
    }
  }
}

extension ModelState {
  /// Folds a record; a state that it must return to and does not hold is asked for first.
  func fold<Failure: Error>(
    _ record: LearningLogRecord, missing: (Digest, ModelVersion) throws(Failure) -> [UInt8]
  ) throws(Failure) -> [FoldEffect] {
    let effects = fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
    guard case .missing(let digest, let version)? = effects.first else { return effects }
    supply(try missing(digest, version))
    return fold(record.bytes, offset: record.offset, timestamp: record.timestamp)
  }
}

/// Test hook: `MILLRACE_TEST_FLIP_WEIGHT=<sequence>` flips one bit of one weight once this replica has folded so many
/// examples, as a fault of memory would; `<sequence>:always` does so in every fold that passes the place, as faulty
/// arithmetic would. For tests of what follows, and for nothing else.
struct TestFault: Sendable {
  static let variable = "MILLRACE_TEST_FLIP_WEIGHT"
  private var sequence: UInt64?
  private var isRecurring = false

  init(_ text: String?) {
    guard let text else { return }
    let parts = text.split(separator: ":", maxSplits: 1)
    sequence = parts.first.flatMap { UInt64($0) }
    isRecurring = parts.count == 2 && parts[1] == "always"
  }

  /// The same for a fold that is made again.
  var recurring: TestFault { isRecurring ? self : TestFault(nil) }

  mutating func strike(_ state: ModelState, since before: ModelVersion) {
    guard let sequence, before.sequence.value < sequence, sequence <= state.version.sequence.value else { return }
    state.flipBit()
    self.sequence = nil
  }
}
