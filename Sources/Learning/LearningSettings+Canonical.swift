import Models
import Records

// Canonical form of learning settings, as it stands in the charter; little-endian, version 1:
//
//     version u8 = 1; pipeline text; keep_every varint; keep varint
//     contenders: varint count, each
//         name text
//         kind u8: 0 ftrl: alpha, beta, l1, l2 f32; hash bits u8; columns (varint count, name and kind u8 each);
//                  missing indicators (varint count, text each); crosses u8
//                  1 base rate
//         calibration u8: 0 none; 1 Platt: rate f32
//
// The row schema stands beside it in the charter.

extension LearningSettings {
  public static let contendersMax = 16
  public static let columnsMax = 1024
  /// Every pair of them is an input.
  public static let crossedColumnsMax = 128

  /// What keeps these settings from being folded under; empty if nothing does.
  public var faults: [String] {
    var faults: [String] = []
    if keepEvery == 0 { faults.append("keep_every must be at least 1") }
    if keep < 1 || keep > 1000 { faults.append("keep must lie in 1...1000") }
    if !(1...Self.contendersMax).contains(contenders.count) {
      faults.append("contenders must number 1...\(Self.contendersMax)")
    }
    if Set(contenders.map(\.name)).count != contenders.count {
      faults.append("contenders must have names of their own")
    }
    if rowSchema.columns.count > Self.columnsMax {
      faults.append("a row has at most \(Self.columnsMax) columns")
    }
    for contender in contenders {
      if !contender.isValid { faults.append("settings out of range contender=\(contender.name)") }
      if case .ftrl(_, let encoder) = contender.kind,
        encoder.columns.count > (encoder.crosses ? Self.crossedColumnsMax : Self.columnsMax)
      {
        faults.append("too many columns contender=\(contender.name)")
      }
    }
    return faults
  }

  /// Equal settings give equal bytes.
  public func canonicalBytes() -> [UInt8] {
    var writer = ByteWriter(capacity: 512)
    writer.write(UInt8(1))
    writer.write(pipeline)
    writer.writeVarint(keepEvery)
    writer.writeVarint(UInt64(max(keep, 0)))
    writer.writeVarint(UInt64(contenders.count))
    for contender in contenders {
      writer.write(contender.name)
      switch contender.kind {
      case .ftrl(let ftrl, let encoder):
        writer.write(UInt8(0))
        for rate in [ftrl.alpha, ftrl.beta, ftrl.l1, ftrl.l2] { writer.write(rate) }
        writer.write(UInt8(clamping: encoder.hashBits))
        writer.write(RowSchema(encoder.columns))
        writer.writeVarint(UInt64(encoder.missingIndicators.count))
        for name in encoder.missingIndicators { writer.write(name) }
        writer.write(encoder.crosses)
      case .baseRate: writer.write(UInt8(1))
      }
      switch contender.calibration {
      case .none: writer.write(UInt8(0))
      case .platt(let rate):
        writer.write(UInt8(1))
        writer.write(rate)
      }
    }
    return writer.bytes
  }

  /// Errors:   `FormatError` for bytes that are not the canonical form of settings without faults.
  public init(canonical bytes: [UInt8], rowSchema: RowSchema) throws(FormatError) {
    var reader = ByteReader(bytes)
    guard try reader.read(UInt8.self, "version") == 1 else {
      throw FormatError(.unsupportedVersion, at: 0, field: "version")
    }
    let pipeline = try reader.readString("pipeline")
    let keepEvery = try reader.readVarint("keep_every")
    let keep = try reader.readVarint("keep")
    var contenders: [ContenderSettings] = []
    for _ in 0..<(try reader.readCount(itemBytes: 3, "contenders")) {
      contenders.append(try Self.readContender(&reader))
    }
    try reader.expectEnd()
    self.init(
      pipeline: pipeline, rowSchema: rowSchema, contenders: contenders, keepEvery: keepEvery,
      keep: Int(clamping: keep))
    guard faults.isEmpty, canonicalBytes() == bytes else {
      throw FormatError(.invalidValue, at: 0, field: "settings")
    }
  }

  private static func readContender(
    _ reader: inout ByteReader
  ) throws(FormatError) -> ContenderSettings {
    let name = try reader.readString("name")
    let kind: ContenderKind
    switch try reader.read(UInt8.self, "kind") {
    case 0:
      let ftrl = FTRLSettings(
        alpha: try reader.readFloat("alpha"), beta: try reader.readFloat("beta"),
        l1: try reader.readFloat("l1"), l2: try reader.readFloat("l2"))
      let hashBits = Int(try reader.read(UInt8.self, "hash bits"))
      let columns = try reader.readRowSchema("columns").columns
      var indicators: [String] = []
      for _ in 0..<(try reader.readCount("missing indicators")) {
        indicators.append(try reader.readString("missing indicator"))
      }
      kind = .ftrl(
        ftrl,
        EncoderSettings(
          hashBits: hashBits, columns: columns, missingIndicators: indicators,
          crosses: try reader.readBool("crosses")))
    case 1: kind = .baseRate
    default: throw FormatError(.invalidValue, at: reader.position - 1, field: "kind")
    }
    switch try reader.read(UInt8.self, "calibration") {
    case 0: return ContenderSettings(name: name, kind: kind)
    case 1:
      return ContenderSettings(
        name: name, kind: kind, calibration: .platt(rate: try reader.readFloat("rate")))
    default: throw FormatError(.invalidValue, at: reader.position - 1, field: "calibration")
    }
  }
}
