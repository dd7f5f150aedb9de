// Method: a stream whose truth is known; laws of when calibration may move.
import Records
import Testing

@testable import Models

@Test func `calibration finds the slope and shift of a biased score`() {
  var world = World(seed: 31, count: 1)
  var platt = PlattScaling()
  for _ in 0..<200_000 {
    let margin = world.unit() * 6 - 3
    let label: Float = world.unit() < Elementary.sigmoid(0.5 * margin - 1) ? 1 : 0
    platt.learn(margin: margin, label: label, weight: 1, rate: 0.1)
  }
  #expect((platt.a - 0.5).magnitude < 0.05)
  #expect((platt.b + 1).magnitude < 0.05)
}

@Test func `calibration keeps the order of scores whatever it is told`() {
  var platt = PlattScaling()
  for step in 0..<10_000 {
    let margin: Float = step % 2 == 0 ? 8 : -8
    platt.learn(margin: margin, label: margin > 0 ? 0 : 1, weight: 16, rate: 1)
  }
  #expect(platt.isValid)
  #expect(platt.probability(margin: 1) > platt.probability(margin: -1))
}

@Test func `calibration moves only when told, served and on`() {
  let world = World(seed: 32, count: 4)
  let served = ServedScore(margin: 2, probability: 0.9)
  func after(_ calibration: CalibrationSettings, _ served: ServedScore, _ calibrate: Bool) -> PlattScaling {
    let contender = world.contender(World.settings(calibration: calibration))
    contender.learn(
      rows: world.rows, slot: 0, label: 0, weight: 1, served: served, calibrate: calibrate)
    return contender.calibration
  }
  #expect(after(.platt(rate: 0.1), served, true).b < 0)
  #expect(after(.platt(rate: 0.1), served, false) == PlattScaling())
  #expect(after(.platt(rate: 0.1), .absent, true) == PlattScaling())
  #expect(after(.none, served, true) == PlattScaling())
}

@Test func `the base rate is the decayed share, and follows a turn`() {
  var rate = BaseRate()
  #expect(rate.probability == 0.5)
  for step in 0..<50_000 { rate.learn(label: step % 4 == 0 ? 1 : 0, weight: 1) }
  #expect((rate.probability - 0.25).magnitude < 0.001)
  for _ in 0..<10_000 { rate.learn(label: 1, weight: 1) }
  #expect(rate.probability > 0.7)
}
