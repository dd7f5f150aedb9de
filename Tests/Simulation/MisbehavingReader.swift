import Kafka
import Records
@testable import RunChecker
@testable import Worker

/// Hands on other records than the log has.
final class MisbehavingReader: LogReader, @unchecked Sendable {
  private let inner: any LogReader
  private let bug: PlantedBug
  private var seen = 0
  /// What is handed out once more.
  private var again: (entry: SimulatedPartition.Entry, partition: Int32, offset: Int64)?

  init(_ inner: any LogReader, _ bug: PlantedBug) {
    self.inner = inner
    self.bug = bug
  }

  var topic: String { inner.topic }
  func start(partition: Int32, at position: StartPosition) throws(KafkaError) {
    try inner.start(partition: partition, at: position)
  }
  func stop(partition: Int32) { inner.stop(partition: partition) }
  func wait(milliseconds: Int32) -> Bool { inner.wait(milliseconds: milliseconds) }
  func watermarks(_ partition: TopicPartition, timeoutMilliseconds: Int32) throws(KafkaError) -> Watermarks {
    try inner.watermarks(partition, timeoutMilliseconds: timeoutMilliseconds)
  }
  func endOffsets(_ partitions: [TopicPartition], timeoutMilliseconds: Int32) throws(KafkaError) -> [Int64] {
    try inner.endOffsets(partitions, timeoutMilliseconds: timeoutMilliseconds)
  }
  func read(
    partition: Int32, through end: Int64, timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void
  ) throws(KafkaError) {
    try inner.read(partition: partition, through: end, timeoutMilliseconds: timeoutMilliseconds, body)
  }

  func next(timeoutMilliseconds: Int32, _ body: (borrowing Record) -> Void) -> Taken {
    if let again {
      self.again = nil
      again.entry.lend(partition: again.partition, offset: again.offset, body)
      return .record
    }
    return inner.next(timeoutMilliseconds: timeoutMilliseconds) { record in
      seen += 1
      switch bug {
      case .blockFoldedTwice:
        body(record)
        guard seen % 5 == 4, case .examples? = try? LearningRecord.decode(record.valueBytes) else { return }
        // At the place of the marker behind it: one at its own place would be passed over.
        let entry = SimulatedPartition.Entry(
          timestamp: record.timestamp, key: nil, value: record.valueBytes, headers: [])
        again = (entry, record.partition, record.offset + 1)
      case .learningRecordSkipped:
        if seen % 9 != 8 { body(record) }
      case .journalTailForgotten: break
      case .journalOrderIgnored: lend(record, changed(record.valueBytes) { $0.mergesRuns = true }, body)
      case .journalScoresChanged: lend(record, changed(record.valueBytes) { $0.flipsScores = true }, body)
      case .laterVersionFollowed: lend(record, changed(record.valueBytes) { $0.sequencesAhead = 1 }, body)
      default: body(record)
      }
    }
  }

  private func lend(_ record: borrowing Record, _ value: [UInt8], _ body: (borrowing Record) -> Void) {
    let entry = SimulatedPartition.Entry(timestamp: record.timestamp, key: nil, value: value, headers: [])
    entry.lend(partition: record.partition, offset: record.offset, body)
  }

  private struct Change {
    var mergesRuns = false
    var flipsScores = false
    var sequencesAhead: UInt64 = 0
  }

  /// A journal record that says something else, well formed.
  private func changed(_ bytes: [UInt8], _ how: (inout Change) -> Void) -> [UInt8] {
    var change = Change()
    how(&change)
    guard let old = try? JournalRecord.decode(bytes) else { return bytes }
    var new = JournalRecord(inputCount: old.nextOffsets.count, contenderCount: old.contenderCount)
    new.planDigest = old.planDigest
    new.nextOffsets = old.nextOffsets
    new.replayFrom = old.replayFrom
    new.totals = old.totals
    new.replayJournal = old.replayJournal
    if change.mergesRuns {
      // As if the inputs had come one after the other.
      for input in old.nextOffsets.indices {
        if let last = old.runs.last(where: { Int($0.input) == input }) {
          new.noteRun(input: UInt8(input), nextOffset: last.nextOffset)
        }
      }
    } else {
      for run in old.runs { new.noteRun(input: run.input, nextOffset: run.nextOffset) }
    }
    let width = old.contenderCount
    var start = 0
    for run in old.versions {
      let count = Int(run.count)
      let buffer = FixedBuffer<ServedScore>(repeating: .absent, count: max(count * width, 1))
      for place in 0..<(count * width) {
        var score = old.scores[start * width + place]
        if change.flipsScores { score.margin = Float(bitPattern: score.margin.bitPattern ^ 1) }
        buffer[place] = score
      }
      var version = run.version
      version.sequence.value += change.sequencesAhead
      new.noteScored(count: count, version: version, scores: buffer)
      start += count
    }
    for entry in old.dispositions {
      if let code = JournalDisposition(rawValue: entry.code) {
        new.noteDisposition(input: entry.input, offset: entry.offset, code: code)
      }
    }
    var writer = ByteWriter()
    new.encode(into: &writer)
    return writer.bytes
  }
}
