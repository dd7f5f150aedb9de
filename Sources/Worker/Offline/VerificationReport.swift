import Records

/// One thing in which published predictions and computed ones differ.
public struct PredictionDifference: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// The same event, other bytes.
    case different
    /// Computed, and nowhere published.
    case missing
    /// Published for an event whose prediction stands before it.
    case repeated
    /// Published, and nothing that the journal says was scored explains it.
    case unexplained
    /// Its version never stood in the learning log.
    case unknownVersion = "unknown-version"
    /// What was computed is as published, but not what the journal says was served.
    case scoreDiffers = "score-differs"
    /// Inputs, journal and learning log contradict each other: nothing behind this place was compared.
    case brokenOff = "broken-off"
  }
  public var kind: Kind
  public var partition: Int32
  /// Of the published prediction; nil where there is none.
  public var offset: Int64?
  /// Of the event.
  public var sourceOffset: Int64?
  public var eventID: String?
  /// The first field that differs.
  public var field: String?
  public var published: String?
  public var computed: String?
  public var detail: String?
}

/// What became of one partition's predictions.
public struct PartitionVerification: Sendable, Equatable {
  public var partition: Int32
  /// How it was begun, in words, and the first source offset that was compared; nil: nothing could be.
  public var begun = ""
  public var from: Int64?
  /// Published bytes, key, headers and timestamp are those that were computed.
  public var equal: UInt64 = 0
  /// As above, but by the journal's scores: the version that scored is out of reach.
  public var equalByJournal: UInt64 = 0
  /// Scored under an earlier declaration, whose rows cannot be made again: not compared.
  public var foreign: UInt64 = 0
  public var differing: UInt64 = 0
  public var first: PredictionDifference?
  public var journalRecords: UInt64 = 0
  /// Why nothing of it could be compared; nil where something could.
  public var unreachable: String?

  init(_ partition: Int32) { self.partition = partition }

  mutating func note(_ difference: PredictionDifference) {
    differing += 1
    if first == nil { first = difference }
  }
}

public struct VerificationReport: Sendable {
  /// What the learning log makes.
  public struct Model: Sendable {
    public var version: ModelVersion
    public var stateHash: Digest
  }
  public var partitions: [PartitionVerification] = []
  public var learningRecords: UInt64 = 0
  public var versions = 0
  /// The most scorers that had to be held at once.
  public var versionsHeldMax = 0
  /// The first version that can be made again, and the checkpoint it is made from; nil: all can.
  public var modelStart: String?
  /// As far as it was folded; nil where nothing leads to it.
  public var model: Model?
  /// It ended at the limit, and not at the end of the logs.
  public var isCut = false

  public var equal: UInt64 { partitions.reduce(0) { $0 + $1.equal } }
  public var equalByJournal: UInt64 { partitions.reduce(0) { $0 + $1.equalByJournal } }
  public var differing: UInt64 { partitions.reduce(0) { $0 + $1.differing } }
  public var foreign: UInt64 { partitions.reduce(0) { $0 + $1.foreign } }
  public var journalRecords: UInt64 { partitions.reduce(0) { $0 + $1.journalRecords } }
}
