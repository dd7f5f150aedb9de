import Records

// One window's state:
//   late, clamped, refused: varints
//   key count varint; keys ascending: key u64, pane count varint (at least 1), panes newest first:
//     distance varint (from M for the first, else from the pane before, at least 1)
//     count varint (1 … 2^32-1)
//     sum, signed varint                          where kept, as all that follow
//     squares: low u64, high u64
//     minimum, maximum: signed varints
//     last: time in the pane varint, offset i64, value signed varint
// Only panes above M - paneCount that hold a record are written: what a reader could still see.

extension WindowStore {
  mutating func clear() {
    table.removeAll()
    newest = .min
    expiryNotBefore = .max
    late = 0
    clamped = 0
    refused = 0
  }

  mutating func encode(into writer: inout ByteWriter) {
    writer.writeVarint(late)
    writer.writeVarint(clamped)
    writer.writeVarint(refused)
    guard newest != .min else {
      writer.writeVarint(0)
      return
    }
    let limit = newest - paneCount
    let keys = table.sortedKeys(above: limit)
    writer.writeVarint(UInt64(keys.count))
    for key in keys {
      // SAFETY: the key is in the table; see `WindowStore` for places within the block.
      guard let block = unsafe table.find(key) else { preconditionFailure("a key has no block") }
      let head = unsafe block.load(fromByteOffset: 8, as: Int64.self)
      var panes: [Int64] = []
      for pane in stride(from: head, to: max(limit, head - paneCount), by: -1) {
        let place = unsafe self.pane(block, ringSlot(pane))
        if unsafe place.loadUnaligned(as: UInt32.self) > 0 { panes.append(pane) }
      }
      writer.write(key)
      writer.writeVarint(UInt64(panes.count))
      var before = newest
      for pane in panes {
        writer.writeVarint(UInt64(before - pane))
        before = pane
        unsafe encode(self.pane(block, ringSlot(pane)), into: &writer)
      }
    }
  }

  private mutating func encode(_ pane: UnsafeMutableRawPointer, into writer: inout ByteWriter) {
    // SAFETY: offsets come from the layout of this very pane.
    writer.writeVarint(UInt64(unsafe pane.loadUnaligned(as: UInt32.self)))
    if sumAt >= 0 {
      writer.writeSignedVarint(unsafe pane.loadUnaligned(fromByteOffset: sumAt, as: Int64.self))
    }
    if squaresAt >= 0 {
      let squares = unsafe pane.loadUnaligned(fromByteOffset: squaresAt, as: UInt128.self)
      writer.write(UInt64(truncatingIfNeeded: squares))
      writer.write(UInt64(truncatingIfNeeded: squares >> 64))
    }
    for at in [minimumAt, maximumAt] where at >= 0 {
      writer.writeSignedVarint(Int64(unsafe pane.loadUnaligned(fromByteOffset: at, as: Int32.self)))
    }
    if lastTimeAt >= 0 {
      writer.writeVarint(UInt64(unsafe pane.loadUnaligned(fromByteOffset: lastTimeAt, as: UInt32.self)))
      writer.write(unsafe pane.loadUnaligned(fromByteOffset: lastOffsetAt, as: Int64.self))
      writer.writeSignedVarint(
        Int64(unsafe pane.loadUnaligned(fromByteOffset: lastValueAt, as: Int32.self)))
    }
  }

  /// Reads what `encode` wrote into an empty store. `newestTime` is the input's largest event time.
  mutating func restore(
    from reader: inout ByteReader, newestTime: Int64?
  ) throws(FormatError) {
    late = try reader.readVarint("late")
    clamped = try reader.readVarint("clamped")
    refused = try reader.readVarint("refused")
    newest = newestTime.map { Calendar.floorDivide($0, paneMilliseconds) } ?? .min
    let at = reader.position
    let count = try reader.readCount(itemBytes: 11, "keys")
    guard count <= keysMax, count == 0 || newest != .min else {
      throw FormatError(.invalidValue, at: at, field: "keys")
    }
    var before: UInt64 = 0
    for _ in 0..<count {
      let at = reader.position
      let key = try reader.read(UInt64.self, "key")
      guard key > before else { throw FormatError(.invalidValue, at: at, field: "key") }
      before = key
      let panes = try reader.readCount(itemBytes: 2, "panes")
      guard panes > 0 else { throw FormatError(.invalidValue, at: at, field: "panes") }
      var pane = newest
      var head = newest
      var block: UnsafeMutableRawPointer? = nil
      for index in 0..<panes {
        let at = reader.position
        let distance = try reader.readVarint("distance")
        guard distance < UInt64(paneCount), index == 0 || distance > 0 else {
          throw FormatError(.invalidValue, at: at, field: "distance")
        }
        pane -= Int64(distance)
        guard pane > newest - paneCount else {
          throw FormatError(.invalidValue, at: at, field: "distance")
        }
        if index == 0 {
          head = pane
          unsafe block = table.insert(key, stamp: head)
          expiryNotBefore = min(expiryNotBefore, head + paneCount)
        }
        try unsafe decode(&reader, into: self.pane(block!, ringSlot(pane)))
      }
      unsafe total(block!, head: head)
    }
  }

  private mutating func decode(
    _ reader: inout ByteReader, into pane: UnsafeMutableRawPointer
  ) throws(FormatError) {
    let at = reader.position
    func check(_ holds: Bool, _ field: StaticString) throws(FormatError) {
      guard holds else { throw FormatError(.invalidValue, at: at, field: field) }
    }
    func steps(_ value: Int64) -> Bool { value.magnitude <= UInt64(FixedPoint.stepsMax) }
    // SAFETY: offsets come from the layout of this very pane.
    let count = try reader.readVarint("count")
    try check(count > 0 && count <= UInt64(UInt32.max), "count")
    unsafe pane.storeBytes(of: UInt32(count), as: UInt32.self)
    if sumAt >= 0 {
      let sum = try reader.readSignedVarint("sum")
      try check(sum.magnitude <= count << 30, "sum")
      unsafe pane.storeBytes(of: sum, toByteOffset: sumAt, as: Int64.self)
      if squaresAt >= 0 {
        let low = try reader.read(UInt64.self, "squares")
        let high = try reader.read(UInt64.self, "squares")
        let squares = UInt128(high) << 64 | UInt128(low)
        let square = UInt128(sum.magnitude) * UInt128(sum.magnitude)
        try check(
          squares <= UInt128(count) << 60 && UInt128(count) * squares >= square, "squares")
        unsafe pane.storeBytes(of: squares, toByteOffset: squaresAt, as: UInt128.self)
      }
    }
    var lowest = Int64.min
    if minimumAt >= 0 {
      lowest = try reader.readSignedVarint("minimum")
      try check(steps(lowest), "minimum")
      unsafe pane.storeBytes(of: Int32(lowest), toByteOffset: minimumAt, as: Int32.self)
    }
    if maximumAt >= 0 {
      let highest = try reader.readSignedVarint("maximum")
      try check(steps(highest) && highest >= lowest, "maximum")
      unsafe pane.storeBytes(of: Int32(highest), toByteOffset: maximumAt, as: Int32.self)
    }
    if lastTimeAt >= 0 {
      let time = try reader.readVarint("last time")
      try check(time < UInt64(paneMilliseconds), "last time")
      let offset = try reader.read(Int64.self, "last offset")
      let value = try reader.readSignedVarint("last value")
      try check(steps(value), "last value")
      unsafe pane.storeBytes(of: UInt32(time), toByteOffset: lastTimeAt, as: UInt32.self)
      unsafe pane.storeBytes(of: offset, toByteOffset: lastOffsetAt, as: Int64.self)
      unsafe pane.storeBytes(of: Int32(value), toByteOffset: lastValueAt, as: Int32.self)
    }
  }
}
