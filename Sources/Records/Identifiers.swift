/// Position of a record in one partition of one topic, as Kafka counts it.
public struct Offset: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var value: Int64
  @inlinable public init(_ value: Int64) { self.value = value }
  @inlinable public static func < (a: Offset, b: Offset) -> Bool { a.value < b.value }
}

/// Number of a partition of a topic.
public struct PartitionID: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var value: Int32
  @inlinable public init(_ value: Int32) { self.value = value }
  @inlinable public static func < (a: PartitionID, b: PartitionID) -> Bool { a.value < b.value }
}

/// When something happened in the world, in milliseconds since 1970-01-01T00:00:00Z.
public struct EventTime: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var milliseconds: Int64
  @inlinable public init(milliseconds: Int64) { self.milliseconds = milliseconds }
  @inlinable public static func < (a: EventTime, b: EventTime) -> Bool {
    a.milliseconds < b.milliseconds
  }
}

/// Count of examples folded so far: the identity of an example, and the second half of a version.
public struct Sequence: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var value: UInt64
  @inlinable public init(_ value: UInt64) { self.value = value }
  @inlinable public static func < (a: Sequence, b: Sequence) -> Bool { a.value < b.value }
}

/// Count of switches (start, rollback, promotion, charter).
public struct Lineage: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var value: UInt32
  @inlinable public init(_ value: UInt32) { self.value = value }
  @inlinable public static func < (a: Lineage, b: Lineage) -> Bool { a.value < b.value }
}

/// Which state of the model: `lineage.sequence`, written `7.184201`.
public struct ModelVersion: Hashable, Comparable, Sendable, BitwiseCopyable, CustomStringConvertible
{
  public var lineage: Lineage
  public var sequence: Sequence

  @inlinable public init(lineage: Lineage, sequence: Sequence) {
    self.lineage = lineage
    self.sequence = sequence
  }

  /// Reads `7.184201`; nil for anything else (signs, blanks, further dots included).
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2,
      parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } }),
      let lineage = UInt32(parts[0]), let sequence = UInt64(parts[1])
    else { return nil }
    self.init(lineage: Lineage(lineage), sequence: Sequence(sequence))
  }

  public var description: String { "\(lineage.value).\(sequence.value)" }

  @inlinable public static func < (a: ModelVersion, b: ModelVersion) -> Bool {
    (a.lineage.value, a.sequence.value) < (b.lineage.value, b.sequence.value)
  }
}
