/// Bytes in, and bytes lent out again.
extension InputBatch {
  /// Payloads larger than this are oversized whatever the schema says, so that 32 of them fit 32-bit places.
  static let recordBytesLimit = 1 << 25
  /// A key that is kept even of an oversized record.
  static let keptKeyBytesMax = 4096

  /// Adds one record, copying its bytes. The batch must not be full.
  ///
  /// - Parameters:
  ///   - payload: empty for a tombstone, which is a dead letter here.
  ///   - key: nil where the record has none.
  ///   - headers: an encoded block, passed on as it is; empty for none.
  ///   - offset: as Kafka counts.
  ///   - timestamp: Kafka's, in milliseconds; negative where the record has none: then nothing guards its event
  ///     time against the future, and an input without an event time field rejects it.
  public func append(
    payload: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer?, headers: UnsafeRawBufferPointer,
    offset: Int64, timestamp: Int64
  ) {
    precondition(!isFull, "the batch is full")
    let record = count
    let keyCount = unsafe key?.count ?? 0
    let isOversized =
      payload.count > payloadBytesMax
      || keyCount + headers.count > Self.recordBytesLimit
    // Why dropped: an oversized record is a dead letter by reference, so its bytes need not be held.
    let payloadCount = isOversized ? 0 : payload.count
    let headerCount = isOversized ? 0 : headers.count
    let keptKeyCount = isOversized && keyCount > Self.keptKeyBytesMax ? 0 : keyCount
    let start = arenaUsed
    let end = start + payloadCount + 1 + keptKeyCount + headerCount
    reserveArena(end)
    offsets[record] = offset
    timestamps[record] = timestamp
    reasons[record] =
      isOversized
      ? DeadLetterReason.oversized.rawValue
      : payloadCount == 0 ? DeadLetterReason.emptyPayload.rawValue : 0
    receivedLengths[record] = Int32(clamping: payload.count)
    payloadStarts[record] = Int32(start)
    payloadLengths[record] = Int32(payloadCount)
    keyStarts[record] = Int32(start + payloadCount + 1)
    keyLengths[record] = unsafe key == nil ? -1 : Int32(keptKeyCount)
    headerStarts[record] = Int32(end - headerCount)
    headerLengths[record] = Int32(headerCount)
    unsafe arena.withElements { arena in
      // SAFETY: `reserveArena` has made room up to `end`; each count is at most that of its source.
      let base = unsafe UnsafeMutableRawPointer(arena.baseAddress!) + start
      if payloadCount > 0 { unsafe base.copyMemory(from: payload.baseAddress!, byteCount: payloadCount) }
      unsafe base.storeBytes(of: 0, toByteOffset: payloadCount, as: UInt8.self)
      if keptKeyCount > 0, let source = unsafe key?.baseAddress {
        unsafe (base + payloadCount + 1).copyMemory(from: source, byteCount: keptKeyCount)
      }
      if headerCount > 0 {
        unsafe (base + payloadCount + 1 + keptKeyCount).copyMemory(
          from: headers.baseAddress!, byteCount: headerCount)
      }
    }
    arenaUsed = end
    count = record + 1
  }

  /// The same from arrays, for files and tests.
  public func append(
    payload: [UInt8], key: [UInt8]? = nil, headers: [UInt8] = [], offset: Int64, timestamp: Int64
  ) {
    // SAFETY: every buffer is lent for the whole call.
    unsafe payload.withUnsafeBytes { payload in
      unsafe headers.withUnsafeBytes { headers in
        if let key {
          unsafe key.withUnsafeBytes { key in
            unsafe append(payload: payload, key: key, headers: headers, offset: offset, timestamp: timestamp)
          }
        } else {
          unsafe append(payload: payload, key: nil, headers: headers, offset: offset, timestamp: timestamp)
        }
      }
    }
  }

  // MARK: Lending

  /// The payload as it came; empty if it was empty or oversized.
  public func withPayload<R, E: Error>(
    _ record: Int, _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe lend(payloadStarts[checked(record)], payloadLengths[record], body)
  }

  /// The message key; nil where the record has none.
  public func withKey<R, E: Error>(
    _ record: Int, _ body: (UnsafeRawBufferPointer?) throws(E) -> R
  ) throws(E) -> R {
    guard keyLengths[checked(record)] >= 0 else { return try body(nil) }
    return try unsafe lend(keyStarts[record], keyLengths[record], body)
  }

  /// The encoded header block as it was given.
  public func withHeaders<R, E: Error>(
    _ record: Int, _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    try unsafe lend(headerStarts[checked(record)], headerLengths[record], body)
  }

  /// Text of a string field, or of an integer field that is id or key; empty where there is no value.
  public func withText<R, E: Error>(
    _ field: Int, _ record: Int, _ body: (RawSpan) throws(E) -> R
  ) throws(E) -> R {
    let cell = field * Self.capacity + checked(record)
    let isPresent = presence[cell] == Presence.present.rawValue
    let start = isPresent ? Int(textStarts[cell]) : 0
    let length = isPresent ? Int(textLengths[cell]) : 0
    precondition(start >= 0 && length >= 0 && start + length <= text.count, "text out of place")
    let base = unsafe text.withElements { UnsafeRawPointer($0.baseAddress!) }
    // SAFETY: the range was checked, and the arena lives as long as `self`; `body` cannot append to it without
    // breaking the rule that a batch belongs to one user at a time.
    return try unsafe body(
      RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: base + start, count: length)))
  }

  /// Text of the event id; empty for a rejected record, or where the input declares none.
  public func withID<R, E: Error>(_ record: Int, _ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    guard let field = schema.idField else {
      return try unsafe body(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: nil, count: 0)))
    }
    return try withText(field, record, body)
  }

  /// What is wrong with a rejected record, for the dead letter's header; empty for a usable one.
  public func faultMessage(_ record: Int) -> String {
    guard let reason = DeadLetterReason(rawValue: reasons[checked(record)]) else { return "" }
    var message = reason.code
    let field = Int(faultFields[record])
    if schema.fields.indices.contains(field) {
      let declaration = schema.fields[field]
      message += " field=\(declaration.name) type=\(declaration.type)"
    }
    if reason == .oversized {
      message += " bytes=\(receivedLengths[record]) max=\(payloadBytesMax)"
    }
    return message
  }

  // MARK: Helpers

  private func checked(_ record: Int) -> Int {
    precondition(record >= 0 && record < count, "no such record")
    return record
  }

  private func lend<R, E: Error>(
    _ start: Int32, _ length: Int32, _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    let base = unsafe arena.withElements { UnsafeRawPointer($0.baseAddress!) }
    // SAFETY: `append` wrote this range of the arena, which lives as long as `self`.
    return try unsafe body(UnsafeRawBufferPointer(start: base + Int(start), count: Int(length)))
  }

  /// Room for bytes up to `end`, and the parser's padding.
  private func reserveArena(_ end: Int) {
    let needed = end + RecordDecoder.padding
    guard needed > arena.count else { return }
    let larger = FixedBuffer<UInt8>(repeating: 0, count: max(needed, arena.count * 2))
    larger.copy(from: arena, at: 0, to: 0, count: arenaUsed)
    arena = larger
  }

  /// Room for `more` bytes of text behind `textUsed`.
  func reserveText(_ more: Int) {
    let needed = textUsed + more
    guard needed > text.count else { return }
    let larger = FixedBuffer<UInt8>(repeating: 0, count: max(needed, text.count * 2))
    larger.copy(from: text, at: 0, to: 0, count: textUsed)
    text = larger
  }
}
