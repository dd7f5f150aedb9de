import Checkpoints
@testable import Engine
@testable import Learning
import Records
@testable import RunChecker
import Storage
@testable import Worker

extension Plant {
  func files(_ inner: SimulatedFiles) -> any FileOperations {
    switch bug {
    case .fileNamedBeforeItIsOnDisk, .waitingRowOfAnother, .joinedLabelsForgotten, .watermarkNotRestored,
      .countForgottenAfterARollback, .weightNotRestored:
      MisbehavingFiles(inner: inner, bug: bug)
    default: inner
    }
  }
}

/// Says that a file is on the device although it is not, or hands out checkpoints of states that a faulty restore would
/// have made: well formed, and not what was written.
private struct MisbehavingFiles: FileOperations {
  let inner: SimulatedFiles
  let bug: PlantedBug?

  func sync(_ file: FileHandle, path: String) throws(FileFailure) {
    if bug != .fileNamedBeforeItIsOnDisk { try inner.sync(file, path: path) }
  }
  func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]? {
    guard let bytes = try inner.read(path, byteCountMax: byteCountMax) else { return nil }
    // What is no checkpoint, or damaged, goes on as it is.
    guard let checkpoint = try? Checkpoint.decode(bytes), let changed = try? changed(checkpoint) else { return bytes }
    return changed.encode().bytes
  }

  private func changed(_ checkpoint: Checkpoint) throws -> CheckpointWriter? {
    var writer = CheckpointWriter(checkpoint.identity)
    switch (checkpoint.identity.kind, bug) {
    case (.partition, .waitingRowOfAnother), (.partition, .joinedLabelsForgotten), (.partition, .watermarkNotRestored):
      let plan = World.pipeline.plan
      let engine = PartitionEngine(
        plan: plan, partition: checkpoint.identity.fingerprint.partition, start: plan.inputs.map { _ in 0 })
      try engine.restore(from: checkpoint)
      spoil(engine.join)
      if bug == .watermarkNotRestored { engine.eventTimesMax = engine.eventTimesMax.map { _ in .min } }
      engine.encode(into: &writer)
    case (.model, .countForgottenAfterARollback), (.model, .weightNotRestored):
      var section = try checkpoint.reader("model")
      let state = try ModelState(restoring: &section)
      spoil(state)
      var bytes = ByteWriter()
      state.encode(into: &bytes)
      writer.add("model", bytes.bytes)
    default: return nil
    }
    return writer
  }

  private func spoil(_ join: LabelJoin) {
    var nodes: [TimeHeap.Node] = []
    join.expiry.forEach { nodes.append($0) }
    nodes.sort { $0.isBefore($1) }
    func slots(in state: LabelJoin.State) -> [UInt32] {
      nodes.map(\.item).filter { join.entries.page($0).words[join.entries.start($0) + LabelJoin.Word.state] == state.rawValue }
    }
    switch bug {
    case .waitingRowOfAnother:
      let waiting = slots(in: .waiting)
      guard waiting.count > 1 else { return }
      let (a, b) = (waiting[0], waiting[1])
      for word in 0..<join.layout.wordCount {
        let (place, other) = (
          join.entries.start(a) + LabelJoin.Word.row + word, join.entries.start(b) + LabelJoin.Word.row + word
        )
        let kept = join.entries.page(a).words[place]
        join.entries.page(a).words[place] = join.entries.page(b).words[other]
        join.entries.page(b).words[other] = kept
      }
    case .joinedLabelsForgotten:
      for slot in slots(in: .settled) {
        join.entries.page(slot).words[join.entries.start(slot) + LabelJoin.Word.state] = LabelJoin.State.waiting.rawValue
        join.settledCount -= 1
        join.waitingCount += 1
      }
    case .watermarkNotRestored: join.labelWatermark = EventTime(milliseconds: .min)
    default: break
    }
  }

  private func spoil(_ state: ModelState) {
    switch bug {
    case .countForgottenAfterARollback:
      if state.ledger.lineage > Lineage(1), state.ledger.counters.applied > 0 { state.ledger.counters.applied -= 1 }
    case .weightNotRestored: state.flipBit()
    default: break
    }
  }

  func createDirectory(_ path: String) throws(FileFailure) { try inner.createDirectory(path) }
  func create(_ path: String) throws(FileFailure) -> FileHandle { try inner.create(path) }
  func write(_ file: FileHandle, _ bytes: [UInt8], from: Int, path: String) throws(FileFailure) -> Int {
    try inner.write(file, bytes, from: from, path: path)
  }
  func close(_ file: FileHandle, path: String) throws(FileFailure) { try inner.close(file, path: path) }
  func rename(_ from: String, to: String) throws(FileFailure) { try inner.rename(from, to: to) }
  func remove(_ path: String) throws(FileFailure) { try inner.remove(path) }
  func syncDirectory(_ path: String) throws(FileFailure) { try inner.syncDirectory(path) }
  func list(_ path: String) throws(FileFailure) -> [String] { try inner.list(path) }
}
