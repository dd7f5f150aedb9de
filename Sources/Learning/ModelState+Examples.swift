import Models
import Records

extension ModelState {
  /// An influence bound: one example may not weigh more than this many.
  static let weightMax: Float = 10_000

  /// Each example is evaluated with what was served, then passes the guard, then teaches, unless learning is frozen.
  func fold(
    _ block: ExampleBlock, _ settings: LearningSettings, offset: Offset, timestamp: EventTime
  ) -> [FoldEffect] {
    ledger.counters.blocks += 1
    guard block.count > 0 else { return [] }
    let before = ledger.sequence.value
    let columns = ColumnMap(block, settings.rowSchema)
    var quarantined: UInt64 = 0
    for example in 0..<block.count {
      // Why before the guard: a row that must not teach was served all the same.
      let isFinite = columns.fill(row, from: block, example)
      let header = block.headers[example]
      ledger.sequence.value &+= 1
      let isSound = header.value >= 0 && header.value <= 1 && header.weight >= 0
        && header.weight <= Self.weightMax
      // Only what the present lineage served, once an event: a correction teaches, but its event has been counted.
      let counts = isSound && header.weight > 0 && header.kind != .correction
        && header.version.lineage == ledger.lineage
      if counts { evaluate(block, example, label: header.value) }
      guard isSound && isFinite else {
        quarantined += 1
        continue
      }
      if ledger.isFrozen {
        ledger.counters.frozen += 1
        continue
      }
      ledger.counters.applied += 1
      for index in contenders.indices {
        contenders[index].learn(
          rows: row, slot: 0, label: header.value, weight: header.weight,
          served: served(block, example, index), calibrate: counts)
      }
    }
    ledger.counters.quarantined += quarantined
    ledger.versionOffset = offset
    ledger.versionTimestamp = timestamp
    if ledger.isFrozen { didChangeVersion() } else { didLearn() }

    var effects: [FoldEffect] = []
    if quarantined > 0 {
      effects.append(
        .alert(kind: .quarantined, text: "examples=\(quarantined) offset=\(offset.value)"))
    }
    // While frozen every version has the same state; keeping it again would push out the others.
    if !ledger.isFrozen,
      before / settings.keepEvery != ledger.sequence.value / settings.keepEvery
    {
      let (bytes, digest) = learned()
      effects.append(
        keep(bytes: bytes, digest: digest, settings, offset: offset, timestamp: timestamp))
    }
    return effects
  }

  private func evaluate(_ block: ExampleBlock, _ example: Int, label: Float) {
    for index in contenders.indices {
      let score = served(block, example, index)
      if !score.isAbsent { metrics[index].observe(probability: score.probability, label: label) }
    }
  }

  /// What contender `index` served; absent also where the block holds no finite score.
  private func served(_ block: ExampleBlock, _ example: Int, _ index: Int) -> ServedScore {
    guard index < block.contenderCount else { return .absent }
    let score = block.score(contender: index, example: example)
    guard score.margin.isFinite, score.probability >= 0, score.probability <= 1 else {
      return .absent
    }
    return score
  }
}

/// Where the columns of a charter's row stand in a block: by id and kind; what the block lacks is missing.
struct ColumnMap {
  private struct Source {
    var column: Int
    var place: Int
  }
  private let sources: [Source?]
  private let schema: RowSchema

  init(_ block: ExampleBlock, _ schema: RowSchema) {
    self.schema = schema
    var numbers = 0
    var categories = 0
    var known: [ExampleColumn: Source] = [:]
    for (index, column) in block.columns.enumerated() {
      switch column.kind {
      case .number:
        known[column] = Source(column: index, place: numbers)
        numbers += 1
      case .category:
        known[column] = Source(column: index, place: categories)
        categories += 1
      }
    }
    sources = schema.columns.map { known[ExampleColumn(id: $0.id, kind: $0.kind)] }
  }

  /// Copies example `example` into slot 0 of `row`. Returns false if a number is not finite.
  func fill(_ row: RowGroup, from block: ExampleBlock, _ example: Int) -> Bool {
    let n = block.count
    var isFinite = true
    for index in sources.indices {
      let target = schema.places[index]
      let source = sources[index]
      let isMissing = source.map { block.missing[$0.column * n + example] != 0 } ?? true
      row.missing[index] = isMissing ? 1 : 0
      switch schema.columns[index].kind {
      case .number:
        var value: Float = 0
        if let source, !isMissing {
          value = Float(bitPattern: block.numberBits[source.place * n + example])
          if !value.isFinite {
            isFinite = false
            value = 0
          }
        }
        row.numbers[target] = value
      case .category:
        row.categories[target] =
          if let source, !isMissing { block.categories[source.place * n + example] } else { 0 }
      }
    }
    row.count = 1
    return isFinite
  }
}
