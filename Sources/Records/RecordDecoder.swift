internal import CSimdJSON

/// Reads the declared fields of one payload into *cells*, the same by two ways: simdjson, and the plain scanner
/// that defines the language.
///
/// Division: simdjson answers only when it is certain that a document is valid; whatever it refuses (it does not
///           know integers beyond 64 bits, and says no more than that something is wrong) the plain scanner
///           decides. So no document is refused because of simdjson, and every reason has one origin.
/// Order:    invalid UTF-8 first, then the first fault of syntax from the left, then a declared name given twice.
/// Cost:     one C call a record; no allocation once the parser has seen its largest payload.
/// Threads:  owned by one thread at a time.
@safe final class RecordDecoder {
  /// Texts of more bytes than this are not taken.
  static let textBytesMax = 1024
  /// Bytes that must be readable behind a payload.
  static let padding = mr_json_padding()

  let schema: InputSchema
  /// Per field what the last document holds there.
  let cells: FixedBuffer<mr_cell>
  private let handle: OpaquePointer
  /// Names of the fields back to back, and where each starts (one more than there are fields).
  private let names: FixedBuffer<UInt8>
  private let nameStarts: FixedBuffer<Int>

  /// What `interpret` needs of a field, without the strings and optionals of its declaration.
  struct FieldPlan: BitwiseCopyable {
    var type: FieldType
    var timeUnit: TimeUnit
    var isRequired: Bool
    /// The field's decimal text is wanted: an integer that is id or key.
    var isText: Bool
  }
  struct Plan: BitwiseCopyable {
    var fieldCount: Int
    /// -1 where there is none.
    var idField, keyField, eventTimeField: Int
  }
  let plan: Plan
  let fieldPlans: FixedBuffer<FieldPlan>

  enum Verdict {
    case valid
    case rejected(DeadLetterReason, field: Int)
  }

  init(schema: InputSchema) {
    self.schema = schema
    plan = Plan(
      fieldCount: schema.fields.count, idField: schema.idField ?? -1, keyField: schema.keyField ?? -1,
      eventTimeField: schema.eventTimeField ?? -1)
    fieldPlans = FixedBuffer(
      repeating: FieldPlan(type: .number, timeUnit: .rfc3339, isRequired: false, isText: false),
      count: schema.fields.count)
    for (index, field) in schema.fields.enumerated() {
      fieldPlans[index] = FieldPlan(
        type: field.type, timeUnit: field.timeUnit,
        // Without its time a record has no place, so the declaration implies that it is required.
        isRequired: field.required || index == schema.eventTimeField,
        isText: field.type == .integer && (index == schema.idField || index == schema.keyField))
    }
    let texts = schema.fields.map { Array($0.name.utf8) }
    let joined = texts.flatMap { $0 }
    cells = FixedBuffer(repeating: mr_cell(), count: texts.count)
    names = FixedBuffer(repeating: 0, count: joined.count)
    nameStarts = FixedBuffer(repeating: 0, count: texts.count + 1)
    for (index, byte) in joined.enumerated() { names[index] = byte }
    for (index, text) in texts.enumerated() { nameStarts[index + 1] = nameStarts[index] + text.count }
    let lengths = texts.map { UInt32($0.count) }
    // SAFETY: the decoder copies names and lengths, which are lent for the call.
    let made = unsafe joined.withUnsafeBufferPointer { joined in
      unsafe lengths.withUnsafeBufferPointer { lengths in
        unsafe mr_json_decoder_new(
          joined.baseAddress, lengths.baseAddress, lengths.count, UInt32(JSONScanner.depthMax),
          UInt32(Self.textBytesMax))
      }
    }
    guard let made = unsafe made else { preconditionFailure("out of memory") }
    unsafe handle = made
  }

  deinit { unsafe mr_json_decoder_free(handle) }

  /// simdjson first. `payload` has padding behind it, `text` room for as many bytes from `used` on.
  func decode(
    _ payload: UnsafeBufferPointer<UInt8>, text: UnsafeMutablePointer<UInt8>, used: inout Int
  ) -> Verdict {
    var advanced = Int32(used)
    let isCertain = unsafe cells.withElements { cells in
      // SAFETY: `cells` has one cell for each field the decoder was made for; the rest is the caller's promise.
      unsafe mr_json_decode(
        handle, payload.baseAddress, payload.count, cells.baseAddress, text, &advanced)
    }
    guard isCertain == 1 else { return unsafe decodePlainly(payload, text: text, used: &used) }
    used = Int(advanced)
    return .valid
  }

  /// The plain scanner alone.
  func decodePlainly(
    _ payload: UnsafeBufferPointer<UInt8>, text: UnsafeMutablePointer<UInt8>, used: inout Int
  ) -> Verdict {
    // SAFETY: the scanner does not outlive this call.
    var scanner = unsafe JSONScanner(payload)
    do throws(JSONError) {
      try scanner.checkUTF8()
      guard scanner.next() == 0x7b else {
        try scanner.skip(depth: 0)
        try scanner.expectEnd()
        return .rejected(.notAnObject, field: -1)
      }
      let before = used
      let twice = try unsafe readObject(&scanner, text: text, used: &used)
      try scanner.expectEnd()
      guard twice < 0 else {
        used = before
        return .rejected(.duplicateField, field: twice)
      }
      return .valid
    } catch {
      switch error.reason {
      case .malformed, .duplicateKey: return .rejected(.malformedJSON, field: -1)
      case .invalidUTF8: return .rejected(.invalidUTF8, field: -1)
      case .nestedTooDeep: return .rejected(.nestedTooDeep, field: -1)
      case .numberOutOfRange: return .rejected(.outOfRange, field: -1)
      }
    }
  }

  /// Reads the object that is next; returns the first field found twice, or -1.
  private func readObject(
    _ scanner: inout JSONScanner, text: UnsafeMutablePointer<UInt8>, used: inout Int
  ) throws(JSONError) -> Int {
    for field in 0..<cells.count { cells[field].kind = UInt8(MR_CELL_ABSENT) }
    var twice = -1
    var expected = 0
    try scanner.expect(0x7b)
    if scanner.next() == 0x7d {
      try scanner.expect(0x7d)
      return -1
    }
    while true {
      _ = scanner.next()
      let name = try scanner.text()
      try scanner.expect(0x3a)
      let field = unsafe find(name, scanner, scratch: text + used, expected: expected)
      if field < 0 {
        try scanner.skip(depth: 1)
      } else if cells[field].kind != UInt8(MR_CELL_ABSENT) {
        if twice < 0 { twice = field }
        try scanner.skip(depth: 1)
      } else {
        expected = field + 1
        try unsafe readValue(&scanner, into: field, text: text, used: &used)
      }
      if scanner.next() == 0x2c {
        scanner.at += 1
        continue
      }
      try scanner.expect(0x7d)
      return twice
    }
  }

  /// Field of this name, or -1. Members mostly come in the order of the declaration, so `expected` goes first.
  private func find(
    _ name: JSONScanner.Text, _ scanner: JSONScanner, scratch: UnsafeMutablePointer<UInt8>, expected: Int
  ) -> Int {
    var bytes = unsafe scanner.raw(name)
    if name.isEscaped {
      // SAFETY: the text arena has room for the rest of the payload, of which the name is a part.
      let length = unsafe scanner.unescape(name, to: scratch)
      unsafe bytes = UnsafeBufferPointer(start: UnsafePointer(scratch), count: length)
    }
    if expected < cells.count, unsafe isName(expected, bytes) { return expected }
    for field in 0..<cells.count where unsafe isName(field, bytes) { return field }
    return -1
  }

  private func isName(_ field: Int, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    let start = nameStarts[field]
    guard nameStarts[field + 1] - start == bytes.count else { return false }
    // SAFETY: `index` stays below the common length.
    for index in 0..<bytes.count where unsafe names[start + index] != bytes[index] { return false }
    return true
  }

  private func readValue(
    _ scanner: inout JSONScanner, into field: Int, text: UnsafeMutablePointer<UInt8>, used: inout Int
  ) throws(JSONError) {
    var cell = mr_cell()
    switch scanner.next() {
    case 0x22:
      let value = try scanner.text()
      // SAFETY: the arena has room for the rest of the payload; nothing is kept of what is too long.
      let length = unsafe scanner.unescape(value, to: text + used)
      if length > Self.textBytesMax {
        cell.kind = UInt8(MR_CELL_LONG_TEXT)
      } else {
        cell.kind = UInt8(MR_CELL_TEXT)
        cell.text_start = Int32(used)
        cell.text_length = Int32(length)
        used += length
      }
    case 0x7b, 0x5b:
      try scanner.skip(depth: 1)
      cell.kind = UInt8(MR_CELL_CONTAINER)
    case 0x2d, 0x30...0x39:
      switch try scanner.number() {
      case .integer(let value):
        cell.kind = UInt8(MR_CELL_INTEGER)
        cell.integer = value
      case .big(let value):
        cell.kind = UInt8(MR_CELL_BIG_INTEGER)
        cell.number = value
      case .double(let value):
        cell.kind = UInt8(MR_CELL_DOUBLE)
        cell.number = value
      }
    default:
      switch try scanner.literal() {
      case 0x74: cell.kind = UInt8(MR_CELL_TRUE)
      case 0x66: cell.kind = UInt8(MR_CELL_FALSE)
      default: cell.kind = UInt8(MR_CELL_NULL)
      }
    }
    cells[field] = cell
  }
}
