/// How the values of a declared field are read.
public enum FieldType: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// A JSON number, finite as a 64-bit float.
  case number
  /// A JSON number without fraction or exponent, within ±2^53.
  case integer
  /// `true` or `false`; a number column of 1 and 0.
  case boolean
  /// A JSON string; a 64-bit hash for the features, its text for ids.
  case string
  /// A point in time in the field's `TimeUnit`; a number column of milliseconds since 1970.
  case time
}

/// What the bytes of a `time` field mean.
public enum TimeUnit: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// RFC 3339 text with a zone, such as `2013-07-01T18:00:00Z` or `…18:00:00.250-04:00`.
  case rfc3339
  case seconds, milliseconds, microseconds
}

/// Told apart: the field holds a value, is `null`, or is not there at all.
public enum Presence: UInt8, Sendable {
  case absent = 0
  case null = 1
  case present = 2
}

/// One declared field of an input.
public struct FieldDeclaration: Hashable, Sendable {
  public var name: String
  public var type: FieldType
  public var timeUnit: TimeUnit
  /// A record without a value here is a dead letter; otherwise the value is missing.
  public var required: Bool
  public init(name: String, type: FieldType, timeUnit: TimeUnit = .rfc3339, required: Bool = false) {
    self.name = name
    self.type = type
    self.timeUnit = timeUnit
    self.required = required
  }
}

/// What is declared of one input: its fields, and which of them are id, key and event time.
public struct InputSchema: Hashable, Sendable {
  /// Name in the pipeline, not the topic's.
  public var name: String
  public var topic: String
  public var fields: [FieldDeclaration]
  /// Index of the field that names the event; nil where events of this input have no id.
  public var idField: Int?
  /// Index of the field that equals the message key; nil where the key is the message's alone.
  public var keyField: Int?
  /// Index of the field with the event time; nil: the Kafka timestamp is the event time.
  public var eventTimeField: Int?
  /// Allowed lateness in milliseconds: watermark = largest event time - lateness.
  public var latenessMilliseconds: Int64
  /// An event time further than this ahead of the record's Kafka timestamp is a dead letter.
  public var futureMillisecondsMax: Int64
  /// Larger payloads are dead letters by reference.
  public var recordBytesMax: Int

  public init(
    name: String, topic: String, fields: [FieldDeclaration], idField: Int? = nil,
    keyField: Int? = nil, eventTimeField: Int? = nil, latenessMilliseconds: Int64 = 0,
    futureMillisecondsMax: Int64 = 600_000, recordBytesMax: Int = 1 << 20
  ) {
    self.name = name
    self.topic = topic
    self.fields = fields
    self.idField = idField
    self.keyField = keyField
    self.eventTimeField = eventTimeField
    self.latenessMilliseconds = latenessMilliseconds
    self.futureMillisecondsMax = futureMillisecondsMax
    self.recordBytesMax = recordBytesMax
  }
  public func index(of field: String) -> Int? { fields.firstIndex { $0.name == field } }
}
