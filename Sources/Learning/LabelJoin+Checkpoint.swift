import Records

// State of a label join, little-endian, version 1:
//
//     magic u32 "MLLJ"; version u8 = 1
//     shape: numbers, categories, columns, contenders (varint each); horizon i64
//     labels' watermark i64; 12 counters (varint each, in the order of `JoinCounters`)
//     entries: varint count; in order of (event time, offset):
//         id (varint length, bytes); event time i64; offset i64; version (2 varints);
//         settled u8; value u32 if settled; packed row u32 each
//     labels that wait: varint count; in order of (known at, offset):
//         id (varint length, bytes); known at i64; offset i64; value u32
//
// One state has one encoding: tables, pages and free lists leave no trace.

extension LabelJoin {
  private static let magic: UInt32 = 0x4a4c_4c4d  // "MLLJ"

  /// Appends the state. No event may be between `admit` and `store`.
  public func encode(into writer: inout ByteWriter) {
    precondition(admittedCount == 0, "events are being scored")
    writer.write(Self.magic)
    writer.write(UInt8(1))
    for count in shape { writer.writeVarint(UInt64(count)) }
    writer.write(settings.horizonMilliseconds)
    writer.write(labelWatermark.milliseconds)
    for counter in counters.all { writer.writeVarint(counter) }

    let order = sorted(expiry)
    writer.bytes.reserveCapacity(
      writer.count + order.count * (48 + 4 * layout.wordCount))
    writer.writeVarint(UInt64(order.count))
    for node in order {
      let page = entries.page(node.item)
      let at = entries.start(node.item)
      appendID(page, at, to: &writer)
      writer.write(node.time)
      writer.write(node.offset)
      writer.write(version(page, at))
      let isSettled = page.words[at + Word.state] == State.settled.rawValue
      writer.write(isSettled)
      if isSettled { writer.write(page.words[at + Word.value]) }
      for word in 0..<layout.wordCount { writer.write(page.words[at + Word.row + word]) }
    }
    let early = sorted(labelExpiry)
    writer.writeVarint(UInt64(early.count))
    for node in early {
      let page = labels.page(node.item)
      let at = labels.start(node.item)
      let entry = page.words[at + LabelWord.entry]
      appendID(entries.page(entry), entries.start(entry), to: &writer)
      writer.write(node.time)
      writer.write(node.offset)
      writer.write(page.words[at + LabelWord.value])
    }
  }

  /// Replaces the state by one that `encode` wrote for the same row, contenders and horizon.
  ///
  /// Errors:   `FormatError` for anything else; the join is then empty.
  public func restore(from reader: inout ByteReader) throws(FormatError) {
    removeAll()
    do {
      try read(&reader)
    } catch {
      removeAll()
      throw error
    }
  }

  private func read(_ reader: inout ByteReader) throws(FormatError) {
    guard try reader.read(UInt32.self, "magic") == Self.magic else {
      throw FormatError(.badMagic, at: reader.position - 4, field: "magic")
    }
    guard try reader.read(UInt8.self, "version") == 1 else {
      throw FormatError(.unsupportedVersion, at: reader.position - 1, field: "version")
    }
    var at = reader.position
    for count in shape {
      guard try reader.readVarint("shape") == UInt64(count) else {
        throw FormatError(.invalidValue, at: at, field: "shape")
      }
    }
    at = reader.position
    guard try reader.read(Int64.self, "horizon") == settings.horizonMilliseconds else {
      throw FormatError(.invalidValue, at: at, field: "horizon")
    }
    labelWatermark = EventTime(milliseconds: try reader.read(Int64.self, "watermark"))
    var values: [UInt64] = []
    for _ in 0..<JoinCounters.count { values.append(try reader.readVarint("counters")) }
    counters = JoinCounters(values)

    var previous: (Int64, Int64)?
    for _ in 0..<(try reader.readCount(itemBytes: 20 + 4 * layout.wordCount, "entries")) {
      at = reader.position
      let id = try reader.readSized("id")
      let time = try reader.read(Int64.self, "event time")
      let offset = try reader.read(Int64.self, "offset")
      if let before = previous, !(before < (time, offset)) {
        throw FormatError(.invalidValue, at: at, field: "order of entries")
      }
      previous = (time, offset)
      let version = try reader.readVersion("version")
      let isSettled = try reader.readBool("settled")
      let value = isSettled ? try reader.read(UInt32.self, "value") : 0
      guard find(id) == SlotPages.none else {
        throw FormatError(.invalidValue, at: at, field: "id twice")
      }
      let slot = makeEntry(id)
      let page = entries.page(slot)
      let start = entries.start(slot)
      page.words.setWide(start + Word.eventTime, time)
      page.words.setWide(start + Word.offset, offset)
      page.words[start + Word.lineage] = version.lineage.value
      page.words.setWide(start + Word.sequence, Int64(bitPattern: version.sequence.value))
      page.words[start + Word.state] = (isSettled ? State.settled : .waiting).rawValue
      page.words[start + Word.value] = value
      for word in 0..<layout.wordCount {
        page.words[start + Word.row + word] = try reader.read(UInt32.self, "row")
      }
      if isSettled { settledCount += 1 } else { waitingCount += 1 }
      expiry.add(time: time, offset: offset, item: slot)
    }
    try readLabels(&reader)
  }

  private func readLabels(_ reader: inout ByteReader) throws(FormatError) {
    struct Early {
      var id: [UInt8]
      var knownAt: Int64
      var offset: Int64
      var value: Float
    }
    var early: [Early] = []
    var previous: (Int64, Int64)?
    for _ in 0..<(try reader.readCount(itemBytes: 21, "labels")) {
      let at = reader.position
      let label = Early(
        id: try reader.readSized("id"), knownAt: try reader.read(Int64.self, "known at"),
        offset: try reader.read(Int64.self, "offset"), value: try reader.readFloat("value"))
      if let before = previous, !(before < (label.knownAt, label.offset)) {
        throw FormatError(.invalidValue, at: at, field: "order of labels")
      }
      previous = (label.knownAt, label.offset)
      early.append(label)
    }
    // Under one id labels stand in the order in which they came, which is that of their offsets.
    early.sort { $0.offset < $1.offset }
    for label in early {
      let found = find(label.id)
      if found != SlotPages.none,
        entries.page(found).words[entries.start(found) + Word.state] != State.early.rawValue
      {
        throw FormatError(.invalidValue, at: reader.position, field: "label of a known event")
      }
      let entry = found != SlotPages.none ? found : makeEntry(label.id)
      _ = keep(entry, value: label.value, knownAt: label.knownAt, offset: label.offset)
    }
  }

  private func find(_ id: [UInt8]) -> UInt32 {
    // SAFETY: the bytes of an array of bytes, lent for the calls.
    unsafe find(Hash64.hash(id.span.bytes), id.span.bytes)
  }

  private func makeEntry(_ id: [UInt8]) -> UInt32 {
    // SAFETY: as above.
    unsafe makeEntry(Hash64.hash(id.span.bytes), id.span.bytes)
  }

  private var shape: [Int] {
    [layout.numberCount, layout.categoryCount, layout.columnCount, layout.contenderCount]
  }

  private func appendID(_ page: SlotPages.Page, _ at: Int, to writer: inout ByteWriter) {
    texts.append(
      page.words[at + Word.text], length: Int(page.words[at + Word.textLength]), to: &writer)
  }

  private func sorted(_ heap: TimeHeap) -> [TimeHeap.Node] {
    var nodes: [TimeHeap.Node] = []
    nodes.reserveCapacity(heap.count)
    heap.forEach { nodes.append($0) }
    nodes.sort { $0.isBefore($1) }
    return nodes
  }

  private func removeAll() {
    entries.removeAll()
    labels.removeAll()
    texts.removeAll()
    expiry.removeAll()
    labelExpiry.removeAll()
    table.removeAll()
    counters = JoinCounters()
    labelWatermark = EventTime(milliseconds: .min)
    waitingCount = 0
    settledCount = 0
    admittedCount = 0
  }
}

extension JoinCounters {
  static let count = 12
  /// In the order of declaration.
  var all: [UInt64] {
    [
      events, duplicateEvents, abandonedEvents, expired, negatives, forgotten, labels, joined,
      corrections, duplicates, late, orphans,
    ]
  }
  init(_ values: [UInt64]) {
    precondition(values.count == Self.count)
    (events, duplicateEvents, abandonedEvents) = (values[0], values[1], values[2])
    (expired, negatives, forgotten) = (values[3], values[4], values[5])
    (labels, joined, corrections) = (values[6], values[7], values[8])
    (duplicates, late, orphans) = (values[9], values[10], values[11])
  }
}
