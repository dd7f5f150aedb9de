/// Up to `capacity` records of one input partition: payload bytes in, typed columns out.
///
/// Life:     `append` records until full, `decode()` once, read the columns, `clear()`.
/// Shapes:   column values at `[field * capacity + record]`; per-record values at `[record]`.
/// Rejected: a record with any fault has its reason in `reasons` and the faulty field in `faultFields`; all its
///           fields read as absent, its id hash as 0. Nothing of it is believed but key, headers and place.
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
  /// Index of the field that `reasons` is about; -1 where it is about no field, or 0.
  public let faultFields: FixedBuffer<Int32>
  /// Hash64 of the event id's text; 0 where the input declares no id.
  public let idHashes: FixedBuffer<UInt64>

  // Per field and record.
  /// number, integer, boolean (0 or 1) and time (milliseconds) fields.
  public let numbers: FixedBuffer<Double>
  /// Hash64 of the UTF-8 of string fields; of an integer field that is id or key, of its decimal text.
  public let hashes: FixedBuffer<UInt64>
  /// `Presence.rawValue`.
  public let presence: FixedBuffer<UInt8>
  /// Place of a string field's text in `text`.
  public let textStarts: FixedBuffer<Int32>
  public let textLengths: FixedBuffer<Int32>

  // Arenas.
  /// Payloads, keys and header blocks; a zero byte behind each payload, padding for the parser behind the last.
  var arena: FixedBuffer<UInt8>
  var arenaUsed = 0
  let payloadStarts: FixedBuffer<Int32>
  let payloadLengths: FixedBuffer<Int32>
  /// Length as it came, where an oversized payload was not kept.
  let receivedLengths: FixedBuffer<Int32>
  let keyStarts: FixedBuffer<Int32>
  /// -1: the record has no key.
  let keyLengths: FixedBuffer<Int32>
  let headerStarts: FixedBuffer<Int32>
  let headerLengths: FixedBuffer<Int32>
  /// Unescaped text of string fields.
  var text: FixedBuffer<UInt8>
  var textUsed = 0
  let decoder: RecordDecoder
  let payloadBytesMax: Int

  /// The schema must be consistent: names differ; the id and the key are string or integer fields, the event
  /// time a time field. `Pipeline` has checked that; here it is a programmer error.
  public init(schema: InputSchema) {
    Self.check(schema)
    self.schema = schema
    let n = Self.capacity
    let cells = n * schema.fields.count
    offsets = FixedBuffer(repeating: 0, count: n)
    timestamps = FixedBuffer(repeating: 0, count: n)
    eventTimes = FixedBuffer(repeating: 0, count: n)
    reasons = FixedBuffer(repeating: 0, count: n)
    faultFields = FixedBuffer(repeating: -1, count: n)
    idHashes = FixedBuffer(repeating: 0, count: n)
    numbers = FixedBuffer(repeating: 0, count: cells)
    hashes = FixedBuffer(repeating: 0, count: cells)
    presence = FixedBuffer(repeating: 0, count: cells)
    textStarts = FixedBuffer(repeating: 0, count: cells)
    textLengths = FixedBuffer(repeating: 0, count: cells)
    arena = FixedBuffer(repeating: 0, count: n * 512 + RecordDecoder.padding)
    payloadStarts = FixedBuffer(repeating: 0, count: n)
    payloadLengths = FixedBuffer(repeating: 0, count: n)
    receivedLengths = FixedBuffer(repeating: 0, count: n)
    keyStarts = FixedBuffer(repeating: 0, count: n)
    keyLengths = FixedBuffer(repeating: -1, count: n)
    headerStarts = FixedBuffer(repeating: 0, count: n)
    headerLengths = FixedBuffer(repeating: 0, count: n)
    text = FixedBuffer(repeating: 0, count: n * 512)
    payloadBytesMax = min(max(schema.recordBytesMax, 0), Self.recordBytesLimit)
    decoder = RecordDecoder(schema: schema)
  }

  private static func check(_ schema: InputSchema) {
    let names = Set(schema.fields.map { Array($0.name.utf8) })
    precondition(names.count == schema.fields.count, "a field is declared twice")
    for field in [schema.idField, schema.keyField] {
      guard let field else { continue }
      let type = schema.fields[field].type
      precondition(type == .string || type == .integer, "an id or key is a string or integer field")
    }
    if let field = schema.eventTimeField {
      precondition(schema.fields[field].type == .time, "the event time is a time field")
    }
  }

  public var isFull: Bool { count == Self.capacity }

  /// Empties the batch; keeps its memory.
  public func clear() {
    count = 0
    arenaUsed = 0
    textUsed = 0
    decodedCount = 0
  }

  /// Records that `decode()` has seen.
  var decodedCount = 0
}
