import Learning
import Models
import Pipeline
import Records

/// The model alone: folding example blocks as every replica does, and scoring their rows.
struct LearnerBench {
  let settings: PipelineSettings
  let blocks: [[UInt8]]
  let rounds: Int

  struct Result {
    /// Decoding, metrics and every contender's step, by CPU second.
    var examplesPerSecond: Spread
    var examples: Int
    /// Encoding and scoring, nanoseconds a row: the champion alone, and all contenders.
    var championNanoseconds: Spread
    var allNanoseconds: Spread
    var gap: CompressionGap
    var allocationsPerExample: Double
  }

  func run() throws -> Result {
    var perSecond: [Double] = []
    var model = chartered(settings)
    var allocations = 0
    let decoded = try blocks.map(Self.decode)
    let examples = decoded.reduce(0) { $0 + $1.count }
    guard examples > 0 else { throw BenchFailure("no label was joined: nothing to learn") }
    for _ in 0...rounds {
      model = chartered(settings)
      let cost = measured {
        for (index, block) in blocks.enumerated() {
          _ = model.fold(block, offset: Offset(Int64(index + 1)), timestamp: EventTime(milliseconds: 0))
        }
      }
      perSecond.append(Double(examples) / cost.cpuNanoseconds * 1e9)
      allocations = cost.allocations
    }
    // The first round paid for memory that the others found warm.
    perSecond.removeFirst()

    guard let set = model.scorers() else { throw BenchFailure("the charter was refused") }
    let groups = decoded.flatMap { Self.rows($0, settings.learning.rowSchema) }
    let scratch = ScoringScratch()
    let scores = FixedBuffer(repeating: ServedScore.absent, count: Self.groupRows * set.count)
    var champion: [Double] = []
    var all: [Double] = []
    for _ in 0..<rounds {
      champion.append(
        measured {
          for rows in groups {
            set.scorers[set.championIndex].score(
              rows, count: rows.count, scratch: scratch, into: scores, stride: set.count, offset: 0)
          }
        }.cpuNanoseconds / Double(examples))
      all.append(
        measured {
          for rows in groups { set.score(rows, count: rows.count, scratch: scratch, into: scores) }
        }.cpuNanoseconds / Double(examples))
    }
    var gap = CompressionGap()
    for rows in groups {
      set.score(rows, count: rows.count, scratch: scratch, into: scores)
      for row in 0..<rows.count {
        gap.add(
          master: model.masterMargin(contender: set.championIndex, rows: rows, slot: row),
          compressed: scores[row * set.count + set.championIndex].margin)
      }
    }
    return Result(
      examplesPerSecond: Spread(perSecond), examples: examples, championNanoseconds: Spread(champion),
      allNanoseconds: Spread(all), gap: gap,
      allocationsPerExample: Double(allocations) / Double(examples))
  }

  static let groupRows = 32

  private static func decode(_ record: [UInt8]) throws -> ExampleBlock {
    guard case .examples(let block) = try LearningRecord.decode(record) else {
      throw BenchFailure("not an example block")
    }
    return block
  }

  /// The rows of a block in groups, as a lane scores them.
  private static func rows(_ block: ExampleBlock, _ schema: RowSchema) -> [RowGroup] {
    stride(from: 0, to: block.count, by: groupRows).map { start in
      let group = RowGroup(schema: schema, capacity: groupRows)
      group.count = min(groupRows, block.count - start)
      for slot in 0..<group.count {
        let example = start + slot
        for (column, declared) in schema.columns.enumerated() {
          let place = schema.places[column]
          let isMissing = block.missing[column * block.count + example]
          group.missing[slot * schema.columns.count + column] = isMissing
          switch declared.kind {
          case .number:
            let bits = block.numberBits[place * block.count + example]
            group.numbers[slot * schema.numberCount + place] = isMissing == 1 ? 0 : Float(bitPattern: bits)
          case .category:
            group.categories[slot * schema.categoryCount + place] =
              isMissing == 1 ? 0 : block.categories[place * block.count + example]
          }
        }
      }
      return group
    }
  }
}
