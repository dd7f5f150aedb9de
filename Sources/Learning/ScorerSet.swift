import Models
import Records

/// What lanes score with: one version of every contender, immutable.
///
/// Threads:  any number at once.
public struct ScorerSet: Sendable {
  public let version: ModelVersion
  /// In the order of the charter.
  public let scorers: [Scorer]
  public let names: [String]
  /// Whose score is the prediction.
  public let championIndex: Int
  public let rowSchema: RowSchema

  public init(
    version: ModelVersion, scorers: [Scorer], names: [String], championIndex: Int,
    rowSchema: RowSchema
  ) {
    self.version = version
    self.scorers = scorers
    self.names = names
    self.championIndex = championIndex
    self.rowSchema = rowSchema
  }

  public var count: Int { scorers.count }

  /// Scores rows 0..<count by every contender: that of row i by contender c goes to `scores[i * self.count + c]`.
  public func score(
    _ rows: RowGroup, count: Int, scratch: ScoringScratch,
    into scores: borrowing FixedBuffer<ServedScore>
  ) {
    for (index, scorer) in scorers.enumerated() {
      scorer.score(
        rows, count: count, scratch: scratch, into: scores, stride: scorers.count, offset: index)
    }
  }
}
