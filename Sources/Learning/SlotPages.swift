import Records

/// Slots of a fixed number of 32-bit words on pages that are added and never moved.
///
/// Shapes:   page = `slot >> pageBits`, words from `(slot & mask) * stride` on.
/// Cost:     O(1); memory grows a page at a time and is reused by a free list; nothing is ever copied.
/// Errors:   a slot that was never handed out is a programmer error.
/// Threads:  owned by one thread at a time.
final class SlotPages {
  final class Page {
    let words: FixedBuffer<UInt32>
    init(wordCount: Int) { words = FixedBuffer(repeating: 0, count: wordCount) }
  }

  static let none = UInt32.max
  let stride: Int
  private let pageBits: Int
  private let mask: Int
  private var pages: [Page] = []
  private var free = SlotPages.none
  private var handedOut: UInt32 = 0
  private(set) var usedCount = 0

  /// `pageBits`: a page holds 2^pageBits slots.
  init(stride: Int, pageBits: Int) {
    precondition(stride >= 1 && pageBits >= 0 && pageBits < 20, "bad page shape")
    self.stride = stride
    self.pageBits = pageBits
    mask = 1 << pageBits - 1
  }

  var byteCount: Int { (pages.count << pageBits) * stride * 4 }

  @inline(__always) func page(_ slot: UInt32) -> Page { pages[Int(slot) >> pageBits] }
  @inline(__always) func start(_ slot: UInt32) -> Int { (Int(slot) & mask) * stride }

  /// The words of the slot are whatever its last user left.
  func allocate() -> UInt32 {
    usedCount += 1
    if free != Self.none {
      let slot = free
      free = page(slot).words[start(slot)]
      return slot
    }
    if Int(handedOut) >> pageBits == pages.count {
      pages.append(Page(wordCount: stride << pageBits))
    }
    precondition(handedOut < Self.none - 1, "slots exhausted")
    defer { handedOut += 1 }
    return handedOut
  }

  func release(_ slot: UInt32) {
    page(slot).words[start(slot)] = free
    free = slot
    usedCount -= 1
  }

  /// Forgets all slots; keeps the pages.
  func removeAll() {
    free = Self.none
    handedOut = 0
    usedCount = 0
  }
}

extension FixedBuffer where Element == UInt32 {
  /// A 64-bit value in two words, low first.
  @inline(__always) func wide(_ at: Int) -> Int64 {
    Int64(bitPattern: UInt64(self[at]) | UInt64(self[at + 1]) << 32)
  }
  @inline(__always) func setWide(_ at: Int, _ value: Int64) {
    let bits = UInt64(bitPattern: value)
    self[at] = UInt32(truncatingIfNeeded: bits)
    self[at + 1] = UInt32(truncatingIfNeeded: bits >> 32)
  }
}

/// Texts of any length in chunks of 28 bytes: event ids, which must be compared and not only hashed.
///
/// Why not the hash alone: it has no secret, so two ids of one hash can be made on purpose.
final class TextChunks {
  /// Word 0: next chunk; words 1…7: 28 bytes, four a word, lowest first.
  private let chunks = SlotPages(stride: 8, pageBits: 10)
  static let bytesPerChunk = 28

  var byteCount: Int { chunks.byteCount }

  func removeAll() { chunks.removeAll() }

  /// Returns the first chunk; `SlotPages.none` for an empty text.
  func store(_ text: RawSpan) -> UInt32 {
    var head = SlotPages.none
    var at = (text.byteCount + Self.bytesPerChunk - 1) / Self.bytesPerChunk * Self.bytesPerChunk
    // From the end to the beginning, so that each chunk knows its successor.
    while at > 0 {
      at -= Self.bytesPerChunk
      let slot = chunks.allocate()
      let page = chunks.page(slot)
      let start = chunks.start(slot)
      page.words[start] = head
      for word in 0..<7 { page.words[start + 1 + word] = Self.word(text, at + 4 * word) }
      head = slot
    }
    return head
  }

  func equals(_ first: UInt32, length: Int, _ text: RawSpan) -> Bool {
    guard length == text.byteCount else { return false }
    var slot = first
    var at = 0
    while at < length {
      let page = chunks.page(slot)
      let start = chunks.start(slot)
      for word in 0..<7 where at + 4 * word < length {
        if page.words[start + 1 + word] != Self.word(text, at + 4 * word) { return false }
      }
      slot = page.words[start]
      at += Self.bytesPerChunk
    }
    return true
  }

  func release(_ first: UInt32) {
    var slot = first
    while slot != SlotPages.none {
      let next = chunks.page(slot).words[chunks.start(slot)]
      chunks.release(slot)
      slot = next
    }
  }

  func append(_ first: UInt32, length: Int, to writer: inout ByteWriter) {
    writer.writeVarint(UInt64(length))
    var slot = first
    var at = 0
    while at < length {
      let page = chunks.page(slot)
      let start = chunks.start(slot)
      for byte in 0..<min(Self.bytesPerChunk, length - at) {
        let word = page.words[start + 1 + byte / 4]
        writer.bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(8 * (byte & 3))))
      }
      slot = page.words[start]
      at += Self.bytesPerChunk
    }
  }

  /// Four bytes from `at` on, zero beyond the end.
  @inline(__always)
  private static func word(_ text: RawSpan, _ at: Int) -> UInt32 {
    let count = text.byteCount
    if at + 4 <= count {
      // SAFETY: four bytes are left at `at`.
      return unsafe UInt32(
        littleEndian: text.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self))
    }
    var value: UInt32 = 0
    var index = at
    while index < count {
      // SAFETY: `index` is below `count`.
      let byte = unsafe text.unsafeLoad(fromByteOffset: index, as: UInt8.self)
      value |= UInt32(byte) << UInt32(8 * (index - at))
      index += 1
    }
    return value
  }
}
