import Models
import Records

/// How one contender's served scores met their labels: since the last switch, and over the newest 1k and 10k.
///
/// Shapes:   bins of 1/32 in log-odds over [-8, 8), apart by label; a ring of the newest 10,000.
/// Units:    nats for log loss; all sums are integers of 2^-24, so a value that leaves a window takes away exactly
///           what it brought, in any order.
/// Cost:     one logarithm and two dozen additions an example; `summary` walks 512 bins.
/// Source:   AUC by histogram, ties half: Mann and Whitney 1947 on binned ranks; off by at most half the share of
///           pairs of unlike label that meet in one bin. Calibration error: 15 bins of equal mass, cut at bin
///           borders (Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019).
public final class ScoreMetrics {
  public enum Window: Int, Sendable, CaseIterable { case sinceSwitch = 0, newest1k, newest10k }

  public struct Summary: Sendable, Equatable {
    public var count: UInt64
    public var positives: UInt64
    public var logLoss: Double
    public var brier: Double
    /// NaN until both labels were seen.
    public var auc: Double
    public var calibrationError: Double
    public var averageProbability: Double
  }

  static let binCount = 512
  static let ringCount = 10_000
  private static let unit = 16_777_216.0

  struct Entry: BitwiseCopyable, Equatable {
    var logLoss: UInt32
    var brier: UInt32
    var probability: UInt32
    var bin: UInt16
    var isPositive: Bool
  }

  /// Sums over one window; all integers.
  struct Sums: ~Copyable {
    var count: UInt64 = 0
    var positives: UInt64 = 0
    var logLoss: Int64 = 0
    var brier: Int64 = 0
    /// Counts by bin: negatives, then positives.
    let bins = FixedBuffer<Int64>(repeating: 0, count: 2 * binCount)
    let probabilities = FixedBuffer<Int64>(repeating: 0, count: binCount)

    mutating func add(_ entry: Entry, _ sign: Int64) {
      count = UInt64(bitPattern: Int64(bitPattern: count) &+ sign)
      if entry.isPositive {
        positives = UInt64(bitPattern: Int64(bitPattern: positives) &+ sign)
      }
      logLoss &+= sign * Int64(entry.logLoss)
      brier &+= sign * Int64(entry.brier)
      let bin = Int(entry.bin)
      let place = entry.isPositive ? binCount + bin : bin
      bins[place] &+= sign
      probabilities[bin] &+= sign * Int64(entry.probability)
    }
    mutating func clear() {
      count = 0
      positives = 0
      logLoss = 0
      brier = 0
      bins.fill(0)
      probabilities.fill(0)
    }
  }

  private var total = Sums()
  private var small = Sums()
  private var large = Sums()
  private let ring = FixedBuffer<Entry>(
    repeating: Entry(logLoss: 0, brier: 0, probability: 0, bin: 0, isPositive: false),
    count: ringCount)
  /// Place of the next entry.
  private var next = 0

  public init() {}

  /// Takes in one served probability and what came true. `label` lies in [0, 1]; 0.5 and above count as positive.
  public func observe(probability: Float, label: Float) {
    let p = Double(probability)
    let y = Double(label)
    let difference = p - y
    let logit = Elementary.logit(p)
    add(
      Entry(
        logLoss: UInt32(Elementary.logLoss(probability: p, label: y) * Self.unit),
        brier: UInt32(difference * difference * Self.unit), probability: UInt32(p * Self.unit),
        bin: UInt16(min(max((logit + 8) * 32, 0), 511)), isPositive: label >= 0.5))
  }

  private func add(_ entry: Entry) {
    if small.count == 1000 { small.add(ring[(next + Self.ringCount - 1000) % Self.ringCount], -1) }
    if large.count == UInt64(Self.ringCount) { large.add(ring[next], -1) }
    ring[next] = entry
    next = (next + 1) % Self.ringCount
    total.add(entry, 1)
    small.add(entry, 1)
    large.add(entry, 1)
  }

  /// At a switch: what came before says nothing of the present lineage.
  public func reset() {
    total.clear()
    small.clear()
    large.clear()
    next = 0
  }

  public func summary(_ window: Window) -> Summary {
    switch window {
    case .sinceSwitch: Self.summary(total)
    case .newest1k: Self.summary(small)
    case .newest10k: Self.summary(large)
    }
  }

  private static func summary(_ sums: borrowing Sums) -> Summary {
    let n = Double(sums.count)
    let positives = Double(sums.positives)
    let negatives = n - positives
    // Twice the pairs in right order, ties once.
    var pairs = 0.0
    var below = 0.0
    var probability: Int64 = 0
    for bin in 0..<binCount {
      let zero = Double(sums.bins[bin])
      let one = Double(sums.bins[binCount + bin])
      pairs += one * (2 * below + zero)
      below += zero
      probability &+= sums.probabilities[bin]
    }
    var error = 0.0
    var mass: Int64 = 0
    var ones: Int64 = 0
    var said: Int64 = 0
    var seen: Int64 = 0
    var group: Int64 = 1
    for bin in 0..<binCount {
      let both = sums.bins[bin] + sums.bins[binCount + bin]
      mass += both
      seen += both
      ones += sums.bins[binCount + bin]
      said &+= sums.probabilities[bin]
      let isLast = bin == binCount - 1
      if mass > 0, isLast || Double(seen) * 15 >= n * Double(group) {
        error += abs(Double(said) / unit - Double(ones))
        mass = 0
        ones = 0
        said = 0
        while Double(seen) * 15 >= n * Double(group) && group < 16 { group += 1 }
      }
    }
    return Summary(
      count: sums.count, positives: sums.positives,
      logLoss: n > 0 ? Double(sums.logLoss) / unit / n : .nan,
      brier: n > 0 ? Double(sums.brier) / unit / n : .nan,
      auc: positives > 0 && negatives > 0 ? pairs / (2 * positives * negatives) : .nan,
      calibrationError: n > 0 ? error / n : .nan,
      averageProbability: n > 0 ? Double(probability) / unit / n : .nan)
  }

  // MARK: Checkpoint

  // Sums since the switch: count, positives (u64), log loss, Brier (i64), counts of 1024 bins and probabilities of
  // 512 (varints); then the newest entries, oldest first: varint count; each log loss, Brier, probability u32,
  // bin u16, positive u8.

  func encode(into writer: inout ByteWriter) {
    writer.write(total.count)
    writer.write(total.positives)
    writer.write(total.logLoss)
    writer.write(total.brier)
    for bin in 0..<(2 * Self.binCount) { writer.writeSignedVarint(total.bins[bin]) }
    for bin in 0..<Self.binCount { writer.writeSignedVarint(total.probabilities[bin]) }
    let held = Int(large.count)
    writer.writeVarint(UInt64(held))
    for index in 0..<held {
      let entry = ring[(next + Self.ringCount - held + index) % Self.ringCount]
      writer.write(entry.logLoss)
      writer.write(entry.brier)
      writer.write(entry.probability)
      writer.write(entry.bin)
      writer.write(entry.isPositive)
    }
  }

  func restore(from reader: inout ByteReader) throws(FormatError) {
    reset()
    var sums = Sums()
    sums.count = try reader.read(UInt64.self, "count")
    sums.positives = try reader.read(UInt64.self, "positives")
    sums.logLoss = try reader.read(Int64.self, "log loss")
    sums.brier = try reader.read(Int64.self, "brier")
    for bin in 0..<(2 * Self.binCount) { sums.bins[bin] = try reader.readSignedVarint("bins") }
    for bin in 0..<Self.binCount {
      sums.probabilities[bin] = try reader.readSignedVarint("probabilities")
    }
    let at = reader.position
    let held = try reader.readCount(itemBytes: 15, "entries")
    guard held <= Self.ringCount, UInt64(held) <= sums.count else {
      throw FormatError(.invalidValue, at: at, field: "entries")
    }
    for _ in 0..<held {
      let at = reader.position
      let entry = Entry(
        logLoss: try reader.read(UInt32.self, "log loss"),
        brier: try reader.read(UInt32.self, "brier"),
        probability: try reader.read(UInt32.self, "probability"),
        bin: try reader.read(UInt16.self, "bin"), isPositive: try reader.readBool("positive"))
      guard entry.bin < Self.binCount else {
        throw FormatError(.invalidValue, at: at, field: "bin")
      }
      add(entry)
    }
    total = sums
  }
}
