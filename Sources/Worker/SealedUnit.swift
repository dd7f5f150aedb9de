import Checkpoints
import Engine
import Kafka
import Records
import Storage

/// A unit that is ready to be committed, with all that the commit needs beside its outputs.
///
/// Invariant: made by the fold thread, then owned by the commit thread alone; nobody changes it.
/// The kill -9 tests, which compare every published byte with a recomputation, would notice.
final class SealedUnit: @unchecked Sendable {
  let unit: CommitUnit
  /// Taken by the fold thread when the unit was sealed, so that a stale generation is refused.
  let group: any GroupIdentity
  /// Offset after the last command taken from `control`; nil where this unit took none.
  let controlNext: Int64?
  /// States to be written once the commit is known.
  let checkpoints: [PendingCheckpoint]
  /// Partitions that wrote a journal record in this unit.
  let journals: [(partition: Int32, chain: CheckpointChain)]
  /// Scorer generation adopted last before the unit was sealed.
  let generation: UInt64
  /// Names the unit among all that any process commits: travels in the metadata of its offsets.
  let mark: String
  /// When the first of its records was taken, monotonic nanoseconds.
  let firstTakenNanoseconds: UInt64

  /// Nothing to publish and no offsets: only checkpoints of what is committed already.
  var isEmpty: Bool { unit.records.isEmpty && unit.ranges.isEmpty && controlNext == nil }

  init(
    unit: CommitUnit, group: any GroupIdentity, controlNext: Int64?, checkpoints: [PendingCheckpoint],
    journals: [(partition: Int32, chain: CheckpointChain)], generation: UInt64, mark: String,
    firstTakenNanoseconds: UInt64
  ) {
    self.unit = unit
    self.group = group
    self.controlNext = controlNext
    self.checkpoints = checkpoints
    self.journals = journals
    self.generation = generation
    self.mark = mark
    self.firstTakenNanoseconds = firstTakenNanoseconds
  }
}

/// A partition's state at the end of a unit, waiting for the commit that makes it true.
struct PendingCheckpoint: Sendable {
  var writer: CheckpointWriter
  var chain: CheckpointChain
}
