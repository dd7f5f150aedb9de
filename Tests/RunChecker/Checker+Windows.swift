import Records

/// What the windows of the tests' pipeline hold for an event, counted from the raw records: no engine, no panes kept,
/// no totals. Only the order of reading comes from the journal.
///
/// Rules: a pane is ten seconds of event time; a window of s seconds read at t holds the panes that begin after t - s,
///        up to the one that holds t; panes as old as the longest window and the lateness before the newest one are
///        gone, and records that would fall there are not counted.
struct WindowOracle {
  static let pane: Int64 = 10_000
  struct Reading {
    var count: Int
    var mean, greatest: Double?
  }

  private struct Entry {
    var pane: Int64
    var value: Double
  }
  private let panesKept: Int64
  private var entries: [String: [Entry]] = [:]
  private var newest: Int64?

  init(longestMilliseconds: Int64, latenessMilliseconds: Int64) {
    panesKept = longestMilliseconds / Self.pane + (latenessMilliseconds + Self.pane - 1) / Self.pane + 1
  }

  private static func pane(_ time: Int64) -> Int64 { Int64((Double(time) / Double(pane)).rounded(.down)) }

  mutating func observe(_ key: String, at time: Int64, _ value: Double) {
    let pane = Self.pane(time)
    newest = max(newest ?? pane, pane)
    if pane > newest! - panesKept { entries[key, default: []].append(Entry(pane: pane, value: value)) }
    // What no reading counts any more: a long run must not go through all of it each time.
    if let kept = entries[key], kept.count % 256 == 0 { entries[key] = kept.filter { $0.pane > newest! - panesKept } }
  }

  func read(_ key: String, at time: Int64, milliseconds: Int64) -> Reading {
    let last = Self.pane(time)
    let first = max(last - milliseconds / Self.pane + 1, (newest ?? last) - panesKept + 1)
    let values = (entries[key] ?? []).filter { $0.pane >= first && $0.pane <= last }.map(\.value)
    return Reading(
      count: values.count, mean: values.isEmpty ? nil : values.reduce(0, +) / Double(values.count),
      greatest: values.max())
  }
}

extension Checker {
  /// The window features of every example are what the raw records give.
  mutating func checkWindows(_ partition: Int) {
    let signals = 1
    var asked = WindowOracle(longestMilliseconds: 600_000, latenessMilliseconds: plan.inputs[scoredInput].latenessMilliseconds)
    var level = WindowOracle(longestMilliseconds: 300_000, latenessMilliseconds: plan.inputs[signals].latenessMilliseconds)
    var expected: [Int64: [(name: String, value: Double?, tolerance: Double)]] = [:]
    var next = plan.inputs.map { _ in 0 }
    for record in journal[partition] {
      for run in record.runs {
        let input = Int(run.input)
        guard evidence.inputs.indices.contains(input) else { return }
        let records = evidence.inputs[input][partition]
        while next[input] < records.count, records[next[input]].offset < run.nextOffset {
          let record = records[next[input]]
          next[input] += 1
          guard record.truth == .valid, let fields = try? JSONValue(parsing: record.value),
            let account = fields["account"]?.string, let time = fields["at"]?.integer
          else { continue }
          if input == scoredInput {
            let short = asked.read(account, at: time, milliseconds: 60_000)
            let long = asked.read(account, at: time, milliseconds: 600_000)
            let signal = level.read(account, at: time, milliseconds: 300_000)
            expected[record.offset] = [
              ("asked_count_1m", Double(short.count), 0), ("asked_mean_10m", long.mean, 0.5),
              ("asked_max_10m", long.greatest, 0.5), ("level_mean_5m", signal.mean, 0.01),
            ]
            asked.observe(account, at: time, min(max(fields["amount"]!.double!, 0), 1_000))
          } else if input == signals {
            level.observe(account, at: time, min(max(fields["level"]!.double!, -10), 10))
          }
        }
      }
    }
    let schema = plan.features.rowSchema
    for example in examples where Int(example.header.partition.value) == partition {
      for (name, value, tolerance) in expected[example.header.offset.value] ?? [] {
        guard let column = schema.columns.firstIndex(where: { $0.name == name }) else { continue }
        let isMissing = example.missing[column] != 0
        let number = Double(Float(bitPattern: example.numberBits[schema.places[column]]))
        if let value, !isMissing, abs(number - value) <= tolerance { continue }
        if value == nil, isMissing { continue }
        find(
          .windowDiffers,
          "\(example.key) \(name) logged=\(isMissing ? "none" : "\(number)") expected=\(value.map { "\($0)" } ?? "none")")
      }
    }
  }
}
