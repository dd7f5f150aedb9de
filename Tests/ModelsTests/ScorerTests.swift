// Method: twins. The fast kernel against the plain loop, publications in steps against one, int8 against f32.
import Records
import Testing

@testable import Models

@Test func `the fast kernel equals the plain loop bit for bit at every length`() {
  var world = World(seed: 21, count: 1)
  let table = CompressedTable(slotCount: 256)
  for slot in 0..<256 { table.weights[slot] = Int8(truncatingIfNeeded: world.next()) }
  for block in 0..<4 { table.scales[block] = world.unit() }
  let inputs = InputBuffer(width: 70, columns: 0)
  for count in 0...70 {
    for index in 0..<count {
      inputs.slots[index] = UInt32(world.next() % 256)
      inputs.values[index] = world.unit()
    }
    let fast = table.margin(inputs, count: count)
    #expect(fast.bitPattern == table.marginPlain(inputs, count: count).bitPattern)
  }
}

@Test func `quantising rounds halves to even and errs by half a step at most`() {
  #expect(CompressedTable.roundHalfEven(0.5) == 0 && CompressedTable.roundHalfEven(1.5) == 2)
  #expect(CompressedTable.roundHalfEven(-2.5) == -2 && CompressedTable.roundHalfEven(126.7) == 127)
  let world = World(seed: 22, count: 2_000)
  let contender = world.contender()
  world.learn(contender, 0..<2_000)
  let scorer = contender.scorer()
  for slot in 0..<scorer.table.weights.count {
    let step = scorer.table.scales[slot / 64]
    let error = contender.learner.weight(slot: slot) - Float(scorer.table.weights[slot]) * step
    #expect(error.magnitude <= step * 0.5001)
  }
}

@Test func `a scorer after many publications equals one built from scratch, bit for bit`() throws {
  let world = World(seed: 23, count: 1_000)
  let stepwise = world.contender()
  let atOnce = world.contender()
  var first: Scorer?
  for step in 0..<100 {
    world.learn(stepwise, step * 10..<(step + 1) * 10)
    let scorer = stepwise.scorer()
    if step == 0 { first = scorer }
  }
  world.learn(atOnce, 0..<1_000)
  #expect(world.scores(stepwise.scorer()) == world.scores(atOnce.scorer()))
  let restored = world.contender()
  var reader = ByteReader(bytes(stepwise))
  try restored.restore(from: &reader)
  #expect(world.scores(restored.scorer()) == world.scores(atOnce.scorer()))

  // The first publication still says what it said.
  let young = world.contender()
  world.learn(young, 0..<10)
  #expect(world.scores(try #require(first)) == world.scores(young.scorer()))
}

@Test func `the compressed twin stays close to the master`() {
  let world = World(seed: 24, count: 5_000)
  let contender = world.contender()
  world.learn(contender, 0..<5_000)
  let gap = contender.compressionGap(rows: world.rows, count: 5_000)
  #expect(gap.rows == 5_000)
  #expect(gap.marginMax > 0 && gap.marginMax < 0.03)
  #expect(gap.marginMean < 0.01)
  #expect(gap.probabilityMax <= gap.marginMax / 4 + 1e-6)
  #expect(gap.probabilityMean < 0.002)
}

@Test func `scores land at stride and offset, and nowhere else`() {
  let world = World(seed: 25, count: 32)
  let contender = world.contender()
  world.learn(contender, 0..<32)
  let plain = world.scores(contender.scorer())
  let out = FixedBuffer(repeating: ServedScore.absent, count: 96)
  contender.scorer().score(
    world.rows, count: 20, scratch: ScoringScratch(), into: out, stride: 3, offset: 1)
  for index in 0..<96 {
    if index % 3 == 1 && index / 3 < 20 {
      #expect(out[index] == plain[index / 3])
    } else {
      #expect(out[index].isAbsent)
    }
  }
}

@Test func `the learner finds what the labels depend on`() {
  let world = World(seed: 26, count: 20_000)
  let contender = world.contender(World.settings(hashBits: 16))
  let base = world.contender(World.baseRate)
  var loss = 0.0
  var baseLoss = 0.0
  for row in 0..<20_000 {
    let label = Double(world.labels[row])
    let margin = contender.masterMargin(rows: world.rows, slot: row)
    let share = base.masterMargin(rows: world.rows, slot: row)
    if row >= 10_000 {
      loss += Elementary.logLoss(probability: Elementary.sigmoid(Double(margin)), label: label)
      baseLoss += Elementary.logLoss(probability: Elementary.sigmoid(Double(share)), label: label)
    }
    for one in [contender, base] {
      one.learn(
        rows: world.rows, slot: row, label: world.labels[row], weight: 1, served: .absent,
        calibrate: false)
    }
  }
  #expect(loss < baseLoss * 0.9)
  #expect(baseLoss / 10_000 < 0.6931)
}
