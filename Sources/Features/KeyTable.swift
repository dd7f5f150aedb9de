/// Blocks of plain memory by 64-bit key: an open-addressed index over chunks of equal blocks.
///
/// A block never moves; freed blocks are used again. The first 8 bytes of a block are its key, the
/// next 8 its stamp: whoever uses the table says by `stamp < limit` which blocks may go.
///
/// Shapes:   keys are not 0; the index is at most three quarters full and doubles.
/// Cost:     one index line and one block line a look-up; growth copies the index alone.
/// Replay:   the place of a key depends on the order of arrival, so nothing may iterate the table
///           in that order and be seen: `sortedSlots` is the order for encoding.
@safe struct KeyTable: ~Copyable {
  struct Entry: BitwiseCopyable {
    var key: UInt64
    var slot: UInt32
    var padding: UInt32 = 0
  }

  let blockBytes: Int
  private(set) var count = 0

  private var entries: UnsafeMutablePointer<Entry>
  private var entryBits: Int
  private var chunks: UnsafeMutablePointer<UnsafeMutableRawPointer>
  private var chunkCount = 0
  private var chunkCapacity: Int
  /// log2 of the blocks in a chunk.
  private let chunkShift: Int
  /// Slots that were ever used: 0 ..< fresh.
  private var fresh = 0
  /// Freed slots, linked through the key field; -1: none.
  private var freed: Int64 = -1
  private var cursor = 0

  /// Stamp of a freed block.
  static let freeStamp = Int64.max
  /// Fixed: an odd multiplier that spreads keys over the index.
  private static let multiplier: UInt64 = 0x9E37_79B9_7F4A_7C15

  init(blockBytes: Int) {
    precondition(blockBytes >= 16 && blockBytes % 8 == 0, "a block holds its key and stamp")
    self.blockBytes = blockBytes
    var shift = 0
    while blockBytes << (shift + 1) <= 1 << 18 { shift += 1 }
    chunkShift = shift
    entryBits = 6
    chunkCapacity = 8
    unsafe entries = Self.makeEntries(bits: 6)
    unsafe chunks = .allocate(capacity: 8)
  }

  deinit {
    // SAFETY: all three were allocated by this table and are freed once, here.
    unsafe entries.deallocate()
    for index in 0..<chunkCount { unsafe chunks[index].deallocate() }
    unsafe chunks.deallocate()
  }

  /// Memory in use: the index and every block that was ever used.
  var byteCount: Int { (1 << entryBits) * MemoryLayout<Entry>.stride + fresh * blockBytes }

  @inline(__always) private func home(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* Self.multiplier) &>> UInt64(64 - entryBits))
  }

  @inline(__always) private func block(slot: Int) -> UnsafeMutableRawPointer {
    // SAFETY: slots below `fresh` lie in chunks that exist.
    unsafe chunks[slot &>> chunkShift] + (slot & ((1 &<< chunkShift) - 1)) &* blockBytes
  }

  /// The block of `key`, if there is one.
  @inline(__always) func find(_ key: UInt64) -> UnsafeMutableRawPointer? {
    let mask = 1 &<< entryBits &- 1
    var at = home(key)
    while true {
      // SAFETY: `at` is masked below the capacity; the index is never full.
      let entry = unsafe entries[at]
      if entry.key == key { return unsafe block(slot: Int(entry.slot)) }
      if entry.key == 0 { return nil }
      at = (at &+ 1) & mask
    }
  }

  /// A zeroed block for a key that has none.
  mutating func insert(_ key: UInt64, stamp: Int64) -> UnsafeMutableRawPointer {
    if (count + 1) * 4 > (1 << entryBits) * 3 { growIndex() }
    let slot: Int
    if freed >= 0 {
      slot = Int(freed)
      // SAFETY: a freed block holds the next freed slot in its first 8 bytes.
      freed = unsafe block(slot: slot).load(as: Int64.self)
    } else {
      slot = fresh
      if slot >> chunkShift == chunkCount { addChunk() }
      fresh += 1
    }
    place(Entry(key: key, slot: UInt32(slot)))
    count += 1
    let block = unsafe block(slot: slot)
    // SAFETY: the block spans `blockBytes`.
    unsafe block.initializeMemory(as: UInt8.self, repeating: 0, count: blockBytes)
    unsafe block.storeBytes(of: key, as: UInt64.self)
    unsafe block.storeBytes(of: stamp, toByteOffset: 8, as: Int64.self)
    return unsafe block
  }

  private func place(_ entry: Entry) {
    let mask = 1 << entryBits - 1
    var at = home(entry.key)
    // SAFETY: as in `find`.
    while unsafe entries[at].key != 0 { at = (at + 1) & mask }
    unsafe entries[at] = entry
  }

  private static func makeEntries(bits: Int) -> UnsafeMutablePointer<Entry> {
    let made = UnsafeMutablePointer<Entry>.allocate(capacity: 1 << bits)
    // SAFETY: just allocated for so many.
    unsafe made.initialize(repeating: Entry(key: 0, slot: 0), count: 1 << bits)
    return unsafe made
  }

  private mutating func growIndex() {
    let old = unsafe entries
    let oldCount = 1 << entryBits
    entryBits += 1
    unsafe entries = Self.makeEntries(bits: entryBits)
    // SAFETY: the old index has `oldCount` entries and is freed after the last was read.
    for index in 0..<oldCount where unsafe old[index].key != 0 { unsafe place(old[index]) }
    unsafe old.deallocate()
  }

  private mutating func addChunk() {
    if chunkCount == chunkCapacity {
      let more = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: chunkCapacity * 2)
      // SAFETY: `chunkCount` pointers are initialised; the list is freed once.
      unsafe more.initialize(from: chunks, count: chunkCount)
      unsafe chunks.deallocate()
      unsafe chunks = more
      chunkCapacity *= 2
    }
    // SAFETY: there is room for one more pointer. Blocks start on cache lines.
    unsafe (chunks + chunkCount).initialize(
      to: .allocate(byteCount: blockBytes << chunkShift, alignment: 64))
    chunkCount += 1
  }

  /// Takes `key` out; its block may be used again.
  private mutating func remove(key: UInt64) {
    let mask = 1 << entryBits - 1
    var at = home(key)
    // SAFETY: as in `find`; the key is in the index.
    while unsafe entries[at].key != key { at = (at + 1) & mask }
    let slot = Int(unsafe entries[at].slot)
    // Backward shift: no tombstones, so look-ups stay short for ever.
    var next = (at + 1) & mask
    while unsafe entries[next].key != 0 {
      let wanted = home(unsafe entries[next].key)
      if (next - wanted) & mask >= (next - at) & mask {
        unsafe entries[at] = entries[next]
        at = next
      }
      next = (next + 1) & mask
    }
    unsafe entries[at] = Entry(key: 0, slot: 0)
    let block = unsafe block(slot: slot)
    unsafe block.storeBytes(of: freed, as: Int64.self)
    unsafe block.storeBytes(of: Self.freeStamp, toByteOffset: 8, as: Int64.self)
    freed = Int64(slot)
    count -= 1
  }

  /// Frees blocks with `stamp <= limit` among the next `slots` ones, in turn over all.
  mutating func sweep(slots: Int, through limit: Int64) {
    for _ in 0..<min(slots, fresh) {
      if cursor >= fresh { cursor = 0 }
      // SAFETY: the slot was used before.
      let block = unsafe block(slot: cursor)
      if unsafe block.load(fromByteOffset: 8, as: Int64.self) <= limit {
        remove(key: unsafe block.load(as: UInt64.self))
      }
      cursor += 1
    }
  }

  /// Frees every block with `stamp <= limit`; returns the smallest stamp left, `freeStamp` if none.
  mutating func sweepAll(through limit: Int64) -> Int64 {
    var smallest = Self.freeStamp
    for slot in 0..<fresh {
      let block = unsafe block(slot: slot)
      // SAFETY: the slot was used before.
      let stamp = unsafe block.load(fromByteOffset: 8, as: Int64.self)
      if stamp <= limit {
        remove(key: unsafe block.load(as: UInt64.self))
      } else {
        smallest = min(smallest, stamp)
      }
    }
    return smallest
  }

  /// Forgets every key; keeps the memory.
  mutating func removeAll() {
    // SAFETY: the index has so many entries.
    unsafe entries.update(repeating: Entry(key: 0, slot: 0), count: 1 << entryBits)
    count = 0
    fresh = 0
    freed = -1
    cursor = 0
  }

  /// The keys with `stamp > limit`, ascending. Allocates: for encoding, not for events.
  func sortedKeys(above limit: Int64) -> [UInt64] {
    var keys: [UInt64] = []
    keys.reserveCapacity(count)
    for slot in 0..<fresh {
      let block = unsafe block(slot: slot)
      // SAFETY: the slot was used before.
      let stamp = unsafe block.load(fromByteOffset: 8, as: Int64.self)
      if stamp != Self.freeStamp, stamp > limit { keys.append(unsafe block.load(as: UInt64.self)) }
    }
    keys.sort()
    return keys
  }
}
