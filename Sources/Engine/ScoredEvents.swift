import Learning
import Records

/// A group of events that was scored just now, lent to a listener for the call: what people and tests look at.
public struct ScoredEvents {
  let group: ScoredGroup
  let contenderCount: Int
  public let partition: PartitionID
  public let version: ModelVersion
  /// Index of the contender whose score is the prediction.
  public let champion: Int

  public var count: Int { group.count }
  /// The rows as they were scored; row of event `slot` at `slot`.
  public var rows: RowGroup { group.rows }
  public func eventID(_ slot: Int) -> [UInt8] {
    unsafe group.arena.withBytes(group.ids[slot]) { unsafe Array($0) }
  }
  public func eventTime(_ slot: Int) -> EventTime { EventTime(milliseconds: group.eventTimes[slot]) }
  public func offset(_ slot: Int) -> Offset { Offset(group.offsets[slot]) }
  public func score(_ slot: Int, contender: Int) -> ServedScore {
    group.scores[slot * contenderCount + contender]
  }
}
