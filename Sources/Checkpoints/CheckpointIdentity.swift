import Records

/// Which of the two folds a checkpoint holds. The raw value stands in the file.
public enum CheckpointKind: UInt8, Hashable, Sendable, CaseIterable {
  /// Windows and waiting predictions of one partition.
  case partition = 1
  /// Ledger and contenders: the fold of the learning log.
  case model = 2
}

/// What a state was computed from. A checkpoint is used only where every field is equal.
///
/// Why the cluster: a topic of the same name on another cluster has other records at the same offsets.
public struct CheckpointFingerprint: Hashable, Sendable {
  /// Kafka's cluster id.
  public var clusterID: String
  /// Topic of the scored input (`partition`) or the learning log (`model`).
  public var topic: String
  public var partition: PartitionID
  public var pipeline: String
  /// Digest of the plan (`partition`) or of the charter (`model`).
  public var settings: Digest

  public init(
    clusterID: String, topic: String, partition: PartitionID, pipeline: String, settings: Digest
  ) {
    self.clusterID = clusterID
    self.topic = topic
    self.partition = partition
    self.pipeline = pipeline
    self.settings = settings
  }

  /// The first field in which two fingerprints differ; nil where they are equal.
  public func firstDifference(from other: Self) -> FingerprintField? {
    if clusterID != other.clusterID { return .clusterID }
    if topic != other.topic { return .topic }
    if partition != other.partition { return .partition }
    if pipeline != other.pipeline { return .pipeline }
    if settings != other.settings { return .settings }
    return nil
  }
}

public enum FingerprintField: String, Hashable, Sendable, CaseIterable {
  case clusterID, topic, partition, pipeline, settings
}

/// How far a state has read one topic: `next` is the offset that would be consumed next.
public struct InputPosition: Hashable, Sendable {
  public var topic: String
  public var next: Offset
  public init(topic: String, next: Offset) {
    self.topic = topic
    self.next = next
  }
}

/// What a checkpoint says of itself, apart from the state.
public struct CheckpointIdentity: Hashable, Sendable {
  public var kind: CheckpointKind
  public var fingerprint: CheckpointFingerprint
  /// One a topic, in the order of the pipeline's inputs; empty for a model.
  public var inputs: [InputPosition]
  /// Offset after the last record that the state includes: of the journal (`partition`) or of the
  /// learning log (`model`). This alone orders the checkpoints of a partition.
  public var logNext: Offset
  /// Counts the attempts of writing a checkpoint of this partition, so that no name is used twice.
  public var generation: UInt64
  /// `id` of the checkpoint that the state was restored from or that came before; nil at the start.
  public var parent: Digest?

  public init(
    kind: CheckpointKind, fingerprint: CheckpointFingerprint, inputs: [InputPosition],
    logNext: Offset, generation: UInt64, parent: Digest? = nil
  ) {
    self.kind = kind
    self.fingerprint = fingerprint
    self.inputs = inputs
    self.logNext = logNext
    self.generation = generation
    self.parent = parent
  }

  func encode(into writer: inout ByteWriter) {
    writer.write(kind.rawValue)
    writer.write(fingerprint.clusterID)
    writer.write(fingerprint.topic)
    writer.write(fingerprint.partition.value)
    writer.write(fingerprint.pipeline)
    writer.write(raw: fingerprint.settings.bytes)
    writer.writeVarint(UInt64(inputs.count))
    for input in inputs {
      writer.write(input.topic)
      writer.write(input.next.value)
    }
    writer.write(logNext.value)
    writer.write(generation)
    writer.write(parent != nil)
    if let parent { writer.write(raw: parent.bytes) }
  }

  init(decoding bytes: [UInt8]) throws(FormatError) {
    var reader = ByteReader(bytes)
    guard let kind = CheckpointKind(rawValue: try reader.read(UInt8.self, "kind")) else {
      throw FormatError(.invalidValue, at: 0, field: "kind")
    }
    self.kind = kind
    let clusterID = try reader.readString("cluster id")
    let topic = try reader.readString("topic")
    let partition = PartitionID(try reader.read(Int32.self, "partition"))
    let pipeline = try reader.readString("pipeline")
    let settings = try Self.readDigest(&reader, "settings digest")
    fingerprint = CheckpointFingerprint(
      clusterID: clusterID, topic: topic, partition: partition, pipeline: pipeline,
      settings: settings)
    let count = try reader.readCount(itemBytes: 9, "inputs")
    inputs = []
    inputs.reserveCapacity(count)
    for _ in 0..<count {
      let name = try reader.readString("input topic")
      inputs.append(InputPosition(topic: name, next: Offset(try reader.read(Int64.self, "next offset"))))
    }
    logNext = Offset(try reader.read(Int64.self, "log offset"))
    generation = try reader.read(UInt64.self, "generation")
    parent = try reader.readBool("has parent") ? try Self.readDigest(&reader, "parent") : nil
    try reader.expectEnd()
  }

  private static func readDigest(
    _ reader: inout ByteReader, _ field: StaticString
  ) throws(FormatError) -> Digest {
    let at = reader.position
    guard let digest = Digest(bytes: try reader.readRaw(32, field)) else {
      throw FormatError(.invalidValue, at: at, field: field)
    }
    return digest
  }
}
