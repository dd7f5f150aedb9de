import Testing

@testable import Kafka

struct FetchPacingTests {
  @Test func `a broker that answers nothing at once is waited out, one that waits is not`() {
    let hasty = FetchPacer(waitMilliseconds: 10)
    #expect(hasty.pause(after: 90, roundTripMicroseconds: 100) == 0)
    for _ in 0..<3 { #expect(hasty.pause(after: 90, roundTripMicroseconds: 100) == 9_900) }
    let patient = FetchPacer(waitMilliseconds: 10)
    for _ in 0..<3 { #expect(patient.pause(after: 90, roundTripMicroseconds: 10_050) == 0) }
  }

  @Test func `answers with records go on at once`() {
    let pacer = FetchPacer(waitMilliseconds: 10)
    // Large ones, however alike; small ones that differ; the first small one after a large one.
    for size in [1 << 20, 1 << 20, 90, 300, 90, 310, 5_000, 5_000] {
      #expect(pacer.pause(after: size, roundTripMicroseconds: 100) == 0)
    }
  }

  @Test func `a pause never exceeds the wait that was asked for, whatever the library reports`() {
    for wait in [0, 1, 10, 500] {
      let pacer = FetchPacer(waitMilliseconds: wait)
      for roundTrip: Int64 in [-1, 0, 1, 4_999, 5_000, .max, .min] {
        _ = pacer.pause(after: 90, roundTripMicroseconds: 0)
        let pause = pacer.pause(after: 90, roundTripMicroseconds: roundTrip)
        #expect(pause >= 0 && pause <= Int64(wait) * 1_000)
      }
    }
  }
}
