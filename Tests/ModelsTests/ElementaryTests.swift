// Method: the platform's functions as oracle over dense grids; the bounds are those that the docs state.
import Foundation
import Testing

@testable import Models

private func ulps(_ a: Double, _ b: Double) -> Double { (a - b).magnitude / b.ulp }
private func ulps(_ a: Float, _ b: Float) -> Float { (a - b).magnitude / b.ulp }

@Test func `exp and log of doubles stay within two ulp`() {
  var worstExp = 0.0
  var worstLog = 0.0
  for step in 0...200_000 {
    let x = -700 + 1400 * Double(step) / 200_000
    worstExp = max(worstExp, ulps(Elementary.exp(x), Foundation.exp(x)))
    for y in [Foundation.exp(x), 0.5 + Double(step) / 100_000] {
      let exact = Foundation.log(y)
      if exact != 0 { worstLog = max(worstLog, ulps(Elementary.log(y), exact)) }
    }
  }
  #expect(worstExp <= 2)
  #expect(worstLog <= 2)
}

@Test func `exp and sigmoid of floats stay within their bounds`() {
  var worstExp: Float = 0
  var worstSigmoid: Float = 0
  for step in 0...200_000 {
    let x = Float(-80 + 160 * Double(step) / 200_000)
    worstExp = max(worstExp, ulps(Elementary.exp(x), Float(Foundation.exp(Double(x)))))
    let exact = Float(1 / (1 + Foundation.exp(-Double(x))))
    worstSigmoid = max(worstSigmoid, ulps(Elementary.sigmoid(x), exact))
  }
  #expect(worstExp <= 2)
  #expect(worstSigmoid <= 4)
}

@Test func `the ends of the line have answers`() {
  #expect(Elementary.exp(-1e9) == 0.0 && Elementary.exp(1e9) == Double.infinity)
  #expect(Elementary.exp(Float(-1e9)) == 0 && Elementary.exp(Float(1e9)) == .infinity)
  #expect(Elementary.exp(Double.nan).isNaN && Elementary.sigmoid(Float.nan).isNaN)
  #expect(Elementary.log(0.0) == -.infinity && Elementary.log(Double.infinity) == .infinity)
  #expect(Elementary.log(1.0) == 0 && Elementary.exp(0.0) == 1)
  #expect(Elementary.sigmoid(Float(-200)) == 0 && Elementary.sigmoid(Float(200)) == 1)
  #expect(Elementary.logLoss(probability: 0, label: 1) < 16.2)
  #expect((Elementary.logLoss(probability: 0.5, label: 1) - 0.6931471805599453).magnitude < 1e-15)
}
