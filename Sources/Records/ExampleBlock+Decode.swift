extension ExampleBlock {
  init(body reader: inout ByteReader) throws(FormatError) {
    planDigest = try reader.readDigest("plan digest")
    target = try reader.readString("target")
    let columnCount = try reader.readCount(itemBytes: 9, "columns")
    columns = []
    columns.reserveCapacity(columnCount)
    for _ in 0..<columnCount {
      let id = try reader.read(UInt64.self, "column id")
      let at = reader.position
      guard let kind = RowColumn.Kind(rawValue: try reader.read(UInt8.self, "column kind")) else {
        throw FormatError(.invalidValue, at: at, field: "column kind")
      }
      columns.append(ExampleColumn(id: id, kind: kind))
    }
    var at = reader.position
    let contenders = try reader.readVarint("contenders")
    guard contenders <= UInt64(Self.contenderCountMax) else {
      throw FormatError(.invalidValue, at: at, field: "contenders")
    }
    contenderCount = Int(contenders)

    at = reader.position
    // Each example takes at least a byte in each of three delta columns, so that a short record
    // cannot claim many.
    let n = try reader.readCount(itemBytes: 3, "examples")
    guard n <= Self.countMax else { throw FormatError(.invalidValue, at: at, field: "examples") }
    // Constant columns cost 5 bytes for any count: bound what a record may unfold to.
    guard n * (columnCount + 2 * contenderCount + 8) <= 1 << 26 else {
      throw FormatError(.invalidValue, at: at, field: "examples")
    }
    headers = try Self.readHeaders(n, &reader)

    numberBits = []
    categories = []
    for column in columns {
      switch column.kind {
      case .number: try Self.readWords(n, into: &numberBits, &reader, "numbers")
      case .category: try Self.readCategories(n, into: &categories, &reader)
      }
    }
    missing = []
    missing.reserveCapacity(n * columnCount)
    for _ in columns { try Self.readMissing(n, into: &missing, &reader) }
    scoreBits = []
    scoreBits.reserveCapacity(2 * contenderCount * n)
    for _ in 0..<(2 * contenderCount) {
      try Self.readWords(n, into: &scoreBits, &reader, "scores")
    }
  }

  private static func readHeaders(
    _ n: Int, _ reader: inout ByteReader
  ) throws(FormatError) -> [ExampleHeader] {
    let blank = ExampleHeader(
      partition: PartitionID(0), offset: Offset(0), labelOffset: Offset(0), kind: .matured, value: 0,
      knownAt: EventTime(milliseconds: 0),
      version: ModelVersion(lineage: Lineage(0), sequence: Sequence(0)))
    var headers = [ExampleHeader](repeating: blank, count: n)

    var index = 0
    while index < n {
      let at = reader.position
      guard let partition = Int32(exactly: try reader.readSignedVarint("partition")) else {
        throw FormatError(.invalidValue, at: at, field: "partition")
      }
      for _ in 0..<(try readRun(n - index, &reader)) {
        headers[index].partition = PartitionID(partition)
        index += 1
      }
    }
    index = 0
    while index < n {
      let version = try reader.readVersion("served version")
      for _ in 0..<(try readRun(n - index, &reader)) {
        headers[index].version = version
        index += 1
      }
    }
    index = 0
    while index < n {
      let at = reader.position
      guard let kind = ExampleKind(rawValue: try reader.read(UInt8.self, "kind")) else {
        throw FormatError(.invalidValue, at: at, field: "kind")
      }
      for _ in 0..<(try readRun(n - index, &reader)) {
        headers[index].kind = kind
        index += 1
      }
    }
    var previous: Int64 = 0
    for index in 0..<n {
      previous &+= try reader.readSignedVarint("offset")
      headers[index].offset = Offset(previous)
    }
    previous = 0
    for index in 0..<n {
      previous &+= try reader.readSignedVarint("label offset")
      headers[index].labelOffset = Offset(previous)
    }
    previous = 0
    for index in 0..<n {
      previous &+= try reader.readSignedVarint("known at")
      headers[index].knownAt = EventTime(milliseconds: previous)
    }
    var words: [UInt32] = []
    try readWords(n, into: &words, &reader, "values")
    try readWords(n, into: &words, &reader, "weights")
    for index in 0..<n {
      headers[index].value = Float(bitPattern: words[index])
      headers[index].weight = Float(bitPattern: words[n + index])
    }
    return headers
  }

  private static func readRun(
    _ left: Int, _ reader: inout ByteReader
  ) throws(FormatError) -> Int {
    let at = reader.position
    let run = try reader.readVarint("run")
    guard run >= 1, run <= UInt64(left) else {
      throw FormatError(.invalidValue, at: at, field: "run")
    }
    return Int(run)
  }

  private static func word(_ bytes: [UInt8], _ index: Int) -> UInt32 {
    let at = 4 * index
    return UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16
      | UInt32(bytes[at + 3]) << 24
  }

  private static func readWords(
    _ n: Int, into words: inout [UInt32], _ reader: inout ByteReader, _ field: StaticString
  ) throws(FormatError) {
    let at = reader.position
    switch try reader.read(UInt8.self, field) {
    case 0:
      let value = try reader.read(UInt32.self, field)
      words.append(contentsOf: repeatElement(value, count: n))
    case 1:
      let distinct = Int(try reader.read(UInt8.self, field)) + 1
      let values = try reader.readRaw(4 * distinct, field)
      let start = reader.position
      let indices = try reader.readRaw(n, field)
      for index in 0..<n {
        guard Int(indices[index]) < distinct else {
          throw FormatError(.invalidValue, at: start + index, field: field)
        }
        words.append(word(values, Int(indices[index])))
      }
    case 2:
      let raw = try reader.readRaw(4 * n, field)
      for index in 0..<n { words.append(word(raw, index)) }
    default: throw FormatError(.invalidValue, at: at, field: field)
    }
  }

  private static func readCategories(
    _ n: Int, into categories: inout [UInt64], _ reader: inout ByteReader
  ) throws(FormatError) {
    let at = reader.position
    let distinct = try reader.readCount(itemBytes: 8, "categories")
    guard distinct >= 1 || n == 0 else {
      throw FormatError(.invalidValue, at: at, field: "categories")
    }
    let raw = try reader.readRaw(8 * distinct, "categories")
    func entry(_ index: Int) -> UInt64 {
      UInt64(word(raw, 2 * index)) | UInt64(word(raw, 2 * index + 1)) << 32
    }
    let width = indexWidth(distinct)
    let start = reader.position
    let indices = try reader.readRaw(width * n, "category index")
    for index in 0..<n {
      var place = 0
      for byte in 0..<width { place |= Int(indices[index * width + byte]) << (8 * byte) }
      guard place < distinct else {
        throw FormatError(.invalidValue, at: start + index * width, field: "category index")
      }
      categories.append(entry(place))
    }
  }

  /// Bytes of one index into a dictionary of `distinct` entries.
  static func indexWidth(_ distinct: Int) -> Int {
    distinct <= 1 ? 0 : distinct <= 1 << 8 ? 1 : distinct <= 1 << 16 ? 2 : 4
  }

  private static func readMissing(
    _ n: Int, into missing: inout [UInt8], _ reader: inout ByteReader
  ) throws(FormatError) {
    let at = reader.position
    switch try reader.read(UInt8.self, "missing") {
    case 0: missing.append(contentsOf: repeatElement(0, count: n))
    case 1: missing.append(contentsOf: repeatElement(1, count: n))
    case 2:
      let start = reader.position
      let bits = try reader.readRaw((n + 7) / 8, "missing")
      for index in 0..<n { missing.append(bits[index / 8] >> UInt8(index & 7) & 1) }
      if n & 7 != 0, let last = bits.last, last >> UInt8(n & 7) != 0 {
        throw FormatError(.invalidValue, at: start + bits.count - 1, field: "missing")
      }
    default: throw FormatError(.invalidValue, at: at, field: "missing")
    }
  }
}
