// Method: a run computed by hand from the published equations, and finite differences of the loss.
import Records
import Testing

@testable import Models

private func put(_ inputs: InputBuffer, _ pairs: [(Int, Float)]) -> Int {
  for (index, pair) in pairs.enumerated() {
    inputs.slots[index] = UInt32(pair.0)
    inputs.values[index] = pair.1
  }
  return pairs.count
}

@Test func `FTRL follows the published equations row by row, back to zero included`() {
  let learner = FTRLLearner(
    settings: FTRLSettings(alpha: 0.1, beta: 1, l1: 0.1, l2: 0.01), slotCount: 64)
  let inputs = InputBuffer(width: 8, columns: 0)
  let rows: [([(Int, Float)], Float)] = [
    ([(0, 1), (1, 1)], 1), ([(0, 1), (2, 2)], 0), ([(0, 1), (1, 1)], 1), ([(0, 1), (2, 2)], 0),
  ]
  let p: [Float] = [0.5, 0.506661831, 0.506661831, 0.483268961]
  let w: [[Float]] = [
    [0.026648901, 0.026648901, 0], [0, 0.026648901, -0.045341455],
    [0.023733761, 0.055610666, -0.045341455], [0, 0.055610666, -0.085590987],
  ]
  for (index, row) in rows.enumerated() {
    let count = put(inputs, row.0)
    let margin = learner.margin(inputs, count: count)
    #expect((Elementary.sigmoid(margin) - p[index]).magnitude < 2e-7)
    learner.update(inputs, count: count, margin: margin, label: row.1, weight: 1) { _ in }
    for slot in 0..<3 {
      #expect((learner.weight(slot: slot) - w[index][slot]).magnitude < 2e-7, "row \(index)")
    }
  }
}
