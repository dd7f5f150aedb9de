import Pipeline

/// One figure: what it measures, the number, its unit, and how far the rounds lie apart.
struct Figure {
  var name: String
  var value: Double
  var unit: String
  var spread: Spread?
  var note: String

  init(_ name: String, _ value: Double, _ unit: String, _ note: String = "") {
    self.name = name
    self.value = value
    self.unit = unit
    self.note = note
  }
  init(_ name: String, _ spread: Spread, _ unit: String, _ note: String = "") {
    self.init(name, spread.median, unit, note)
    self.spread = spread
  }

  var json: JSONText {
    var members: [(String, JSONText)] = [
      ("name", .string(name)), ("value", .number(value)), ("unit", .string(unit)),
    ]
    if let spread {
      members += [
        ("least", .number(spread.least)), ("most", .number(spread.most)),
        ("rounds", .integer(Int64(spread.rounds))),
      ]
    }
    if !note.isEmpty { members.append(("note", .string(note))) }
    return .object(members)
  }
}

extension PipelineBench.Result {
  var figures: [Figure] {
    [
      Figure(
        "pipeline, one core: records", recordsPerSecond, "1/s",
        "decode, fold, score, encode; all inputs; \(recordsPerRound) records a round, by CPU time"),
      Figure("of them scored", scoredShare, ""),
      Figure("pipeline by wall clock", wallRecordsPerSecond, "1/s", "the machine's other work included"),
      Figure("allocations an event", allocationsPerEvent, "", "malloc and its relatives, counted in the process"),
      Figure("allocations a commit unit", allocationsPerUnit, "", "ending it: journal record and example block"),
      Figure("prediction", predictionBytes, "bytes"),
      Figure("journal", journalBytesPerEvent, "bytes/event"),
      Figure("example in a block", bytesPerExample, "bytes"),
    ]
  }
}

extension LearnerBench.Result {
  var figures: [Figure] {
    [
      Figure(
        "learner, one core: examples", examplesPerSecond, "1/s",
        "decode the block, metrics, every contender; \(examples) examples a round"),
      Figure("allocations an example", allocationsPerExample, "", "those of decoding blocks"),
      Figure("encode and score, champion", championNanoseconds, "ns/row"),
      Figure("encode and score, all contenders", allNanoseconds, "ns/row"),
      Figure("int8 against full precision: log-odds, mean", gap.marginMean, "", "\(gap.rows) rows"),
      Figure("int8 against full precision: log-odds, most", Double(gap.marginMax), ""),
      Figure("int8 against full precision: probability, mean", gap.probabilityMean, ""),
      Figure("int8 against full precision: probability, most", Double(gap.probabilityMax), ""),
    ]
  }
}
