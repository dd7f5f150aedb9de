import Records

/// One number that a window gives to the programs after it.
struct WindowColumn: BitwiseCopyable {
  var aggregate: AggregateCode
  /// First lane of its register in the group's file.
  var to: Int32
}

/// `Aggregate` without text.
enum AggregateCode: UInt8 {
  case count, sum, mean, std, minimum, maximum, last, sinceLast

  init(_ aggregate: Aggregate) {
    switch aggregate {
    case .count: self = .count
    case .sum: self = .sum
    case .mean: self = .mean
    case .std: self = .std
    case .min: self = .minimum
    case .max: self = .maximum
    case .last: self = .last
    case .sinceLast: self = .sinceLast
    }
  }
}

/// The panes of one window declaration over one partition.
///
/// Let M be the pane of the largest event time of the window's input. What is kept is exactly, for
/// every key, the panes above M - paneCount: so the state follows from the *set* of records and
/// not from their order, keys expire by their own input's time, and when a block is really freed is
/// nobody's business. A record below that is late and only counted. Running totals per size make a
/// read cost no more than the panes that have left since the key's newest record; all sums are
/// integers, so totals never drift.
///
/// At `keysMax` keys, a record of a further key is not counted until a key expires (`refused`).
///
/// Cost:     `observe` and `read` do not allocate, except `observe` of a new key, by chunks.
/// Replay:   the same records in the same order give the same state; without late or refused
///           records, any order does.
@safe struct WindowStore: ~Copyable {
  let paneMilliseconds: Int64
  let paneCount: Int64
  let sizes: FixedBuffer<Int64>
  let layout: WindowLayout
  let paneBytes: Int
  let totalBytes: Int
  let panesAt: Int
  let sumAt: Int
  let squaresAt: Int
  let minimumAt: Int
  let maximumAt: Int
  let lastTimeAt: Int
  let lastOffsetAt: Int
  let lastValueAt: Int
  /// Steps to values.
  let resolution: Double
  let keysMax: Int

  /// Columns of size s: `columnStarts[s] ..< columnStarts[s + 1]`.
  let columns: FixedBuffer<WindowColumn>
  let columnStarts: FixedBuffer<Int>
  let needsExtremes: Bool
  let needsScan: Bool

  var table: KeyTable
  /// M; `Int64.min` before the first record.
  var newest = Int64.min
  /// No key can expire while M is below this.
  var expiryNotBefore = Int64.max
  var late: UInt64 = 0
  var clamped: UInt64 = 0
  var refused: UInt64 = 0

  // The pane looked up last: events come nearly in order.
  private var recentPane: Int64 = 0
  private var recentStart: Int64 = 0
  private var recentSlot = 0

  init(plan: WindowPlan, keysMax: Int) {
    layout = plan.layout
    paneMilliseconds = layout.paneMilliseconds
    paneCount = Int64(layout.paneCount)
    paneBytes = layout.paneBytes
    totalBytes = layout.totalBytes
    panesAt = layout.panesAt
    sumAt = layout.sumAt
    squaresAt = layout.squaresAt
    minimumAt = layout.minimumAt
    maximumAt = layout.maximumAt
    lastTimeAt = layout.lastTimeAt
    lastOffsetAt = layout.lastOffsetAt
    lastValueAt = layout.lastValueAt
    resolution = plan.fixedPoint.resolution
    self.keysMax = keysMax
    sizes = FixedBuffer(repeating: 0, count: layout.sizePanes.count)
    columnStarts = FixedBuffer(repeating: 0, count: layout.sizePanes.count + 1)
    columns = FixedBuffer(
      repeating: WindowColumn(aggregate: .count, to: 0), count: plan.columns.count)
    var placed = 0
    for (index, panes) in layout.sizePanes.enumerated() {
      sizes[index] = Int64(panes)
      columnStarts[index] = placed
      for column in plan.columns where column.size == index {
        columns[placed] = WindowColumn(aggregate: AggregateCode(column.aggregate), to: column.to)
        placed += 1
      }
    }
    columnStarts[layout.sizePanes.count] = placed
    needsExtremes = plan.columns.contains { $0.aggregate == .min || $0.aggregate == .max }
    needsScan = needsExtremes
      || plan.columns.contains { $0.aggregate == .last || $0.aggregate == .sinceLast }
    table = KeyTable(blockBytes: layout.blockBytes)
  }

  // MARK: places

  /// The pane of a time and its slot in every ring.
  @inline(__always)
  private mutating func locate(_ time: Int64) -> (pane: Int64, slot: Int) {
    if time >= recentStart, time &- recentStart < paneMilliseconds {
      return (recentPane, recentSlot)
    }
    recentPane = Calendar.floorDivide(time, paneMilliseconds)
    recentStart = recentPane * paneMilliseconds
    recentSlot = ringSlot(recentPane)
    return (recentPane, recentSlot)
  }

  @inline(__always) mutating func ringSlot(_ pane: Int64) -> Int {
    let remainder = pane % paneCount
    return Int(remainder < 0 ? remainder + paneCount : remainder)
  }

  /// The slot of a pane less than a ring away from another.
  @inline(__always)
  private mutating func ringSlot(_ pane: Int64, from known: Int64, _ slot: Int) -> Int {
    let moved = Int64(slot) &+ (pane &- known)
    if moved >= 0, moved < paneCount { return Int(moved) }
    if moved < 0, moved >= -paneCount { return Int(moved &+ paneCount) }
    if moved >= paneCount, moved < 2 &* paneCount { return Int(moved &- paneCount) }
    return ringSlot(pane)
  }

  // Why every helper is `mutating`: a store is some 440 bytes, and a method that only borrows it is
  // handed a copy, twice a read (measured: half of its time). `inout` hands over its address.

  // SAFETY, for all that follows: a block spans `layout.blockBytes`, slots are below `paneCount`,
  // sizes below `sizes.count`, and offsets come from the layout. Fields may be unaligned.

  @inline(__always)
  mutating func pane(_ block: UnsafeMutableRawPointer, _ slot: Int) -> UnsafeMutableRawPointer {
    unsafe block + (panesAt &+ slot &* paneBytes)
  }
  @inline(__always)
  private mutating func total(
    _ block: UnsafeMutableRawPointer, _ size: Int
  ) -> UnsafeMutableRawPointer {
    unsafe block + (WindowLayout.totalsAt &+ size &* totalBytes)
  }

  struct Totals {
    var count: UInt64 = 0
    var sum: Int64 = 0
    var squares: UInt128 = 0
  }

  @inline(__always) private mutating func loadTotals(_ at: UnsafeMutableRawPointer) -> Totals {
    var totals = Totals()
    totals.count = unsafe at.loadUnaligned(as: UInt64.self)
    if sumAt >= 0 { totals.sum = unsafe at.loadUnaligned(fromByteOffset: 8, as: Int64.self) }
    if squaresAt >= 0 {
      totals.squares = unsafe at.loadUnaligned(fromByteOffset: 16, as: UInt128.self)
    }
    return totals
  }
  @inline(__always) private mutating func store(_ totals: Totals, _ at: UnsafeMutableRawPointer) {
    unsafe at.storeBytes(of: totals.count, as: UInt64.self)
    if sumAt >= 0 { unsafe at.storeBytes(of: totals.sum, toByteOffset: 8, as: Int64.self) }
    if squaresAt >= 0 {
      unsafe at.storeBytes(of: totals.squares, toByteOffset: 16, as: UInt128.self)
    }
  }

  @inline(__always)
  private mutating func accumulate(_ totals: inout Totals, _ pane: UnsafeMutableRawPointer) {
    totals.count &+= UInt64(unsafe pane.loadUnaligned(as: UInt32.self))
    if sumAt >= 0 {
      totals.sum &+= unsafe pane.loadUnaligned(fromByteOffset: sumAt, as: Int64.self)
    }
    if squaresAt >= 0 {
      totals.squares &+= unsafe pane.loadUnaligned(fromByteOffset: squaresAt, as: UInt128.self)
    }
  }
  @inline(__always)
  private mutating func remove(_ totals: inout Totals, _ pane: UnsafeMutableRawPointer) {
    totals.count &-= UInt64(unsafe pane.loadUnaligned(as: UInt32.self))
    if sumAt >= 0 {
      totals.sum &-= unsafe pane.loadUnaligned(fromByteOffset: sumAt, as: Int64.self)
    }
    if squaresAt >= 0 {
      totals.squares &-= unsafe pane.loadUnaligned(fromByteOffset: squaresAt, as: UInt128.self)
    }
  }

  /// The totals over panes (after, through], given those over the `size` panes up to `head`,
  /// where after >= head - size: by what left or by what stayed, whichever is less.
  private mutating func totals(
    _ block: UnsafeMutableRawPointer, size: Int, head: Int64, headSlot: Int, after: Int64
  ) -> Totals {
    if after >= head { return Totals() }
    let left = after &- (head &- sizes[size])
    if left <= head &- after {
      var totals = unsafe loadTotals(total(block, size))
      var slot = ringSlot(head &- sizes[size] &+ 1, from: head, headSlot)
      for _ in 0..<left {
        unsafe remove(&totals, pane(block, slot))
        slot = slot &+ 1 == Int(paneCount) ? 0 : slot &+ 1
      }
      return totals
    }
    return unsafe sum(block, after: after, through: head)
  }

  private mutating func sum(
    _ block: UnsafeMutableRawPointer, after: Int64, through: Int64
  ) -> Totals {
    var totals = Totals()
    guard after < through else { return totals }
    var slot = ringSlot(after &+ 1)
    for _ in 0..<(through &- after) {
      unsafe accumulate(&totals, pane(block, slot))
      slot = slot &+ 1 == Int(paneCount) ? 0 : slot &+ 1
    }
    return totals
  }

  /// Sets the running totals from the panes.
  mutating func total(_ block: UnsafeMutableRawPointer, head: Int64) {
    for size in 0..<sizes.count {
      unsafe store(sum(block, after: head &- sizes[size], through: head), total(block, size))
    }
  }

  // MARK: records

  /// Takes a record of the window's input, in offset order.
  ///
  /// Units: `mark` 0: the record only moves time (filtered, no key or no value); 1: counted; 2:
  ///        counted, its value was outside the range. `value` is in steps.
  mutating func observe(
    time: Int64, mark: UInt8, key: UInt64, value: Int32, offset: Int64
  ) {
    let (at, slot) = locate(time)
    if at > newest { newest = at }
    if mark == 0 { return }
    guard at > newest &- paneCount else {
      late &+= 1
      return
    }
    guard let block = unsafe self.block(for: key, at) else {
      refused &+= 1
      return
    }
    if mark == 2 { clamped &+= 1 }
    var head = unsafe block.load(fromByteOffset: 8, as: Int64.self)
    if at > head {
      unsafe turn(block, from: head, to: at, slot)
      head = at
    }
    unsafe add(pane(block, slot), value: value, sinceStart: UInt32(time &- recentStart), offset)
    for size in 0..<sizes.count where at > head &- sizes[size] {
      let place = unsafe total(block, size)
      var totals = unsafe loadTotals(place)
      totals.count &+= 1
      totals.sum &+= Int64(value)
      totals.squares &+= UInt128(truncatingIfNeeded: Int64(value) &* Int64(value))
      unsafe store(totals, place)
    }
  }

  @inline(__always)
  private mutating func block(for key: UInt64, _ at: Int64) -> UnsafeMutableRawPointer? {
    if let found = unsafe table.find(key) { return unsafe found }
    return unsafe makeBlock(key, at)
  }

  private mutating func makeBlock(_ key: UInt64, _ at: Int64) -> UnsafeMutableRawPointer? {
    if newest >= expiryNotBefore {
      let limit = newest - paneCount
      if table.count >= keysMax {
        let oldest = table.sweepAll(through: limit)
        expiryNotBefore = oldest == KeyTable.freeStamp ? .max : oldest + paneCount
      } else {
        // Each new key looks at four old ones: at most a third more blocks than live keys.
        table.sweep(slots: 4, through: limit)
      }
    }
    // Keys that have expired but lie there still are never more than the sweep above finds, so
    // whether a key is refused follows from the records alone.
    if table.count >= keysMax { return nil }
    expiryNotBefore = min(expiryNotBefore, at + paneCount)
    return unsafe table.insert(key, stamp: at)
  }

  /// Moves a key's ring on: totals lose the panes that leave, new panes start empty.
  private mutating func turn(
    _ block: UnsafeMutableRawPointer, from head: Int64, to next: Int64, _ nextSlot: Int
  ) {
    let headSlot = ringSlot(head, from: next, nextSlot)
    for size in 0..<sizes.count {
      let after = next &- sizes[size]
      unsafe store(
        totals(block, size: size, head: head, headSlot: headSlot, after: after),
        total(block, size))
    }
    let steps = min(next &- head, paneCount)
    var slot = nextSlot
    for _ in 0..<steps {
      unsafe pane(block, slot).initializeMemory(as: UInt8.self, repeating: 0, count: paneBytes)
      slot = slot == 0 ? Int(paneCount) &- 1 : slot &- 1
    }
    unsafe block.storeBytes(of: next, toByteOffset: 8, as: Int64.self)
  }

  @inline(__always)
  private mutating func add(
    _ pane: UnsafeMutableRawPointer, value: Int32, sinceStart: UInt32, _ offset: Int64
  ) {
    let count = unsafe pane.loadUnaligned(as: UInt32.self)
    unsafe pane.storeBytes(of: count &+ 1, as: UInt32.self)
    if sumAt >= 0 {
      let sum = unsafe pane.loadUnaligned(fromByteOffset: sumAt, as: Int64.self)
      unsafe pane.storeBytes(of: sum &+ Int64(value), toByteOffset: sumAt, as: Int64.self)
    }
    if squaresAt >= 0 {
      let squares = unsafe pane.loadUnaligned(fromByteOffset: squaresAt, as: UInt128.self)
      let square = UInt128(truncatingIfNeeded: Int64(value) &* Int64(value))
      unsafe pane.storeBytes(of: squares &+ square, toByteOffset: squaresAt, as: UInt128.self)
    }
    if minimumAt >= 0 {
      let known = unsafe pane.loadUnaligned(fromByteOffset: minimumAt, as: Int32.self)
      if count == 0 || value < known {
        unsafe pane.storeBytes(of: value, toByteOffset: minimumAt, as: Int32.self)
      }
    }
    if maximumAt >= 0 {
      let known = unsafe pane.loadUnaligned(fromByteOffset: maximumAt, as: Int32.self)
      if count == 0 || value > known {
        unsafe pane.storeBytes(of: value, toByteOffset: maximumAt, as: Int32.self)
      }
    }
    if lastTimeAt >= 0 {
      let time = unsafe pane.loadUnaligned(fromByteOffset: lastTimeAt, as: UInt32.self)
      let known = unsafe pane.loadUnaligned(fromByteOffset: lastOffsetAt, as: Int64.self)
      if count == 0 || sinceStart > time || (sinceStart == time && offset > known) {
        unsafe pane.storeBytes(of: sinceStart, toByteOffset: lastTimeAt, as: UInt32.self)
        unsafe pane.storeBytes(of: offset, toByteOffset: lastOffsetAt, as: Int64.self)
        unsafe pane.storeBytes(of: value, toByteOffset: lastValueAt, as: Int32.self)
      }
    }
  }

  // MARK: reading

  /// Writes all columns as of `time` into lane `slot` of the group's registers. Key 0: all missing.
  mutating func read(
    key: UInt64, time: Int64, into numbers: borrowing FixedBuffer<Double>, slot lane: Int
  ) {
    if key == 0 {
      for index in 0..<columns.count { numbers[Int(columns[index].to) &+ lane] = .nan }
      return
    }
    let (at, atSlot) = locate(time)
    guard let block = unsafe table.find(key) else {
      for index in 0..<columns.count {
        let column = columns[index]
        let isCounted = column.aggregate == .count || column.aggregate == .sum
        numbers[Int(column.to) &+ lane] = isCounted ? 0 : .nan
      }
      return
    }
    let head = unsafe block.load(fromByteOffset: 8, as: Int64.self)
    let kept = newest &- paneCount
    var scan = PaneScan(at: min(at, head))
    for size in 0..<sizes.count {
      let first = columnStarts[size]
      let end = columnStarts[size &+ 1]
      if first == end { continue }
      let after = max(at &- sizes[size], kept)
      let totals =
        if at >= head {
          unsafe totals(
            block, size: size, head: head, headSlot: ringSlot(head, from: at, atSlot), after: after)
        } else {
          unsafe sum(block, after: after, through: at)
        }
      if needsScan { unsafe self.scan(&scan, block, after: after) }
      for index in first..<end {
        let column = columns[index]
        numbers[Int(column.to) &+ lane] = value(column.aggregate, totals, scan, time)
      }
    }
  }

  /// What a walk from the newest pane back has seen.
  struct PaneScan {
    var at: Int64
    var found = false
    var minimum = Int32.max
    var maximum = Int32.min
    var lastTime: Int64 = 0
    var lastValue: Int32 = 0
  }

  private mutating func scan(
    _ scan: inout PaneScan, _ block: UnsafeMutableRawPointer, after: Int64
  ) {
    guard scan.at > after else { return }
    var slot = ringSlot(scan.at)
    while scan.at > after, needsExtremes || !scan.found {
      let pane = unsafe pane(block, slot)
      if unsafe pane.loadUnaligned(as: UInt32.self) > 0 {
        if !scan.found, lastTimeAt >= 0 {
          let since = unsafe pane.loadUnaligned(fromByteOffset: lastTimeAt, as: UInt32.self)
          scan.lastTime = scan.at &* paneMilliseconds &+ Int64(since)
          scan.lastValue = unsafe pane.loadUnaligned(fromByteOffset: lastValueAt, as: Int32.self)
        }
        if minimumAt >= 0 {
          scan.minimum = min(
            scan.minimum, unsafe pane.loadUnaligned(fromByteOffset: minimumAt, as: Int32.self))
        }
        if maximumAt >= 0 {
          scan.maximum = max(
            scan.maximum, unsafe pane.loadUnaligned(fromByteOffset: maximumAt, as: Int32.self))
        }
        scan.found = true
      }
      scan.at &-= 1
      slot = slot == 0 ? Int(paneCount) &- 1 : slot &- 1
    }
  }

  @inline(__always)
  private mutating func value(
    _ aggregate: AggregateCode, _ totals: Totals, _ scan: PaneScan, _ time: Int64
  ) -> Double {
    switch aggregate {
    case .count: return Double(totals.count)
    case .sum: return Double(totals.sum) * resolution
    case .mean:
      return totals.count == 0 ? .nan : Double(totals.sum) / Double(totals.count) * resolution
    case .std: return deviation(totals)
    case .minimum: return scan.found ? Double(scan.minimum) * resolution : .nan
    case .maximum: return scan.found ? Double(scan.maximum) * resolution : .nan
    case .last: return scan.found ? Double(scan.lastValue) * resolution : .nan
    case .sinceLast:
      // A pane may hold records after the event: the last of them is then just now.
      return scan.found ? Double(max(time &- scan.lastTime, 0)) / 1000 : .nan
    }
  }

  /// Of the population: sqrt(n Σq² - (Σq)²) / n, the difference taken in integers.
  private mutating func deviation(_ totals: Totals) -> Double {
    if totals.count == 0 { return .nan }
    let sum = UInt128(totals.sum.magnitude)
    let spread = UInt128(totals.count) &* totals.squares &- sum &* sum
    let high = Double(UInt64(truncatingIfNeeded: spread &>> 64))
    let low = Double(UInt64(truncatingIfNeeded: spread))
    return (high * 0x1p64 + low).squareRoot() / Double(totals.count) * resolution
  }
}
