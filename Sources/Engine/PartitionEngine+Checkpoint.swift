import Checkpoints
import Features
import Learning
import Records

/// Sections of a partition's checkpoint, in order:
///
///     engine   next offsets, largest event times and record counts, accounting, replay marks
///     windows  `PartitionFeatures`
///     waiting  `LabelJoin`
///     last-taken  per input: whether one is known u8, offset i64, CRC32C u32; older files lack it
///     journal-marks  where in the journal a replay from each mark begins; older files lack it
extension PartitionEngine {
  public static var checkpointSections: [String] { stateSections + ["journal-marks", "last-taken"] }
  /// Those that are a function of the logs alone. The marks' places are lower bounds: how far behind the truth they
  /// lag depends on when commits were answered.
  public static var stateSections: [String] { ["engine", "windows", "waiting"] }

  /// Adds the state to a checkpoint. Only at a unit's end: no event may wait unscored.
  public func encode(into checkpoint: inout CheckpointWriter) {
    precondition(group.count == 0 && journal.isEmpty, "a checkpoint inside a unit")
    var writer = ByteWriter()
    writer.writeVarint(UInt64(nextOffsets.count))
    for input in nextOffsets.indices {
      writer.write(nextOffsets[input])
      writer.write(eventTimesMax[input])
      writer.write(recordCounts[input])
    }
    for path in Accounting.all { writer.write(accounting[keyPath: path]) }
    marks.encode(into: &writer)
    checkpoint.add("engine", writer.bytes)
    var windows = ByteWriter()
    features.encode(into: &windows)
    checkpoint.add("windows", windows.bytes)
    var waiting = ByteWriter()
    join.encode(into: &waiting)
    checkpoint.add("waiting", waiting.bytes)
    var places = ByteWriter()
    marks.encodeJournal(into: &places)
    checkpoint.add("journal-marks", places.bytes, required: false)
    var taken = ByteWriter()
    for queue in queues {
      taken.write(queue.lastTaken != nil)
      taken.write(queue.lastTaken?.offset ?? 0)
      taken.write(queue.lastTaken?.checksum ?? 0)
    }
    checkpoint.add("last-taken", taken.bytes, required: false)
  }

  /// Takes the state of a verified checkpoint; on a fault the engine must be thrown away.
  public func restore(from checkpoint: Checkpoint) throws {
    var reader = try checkpoint.reader("engine")
    let inputs = try reader.readCount(itemBytes: 24, "inputs")
    guard inputs == plan.inputs.count else {
      throw FormatError(.invalidValue, at: reader.position, field: "inputs")
    }
    for input in 0..<inputs {
      nextOffsets[input] = try reader.read(Int64.self, "next offset")
      eventTimesMax[input] = try reader.read(Int64.self, "event time")
      recordCounts[input] = try reader.read(UInt64.self, "record count")
    }
    for path in Accounting.all {
      accounting[keyPath: path] = try reader.read(UInt64.self, "accounting")
    }
    try marks.restore(from: &reader, inputs: inputs)
    try reader.expectEnd()
    var windows = try checkpoint.reader("windows")
    try features.restore(from: &windows)
    try windows.expectEnd()
    var waiting = try checkpoint.reader("waiting")
    try join.restore(from: &waiting)
    try waiting.expectEnd()
    if checkpoint.sections.contains(where: { $0.name == "journal-marks" }) {
      var places = try checkpoint.reader("journal-marks")
      try marks.restoreJournal(from: &places)
      try places.expectEnd()
    }
    guard checkpoint.sections.contains(where: { $0.name == "last-taken" }) else { return }
    var taken = try checkpoint.reader("last-taken")
    for queue in queues {
      let isKnown = try taken.readBool("last taken")
      let record = TakenRecord(
        offset: try taken.read(Int64.self, "last offset"), checksum: try taken.read(UInt32.self, "last checksum"))
      queue.restore(lastTaken: isKnown ? record : nil)
    }
    try taken.expectEnd()
  }
}
