import Records

/// How far the compressed scorer lies from the full-precision learner over some rows.
public struct CompressionGap: Hashable, Sendable {
  public var rows = 0
  public var marginMax: Float = 0
  public var probabilityMax: Float = 0
  private var marginSum = 0.0
  private var probabilitySum = 0.0
  public init() {}

  public var marginMean: Double { rows == 0 ? 0 : marginSum / Double(rows) }
  public var probabilityMean: Double { rows == 0 ? 0 : probabilitySum / Double(rows) }

  /// Adds one row scored by both: uncalibrated margins.
  public mutating func add(master: Float, compressed: Float) {
    let margin = (master - compressed).magnitude
    let probability = (Elementary.sigmoid(master) - Elementary.sigmoid(compressed)).magnitude
    rows += 1
    marginMax = max(marginMax, margin)
    probabilityMax = max(probabilityMax, probability)
    marginSum += Double(margin)
    probabilitySum += Double(probability)
  }
}

extension Contender {
  /// Measures the gap over rows 0..<count with a scorer of the present state.
  ///
  /// Cost:     one `scorer()` and two scores a row; allocates: for reports and tests.
  public func compressionGap(rows: RowGroup, count: Int) -> CompressionGap {
    let scores = FixedBuffer(repeating: ServedScore.absent, count: count)
    scorer().score(rows, count: count, scratch: ScoringScratch(), into: scores, stride: 1, offset: 0)
    var gap = CompressionGap()
    for row in 0..<count {
      gap.add(master: masterMargin(rows: rows, slot: row), compressed: scores[row].margin)
    }
    return gap
  }
}
