import Learning
import Records

/// One record that a unit publishes.
public struct OutputRecord: BitwiseCopyable, Sendable {
  public enum Destination: UInt8, BitwiseCopyable, Sendable {
    case predictions, deadLetters, learning, journal, acks
  }
  public var destination: Destination
  public var partition: Int32
  public var key: ByteArena.Place
  public var value: ByteArena.Place
  /// An encoded header block, as `InputBatch` lends it; `none` for no headers.
  public var headers: ByteArena.Place
  /// Milliseconds: the event's own Kafka timestamp for predictions; 0, which is the time of sending, for all else.
  public var timestamp: Int64
}

/// How far one partition has read, and what goes with it into the offset's metadata.
public struct ConsumedRange: Sendable, Equatable {
  public var partition: PartitionID
  /// Per input, the offset after the last record consumed.
  public var nextOffsets: [Int64]
  /// Per input, from where a replay without a checkpoint would have to start.
  public var replayFrom: [Int64]
  public init(partition: PartitionID, nextOffsets: [Int64], replayFrom: [Int64]) {
    self.partition = partition
    self.nextOffsets = nextOffsets
    self.replayFrom = replayFrom
  }
}

/// What one Kafka transaction publishes: outputs encoded once, and the offsets that go with them.
/// After an abort the same bytes are sent again; nothing here is ever computed twice.
///
/// Life:     filled by the fold thread, sealed, handed to the commit thread, cleared, used again.
/// Invariant: one thread at a time owns a unit; ownership passes through the ring.
public final class CommitUnit: @unchecked Sendable {
  /// A unit whose outputs reach this many bytes ends, whatever its count of records: dead letters carry payloads.
  public static let bytesMax = 32 << 20
  /// Memory that a unit keeps from one use to the next.
  public static let bytesKept = 16 << 20

  public let arena = ByteArena(capacity: 1 << 20)
  public private(set) var records: [OutputRecord] = []
  public private(set) var ranges: [ConsumedRange] = []
  public let examples: ExampleBlockBuilder
  /// Records consumed, of all inputs.
  public internal(set) var consumed = 0
  public internal(set) var scored = 0
  /// Of those consumed, how many of each input.
  public internal(set) var consumedByInput: [Int]
  /// Records that could not be used, by reason and input.
  public private(set) var rejections: [(reason: DeadLetterReason, input: Int, count: Int)] = []
  /// Version of the newest scorers used, if any event was scored.
  public internal(set) var newestVersion: ModelVersion?
  /// What became of the records of this unit.
  public internal(set) var accounting = Accounting()

  public init(examples: ExampleBlockBuilder, inputCount: Int) {
    self.examples = examples
    consumedByInput = Array(repeating: 0, count: inputCount)
    records.reserveCapacity(16_384)
  }

  public var isEmpty: Bool { consumed == 0 && records.isEmpty }
  /// Bytes of all outputs so far.
  public var byteCount: Int { arena.used }
  public var byteCapacity: Int { arena.capacity }
  /// Nothing more should go in.
  public var isFull: Bool { arena.used >= Self.bytesMax }

  public func clear() {
    arena.clear(keeping: Self.bytesKept)
    records.removeAll(keepingCapacity: true)
    ranges.removeAll(keepingCapacity: true)
    examples.clear()
    consumed = 0
    scored = 0
    for input in consumedByInput.indices { consumedByInput[input] = 0 }
    rejections.removeAll(keepingCapacity: true)
    newestVersion = nil
    accounting = Accounting()
  }

  /// Ends the open example blocks and lets them follow all else, as the last records of the unit.
  public func sealExamples() {
    examples.seal()
    for index in 0..<examples.sealedCount {
      append(
        .learning, partition: 0, key: nil, value: Array(examples.sealed(index)), timestamp: 0)
    }
  }

  /// Lends key (nil: none), value and header block of a record.
  public func withParts<E: Error>(
    of record: OutputRecord,
    _ body: (UnsafeRawBufferPointer?, UnsafeRawBufferPointer, RawSpan?) throws(E) -> Void
  ) throws(E) {
    try unsafe arena.withBytes(record.value) { value throws(E) in
      let headers = record.headers.length > 0 ? record.headers : .empty
      try unsafe arena.withBytes(headers) { headers throws(E) in
        // SAFETY: the span lives as long as the bytes that are lent here.
        let block = unsafe headers.isEmpty ? nil : RawSpan(_unsafeBytes: headers)
        guard record.key.length >= 0 else { return try unsafe body(nil, value, block) }
        try unsafe arena.withBytes(record.key) { key throws(E) in
          try unsafe body(key, value, block)
        }
      }
    }
  }

  func noteRejection(_ reason: DeadLetterReason, input: Int) {
    if let known = rejections.firstIndex(where: { $0.reason == reason && $0.input == input }) {
      rejections[known].count += 1
    } else {
      rejections.append((reason, input, 1))
    }
  }

  public func append(_ record: OutputRecord) { records.append(record) }
  public func append(_ range: ConsumedRange) { ranges.append(range) }

  /// Appends a record whose parts are given as bytes: for the rare ones.
  public func append(
    _ destination: OutputRecord.Destination, partition: Int32, key: [UInt8]?, value: [UInt8],
    headers: ByteArena.Place = .none, timestamp: Int64
  ) {
    records.append(
      OutputRecord(
        destination: destination, partition: partition,
        key: key.map { arena.append($0) } ?? .none, value: arena.append(value), headers: headers,
        timestamp: timestamp))
  }
}
