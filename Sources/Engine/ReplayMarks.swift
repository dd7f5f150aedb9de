import Records

/// Remembers, at unit borders and sparsely, how far event time had come at which offsets: the answer
/// to "from where must a replay without a checkpoint start?".
///
/// Bound:    at most `markCountMax` marks; the start found lies at most one mark too early.
struct ReplayMarks: Equatable, Sendable {
  static let markCountMax = 128

  struct Mark: Equatable, Sendable {
    /// Largest event time of any input before these offsets.
    var eventTime: Int64
    var nextOffsets: [Int64]
    /// An offset of the journal at or before the record after these offsets.
    var journal: Int64
  }
  private(set) var marks: [Mark]
  let spanMilliseconds: Int64

  init(start: [Int64], journal: Int64 = 0, spanMilliseconds: Int64) {
    marks = [Mark(eventTime: .min, nextOffsets: start, journal: journal)]
    self.spanMilliseconds = spanMilliseconds
  }

  /// Notes a unit border. `newest` is the largest event time of any input, `oldest` the smallest
  /// of the inputs' largest event times: what has passed for all of them.
  mutating func note(newest: Int64, oldest: Int64, nextOffsets: [Int64], journal: Int64) {
    guard newest > .min else { return }
    let step = max(spanMilliseconds / Int64(Self.markCountMax / 2), 1)
    let last = marks[marks.count - 1].eventTime
    if last == .min || newest.subtractingReportingOverflow(last).partialValue >= step {
      marks.append(Mark(eventTime: newest, nextOffsets: nextOffsets, journal: journal))
    }
    let (cutoff, overflow) = oldest.subtractingReportingOverflow(spanMilliseconds)
    guard !overflow else { return }
    // The newest mark that lies wholly before the cutoff is the start; older ones are of no use.
    var keep = 0
    while keep + 1 < marks.count && marks[keep + 1].eventTime <= cutoff { keep += 1 }
    if keep > 0 { marks.removeFirst(keep) }
    // Event time that jumps about could add marks without bound: thin out, never the first.
    if marks.count > Self.markCountMax {
      marks = marks.enumerated().filter { $0.offset == 0 || $0.offset % 2 == 1 }.map(\.element)
    }
  }

  /// Offsets from which a replay covers the span.
  var replayFrom: [Int64] { marks[0].nextOffsets }
  /// Where in the journal such a replay begins.
  var replayJournal: Int64 { marks[0].journal }

  func encode(into writer: inout ByteWriter) {
    writer.writeVarint(UInt64(marks.count))
    for mark in marks {
      writer.write(mark.eventTime)
      for offset in mark.nextOffsets { writer.write(offset) }
    }
  }

  mutating func restore(from reader: inout ByteReader, inputs: Int) throws(FormatError) {
    let count = try reader.readCount(itemBytes: 8 * (inputs + 1), "marks")
    guard count >= 1 else { throw FormatError(.invalidValue, at: reader.position, field: "marks") }
    var restored: [Mark] = []
    for _ in 0..<count {
      let time = try reader.read(Int64.self, "mark time")
      var offsets: [Int64] = []
      for _ in 0..<inputs { offsets.append(try reader.read(Int64.self, "mark offset")) }
      restored.append(Mark(eventTime: time, nextOffsets: offsets, journal: 0))
    }
    marks = restored
  }

  /// The marks' places in the journal: a section of their own, which older checkpoints lack.
  func encodeJournal(into writer: inout ByteWriter) { for mark in marks { writer.write(mark.journal) } }

  mutating func restoreJournal(from reader: inout ByteReader) throws(FormatError) {
    for mark in marks.indices { marks[mark].journal = try reader.read(Int64.self, "mark journal") }
  }
}
