import Records

/// What a partition's windows counted but could not use, since the partition began.
public struct FeatureCounters: Sendable, Equatable {
  /// Records too old for every pane their window keeps, per window in use.
  public var late: [UInt64] = []
  /// Values outside their declared range, counted at its end.
  public var clamped: [UInt64] = []
  /// Records of new keys while the window held `windowKeysMax` keys: not counted.
  public var refused: [UInt64] = []
  /// Keys in memory.
  public var keys: [Int] = []
}

/// The windows of one partition: a fold over the records of its inputs.
///
/// Cost:     no allocation per event but for chunks of memory as new keys come.
/// Threads:  one owner thread at a time.
/// Replay:   a window's state is a function of the records of its own input in offset order; reads
///           change nothing that can be seen.
@safe public final class PartitionFeatures {
  public let plan: FeaturePlan

  // Flat copies of the plan's lists: arrays would cost reference counts per event.
  private let stores: UnsafeMutablePointer<WindowStore>
  private let storeCount: Int
  private let observers: FixedBuffer<WindowObserver>
  /// Observers of input i: `observerStarts[i] ..< observerStarts[i + 1]`.
  private let observerStarts: FixedBuffer<Int>
  private let readKeys: FixedBuffer<Int32>
  private let carried: FixedBuffer<RegisterMove>
  private let outputs: FixedBuffer<RowOutput>
  /// Largest event time per input; `Int64.min` before the first record.
  private let newestTimes: FixedBuffer<Int64>
  private let lateness: FixedBuffer<Int64>
  private let scoredInput: Int

  /// Event times beyond this are taken as this: 10^6 years, and no sum of times overflows.
  static let timeMax: Int64 = 1 << 55

  public init(plan: FeaturePlan) {
    self.plan = plan
    scoredInput = plan.settings.scoredInput
    let inputCount = plan.inputs.count
    storeCount = plan.windows.count
    unsafe stores = .allocate(capacity: max(storeCount, 1))
    for (index, window) in plan.windows.enumerated() {
      // SAFETY: each of the `storeCount` places is initialised once, here.
      unsafe (stores + index).initialize(
        to: WindowStore(plan: window, keysMax: plan.settings.windowKeysMax))
    }
    let all = plan.inputs.flatMap(\.observers)
    let none = WindowObserver(
      window: 0, key: 0, filter: -1, value: -1, lower: 0, upper: 0, resolution: 1)
    observers = FixedBuffer(repeating: none, count: all.count)
    for (index, observer) in all.enumerated() { observers[index] = observer }
    observerStarts = FixedBuffer(repeating: 0, count: inputCount + 1)
    newestTimes = FixedBuffer(repeating: .min, count: inputCount)
    lateness = FixedBuffer(repeating: 0, count: inputCount)
    for (index, input) in plan.inputs.enumerated() {
      observerStarts[index + 1] = observerStarts[index] + input.observers.count
      lateness[index] = plan.settings.inputs[index].latenessMilliseconds
    }
    let keys = plan.inputs[scoredInput].readKeys
    readKeys = FixedBuffer(repeating: 0, count: keys.count)
    for (index, key) in keys.enumerated() { readKeys[index] = key }
    carried = FixedBuffer(
      repeating: RegisterMove(from: 0, to: 0, isCategory: false), count: plan.carried.count)
    for (index, move) in plan.carried.enumerated() { carried[index] = move }
    outputs = FixedBuffer(
      repeating: RowOutput(
        from: 0, place: 0, column: 0, isCategory: false, missingMark: 1, stride: 0, maskStride: 0),
      count: plan.plainOutputs.count)
    for (index, output) in plan.plainOutputs.enumerated() { outputs[index] = output }
  }

  deinit {
    // SAFETY: all `storeCount` places are initialised since `init`, and freed once.
    unsafe stores.deinitialize(count: storeCount)
    unsafe stores.deallocate()
  }

  @inline(__always) private func bounded(_ time: EventTime) -> Int64 {
    min(max(time.milliseconds, -Self.timeMax), Self.timeMax)
  }

  /// Reads a scored event's features as of its event time, before it is counted itself.
  ///
  /// Shapes: `record` of the prepared batch goes to `slot` of the group.
  /// Errors: a batch of another input, a record or slot out of bounds: programmer errors.
  public func read(
    prepared: PreparedBatch, record: Int, at time: EventTime, into group: FeatureGroup, slot: Int
  ) {
    precondition(prepared.input == scoredInput, "only scored events have rows")
    precondition(record >= 0 && record < prepared.count, "record out of bounds")
    precondition(slot >= 0 && slot < FeatureGroup.capacity, "slot out of bounds")
    let rows = group.rows
    if slot >= rows.count { rows.count = slot + 1 }
    for index in 0..<outputs.count {
      outputs[index].emit(from: prepared.file, lane: record, into: rows, slot: slot)
    }
    for index in 0..<carried.count {
      let move = carried[index]
      if move.isCategory {
        group.file.categories[Int(move.to) + slot] =
          prepared.file.categories[Int(move.from) + record]
      } else {
        group.file.numbers[Int(move.to) + slot] = prepared.file.numbers[Int(move.from) + record]
      }
    }
    let at = bounded(time)
    for index in 0..<storeCount {
      let key = prepared.file.categories[Int(readKeys[index]) + record]
      // SAFETY: the index is below `storeCount`; nobody else holds a reference into the store.
      unsafe stores[index].read(key: key, time: at, into: group.file.numbers, slot: slot)
    }
  }

  /// Counts a record of `input` in every window it belongs to. Dead letters are passed over.
  public func observe(input: Int, prepared: PreparedBatch, record: Int, at time: EventTime) {
    precondition(prepared.input == input, "prepared batch of another input")
    precondition(record >= 0 && record < prepared.count, "record out of bounds")
    if prepared.usable[record] == 0 { return }
    let at = bounded(time)
    if at > newestTimes[input] { newestTimes[input] = at }
    let start = observerStarts[input]
    for index in start..<observerStarts[input + 1] {
      let observer = observers[index]
      let place = (index - start) * RegisterFile.lanes + record
      // SAFETY: as in `read`.
      unsafe stores[Int(observer.window)].observe(
        time: at, mark: prepared.marks[place],
        key: prepared.file.categories[Int(observer.key) + record],
        value: prepared.values[place], offset: prepared.offsets[record])
    }
  }

  /// Completes the group's rows; the same as the plan's own, since a group may span partitions.
  public func finish(_ group: FeatureGroup) { plan.finish(group) }

  /// Largest event time of the input less its lateness; nil before its first record.
  public func watermark(input: Int) -> EventTime? {
    let newest = newestTimes[input]
    return newest == .min ? nil : EventTime(milliseconds: newest - lateness[input])
  }

  /// Memory of the windows in use, in bytes.
  public var stateBytes: Int {
    var bytes = 0
    for index in 0..<storeCount { bytes += unsafe stores[index].table.byteCount }
    return bytes
  }

  /// Counters by window in use, in the order of the declaration. Allocates: for reports.
  public var counters: FeatureCounters {
    var counters = FeatureCounters()
    for index in 0..<storeCount {
      counters.late.append(unsafe stores[index].late)
      counters.clamped.append(unsafe stores[index].clamped)
      counters.refused.append(unsafe stores[index].refused)
      counters.keys.append(unsafe stores[index].table.count)
    }
    return counters
  }
}

// State, little-endian, LEB128 varints. No size limit of its own; checksums belong to the file around it.
//   version u8 = 1 | plan digest, 32 bytes
//   per input: seen u8 (0 or 1), then if seen the largest event time i64
//   per window in use: `WindowStore+Checkpoint.swift`
extension PartitionFeatures {
  private static let version: UInt8 = 1

  /// Appends the state: canonical, so two partitions that folded the same records write the same
  /// bytes, however their memory lies.
  public func encode(into writer: inout ByteWriter) {
    writer.write(Self.version)
    writer.write(raw: plan.digest.bytes)
    for input in 0..<newestTimes.count {
      writer.write(newestTimes[input] != .min)
      if newestTimes[input] != .min { writer.write(newestTimes[input]) }
    }
    for index in 0..<storeCount { unsafe stores[index].encode(into: &writer) }
  }

  /// Takes over a state that `encode` wrote under the same plan, in place of the present one.
  ///
  /// Errors: `FormatError` with the place; the partition is then empty.
  public func restore(from reader: inout ByteReader) throws(FormatError) {
    clear()
    do throws(FormatError) {
      try read(&reader)
    } catch {
      clear()
      throw error
    }
  }

  private func clear() {
    newestTimes.fill(.min)
    for index in 0..<storeCount { unsafe stores[index].clear() }
  }

  private func read(_ reader: inout ByteReader) throws(FormatError) {
    let at = reader.position
    guard try reader.read(UInt8.self, "features version") == Self.version else {
      throw FormatError(.unsupportedVersion, at: at, field: "features version")
    }
    guard try reader.readRaw(Digest.byteCount, "plan digest") == plan.digest.bytes else {
      throw FormatError(.invalidValue, at: at + 1, field: "plan digest")
    }
    for input in 0..<newestTimes.count where try reader.readBool("seen") {
      let at = reader.position
      let time = try reader.read(Int64.self, "largest event time")
      guard time.magnitude <= Self.timeMax.magnitude else {
        throw FormatError(.invalidValue, at: at, field: "largest event time")
      }
      newestTimes[input] = time
    }
    for index in 0..<storeCount {
      let newest = newestTimes[plan.windows[index].from]
      try unsafe stores[index].restore(from: &reader, newestTime: newest == .min ? nil : newest)
    }
  }
}
