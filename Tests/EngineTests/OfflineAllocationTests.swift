// Allocations are counted where they are made: the executable of the tests has a malloc that counts.
import CAllocationCount
import Learning
import Records
import Testing

@testable import Engine

/// What the optimiser does not do, unspecialised generics and boxed closures, allocates; a worker is never built so.
private let isOptimised: Bool = {
  var isDebug = false
  assert({ isDebug = true }() == ())
  return !isDebug
}()

/// Allocations of this thread so far.
private func allocations() -> Int { Int(mr_allocations_now().calls) }

@Suite(.enabled(if: mr_allocations_are_counted() == 1, "sanitizers bring allocators of their own"))
struct OfflineAllocationTests {
  @Test func `the counter sees an allocation`() {
    let before = allocations()
    let buffer = FixedBuffer<UInt64>(repeating: 0, count: 1_000)
    let count = allocations() - before
    #expect(count == 1)
    #expect(buffer.count == 1_000)
  }

  /// Decode, windows, join, score and encode, with labels and expiry, in units as a lane fills them.
  @Test(.enabled(if: isOptimised, "counts hold in release builds"))
  func `an event allocates nothing in the steady state`() throws {
    let scorers = try Replica.frozen()
    let engine = PartitionEngine(plan: World.plan(.drop), partition: PartitionID(0), start: [0, 0, 0])
    let unit = CommitUnit(examples: World.examples(engine.plan), inputCount: 3)
    var offset: Int64 = 0
    var now: Int64 = 1_000_000
    var counted = 0
    var records = 0
    for round in 0..<120 {
      // Thirty-two events, their side records, and the labels of the events before.
      var batches: [[StreamRecord]] = [[], [], []]
      for _ in 0..<32 {
        now += 10
        let id = now / 10
        let card = "c\(id % 9)"
        func record(_ text: String) -> StreamRecord {
          StreamRecord(payload: Array(text.utf8), key: Array(card.utf8), timestamp: now)
        }
        batches[0].append(record(#"{"id":"e\#(id)","card":"\#(card)","at":\#(now),"amount":\#(id % 100).25}"#))
        batches[1].append(record(#"{"id":"s\#(id)","card":"\#(card)","at":\#(now),"x":1.5}"#))
        // One event in four is never labelled and expires.
        let about = id % 4 == 0 ? "nobody" : "e\(id - 9)"
        batches[2].append(record(#"{"id":"\#(about)","card":"c\#((id - 9) % 9)","at":\#(now),"y":\#(id % 2)}"#))
        if about == "nobody" { batches[2].removeLast() }
      }
      let before = allocations()
      for input in 0..<3 {
        for index in batches[input].indices {
          _ = batches[input][index].payload.withUnsafeBytes { payload in
            batches[input][index].key.withUnsafeBytes { key in
              engine.append(
                input: input, payload: payload, key: key,
                headers: UnsafeRawBufferPointer(start: nil, count: 0), offset: offset + Int64(index),
                timestamp: batches[input][index].timestamp)
            }
          }
        }
        engine.markAtEnd(input: input)
        engine.seal(input: input)
      }
      while true {
        let outcome = try engine.step(into: unit, scorers: scorers, budget: .max)
        if case .waiting(let input) = outcome { engine.seal(input: input) } else { break }
      }
      let made = allocations() - before
      // The first rounds find their memory: windows of new cards, pages of the join, the unit's arenas.
      // The first records of a unit part what the engine and the sealed unit share: at most two copies.
      if round >= 60, round % 10 == 0 {
        #expect(made <= 2)
      } else if round >= 60 {
        counted += made
        records += batches.reduce(0) { $0 + $1.count }
      }
      offset += 32
      if round % 10 == 9 {
        _ = engine.seal(into: unit)
        unit.sealExamples()
        unit.clear()
      }
    }
    #expect(engine.accounting.eventsScored == 120 * 32)
    #expect(engine.accounting.labelsJoined > 2_000)
    #expect(engine.accounting.predictionsExpired > 300)
    #expect(records > 4_500)
    #expect(counted == 0, "\(counted) allocations over \(records) records")
  }
}
