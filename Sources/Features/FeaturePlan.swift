import Records

/// All faults of a declaration at once.
public struct FeatureFaults: Error, Sendable, Equatable {
  public var faults: [FeatureFault]
}

/// The declaration of windows and features, compiled: what every lane and every partition share.
///
/// For one batch of an input: `prepare` runs the expressions that need no window. For each record in
/// merged order: `PartitionFeatures.read` (scored events) and `observe`. For a group of scored
/// events: `finish` runs the expressions over windows and completes the rows.
///
/// Threads:  immutable; shared by all.
/// Replay:   the same settings and zone data give the same plan, digest and rows on every host.
public final class FeaturePlan: Sendable {
  public let settings: FeatureSettings
  /// One column per feature, in the order of the declaration.
  public let rowSchema: RowSchema
  /// SHA-256 over everything that decides what a row holds: settings, derived steps, zone rules.
  public let digest: Digest
  /// Names of the row's columns that depend on windows.
  public let windowColumnNames: [String]
  /// The longest size of a window in use; 0 without windows.
  public let longestWindowMilliseconds: Int64
  /// What `describe` gives.
  let description: [String]

  let inputs: [InputPlan]
  let windows: [WindowPlan]
  let afterWindows: RegisterProgram
  /// From the scored input's registers to those of the group.
  let carried: [RegisterMove]
  let plainOutputs: [RowOutput]
  let windowOutputs: [RowOutput]

  init(
    settings: FeatureSettings, rowSchema: RowSchema, digest: Digest, windowColumnNames: [String],
    description: [String], inputs: [InputPlan], windows: [WindowPlan],
    afterWindows: RegisterProgram, carried: [RegisterMove], plainOutputs: [RowOutput],
    windowOutputs: [RowOutput]
  ) {
    self.settings = settings
    self.rowSchema = rowSchema
    self.digest = digest
    self.windowColumnNames = windowColumnNames
    self.description = description
    self.inputs = inputs
    self.windows = windows
    self.afterWindows = afterWindows
    self.carried = carried
    self.plainOutputs = plainOutputs
    self.windowOutputs = windowOutputs
    longestWindowMilliseconds = windows.map { $0.sizesMilliseconds.last ?? 0 }.max() ?? 0
  }

  /// Lines for people: what was derived of each window, and what it costs.
  public func describe() -> [String] { description }

  /// Names of the windows in use, in the order of their counters.
  public var windowNames: [String] { windows.map { settings.windows[$0.declaration].name } }

  /// Bytes of window state that one key of every window in use takes.
  public var bytesPerKey: Int { windows.reduce(0) { $0 + $1.layout.blockBytes } }

  /// Runs the expressions that need no window over all records of `batch`.
  ///
  /// Cost:   no allocation; constant loops of 32 lanes.
  /// Errors: a batch or prepared batch of another input is a programmer error.
  public func prepare(_ batch: InputBatch, input: Int, into prepared: PreparedBatch) {
    precondition(prepared.input == input, "prepared batch of another input")
    precondition(
      batch.schema.fields.count == settings.inputs[input].fields.count, "batch of another input")
    inputs[input].program.run(prepared.file, batch: batch)
    prepared.finish(batch, inputs[input].observers)
  }

  /// Runs the expressions over windows for all rows of the group, and completes its rows.
  public func finish(_ group: FeatureGroup) {
    let count = group.rows.count
    if windowOutputs.isEmpty || count == 0 { return }
    afterWindows.run(group.file, batch: nil)
    for output in windowOutputs {
      for slot in 0..<count {
        output.emit(from: group.file, lane: slot, into: group.rows, slot: slot)
      }
    }
  }
}

/// What the plan does with one input.
struct InputPlan: Sendable {
  var program: RegisterProgram
  var observers: [WindowObserver]
  /// First lane of each window's key, for reads; scored input only.
  var readKeys: [Int32]
  /// First lane of the label's value; -1 for other inputs.
  var target: Int32
}

/// How records of an input enter one window. Places are first lanes in the input's registers.
struct WindowObserver: BitwiseCopyable, Sendable {
  var window: Int32
  var key: Int32
  /// -1: none.
  var filter: Int32
  var value: Int32
  var lower: Double
  var upper: Double
  var resolution: Double
}

/// One window declaration in use.
struct WindowPlan: Sendable {
  struct Column: Sendable {
    var aggregate: Aggregate
    var size: Int
    var to: Int32
  }
  /// Index in the declaration.
  var declaration: Int
  var from: Int
  var layout: WindowLayout
  var fixedPoint: FixedPoint
  var sizesMilliseconds: [Int64]
  var columns: [Column]
}

struct RegisterMove: BitwiseCopyable, Sendable {
  var from: Int32
  var to: Int32
  var isCategory: Bool
}

/// From a register to a column of the row.
struct RowOutput: BitwiseCopyable, Sendable {
  var from: Int32
  var place: Int32
  var column: Int32
  var isCategory: Bool
  /// What the row's mask says of a missing value: 0 where missing counts as zero.
  var missingMark: UInt8
  /// Columns of this kind, and of both kinds, in a row.
  var stride: Int32
  var maskStride: Int32

  @inline(__always)
  func emit(from file: RegisterFile, lane: Int, into rows: RowGroup, slot: Int) {
    let mask = slot &* Int(maskStride) &+ Int(column)
    let to = slot &* Int(stride) &+ Int(place)
    if isCategory {
      let hash = file.categories[Int(from) &+ lane]
      rows.categories[to] = hash
      rows.missing[mask] = hash == 0 ? missingMark : 0
    } else {
      let value = Float(file.numbers[Int(from) &+ lane])
      let isKnown = value.isFinite
      rows.numbers[to] = isKnown ? value : 0
      rows.missing[mask] = isKnown ? 0 : missingMark
    }
  }
}
