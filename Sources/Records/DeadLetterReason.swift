/// Why a record could not be used. The raw value is written into journals; the name into headers.
public enum DeadLetterReason: UInt8, Error, Sendable, CaseIterable {
  case malformedJSON = 1
  case duplicateField = 2
  case wrongType = 3
  case outOfRange = 4
  case missingID = 5
  case missingField = 6
  case keyMismatch = 7
  case badTime = 8
  case futureTime = 9
  case oversized = 10
  case nestedTooDeep = 11
  case invalidUTF8 = 12
  case notAnObject = 13
  case missingTarget = 14
  case outputTooLarge = 15
  case textTooLong = 16
  case emptyPayload = 17
  /// The process died at this record, twice: it is passed over, named by its place alone.
  case quarantined = 18

  /// Kebab-case, as in the header `millrace-error-code`.
  public var code: String {
    switch self {
    case .malformedJSON: "malformed-json"
    case .duplicateField: "duplicate-field"
    case .wrongType: "wrong-type"
    case .outOfRange: "out-of-range"
    case .missingID: "missing-id"
    case .missingField: "missing-field"
    case .keyMismatch: "key-mismatch"
    case .badTime: "bad-time"
    case .futureTime: "future-time"
    case .oversized: "oversized"
    case .nestedTooDeep: "nested-too-deep"
    case .invalidUTF8: "invalid-utf8"
    case .notAnObject: "not-an-object"
    case .missingTarget: "missing-target"
    case .outputTooLarge: "output-too-large"
    case .textTooLong: "text-too-long"
    case .emptyPayload: "empty-payload"
    case .quarantined: "quarantined"
    }
  }
}
