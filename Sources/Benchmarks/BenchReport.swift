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

  /// Thousands apart; as many digits behind the point as the size leaves sense in.
  static func text(_ value: Double) -> String {
    guard value.isFinite else { return "-" }
    let digits = value == 0 || value.magnitude >= 100 ? 0 : value.magnitude >= 1 ? 1 : value.magnitude >= 0.01 ? 3 : 5
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = UInt64((value.magnitude * scale).rounded())
    let whole = String(scaled / UInt64(scale))
    var grouped = ""
    for (index, digit) in whole.enumerated() {
      if index > 0 && (whole.count - index) % 3 == 0 { grouped.append(",") }
      grouped.append(digit)
    }
    let rest = String(scaled % UInt64(scale))
    let fraction = digits == 0 ? "" : "." + String(repeating: "0", count: digits - rest.count) + rest
    return (value < 0 ? "-" : "") + grouped + fraction
  }

  var line: String {
    func padded(_ text: String, _ width: Int, left: Bool = false) -> String {
      let blanks = String(repeating: " ", count: max(0, width - text.count))
      return left ? blanks + text : text + blanks
    }
    let range = spread.map { "\(Self.text($0.least)) – \(Self.text($0.most))" } ?? ""
    return [
      padded(name, 44), padded(Self.text(value), 12, left: true), padded(unit, 12), padded(range, 22), note,
    ].joined(separator: "  ")
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
