import Glibc
import Records

/// Taking partitions with care after a death: see `CrashFuse`.
extension Lane {
  /// Says on disk where the unit begins that is about to be filled; again only for the next one.
  func noteAttempt() {
    guard unitFirstTaken == nil, !partitions.isEmpty else { return }
    context.fuse.begin(
      partitions.compactMap { $0.restoring == nil ? ($0.number, $0.engine.consumedOffsets) : nil })
  }

  /// A partition went live: had a process died where it stands?
  func takeCare(of partition: LanePartition) {
    guard let care = context.fuse.restored(partition.number, at: partition.engine.consumedOffsets) else { return }
    // What was under way when it died: the open unit and those in the ring.
    partition.careLeft = (Self.unitsInFlight + 1) * context.settings.delivery.transactionRecords
    context.log.warning(
      "after-crash", "a process ended while it worked on these records; they are taken one at a time",
      LogFields(["partition": "\(partition.number)", "deaths": "\(care.deaths)"]))
    guard let culprit = care.culprit else { return }
    partition.engine.quarantine(input: culprit.input, offset: culprit.offset)
    context.log.error(
      "record-quarantined", "a record ended the process again and again; it is passed over as a dead letter",
      LogFields([
        "topic": plan.inputs[culprit.input].topic, "partition": "\(partition.number)", "offset": "\(culprit.offset)",
      ]))
  }

  func suspect(_ partition: LanePartition, _ place: (input: Int, offset: Int64)?) {
    context.fuse.suspect(partition.number, place.map { CrashFuse.Place(input: $0.input, offset: $0.offset) })
  }

  func survive(_ partition: LanePartition, taken: Bool) {
    context.fuse.suspect(partition.number, nil)
    guard taken else { return }
    partition.careLeft -= 1
    if partition.careLeft == 0 { context.fuse.survived(partition.number) }
  }

  /// For tests: dies at one record as a fault of ours would, `input:partition:offset`.
  static let plantedTrap: [Int64]? = {
    guard let text = unsafe getenv("MILLRACE_TEST_TRAP") else { return nil }
    let words = unsafe String(cString: text).split(separator: ":").compactMap { Int64($0) }
    return words.count == 3 ? words : nil
  }()

  /// Called behind a step that began at `before`.
  func springTrap(_ partition: LanePartition, before: [Int64]) {
    guard let trap = Self.plantedTrap, trap[1] == Int64(partition.number) else { return }
    let input = Int(trap[0])
    guard before[input] <= trap[2], partition.engine.consumedOffsets[input] > trap[2],
      !partition.engine.isQuarantined(input: input, offset: trap[2])
    else { return }
    kill(getpid(), SIGKILL)
  }
}
