import Records

/// What the expressions before windows made of one batch of an input.
///
/// Life:     made once per batch in flight, filled by `FeaturePlan.prepare` again and again.
/// Threads:  owned by one thread at a time.
public final class PreparedBatch {
  public let input: Int
  /// Records prepared last.
  public private(set) var count = 0
  let file: RegisterFile
  let offsets: FixedBuffer<Int64>
  /// 1: the record can be used; 0: it is a dead letter.
  let usable: FixedBuffer<UInt8>
  /// Per observer and record: what `WindowStore.observe` calls `mark`.
  let marks: FixedBuffer<UInt8>
  /// Per observer and record: the value in steps.
  let values: FixedBuffer<Int32>
  private let targetLane: Int

  public init(plan: FeaturePlan, input: Int) {
    let settings = plan.inputs[input]
    self.input = input
    let lanes = RegisterFile.lanes
    precondition(lanes == InputBatch.capacity, "a register holds one batch")
    file = RegisterFile(for: settings.program)
    offsets = FixedBuffer(repeating: 0, count: lanes)
    usable = FixedBuffer(repeating: 0, count: lanes)
    marks = FixedBuffer(repeating: 0, count: lanes * settings.observers.count)
    values = FixedBuffer(repeating: 0, count: lanes * settings.observers.count)
    targetLane = Int(settings.target)
  }

  /// The label's value, 1 for the positive class; nil where it is missing. Label input only.
  public func target(_ record: Int) -> Float? {
    precondition(targetLane >= 0 && record < count, "no such label")
    let value = file.numbers[targetLane + record]
    return value == value ? Float(value) : nil
  }

  func finish(_ batch: InputBatch, _ observers: [WindowObserver]) {
    count = batch.count
    let lanes = RegisterFile.lanes
    for record in 0..<count {
      offsets[record] = batch.offsets[record]
      usable[record] = batch.reasons[record] == 0 ? 1 : 0
    }
    for index in observers.indices {
      let observer = observers[index]
      for record in 0..<count {
        let place = index * lanes + record
        var mark: UInt8 = 0
        var steps: Int32 = 0
        let isPassed =
          observer.filter < 0 || file.numbers[Int(observer.filter) + record] == 1
        if isPassed, usable[record] == 1, file.categories[Int(observer.key) + record] != 0 {
          mark = 1
          if observer.value >= 0 {
            let value = file.numbers[Int(observer.value) + record]
            if value != value {
              mark = 0
            } else {
              if value < observer.lower || value > observer.upper { mark = 2 }
              steps = FixedPoint.steps(
                value, lower: observer.lower, upper: observer.upper,
                resolution: observer.resolution)
            }
          }
        }
        marks[place] = mark
        values[place] = steps
      }
    }
  }
}

/// Rows of up to 32 scored events on their way: filled by `read`, completed by `finish`.
///
/// Threads:  owned by one thread at a time. Slots may come from several partitions of one plan.
public final class FeatureGroup {
  public static let capacity = RegisterFile.lanes
  /// The rows; whole after `finish`. `rows.count` is one more than the highest slot read.
  public let rows: RowGroup
  let file: RegisterFile

  public init(plan: FeaturePlan) {
    rows = RowGroup(schema: plan.rowSchema, capacity: RegisterFile.lanes)
    file = RegisterFile(for: plan.afterWindows)
  }

  /// Empties the group; keeps its memory.
  public func clear() { rows.count = 0 }
}
