/// Up to `capacity` records of one input partition: payload bytes in, typed columns out.
///
/// Life:     `append` records until full, `decode()` once, read the columns, `clear()`.
/// Shapes:   column values at `[field * capacity + record]`; per-record values at `[record]`.
/// Cost:     no allocation after `init` unless a group's payloads outgrow the arenas, which then double.
/// Threads:  owned by one thread at a time.
public final class InputBatch {
  public static let capacity = 32

  public let schema: InputSchema
  /// Records in the batch.
  public internal(set) var count = 0

  // Per record.
  public let offsets: FixedBuffer<Int64>
  /// Kafka timestamps, milliseconds.
  public let timestamps: FixedBuffer<Int64>
  /// Event times, milliseconds; meaningful where `reasons` is 0. A rejected record takes its Kafka timestamp.
  public let eventTimes: FixedBuffer<Int64>
  /// `DeadLetterReason.rawValue`, or 0 for a usable record.
  public let reasons: FixedBuffer<UInt8>
  /// Hash64 of the event id's text; 0 where the input declares no id.
  public let idHashes: FixedBuffer<UInt64>

  // Per field and record.
  /// number, integer, boolean (0 or 1) and time (milliseconds) fields.
  public let numbers: FixedBuffer<Double>
  /// Hash64 of the UTF-8 of string fields.
  public let hashes: FixedBuffer<UInt64>
  /// `Presence.rawValue`.
  public let presence: FixedBuffer<UInt8>
  /// Place of a string field's text in `text`.
  public let textStarts: FixedBuffer<Int32>
  public let textLengths: FixedBuffer<Int32>

  // Arenas.
  /// Payloads, keys and header blocks back to back, then padding for the parser.
  var arena: FixedBuffer<UInt8>
  var arenaUsed = 0
  let payloadStarts: FixedBuffer<Int32>
  let payloadLengths: FixedBuffer<Int32>
  let keyStarts: FixedBuffer<Int32>
  /// -1: the record has no key.
  let keyLengths: FixedBuffer<Int32>
  let headerStarts: FixedBuffer<Int32>
  let headerLengths: FixedBuffer<Int32>
  /// Unescaped text of string fields.
  var text: FixedBuffer<UInt8>
  var textUsed = 0
  let decoder: RecordDecoder

  public init(schema: InputSchema) {
    self.schema = schema
    let n = Self.capacity
    let cells = n * schema.fields.count
    offsets = FixedBuffer(repeating: 0, count: n)
    timestamps = FixedBuffer(repeating: 0, count: n)
    eventTimes = FixedBuffer(repeating: 0, count: n)
    reasons = FixedBuffer(repeating: 0, count: n)
    idHashes = FixedBuffer(repeating: 0, count: n)
    numbers = FixedBuffer(repeating: 0, count: cells)
    hashes = FixedBuffer(repeating: 0, count: cells)
    presence = FixedBuffer(repeating: 0, count: cells)
    textStarts = FixedBuffer(repeating: 0, count: cells)
    textLengths = FixedBuffer(repeating: 0, count: cells)
    arena = FixedBuffer(repeating: 0, count: n * 512 + 64)
    payloadStarts = FixedBuffer(repeating: 0, count: n)
    payloadLengths = FixedBuffer(repeating: 0, count: n)
    keyStarts = FixedBuffer(repeating: 0, count: n)
    keyLengths = FixedBuffer(repeating: -1, count: n)
    headerStarts = FixedBuffer(repeating: 0, count: n)
    headerLengths = FixedBuffer(repeating: 0, count: n)
    text = FixedBuffer(repeating: 0, count: n * 512)
    decoder = RecordDecoder(schema: schema)
  }

  public var isFull: Bool { count == Self.capacity }

  /// Empties the batch; keeps its memory.
  public func clear() {
    count = 0
    arenaUsed = 0
    textUsed = 0
  }
}
