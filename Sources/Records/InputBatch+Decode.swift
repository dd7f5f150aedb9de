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
    while decodedCount < count {
      let record = decodedCount
      decodedCount += 1
      idHashes[record] = 0
      faultFields[record] = -1
      eventTimes[record] = timestamps[record]
      // A reason that is there already is `append`'s: no bytes, or too many.
      guard reasons[record] == 0 else {
        reject(record, nil, -1)
        continue
      }
      let length = Int(payloadLengths[record])
      // Room for every text of the payload; unescaping never lengthens.
      reserveText(length)
      let before = textUsed
      var used = textUsed
      let verdict = unsafe arena.withElements { arena in
        unsafe text.withElements { text in
          // SAFETY: `append` put the payload there, with padding behind the last record.
          let payload = unsafe UnsafeBufferPointer(
            start: UnsafePointer(arena.baseAddress! + Int(payloadStarts[record])), count: length)
          return plainly
            ? unsafe decoder.decodePlainly(payload, text: text.baseAddress!, used: &used)
            : unsafe decoder.decode(payload, text: text.baseAddress!, used: &used)
        }
      }
      textUsed = used
      if case .rejected(let reason, let field) = verdict {
        textUsed = before
        reject(record, reason, field)
      } else if let fault = interpret(record) {
        textUsed = before
        reject(record, fault.reason, fault.field)
      }
    }
  }

  private func reject(_ record: Int, _ reason: DeadLetterReason?, _ field: Int) {
    if let reason { reasons[record] = reason.rawValue }
    faultFields[record] = Int32(field)
    idHashes[record] = 0
    eventTimes[record] = timestamps[record]
    for field in 0..<schema.fields.count {
      let cell = field * Self.capacity + record
      presence[cell] = Presence.absent.rawValue
      numbers[cell] = 0
      hashes[cell] = 0
      textStarts[cell] = 0
      textLengths[cell] = 0
    }
  }

  /// Writes one record's cells into the columns.
  private func interpret(_ record: Int) -> (reason: DeadLetterReason, field: Int)? {
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
      if let reason = write(cell, declared, at: place) { return (reason, field) }
      presence[place] = Presence.present.rawValue
    }
    if plan.idField >= 0 {
      let place = plan.idField * Self.capacity + record
      guard textLengths[place] > 0 else { return (.missingID, plan.idField) }
      idHashes[record] = hashes[place]
    }
    if plan.keyField >= 0, keyLengths[record] >= 0, !keyMatches(plan.keyField, record) {
      return (.keyMismatch, plan.keyField)
    }
    return checkTime(record, plan.eventTimeField)
  }

  /// One value into its column; the reason if it cannot be one of the declared type.
  @inline(__always)
  private func write(
    _ cell: mr_cell, _ declared: RecordDecoder.FieldPlan, at place: Int
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
      if declared.isText { writeDecimal(cell.integer, at: place) }
    case .boolean:
      guard kind == UInt8(MR_CELL_TRUE) || kind == UInt8(MR_CELL_FALSE) else { return .wrongType }
      numbers[place] = kind == UInt8(MR_CELL_TRUE) ? 1 : 0
    case .string:
      guard kind == UInt8(MR_CELL_TEXT) else {
        return kind == UInt8(MR_CELL_LONG_TEXT) ? .textTooLong : .wrongType
      }
      textStarts[place] = cell.text_start
      textLengths[place] = cell.text_length
      unsafe hashes[place] = Hash64.hash(RawSpan(_unsafeBytes: textBytes(cell)))
    case .time:
      return writeTime(cell, declared.timeUnit, at: place)
    }
    return nil
  }

  private func textBytes(_ cell: mr_cell) -> UnsafeRawBufferPointer {
    unsafe text.withElements { text in
      // SAFETY: the decoder has put the text there.
      unsafe UnsafeRawBufferPointer(
        start: text.baseAddress! + Int(cell.text_start), count: Int(cell.text_length))
    }
  }

  private func writeTime(_ cell: mr_cell, _ unit: TimeUnit, at place: Int) -> DeadLetterReason? {
    let milliseconds: Int64
    switch (unit, Int32(cell.kind)) {
    case (.rfc3339, Int32(MR_CELL_TEXT)):
      guard let parsed = unsafe RFC3339.parse(textBytes(cell)) else { return .badTime }
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
  private func writeDecimal(_ value: Int64, at place: Int) {
    var rest = value.magnitude
    var digits = 1
    while rest >= 10 {
      rest /= 10
      digits += 1
    }
    let length = digits + (value < 0 ? 1 : 0)
    rest = value.magnitude
    let start = textUsed
    for index in stride(from: start + length - 1, through: start + length - digits, by: -1) {
      text[index] = 48 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    if value < 0 { text[start] = 0x2d }
    textStarts[place] = Int32(start)
    textLengths[place] = Int32(length)
    textUsed += length
    let bytes = unsafe text.withElements { text in
      // SAFETY: just written.
      unsafe UnsafeRawBufferPointer(start: text.baseAddress! + start, count: length)
    }
    unsafe hashes[place] = Hash64.hash(RawSpan(_unsafeBytes: bytes))
  }

  private func keyMatches(_ field: Int, _ record: Int) -> Bool {
    let place = field * Self.capacity + record
    guard presence[place] == Presence.present.rawValue, textLengths[place] == keyLengths[record] else {
      return false
    }
    let textStart = Int(textStarts[place])
    let keyStart = Int(keyStarts[record])
    for index in 0..<Int(keyLengths[record]) where text[textStart + index] != arena[keyStart + index] {
      return false
    }
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
