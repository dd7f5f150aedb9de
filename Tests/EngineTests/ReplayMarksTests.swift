import Records
import Testing

@testable import Engine

// Method: a random walk of event time over two inputs; at every step the promise is checked against all that
// was noted: a record that is still within the span stands at or after `replayFrom`.

private struct Walk: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

@Test(arguments: [1, 2, 3, 4, 5])
func `no record within the span lies before the replay's start`(seed: UInt64) {
  var random = Walk(state: seed)
  let span: Int64 = 10_000
  var marks = ReplayMarks(start: [0, 0], spanMilliseconds: span)
  var next: [Int64] = [0, 0]
  var newest: [Int64] = [.min, .min]
  // (input, offset, event time) of every record.
  var records: [(Int, Int64, Int64)] = []
  var borders: [[Int64]] = []
  for step in 0..<2_000 {
    let input = Int.random(in: 0...1, using: &random)
    let time = Int64(step) * 50 + Int64.random(in: -400...400, using: &random)
    records.append((input, next[input], time))
    next[input] += 1
    newest[input] = max(newest[input], time)
    if step % 7 == 0 {
      // The journal has a record a border, and the border's place is the one after it.
      marks.note(newest: newest.max()!, oldest: newest.min()!, nextOffsets: next, journal: Int64(step / 7 + 1))
      borders.append(next)
      #expect(marks.marks.count <= ReplayMarks.markCountMax)
      guard newest.min()! > .min else { continue }
      let cutoff = newest.min()! - span
      let from = marks.replayFrom
      #expect(marks.replayJournal == 0 || borders[Int(marks.replayJournal) - 1] == from, "seed \(seed) step \(step)")
      for (input, offset, time) in records where time > cutoff {
        #expect(offset >= from[input], "seed \(seed) step \(step)")
      }
    }
  }
  // It moves on: what is long past is not replayed again.
  #expect(marks.replayFrom[0] > 0)
}

@Test func `marks survive a round trip and refuse what is cut short`() throws {
  var marks = ReplayMarks(start: [5, 6], spanMilliseconds: 100)
  for step in 1...50 {
    marks.note(newest: Int64(step * 10), oldest: Int64(step * 9), nextOffsets: [Int64(step), Int64(step)], journal: Int64(3 * step))
  }
  var writer = ByteWriter()
  marks.encode(into: &writer)
  var restored = ReplayMarks(start: [0, 0], spanMilliseconds: 100)
  var reader = ByteReader(writer.bytes)
  try restored.restore(from: &reader, inputs: 2)
  var places = ByteWriter()
  marks.encodeJournal(into: &places)
  var placeReader = ByteReader(places.bytes)
  try restored.restoreJournal(from: &placeReader)
  #expect(restored == marks)
  for length in 0..<writer.bytes.count {
    var cut = ByteReader(Array(writer.bytes.prefix(length)))
    var target = ReplayMarks(start: [0, 0], spanMilliseconds: 100)
    #expect(throws: FormatError.self) { try target.restore(from: &cut, inputs: 2) }
  }
}
