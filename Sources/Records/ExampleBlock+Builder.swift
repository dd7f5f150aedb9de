/// Gathers the examples of a commit unit and writes them as blocks; reusable.
///
/// Life:     `append` …, `seal`, read `sealedCount` records, `clear`.
/// Cost:     a copy of the row's words per example; `seal` sorts them into columns, some 150 ns each.
///           No allocation in steady state: rows lie in memory sized at `init`, and the bytes keep theirs.
/// Errors:   none. A block closes by itself before it could outgrow `byteLimit`, by a bound on what each
///           example may take, not by what it took; so where blocks split depends on counts alone.
/// Replay:   the same examples give the same bytes.
public final class ExampleBlockBuilder {
  public let schema: RowSchema
  public let layout: ExampleRowLayout
  public let byteLimit: Int
  /// Examples that one block may hold under `byteLimit`.
  public let examplesMax: Int
  public var planDigest: Digest
  public let target: String

  /// Memory for sealed bytes that is kept from one unit to the next.
  static let bytesKept = 16 << 20

  /// Examples not yet sealed.
  public private(set) var openCount = 0
  private let headers: FixedBuffer<ExampleHeader>
  private let words: FixedBuffer<UInt32>

  private var out: ByteWriter
  /// Where each sealed record ends in `out`.
  private var ends: [Int] = []
  /// Examples sealed since `clear`.
  public private(set) var sealedExampleCount = 0

  // Scratch of `seal`.
  private let column: FixedBuffer<UInt32>
  private let indices: FixedBuffer<UInt32>
  private let dictionary: FixedBuffer<UInt64>
  private let tableKeys: FixedBuffer<UInt64>
  private let tableIndices: FixedBuffer<UInt32>
  private let tableStamps: FixedBuffer<UInt32>
  private var stamp: UInt32 = 0

  public init(
    schema: RowSchema, contenderCount: Int, planDigest: Digest, target: String = "",
    byteLimit: Int = 900_000
  ) {
    precondition(contenderCount <= ExampleBlock.contenderCountMax, "too many contenders")
    self.schema = schema
    self.planDigest = planDigest
    self.target = target
    self.byteLimit = byteLimit
    layout = ExampleRowLayout(schema: schema, contenderCount: contenderCount)
    // Runs 6 + 16 + 2, three deltas of at most 10, value and weight; then the row at its widest.
    let each =
      62 + 4 * schema.numberCount + 12 * schema.categoryCount + (schema.columns.count + 7) / 8
      + 8 * contenderCount
    let fixed = 128 + target.utf8.count + 24 * schema.columns.count + 12 * contenderCount
    examplesMax = min(max((byteLimit - fixed) / each, 1), 1 << 16)
    var tableCount = 1024
    while tableCount < 2 * examplesMax { tableCount *= 2 }
    headers = FixedBuffer(
      repeating: ExampleHeader(
        partition: PartitionID(0), offset: Offset(0), labelOffset: Offset(0), kind: .matured,
        value: 0, knownAt: EventTime(milliseconds: 0),
        version: ModelVersion(lineage: Lineage(0), sequence: Sequence(0))), count: examplesMax)
    words = FixedBuffer(repeating: 0, count: examplesMax * layout.wordCount)
    column = FixedBuffer(repeating: 0, count: examplesMax)
    indices = FixedBuffer(repeating: 0, count: examplesMax)
    dictionary = FixedBuffer(repeating: 0, count: examplesMax)
    tableKeys = FixedBuffer(repeating: 0, count: tableCount)
    tableIndices = FixedBuffer(repeating: 0, count: tableCount)
    tableStamps = FixedBuffer(repeating: 0, count: tableCount)
    out = ByteWriter(capacity: min(fixed + each * examplesMax, 1 << 20))
    ends.reserveCapacity(16)
  }

  /// Nothing gathered and nothing sealed.
  public var isEmpty: Bool { openCount == 0 && ends.isEmpty }

  /// Adds an example whose row and scores lie packed, by `layout`, at `offset` of `source`.
  public func append(
    _ header: ExampleHeader, words source: borrowing FixedBuffer<UInt32>, at offset: Int
  ) {
    if openCount == examplesMax { seal() }
    headers[openCount] = header
    words.copy(from: source, at: offset, to: openCount * layout.wordCount, count: layout.wordCount)
    openCount += 1
  }

  /// Adds an example straight from a row group and its scores.
  public func append(
    _ header: ExampleHeader, rows: RowGroup, slot: Int,
    scores: borrowing FixedBuffer<ServedScore>, scoreOffset: Int
  ) {
    if openCount == examplesMax { seal() }
    headers[openCount] = header
    layout.pack(
      rows, slot: slot, scores: scores, scoreOffset: scoreOffset, into: words,
      at: openCount * layout.wordCount)
    openCount += 1
  }

  /// Closes the open block, if it holds anything.
  public func seal() {
    guard openCount > 0 else { return }
    let start = LearningEnvelope.begin(.examples, into: &out)
    writeHeaders()
    writeRows()
    LearningEnvelope.close(start, in: &out)
    ends.append(out.count)
    sealedExampleCount += openCount
    openCount = 0
  }

  /// Records sealed since `clear`.
  public var sealedCount: Int { ends.count }

  /// Record `index`, ready to be sent.
  public func sealed(_ index: Int) -> ArraySlice<UInt8> {
    out.bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }

  /// Forgets everything, sealed or not; keeps the memory.
  public func clear() {
    openCount = 0
    sealedExampleCount = 0
    ends.removeAll(keepingCapacity: true)
    // A unit may make very many at once, where a horizon passes for all that wait: that memory is given back.
    out.bytes.removeAll(keepingCapacity: out.bytes.capacity <= Self.bytesKept)
  }

  // MARK: Columns

  private func writeHeaders() {
    let n = openCount
    out.write(planDigest)
    out.write(target)
    out.writeVarint(UInt64(schema.columns.count))
    for column in schema.columns {
      out.write(column.id)
      out.write(column.kind.rawValue)
    }
    out.writeVarint(UInt64(layout.contenderCount))
    out.writeVarint(UInt64(n))

    var from = 0
    while from < n {
      let partition = headers[from].partition
      var to = from + 1
      while to < n && headers[to].partition == partition { to += 1 }
      out.writeSignedVarint(Int64(partition.value))
      out.writeVarint(UInt64(to - from))
      from = to
    }
    from = 0
    while from < n {
      let version = headers[from].version
      var to = from + 1
      while to < n && headers[to].version == version { to += 1 }
      out.write(version)
      out.writeVarint(UInt64(to - from))
      from = to
    }
    from = 0
    while from < n {
      let kind = headers[from].kind
      var to = from + 1
      while to < n && headers[to].kind == kind { to += 1 }
      out.write(kind.rawValue)
      out.writeVarint(UInt64(to - from))
      from = to
    }
    var previous: Int64 = 0
    for index in 0..<n {
      let value = headers[index].offset.value
      out.writeSignedVarint(value &- previous)
      previous = value
    }
    previous = 0
    for index in 0..<n {
      let value = headers[index].labelOffset.value
      out.writeSignedVarint(value &- previous)
      previous = value
    }
    previous = 0
    for index in 0..<n {
      let value = headers[index].knownAt.milliseconds
      out.writeSignedVarint(value &- previous)
      previous = value
    }
    for index in 0..<n { column[index] = headers[index].value.bitPattern }
    writeColumn(n)
    for index in 0..<n { column[index] = headers[index].weight.bitPattern }
    writeColumn(n)
  }

  private func writeRows() {
    let n = openCount
    let width = layout.wordCount
    for (index, declared) in schema.columns.enumerated() {
      let place = schema.places[index]
      switch declared.kind {
      case .number:
        for row in 0..<n { column[row] = words[row * width + place] }
        writeColumn(n)
      case .category: writeCategories(at: layout.categoryStart + 2 * place, n)
      }
    }
    for column in schema.columns.indices { writeMissing(column, n) }
    for place in layout.scoreStart..<layout.wordCount {
      for row in 0..<n { column[row] = words[row * width + place] }
      writeColumn(n)
    }
  }

  /// Writes `column` as a word column in its shortest form.
  private func writeColumn(_ n: Int) {
    let first = column[0]
    var isConstant = true
    for row in 1..<max(n, 1) where column[row] != first {
      isConstant = false
      break
    }
    if isConstant {
      out.write(UInt8(0))
      out.write(first)
      return
    }
    let distinct = assign(n, limit: 256, tableCount: 1024) { [self] in UInt64(column[$0]) }
    if let distinct, 2 + 4 * distinct + n < 1 + 4 * n {
      out.write(UInt8(1))
      out.write(UInt8(distinct - 1))
      for index in 0..<distinct { out.write(UInt32(truncatingIfNeeded: dictionary[index])) }
      writeIndices(n, width: 1)
      return
    }
    out.write(UInt8(2))
    for row in 0..<n { column[row] = column[row].littleEndian }
    unsafe column.withElements { elements in
      // SAFETY: the first `n` words were just written; the bytes are copied before the call returns.
      unsafe out.bytes.append(
        contentsOf: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: elements[0..<n])))
    }
  }

  private func writeCategories(at start: Int, _ n: Int) {
    let width = layout.wordCount
    var tableCount = 1024
    while tableCount < 2 * n { tableCount *= 2 }
    let distinct =
      assign(n, limit: n, tableCount: tableCount) { [self] row in
        UInt64(words[row * width + start]) | UInt64(words[row * width + start + 1]) << 32
      } ?? 0
    out.writeVarint(UInt64(distinct))
    for index in 0..<distinct { out.write(dictionary[index]) }
    writeIndices(n, width: ExampleBlock.indexWidth(distinct))
  }

  private func writeIndices(_ n: Int, width: Int) {
    for row in 0..<n {
      let index = indices[row]
      for byte in 0..<width {
        out.bytes.append(UInt8(truncatingIfNeeded: index >> UInt32(8 * byte)))
      }
    }
  }

  private func writeMissing(_ column: Int, _ n: Int) {
    let width = layout.wordCount
    let at = layout.missingStart + column / 32
    let bit = UInt32(column & 31)
    var present = 0
    for row in 0..<n { present += Int(~words[row * width + at] >> bit & 1) }
    if present == n { return out.write(UInt8(0)) }
    if present == 0 { return out.write(UInt8(1)) }
    out.write(UInt8(2))
    var byte: UInt8 = 0
    for row in 0..<n {
      byte |= UInt8(truncatingIfNeeded: words[row * width + at] >> bit & 1) << UInt8(row & 7)
      if row & 7 == 7 || row == n - 1 {
        out.bytes.append(byte)
        byte = 0
      }
    }
  }

  /// Numbers the distinct values in order of appearance into `dictionary` and `indices`.
  ///
  /// Returns nil as soon as there are more than `limit`. `tableCount` is a power of two of at least `2 * limit`
  /// places, all of which the table has.
  @inline(__always)
  private func assign(
    _ n: Int, limit: Int, tableCount: Int, _ value: (Int) -> UInt64
  ) -> Int? {
    stamp &+= 1
    if stamp == 0 {
      tableStamps.fill(0)
      stamp = 1
    }
    let mask = tableCount - 1
    var distinct = 0
    for row in 0..<n {
      let key = value(row)
      var place = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) &>> 40) & mask
      while tableStamps[place] == stamp && tableKeys[place] != key { place = (place + 1) & mask }
      if tableStamps[place] != stamp {
        if distinct == limit { return nil }
        tableStamps[place] = stamp
        tableKeys[place] = key
        tableIndices[place] = UInt32(distinct)
        dictionary[distinct] = key
        distinct += 1
      }
      indices[row] = tableIndices[place]
    }
    return distinct
  }
}
