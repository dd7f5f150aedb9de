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

@Test func `the step on z is the gradient of the log loss`() {
  let world = World(seed: 11, count: 300)
  let contender = world.contender(World.settings(l1: 0))
  world.learn(contender, 0..<299)
  let inputs = InputBuffer(width: contender.encoder.width, columns: contender.encoder.columnCount)
  let count = contender.encoder.encode(world.rows, slot: 299, into: inputs)
  var weights: [Double] = []
  _ = contender.learner.margin(inputs, count: count)
  for index in 0..<count { weights.append(Double(inputs.w[index])) }
  let xs = (0..<count).map { Double(inputs.values[$0]) }
  func loss(_ w: [Double]) -> Double {
    var margin = 0.0
    for index in 0..<count { margin += w[index] * xs[index] }
    return Elementary.logLoss(probability: Elementary.sigmoid(margin), label: 1)
  }
  let before = (0..<count).map { contender.learner.table[Int(inputs.slots[$0])] }
  let slots = (0..<count).map { inputs.slots[$0] }
  let margin = contender.learner.margin(inputs, count: count)
  contender.learner.update(inputs, count: count, margin: margin, label: 1, weight: 1) { _ in }
  var checked = 0
  for index in 0..<count where slots.filter({ $0 == slots[index] }).count == 1 {
    var up = weights
    var down = weights
    up[index] += 1e-4
    down[index] -= 1e-4
    let slope = (loss(up) - loss(down)) / 2e-4
    // g = dz + sigma w, with sigma from the change of n.
    let after = contender.learner.table[Int(slots[index])]
    let sigma = (after.y.squareRoot() - before[index].y.squareRoot()) / contender.learner.settings.alpha
    let g = Double(after.x - before[index].x) + Double(sigma) * weights[index]
    #expect((g - slope).magnitude < 2e-4)
    checked += 1
  }
  #expect(checked > 20)
}

@Test func `weight zero, odd weights and odd labels change nothing`() {
  let world = World(seed: 5, count: 200)
  for settings in [World.settings(), World.baseRate] {
    let contender = world.contender(settings)
    world.learn(contender, 0..<100)
    let before = bytes(contender)
    let served = ServedScore(margin: 1, probability: 0.7)
    for (label, weight) in [
      (1, 0), (0, -1), (1, .nan), (0, -.infinity), (.nan, 1), (2, 1), (-1, 1), (.infinity, 1),
    ] as [(Float, Float)] {
      contender.learn(
        rows: world.rows, slot: 150, label: label, weight: weight, served: served, calibrate: true)
    }
    #expect(bytes(contender) == before)
  }
}

@Test func `no weight, however large, leaves the finite numbers or the unit interval`() {
  let world = World(seed: 6, count: 64)
  for settings in [World.settings(), World.baseRate] {
    let contender = world.contender(settings)
    for row in 0..<64 {
      contender.learn(
        rows: world.rows, slot: row, label: Float(row % 2), weight: .infinity,
        served: ServedScore(margin: row % 2 == 0 ? 1e30 : -1e30, probability: 0.5), calibrate: true)
    }
    for score in world.scores(contender.scorer()) {
      #expect(score.margin.isFinite && (0...1).contains(score.probability))
    }
  }
}

@Test func `a coordinate never goes numb: n is bounded and the weight follows a turn`() {
  let learner = FTRLLearner(settings: FTRLSettings(), slotCount: 64)
  let inputs = InputBuffer(width: 4, columns: 0)
  func run(_ label: Float, _ rounds: Int) -> Float {
    for _ in 0..<rounds {
      let count = put(inputs, [(1, 1)])
      let margin = learner.margin(inputs, count: count)
      learner.update(inputs, count: count, margin: margin, label: label, weight: 1) { _ in }
    }
    return learner.weight(slot: 1)
  }
  #expect(run(1, 100_000) > 3)
  #expect(learner.table[1].y <= FTRLLearner.accumulatorMax)
  #expect(run(0, 1_000) < 0)
}
