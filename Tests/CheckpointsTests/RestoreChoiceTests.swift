// Method: every small world is enumerated and the decision compared with an oracle that states the rule
// by filtering and sorting; each refusal is shown to fire on its one fact.
import Checkpoints
import Records
import Testing

private func makePoint(
  committed: [Int64] = [12, 7], earliest: [Int64] = [0, 0], logEnd: Int64 = 5, logEarliest: Int64 = 0
) -> RestorePoint {
  RestorePoint(
    kind: .partition, fingerprint: makeIdentity().fingerprint,
    inputs: zip(committed, earliest).enumerated().map {
      LogBounds(topic: "input\($0)", earliest: Offset($1.1), committed: Offset($1.0))
    },
    log: LogBounds(topic: "journal", earliest: Offset(logEarliest), committed: Offset(logEnd)))
}

@Test func `each fact that differs refuses a checkpoint for its own reason`() {
  let point = makePoint()
  let good = makeIdentity()
  #expect(refusal(of: good, at: point) == nil)

  #expect(refusal(of: makeIdentity(kind: .model), at: point) == .otherKind(.model))
  #expect(refusal(of: makeIdentity(settings: [2]), at: point) == .otherFingerprint(.settings))
  for field in FingerprintField.allCases {
    var other = good
    switch field {
    case .clusterID: other.fingerprint.clusterID = "b"
    case .topic: other.fingerprint.topic = "b"
    case .partition: other.fingerprint.partition = PartitionID(9)
    case .pipeline: other.fingerprint.pipeline = "b"
    case .settings: other.fingerprint.settings = Digest.of([2])
    }
    #expect(refusal(of: other, at: point) == .otherFingerprint(field))
  }
  #expect(refusal(of: makeIdentity(inputs: [12]), at: point) == .otherInputs)
  #expect(
    refusal(of: makeIdentity(inputs: [12, 8]), at: point)
      == .ahead(topic: "input1", next: Offset(8), committed: Offset(7)))
  #expect(
    refusal(of: makeIdentity(log: 6), at: point)
      == .ahead(topic: "journal", next: Offset(6), committed: Offset(5)))
  #expect(
    refusal(of: makeIdentity(inputs: [3, 7]), at: makePoint(earliest: [4, 0]))
      == .retentionPassed(topic: "input0", next: Offset(3), earliest: Offset(4)))
  #expect(
    refusal(of: makeIdentity(log: 1), at: makePoint(logEarliest: 2))
      == .retentionPassed(topic: "journal", next: Offset(1), earliest: Offset(2)))
  // At the committed offset nothing is replayed: retention past it is no loss.
  #expect(refusal(of: good, at: makePoint(earliest: [20, 20], logEarliest: 20)) == nil)
}

/// The states a file can be in, for the enumeration: damaged, or standing at (input, log, generation).
private struct World {
  static let damaged: CheckpointError = .badChecksum(.file, section: nil)
  var files: [(input: Int64, log: Int64, generation: UInt64)?]

  var candidates: [CheckpointCandidate] {
    files.enumerated().map { index, file in
      CheckpointCandidate(
        name: "f\(index)",
        content: file.map {
          .success(makeIdentity(inputs: [$0.input], log: $0.log, generation: $0.generation))
        } ?? .failure(Self.damaged))
    }
  }
}

@Test func `in every world of three files the newest usable one is chosen, in any order`() {
  var states: [(input: Int64, log: Int64, generation: UInt64)?] = [nil]
  for input: Int64 in 0...2 { for log: Int64 in 0...2 { for generation: UInt64 in 0...1 { states.append((input, log, generation)) } } }
  var worlds = 0
  for committed: Int64 in 0...2 {
    for logEnd: Int64 in 1...2 {
      for earliest: Int64 in 0...1 {
        let point = makePoint(committed: [committed], earliest: [earliest], logEnd: logEnd)
        for a in states {
          for b in states {
            for c in [states[0], states[5], states[12]] {
              let world = World(files: [a, b, c])
              let usable = world.files.enumerated().filter { _, file in
                guard let file else { return false }
                return file.input <= committed && file.log <= logEnd
                  && (file.input == committed || file.input >= earliest)
              }
              let newest = usable.max { x, y in
                let left = x.element!, right = y.element!
                if left.log != right.log { return left.log < right.log }
                if left.generation != right.generation { return left.generation < right.generation }
                return x.offset < y.offset
              }
              let decision = chooseCheckpoint(world.candidates, at: point)
              let reversed = chooseCheckpoint(world.candidates.reversed(), at: point)
              switch decision {
              case .restore(let index, let refused):
                #expect(index == newest?.offset)
                #expect(refused.count == 3 - usable.count)
                if case .restore(let other, _) = reversed {
                  #expect(world.candidates.reversed()[other].name == "f\(index)")
                } else {
                  Issue.record("the order of candidates changed the decision")
                }
              case .rebuild(let refused):
                #expect(newest == nil)
                #expect(refused.count == 3)
                #expect(Set(refused.map(\.name)).count == 3)
              }
              worlds += 1
            }
          }
        }
      }
    }
  }
  #expect(worlds == 3 * 2 * 2 * 19 * 19 * 3)
}

@Test func `no file at all means to rebuild`() {
  #expect(chooseCheckpoint([], at: makePoint()) == .rebuild(refused: []))
}
