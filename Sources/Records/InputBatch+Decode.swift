internal import CSimdJSON

/// From cells to columns: what a value means for the type that its field declares.
///
/// number:   any JSON number; negative zero becomes zero.
/// integer:  a number written without fraction and exponent (`1e3` and `1.0` are of the wrong type), within ±2^53.
/// boolean:  `true` or `false`.
/// string:   at most 1024 bytes of UTF-8 when unescaped.
/// time:     `rfc3339`: text as `RFC3339` reads it; else a number of the unit: integers rounded down to the
///           millisecond, numbers with fraction or exponent to the nearest; within ±8.64e15 ms.
/// Order:    the first fault counts: syntax, a field given twice, then the fields in the order of their
///           declaration, a missing id before all others; then key, then time.
extension InputBatch {
  /// Decodes the records appended since the last call.
  public func decode() { decode(plainly: false) }

  func decode(plainly: Bool) {
    let first = decodedCount
    let last = count
    guard first < last else { return }
    // Room for every text of the payloads; unescaping never lengthens, nor does the decimal of an integer.
    var more = 0
    for record in first..<last { more += Int(payloadLengths[record]) }
    reserveText(more)
    // Why lent once: reaching a variable of a class costs a run-time check each time.
    var used = textUsed
    unsafe arena.withElements { arena in
      unsafe text.withElements { text in
        // SAFETY: both arenas are borrowed for the whole loop and never empty.
        let bytes = unsafe Arenas(payload: UnsafePointer(arena.baseAddress!), text: text.baseAddress!)
        for record in first..<last { unsafe decode(record, bytes, plainly, &used) }
      }
    }
    textUsed = used
    decodedCount = last
  }

  /// Where the bytes of this batch lie while it decodes.
  ///
  /// SAFETY: `payload` holds what `append` wrote, and padding; `text` has room for the payloads' bytes.
  @unsafe private struct Arenas {
    let payload: UnsafePointer<UInt8>
    let text: UnsafeMutablePointer<UInt8>

    func text(_ start: Int32, _ length: Int32) -> UnsafeRawBufferPointer {
      unsafe UnsafeRawBufferPointer(start: text + Int(start), count: Int(length))
    }
  }

  private func decode(_ record: Int, _ bytes: Arenas, _ plainly: Bool, _ used: inout Int) {
    idHashes[record] = 0
    faultFields[record] = -1
    eventTimes[record] = timestamps[record]
    // A reason that is there already is `append`'s: no bytes, or too many.
    guard reasons[record] == 0 else { return reject(record, nil, -1) }
    let before = used
    // SAFETY: `append` put the payload there.
    let payload = unsafe UnsafeBufferPointer(
      start: bytes.payload + Int(payloadStarts[record]), count: Int(payloadLengths[record]))
    let verdict =
      plainly
      ? unsafe decoder.decodePlainly(payload, text: bytes.text, used: &used)
      : unsafe decoder.decode(payload, text: bytes.text, used: &used)
    if case .rejected(let reason, let field) = verdict {
      used = before
      reject(record, reason, field)
    } else if let fault = unsafe interpret(record, bytes, &used) {
      used = before
      reject(record, fault.reason, fault.field)
    }
  }

  private func reject(_ record: Int, _ reason: DeadLetterReason?, _ field: Int) {
    if let reason { reasons[record] = reason.rawValue }
    faultFields[record] = Int32(field)
    idHashes[record] = 0
    eventTimes[record] = timestamps[record]
    for field in 0..<decoder.plan.fieldCount {
      let cell = field * Self.capacity + record
      presence[cell] = Presence.absent.rawValue
      numbers[cell] = 0
      hashes[cell] = 0
      textStarts[cell] = 0
      textLengths[cell] = 0
    }
  }

  /// Writes one record's cells into the columns.
  private func interpret(
    _ record: Int, _ bytes: Arenas, _ used: inout Int
  ) -> (reason: DeadLetterReason, field: Int)? {
    let plan = decoder.plan
    if plan.idField >= 0, decoder.cells[plan.idField].kind <= UInt8(MR_CELL_NULL) {
      return (.missingID, plan.idField)
    }
    for field in 0..<plan.fieldCount {
      let cell = decoder.cells[field]
      let declared = decoder.fieldPlans[field]
      let place = field * Self.capacity + record
      if cell.kind <= UInt8(MR_CELL_NULL) {
        if declared.isRequired { return (.missingField, field) }
        presence[place] =
          cell.kind == UInt8(MR_CELL_NULL) ? Presence.null.rawValue : Presence.absent.rawValue
        numbers[place] = 0
        hashes[place] = 0
        textStarts[place] = 0
        textLengths[place] = 0
        continue
      }
      if let reason = unsafe write(cell, declared, at: place, bytes, &used) { return (reason, field) }
      presence[place] = Presence.present.rawValue
    }
    if plan.idField >= 0 {
      let place = plan.idField * Self.capacity + record
      guard textLengths[place] > 0 else { return (.missingID, plan.idField) }
      idHashes[record] = hashes[place]
    }
    if plan.keyField >= 0, keyLengths[record] >= 0, unsafe !keyMatches(plan.keyField, record, bytes) {
      return (.keyMismatch, plan.keyField)
    }
    return checkTime(record, plan.eventTimeField)
  }

  /// One value into its column; the reason if it cannot be one of the declared type.
  @inline(__always)
  private func write(
    _ cell: mr_cell, _ declared: RecordDecoder.FieldPlan, at place: Int, _ bytes: Arenas,
    _ used: inout Int
  ) -> DeadLetterReason? {
    let kind = cell.kind
    switch declared.type {
    case .number:
      if kind == UInt8(MR_CELL_INTEGER) {
        numbers[place] = Double(cell.integer)
      } else if kind == UInt8(MR_CELL_DOUBLE) || kind == UInt8(MR_CELL_BIG_INTEGER) {
        // Adding zero turns negative zero into zero and changes nothing else.
        numbers[place] = cell.number + 0
      } else {
        return .wrongType
      }
    case .integer:
      guard kind == UInt8(MR_CELL_INTEGER) else {
        return kind == UInt8(MR_CELL_BIG_INTEGER) ? .outOfRange : .wrongType
      }
      guard cell.integer.magnitude <= 1 << 53 else { return .outOfRange }
      numbers[place] = Double(cell.integer)
      if declared.isText { unsafe writeDecimal(cell.integer, at: place, bytes, &used) }
    case .boolean:
      guard kind == UInt8(MR_CELL_TRUE) || kind == UInt8(MR_CELL_FALSE) else { return .wrongType }
      numbers[place] = kind == UInt8(MR_CELL_TRUE) ? 1 : 0
    case .string:
      guard kind == UInt8(MR_CELL_TEXT) else {
        return kind == UInt8(MR_CELL_LONG_TEXT) ? .textTooLong : .wrongType
      }
      textStarts[place] = cell.text_start
      textLengths[place] = cell.text_length
      unsafe hashes[place] = Hash64.hash(RawSpan(_unsafeBytes: bytes.text(cell.text_start, cell.text_length)))
    case .time:
      return unsafe writeTime(cell, declared.timeUnit, at: place, bytes)
    }
    return nil
  }

  private func writeTime(
    _ cell: mr_cell, _ unit: TimeUnit, at place: Int, _ bytes: Arenas
  ) -> DeadLetterReason? {
    let milliseconds: Int64
    switch (unit, Int32(cell.kind)) {
    case (.rfc3339, Int32(MR_CELL_TEXT)):
      guard let parsed = unsafe RFC3339.parse(bytes.text(cell.text_start, cell.text_length)) else { return .badTime }
      milliseconds = parsed
    case (.rfc3339, Int32(MR_CELL_LONG_TEXT)): return .badTime
    case (.rfc3339, _): return .wrongType
    case (_, Int32(MR_CELL_INTEGER)):
      let value = cell.integer
      switch unit {
      case .microseconds: milliseconds = value >= 0 ? value / 1000 : (value + 1) / 1000 - 1
      case .seconds:
        guard value.magnitude <= UInt64(RFC3339.millisecondsMax) / 1000 else { return .badTime }
        milliseconds = value * 1000
      default: milliseconds = value
      }
    case (_, Int32(MR_CELL_DOUBLE)):
      let scaled =
        unit == .seconds ? cell.number * 1000 : unit == .microseconds ? cell.number / 1000 : cell.number
      guard abs(scaled) <= Double(RFC3339.millisecondsMax) else { return .badTime }
      milliseconds = Int64(scaled.rounded())
    case (_, Int32(MR_CELL_BIG_INTEGER)): return .badTime
    default: return .wrongType
    }
    guard milliseconds.magnitude <= UInt64(RFC3339.millisecondsMax) else { return .badTime }
    // Exact: 8.64e15 is below 2^53.
    numbers[place] = Double(milliseconds)
    return nil
  }

  /// The canonical decimal of an integer that is id or key; never longer than it was in the payload.
  private func writeDecimal(_ value: Int64, at place: Int, _ bytes: Arenas, _ used: inout Int) {
    var rest = value.magnitude
    var digits = 1
    while rest >= 10 {
      rest /= 10
      digits += 1
    }
    let length = digits + (value < 0 ? 1 : 0)
    rest = value.magnitude
    // SAFETY: the text arena has room for the bytes of the payload, and these are no more than the literal's.
    for index in stride(from: used + length - 1, through: used + length - digits, by: -1) {
      unsafe bytes.text[index] = 48 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    if value < 0 { unsafe bytes.text[used] = 0x2d }
    textStarts[place] = Int32(used)
    textLengths[place] = Int32(length)
    unsafe hashes[place] = Hash64.hash(
      RawSpan(_unsafeBytes: bytes.text(textStarts[place], textLengths[place])))
    used += length
  }

  private func keyMatches(_ field: Int, _ record: Int, _ bytes: Arenas) -> Bool {
    let place = field * Self.capacity + record
    guard presence[place] == Presence.present.rawValue, textLengths[place] == keyLengths[record] else {
      return false
    }
    // SAFETY: `index` stays below the common length.
    let text = unsafe bytes.text + Int(textStarts[place])
    let key = unsafe bytes.payload + Int(keyStarts[record])
    for index in 0..<Int(keyLengths[record]) where unsafe text[index] != key[index] { return false }
    return true
  }

  private func checkTime(_ record: Int, _ field: Int) -> (reason: DeadLetterReason, field: Int)? {
    let timestamp = timestamps[record]
    if field < 0 {
      guard timestamp >= 0, timestamp <= RFC3339.millisecondsMax else { return (.badTime, -1) }
      return nil
    }
    let time = Int64(numbers[field * Self.capacity + record])
    eventTimes[record] = time
    // No overflow: the time is within ±8.64e15 and what is taken from it is not negative.
    if timestamp >= 0, time - timestamp > max(schema.futureMillisecondsMax, 0) {
      return (.futureTime, field)
    }
    return nil
  }
}
