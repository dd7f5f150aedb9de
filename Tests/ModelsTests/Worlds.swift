import Records

@testable import Models

/// A small seeded world: rows of three numbers and two categories, with labels that depend on both.
struct World {
  static let columns = [
    RowColumn(name: "amount", kind: .number), RowColumn(name: "country", kind: .category),
    RowColumn(name: "age", kind: .number), RowColumn(name: "device", kind: .category),
    RowColumn(name: "rate", kind: .number),
  ]
  let rows: RowGroup
  var labels: [Float] = []
  private var state: UInt64

  mutating func next() -> UInt64 {
    state = state &+ 0x9E37_79B9_7F4A_7C15
    return Hash64.combine(state, 1)
  }
  /// Uniform in [0, 1).
  mutating func unit() -> Float { Float(next() >> 40) / Float(1 << 24) }

  init(seed: UInt64, count: Int) {
    state = seed
    let schema = RowSchema(Self.columns)
    rows = RowGroup(schema: schema, capacity: count)
    for row in 0..<count {
      let amount = (unit() - 0.3) * 1000
      let country = next() % 7
      let device = next() % 50
      let values: [Float] = [amount, unit() * 90, unit() * 1e-4]
      for (place, value) in values.enumerated() {
        rows.numbers[row * schema.numberCount + place] = value
      }
      rows.categories[row * schema.categoryCount] = Hash64.hash("c\(country)")
      rows.categories[row * schema.categoryCount + 1] = Hash64.hash("d\(device)")
      for column in 0..<Self.columns.count {
        let isMissing = next() % 20 == 0
        rows.missing[row * Self.columns.count + column] = isMissing ? 1 : 0
      }
      let chance: Float = (amount > 200 ? 0.6 : 0.2) + (country == 3 ? 0.3 : 0)
      labels.append(unit() < chance ? 1 : 0)
    }
    rows.count = count
  }

  static func settings(
    hashBits: Int = 10, crosses: Bool = true, l1: Float = 0.01, calibration: CalibrationSettings = .platt(rate: 0.02)
  ) -> ContenderSettings {
    ContenderSettings(
      name: "linear",
      kind: .ftrl(
        FTRLSettings(l1: l1, l2: 0.01),
        EncoderSettings(
          hashBits: hashBits, columns: columns, missingIndicators: ["amount", "device"],
          crosses: crosses)),
      calibration: calibration)
  }
  static let baseRate = ContenderSettings(
    name: "base", kind: .baseRate, calibration: .platt(rate: 0.02))

  func contender(_ settings: ContenderSettings = World.settings()) -> Contender {
    Contender(settings: settings, rowSchema: rows.schema)
  }

  func learn(_ contender: Contender, _ range: Range<Int>) {
    for row in range {
      let margin = contender.masterMargin(rows: rows, slot: row)
      contender.learn(
        rows: rows, slot: row, label: labels[row], weight: 1,
        served: ServedScore(margin: margin, probability: Elementary.sigmoid(margin)),
        calibrate: row % 3 != 0)
    }
  }

  func scores(_ scorer: Scorer) -> [ServedScore] {
    let out = FixedBuffer(repeating: ServedScore.absent, count: rows.count)
    scorer.score(rows, count: rows.count, scratch: ScoringScratch(), into: out, stride: 1, offset: 0)
    return (0..<rows.count).map { out[$0] }
  }
}

func bytes(_ contender: Contender) -> [UInt8] {
  var writer = ByteWriter()
  contender.encode(into: &writer)
  return writer.bytes
}
