import Learning
import Models
import Records

/// A model that learns from a log of its own, written as it runs: the charter first, then what the units hold.
///
/// Every version that the fold wants kept is confirmed in the log at once, as the publisher of a worker would.
final class OfflineModel {
  static let clusterID = "offline"

  let state = ModelState()
  /// Offset of the next record of the log.
  private var next: Int64 = 0
  private(set) var gaps: [CompressionGap]
  private(set) var alerts: [String] = []

  init(settings: LearningSettings, timestamp: EventTime = EventTime(milliseconds: 0)) {
    gaps = settings.contenders.map { _ in CompressionGap() }
    fold(ModelState.charter(settings, clusterID: Self.clusterID).record(), timestamp: timestamp)
    precondition(!state.isRefused && state.scorers() != nil, "our own charter is refused")
  }

  var scorers: ScorerSet { state.scorers()! }

  func fold(_ record: [UInt8], timestamp: EventTime) {
    var pending = [record]
    while !pending.isEmpty {
      let effects = state.fold(pending.removeFirst(), offset: Offset(next), timestamp: timestamp)
      next += 1
      for effect in effects {
        switch effect {
        case .keep(let version, let digest, _):
          pending.append(KeptVersion(version: version, digest: digest).record())
        case .alert(let kind, let text): alerts.append("\(kind.rawValue): \(text)")
        case .ack, .switched, .confirmed, .diverged, .missing, .chartered: break
        }
      }
    }
  }

  /// Measures how far the compressed scorers lie from their masters over the rows of a block.
  ///
  /// Cost: two scores a row and contender; allocates: called for some blocks only.
  func measureGap(over block: ExampleBlock) {
    guard let settings = state.settings, block.count > 0 else { return }
    let schema = settings.rowSchema
    let count = min(block.count, 64)
    let rows = RowGroup(schema: schema, capacity: count)
    rows.count = count
    for (column, declared) in schema.columns.enumerated() {
      guard let source = block.columns.firstIndex(where: { $0.id == declared.id && $0.kind == declared.kind })
      else { continue }
      let place = block.columns[..<source].count { $0.kind == declared.kind }
      for row in 0..<count {
        let isMissing = block.missing[source * block.count + row]
        rows.missing[row * schema.columns.count + column] = isMissing
        guard isMissing == 0 else { continue }
        let cell = place * block.count + row
        switch declared.kind {
        case .number:
          rows.numbers[row * schema.numberCount + schema.places[column]] =
            Float(bitPattern: block.numberBits[cell])
        case .category:
          rows.categories[row * schema.categoryCount + schema.places[column]] = block.categories[cell]
        }
      }
    }
    let set = scorers
    let scores = FixedBuffer(repeating: ServedScore.absent, count: count * set.count)
    set.score(rows, count: count, scratch: ScoringScratch(), into: scores)
    for contender in gaps.indices {
      for row in 0..<count {
        gaps[contender].add(
          master: state.masterMargin(contender: contender, rows: rows, slot: row),
          compressed: scores[row * set.count + contender].margin)
      }
    }
  }
}
