// Method: resume equals never stopped; every cut and every flipped byte throws or is another valid state.
import Records
import Testing

@testable import Models

@Test func `restored in the middle equals never stopped, bit for bit`() throws {
  let world = World(seed: 41, count: 600)
  for settings in [World.settings(), World.baseRate] {
    let whole = world.contender(settings)
    world.learn(whole, 0..<600)
    let half = world.contender(settings)
    world.learn(half, 0..<300)
    // Into a contender with a past of its own, which must leave no trace.
    let resumed = world.contender(settings)
    world.learn(resumed, 200..<400)
    _ = resumed.scorer()
    var reader = ByteReader(bytes(half) + [7, 7])
    try resumed.restore(from: &reader)
    #expect(reader.remaining == 2)
    #expect(bytes(resumed) == bytes(half))
    world.learn(resumed, 300..<600)
    #expect(bytes(resumed) == bytes(whole))
    #expect(world.scores(resumed.scorer()) == world.scores(whole.scorer()))
  }
}

@Test func `a young table of 2^18 slots is small`() {
  let world = World(seed: 42, count: 10)
  let contender = world.contender(World.settings(hashBits: 18))
  #expect(bytes(contender).count < 64)
  world.learn(contender, 0..<10)
  #expect(bytes(contender).count < 10 * 40 * 13)
}

@Test func `cut bytes throw and leave the state as it was`() {
  let world = World(seed: 43, count: 60)
  for settings in [World.settings(), World.baseRate] {
    let contender = world.contender(settings)
    world.learn(contender, 0..<30)
    let good = bytes(contender)
    world.learn(contender, 30..<60)
    let before = bytes(contender)
    for cut in 0..<good.count {
      var reader = ByteReader(Array(good[..<cut]))
      #expect(throws: FormatError.self) { try contender.restore(from: &reader) }
    }
    #expect(bytes(contender) == before)
  }
}

@Test func `a flipped bit throws or gives a state that encodes to those very bytes`() {
  let world = World(seed: 44, count: 12)
  let contender = world.contender()
  world.learn(contender, 0..<12)
  let good = bytes(contender)
  var refused = 0
  for at in stride(from: 0, to: good.count, by: 3) {
    for bit in 0..<8 {
      var bad = good
      bad[at] ^= 1 << bit
      var reader = ByteReader(bad)
      do throws(FormatError) {
        try contender.restore(from: &reader)
        #expect(bytes(contender) == Array(bad[..<reader.position]))
      } catch { refused += 1 }
    }
  }
  #expect(refused > 100)
}

@Test func `another shape is refused`() {
  let world = World(seed: 45, count: 10)
  let contender = world.contender()
  world.learn(contender, 0..<10)
  let good = bytes(contender)
  let others = [
    World.settings(hashBits: 11), World.settings(crosses: false), World.baseRate,
    ContenderSettings(
      name: "linear",
      kind: .ftrl(
        FTRLSettings(alpha: 0.5),
        EncoderSettings(
          hashBits: 10, columns: World.columns, missingIndicators: ["amount", "device"]))),
    ContenderSettings(
      name: "linear",
      kind: .ftrl(FTRLSettings(), EncoderSettings(hashBits: 10, columns: World.columns))),
  ]
  for other in others {
    var reader = ByteReader(good)
    #expect(throws: FormatError.self) { try world.contender(other).restore(from: &reader) }
  }
  let namesake = ContenderSettings(name: "other", kind: contender.settings.kind)
  var reader = ByteReader(good)
  #expect(throws: Never.self) { try world.contender(namesake).restore(from: &reader) }
}

@Test func `settings no contender can be made of are told, and stop the process if used`() async {
  #expect(World.settings().isValid && World.baseRate.isValid)
  for bad in [
    World.settings(hashBits: 5), World.settings(hashBits: 64), World.settings(l1: -.infinity),
    World.settings(l1: .nan), World.settings(calibration: .platt(rate: .nan)),
  ] {
    #expect(!bad.isValid)
  }
  await #expect(processExitsWith: .failure) {
    _ = Contender(settings: World.settings(hashBits: 5), rowSchema: RowSchema(World.columns))
  }
}
