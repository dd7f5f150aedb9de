import Testing

@testable import Features
@testable import Records

// The language by a table of expressions and values, a table of faults and columns, and noise.

/// Evaluates expressions over records of `mixedSchema` by the register program.
func evaluate(_ text: String, _ records: [TestRecord]) throws -> (ValueType, [UInt64?]) {
  var compiler = ExpressionCompiler(input: mixedSchema, windows: nil, zones: testZones)
  let operand = try compiler.compile(text)
  let program = RegisterProgram(
    graph: compiler.graph, outputs: [operand.node], afterWindows: false)
  let file = RegisterFile(for: program)
  let batch = InputBatch(schema: mixedSchema)
  batch.fill(records)
  program.run(file, batch: batch)
  let first = Int(program.registers[Int(operand.node)]) * RegisterFile.lanes
  return (
    operand.type,
    records.indices.map { record in
      if operand.type == .category {
        let hash = file.categories[first + record]
        return hash == 0 ? nil : hash
      }
      let value = file.numbers[first + record]
      // The sign of zero is no part of a value.
      return value != value ? nil : (value + 0).bitPattern
    }
  )
}

/// x = 3, y missing, n = -7, b = true, c = 'red', d missing, t = 2013-07-01T21:30:00Z, u a minute on.
let sample = TestRecord(
  time: 0, offset: 0,
  cells: [
    .number(3), .missing, .number(-7), .number(1), .text("red"), .missing,
    .number(1_372_714_200_000), .number(1_372_714_260_000),
  ])

private func value(_ text: String) throws -> Double? {
  try evaluate(text, [sample]).1[0].map { Double(bitPattern: $0) }
}

@Test(
  arguments: [
    ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("10 - 4 - 3", 3), ("12 / 4 / 3", 1), ("-x", -3),
    ("2 - -x", 5), ("1e3 + 0.5", 1000.5), ("1.5e-1", 0.15), ("x * n", -21), ("x + y", nil),
    ("x / 0", nil), ("log(0)", nil), ("log(-1)", nil), ("log(1)", 0), ("sqrt(-1)", nil),
    ("sqrt(16)", 4), ("exp(1000)", nil), ("exp(0)", 1), ("abs(n)", 7), ("floor(-2.5)", -3),
    ("1e308 * 10", nil), ("clamp(n, -5, 5)", -5), ("clamp(x, -5, 5)", 3), ("clamp(y, -5, 5)", nil),
    ("min(x, n, 5)", -7), ("max(x, n, 5)", 5), ("max(x, y)", nil),
    ("x > 2", 1), ("x > 3", 0), ("x >= 3", 1), ("x < 3", 0), ("x <= 3", 1), ("x == 3", 1),
    ("x != 3", 0), ("y == y", nil), ("b", 1), ("not b", 0), ("b and x > 5", 0), ("b or x > 5", 1),
    ("false and y > 1", nil), ("true or y > 1", nil), ("not x > 5 and b", 1),
    ("b == true", 1), ("c == 'red'", 1), ("c != 'red'", 0), ("c == 'blue'", 0), ("d == 'red'", nil),
    ("c in ('blue', 'red')", 1), ("c not in ('blue', 'red')", 0), ("x in (1, 2)", 0),
    ("'it''s' == 'it''s'", 1), ("is_missing(y)", 1), ("is_missing(x)", 0), ("is_missing(d)", 1),
    ("is_missing(x / 0)", 1), ("coalesce(y, x)", 3), ("coalesce(y, y, n)", -7),
    ("coalesce(d, c) == 'red'", 1), ("if(x > 2, 10, 20)", 10), ("if(x > 5, y, 20)", 20),
    ("if(y > 5, 10, 20)", nil), ("if(is_missing(y), 0, y)", 0), ("if(b, c, d) == 'red'", 1),
    ("bucket(x, 0, 3, 5)", 2), ("bucket(x, 5, 6)", 0), ("bucket(y, 5)", nil),
    ("hour(t, 'America/New_York')", 17), ("hour(t, 'UTC')", 21), ("minute(t, 'UTC')", 30),
    ("year(t, 'UTC')", 2013), ("month(t, 'UTC')", 7), ("day(t, 'UTC')", 1),
    ("weekday(t, 'UTC')", 1), ("u - t", 60), ("t - u", -60), ("(t + 60) == u", 1),
    ("60 + t == u", 1), ("t < u", 1), ("hour(t - 3600, 'UTC')", 20), ("hour(t + 1e300, 'UTC')", nil),
    ("`x` + `n`", -4), ("cross(c, x) == cross('red', 3)", 1), ("cross(c, d) == c", nil),
    ("cross(c, 'a') == cross('a', c)", 0), ("-0.0 == 0", 1), ("cross('a', -0.0) == cross('a', 0)", 1),
  ] as [(String, Double?)])
func `an expression has its value`(_ text: String, _ expected: Double?) throws {
  #expect(try value(text) == expected)
}

@Test(
  arguments: [
    ("", 0, ""), ("   ", 0, ""), ("x +", 3, ""), ("(x", 2, ""), ("x)", 1, ""), ("x y", 2, ""),
    ("xx + 1", 0, "did you mean 'x'?"), ("x + carier", 4, "fields of"), ("x = 3", 2, "'=='"),
    ("x && b", 2, "'and'"), ("!b", 0, "'not'"), ("c == \"red\"", 5, "single quotes"),
    ("c == 'red", 5, ""), ("1x", 1, ""), ("1e999", 0, ""), ("x < 1 < 2", 6, "'and'"),
    ("x + c", 2, ""), ("x and b", 0, "compare"), ("b + 1", 2, ""), ("t * 2", 0, "subtract two times"),
    ("t + u", 2, ""), ("x == 'a'", 2, "quotes"), ("t == x", 2, ""), ("c < 'a'", 2, ""),
    ("flor(x)", 0, "did you mean 'floor'?"), ("floor(x, y)", 0, "floor(x)"),
    ("if(x, 1, 2)", 3, "compare"), ("if(b, 1, 'a')", 9, ""), ("clamp(x, 5, -5)", 9, ""),
    ("bucket(x, 1, n)", 13, ""), ("bucket(x, 2, 1)", 13, ""), ("hour(t)", 0, "Area/City"),
    ("hour(t, 'Mars/Base')", 8, "IANA"), ("hour(x, 'UTC')", 5, ""), ("w.mean_2h", 0, "only features"),
    ("lookup(x, c)", 0, ""), ("x in ()", 2, ""), ("floor", 0, "call it"), ("x @ y", 2, ""), ("1 + .5", 4, ""),
    ("'é' == c and x +", 16, ""), ("a.b.c", 3, ""),
  ] as [(String, Int, String)])
func `a fault points at its column and says what to try`(
  _ text: String, _ column: Int, _ hint: String
) {
  let fault = #expect(throws: ExpressionFault.self) { try evaluate(text, [sample]) }
  #expect(fault?.column == column, "\(String(describing: fault))")
  #expect(fault?.hint.contains(hint) ?? hint.isEmpty, "\(String(describing: fault))")
  #expect(fault?.message.isEmpty == false)
}

@Test func `no text traps and every fault lies within it`() {
  var random = SplitMix(7)
  let pieces = [
    "x", "y", "c", "t", "b", "1", "2.5", "'a'", "(", ")", "+", "-", "*", "/", "<", "==", "and", "or",
    "not", "in", ",", ".", "if(", "clamp(", "cross(", "bucket(", "hour(", "'UTC'", " ", "`", "'", "é",
    "w.mean_2h", "coalesce(", "true",
  ]
  var compiledCount = 0
  for round in 0..<20_000 {
    var text = ""
    if round % 2 == 0 {
      let bytes = (0..<Int.random(in: 0...24, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      text = String(decoding: bytes, as: UTF8.self)
    } else {
      for _ in 0..<Int.random(in: 0...10, using: &random) {
        text += pieces.randomElement(using: &random)! + (Bool.random(using: &random) ? " " : "")
      }
    }
    do throws(ExpressionFault) {
      var compiler = ExpressionCompiler(input: mixedSchema, windows: nil, zones: testZones)
      _ = try compiler.compile(text)
      compiledCount += 1
    } catch {
      #expect(error.column >= 0 && error.column <= text.count, "\(text)")
    }
  }
  #expect(compiledCount > 100)
}

@Test func `a deep or long expression is a fault, not a crash`() {
  let deep = String(repeating: "(", count: 4000)
  let chain = "x" + String(repeating: " + x", count: 1500)
  let signs = String(repeating: "-", count: 4000) + "x"
  let nots = String(repeating: "not ", count: 1500) + "b"
  let long = String(repeating: " ", count: 9000)
  for text in [deep, chain, signs, nots, long] {
    #expect(throws: ExpressionFault.self) { try evaluate(text, [sample]) }
  }
}

@Test func `equal subexpressions are computed once`() throws {
  var compiler = ExpressionCompiler(input: mixedSchema, windows: nil, zones: testZones)
  let first = try compiler.compile("log(x + 1) * 2")
  let count = compiler.graph.nodes.count
  #expect(try compiler.compile("2 * log(1 + x)").node == first.node)
  #expect(compiler.graph.nodes.count == count)
  // The wall clock of a zone is shared by all its fields.
  _ = try compiler.compile("hour(t, 'UTC')")
  let clock = compiler.graph.nodes.count
  _ = try compiler.compile("weekday(t, 'UTC')")
  #expect(compiler.graph.nodes.count == clock + 1)
}
