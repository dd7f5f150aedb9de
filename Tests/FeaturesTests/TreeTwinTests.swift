import Testing

@testable import Features
@testable import Records

// The register program against a plain walk over the parsed tree, on random typed expressions and
// random records. The walk is written from the page on the language, one value at a time.

private enum Value: Equatable {
  case number(Double?), boolean(Bool?), category(UInt64?), time(Double?)

  var double: Double? {
    switch self {
    case .number(let x), .time(let x): x
    case .boolean(let b): b.map { $0 ? 1 : 0 }
    case .category: nil
    }
  }
  var truth: Bool? {
    if case .boolean(let b) = self { b } else { nil }
  }
  var hash: UInt64? {
    switch self {
    case .category(let h): h
    default: double.map { Features.category(ofNumber: $0) }
    }
  }
  var isMissing: Bool {
    if case .category(let h) = self { h == nil } else { double == nil }
  }
  var bits: UInt64? {
    if case .category(let h) = self { h } else { double.map { ($0 + 0).bitPattern } }
  }
}

private func known(_ x: Double) -> Double? { x.isFinite ? x : nil }
private func both<T, R>(_ a: T?, _ b: T?, _ body: (T, T) -> R) -> R? {
  guard let a, let b else { return nil }
  return body(a, b)
}

private func walk(_ e: ParsedExpression, _ record: TestRecord) -> Value {
  switch e.kind {
  case .number(let x): return .number(x)
  case .text(let text): return .category(Hash64.hash(text))
  case .boolean(let b): return .boolean(b)
  case .name(let name):
    let index = mixedSchema.index(of: name)!
    let cell = record.cells[index]
    var number: Double?
    var hash: UInt64?
    if case .number(let x) = cell { number = x }
    if case .text(let text) = cell { hash = Hash64.hash(text) }
    switch mixedSchema.fields[index].type {
    case .string: return .category(hash)
    case .boolean: return .boolean(number.map { $0 != 0 })
    case .time: return .time(number)
    default: return .number(number)
    }
  case .window: preconditionFailure()
  case .not(let inner): return .boolean(walk(inner, record).truth.map { !$0 })
  case .negate(let inner): return .number(walk(inner, record).double.map { -$0 })
  case .oneOf(let subject, let items):
    let whole = walk(subject, record)
    let others = items.map { walk($0, record) }
    if whole.isMissing || others.contains(where: \.isMissing) { return .boolean(nil) }
    return .boolean(others.contains { $0.bits == whole.bits })
  case .binary(let operation, let left, let right):
    let a = walk(left, record)
    let b = walk(right, record)
    switch operation {
    case .and: return .boolean(both(a.truth, b.truth) { $0 && $1 })
    case .or: return .boolean(both(a.truth, b.truth) { $0 || $1 })
    case .equal: return .boolean(both(a.bits, b.bits, ==))
    case .notEqual: return .boolean(both(a.bits, b.bits, !=))
    case .less: return .boolean(both(a.double, b.double, <))
    case .lessOrEqual: return .boolean(both(a.double, b.double, <=))
    case .greater: return .boolean(both(a.double, b.double, >))
    case .greaterOrEqual: return .boolean(both(a.double, b.double, >=))
    case .multiply: return .number(both(a.double, b.double, *).flatMap(known))
    case .divide: return .number(both(a.double, b.double, /).flatMap(known))
    case .add:
      switch (a, b) {
      case (.time(let t), .number(let s)), (.number(let s), .time(let t)):
        return .time(both(t, s) { $0 + $1 * 1000 }.flatMap(known))
      default: return .number(both(a.double, b.double, +).flatMap(known))
      }
    case .subtract:
      switch (a, b) {
      case (.time(let t), .time(let u)):
        return .number(both(t, u, -).flatMap(known).map { $0 / 1000 })
      case (.time(let t), .number(let s)):
        return .time(both(t, s) { $0 + -$1 * 1000 }.flatMap(known))
      default: return .number(both(a.double, b.double, -).flatMap(known))
      }
    }
  case .call(let name, let arguments):
    if name == "bucket" {
      let x = walk(arguments[0], record).double
      let edges = arguments.dropFirst().map { walk($0, record).double! }
      return .number(x.map { x in Double(edges.filter { $0 <= x }.count) })
    }
    if ["year", "month", "day", "weekday", "hour", "minute"].contains(name) {
      guard let x = walk(arguments[0], record).double, abs(x) <= 0x1p53 else { return .number(nil) }
      guard case .text(let zone) = arguments[1].kind else { preconditionFailure() }
      let instant = Int64(x.rounded(.down))
      let rules = zone == "UTC" ? TimeZoneRules.utc : testZones(zone)!
      let seconds = Int64(rules.offsetSeconds(at: EventTime(milliseconds: instant)))
      let local = instant + seconds * 1000
      let milliseconds = (local % 86_400_000 + 86_400_000) % 86_400_000
      let days = (local - milliseconds) / 86_400_000
      let date = Calendar.civil(day: days)
      switch name {
      case "year": return .number(Double(date.year))
      case "month": return .number(Double(date.month))
      case "day": return .number(Double(date.day))
      case "weekday": return .number(Double(((days % 7 + 7 + 3) % 7) + 1))
      case "hour": return .number(Double(milliseconds / 3_600_000))
      default: return .number(Double(milliseconds / 60_000 % 60))
      }
    }
    let values = arguments.map { walk($0, record) }
    switch name {
    case "is_missing": return .boolean(values[0].isMissing)
    case "if":
      guard let truth = values[0].truth else {
        switch values[1] {
        case .number: return .number(nil)
        case .boolean: return .boolean(nil)
        case .category: return .category(nil)
        case .time: return .time(nil)
        }
      }
      return truth ? values[1] : values[2]
    case "coalesce": return values.first { !$0.isMissing } ?? values[0]
    case "cross":
      if values.contains(where: \.isMissing) { return .category(nil) }
      return .category(values.dropFirst().reduce(values[0].hash!) { Hash64.combine($0, $1.hash!) })
    case "min", "max":
      let all = values.compactMap(\.double)
      guard all.count == values.count else { return .number(nil) }
      return .number(name == "min" ? all.min() : all.max())
    case "clamp":
      guard let x = values[0].double, let low = values[1].double, let high = values[2].double else {
        return .number(nil)
      }
      return .number(Swift.min(Swift.max(x, low), high))
    default:
      guard let x = values[0].double else { return .number(nil) }
      switch name {
      case "abs": return .number(abs(x))
      case "floor": return .number(x.rounded(.down))
      case "sqrt": return .number(x < 0 ? nil : x.squareRoot())
      case "log": return .number(x > 0 ? Elementary.log(x) : nil)
      default: return .number(known(Elementary.exp(x)))
      }
    }
  }
}

/// A random expression of a type, as text.
private func text(
  _ type: ValueType, _ depth: Int, _ random: inout SplitMix
) -> String {
  func sub(_ type: ValueType) -> String { text(type, depth - 1, &random) }
  func pick(_ list: [String]) -> String { list.randomElement(using: &random)! }
  func any() -> ValueType {
    [.number, .boolean, .category, .time].randomElement(using: &random)!
  }
  let zone = pick(["'UTC'", "'America/New_York'"])
  switch type {
  case .number:
    if depth == 0 { return pick(["x", "y", "n", "0", "1", "2.5", "-3", "1e200"]) }
    switch Int.random(in: 0..<9, using: &random) {
    case 0...2: return "(\(sub(.number)) \(pick(["+", "-", "*", "/"])) \(sub(.number)))"
    case 3: return "\(pick(["abs", "floor", "log", "exp", "sqrt", "-"]))(\(sub(.number)))"
    case 4: return "\(pick(["min", "max", "coalesce"]))(\(sub(.number)), \(sub(.number)))"
    case 5: return "clamp(\(sub(.number)), \(sub(.number)), y)"
    case 6: return "if(\(sub(.boolean)), \(sub(.number)), \(sub(.number)))"
    case 7: return "bucket(\(sub(.number)), -1, 0, 2.5)"
    default:
      return Bool.random(using: &random)
        ? "(\(sub(.time)) - \(sub(.time)))"
        : "\(pick(["year", "month", "day", "weekday", "hour", "minute"]))(\(sub(.time)), \(zone))"
    }
  case .boolean:
    if depth == 0 { return pick(["b", "true", "false"]) }
    switch Int.random(in: 0..<6, using: &random) {
    case 0: return "(\(sub(.number)) \(pick(["<", "<=", ">", ">=", "==", "!="])) \(sub(.number)))"
    case 1: return "(\(sub(.boolean)) \(pick(["and", "or", "==", "!="])) \(sub(.boolean)))"
    case 2: return "not (\(sub(.boolean)))"
    case 3: return "is_missing(\(sub(any())))"
    case 4: return "(\(sub(.category)) \(pick(["in", "not in"])) ('red', \(sub(.category))))"
    default: return "(\(sub(.time)) \(pick(["<", ">=", "=="])) \(sub(.time)))"
    }
  case .category:
    if depth == 0 { return pick(["c", "d", "'red'", "'blue'"]) }
    switch Int.random(in: 0..<3, using: &random) {
    case 0: return "cross(\(sub(any())), \(sub(any())))"
    case 1: return "coalesce(\(sub(.category)), \(sub(.category)))"
    default: return "if(\(sub(.boolean)), \(sub(.category)), \(sub(.category)))"
    }
  case .time:
    if depth == 0 { return pick(["t", "u"]) }
    return Bool.random(using: &random)
      ? "(\(sub(.time)) \(pick(["+", "-"])) \(sub(.number)))"
      : "if(\(sub(.boolean)), \(sub(.time)), \(sub(.time)))"
  }
}

private func cells(_ random: inout SplitMix) -> [Cell] {
  func number(_ list: [Double]) -> Cell {
    Int.random(in: 0..<6, using: &random) == 0
      ? .missing : .number(list.randomElement(using: &random)!)
  }
  let numbers = [0, -0.0, 1, -1, 2.5, 3, 1e308, -1e308, 0x1p-1074, 1e-10, 700]
  let times: [Double] = [
    0, 1_372_714_200_000, 1_362_898_799_999, 1_362_898_800_000, -86_400_001, 9e15, -9e15, 1e17,
  ]
  func word() -> Cell {
    [.missing, .text("red"), .text("blue"), .text("")].randomElement(using: &random)!
  }
  return [
    number(numbers), number(numbers), number([0, 1, -7, 9_007_199_254_740_992]), number([0, 1]),
    word(), word(), number(times), number(times),
  ]
}

@Test func `the register program equals a walk over the tree`() throws {
  var random = SplitMix(11)
  var knownValues = 0
  var wrong: [String] = []
  for round in 0..<1500 {
    let type = [ValueType.number, .boolean, .category, .time][round % 4]
    let source = text(type, Int.random(in: 1...4, using: &random), &random)
    let parsed = try ExpressionParser.parse(source)
    let records = (0..<Int.random(in: 1...32, using: &random)).map {
      TestRecord(time: 0, offset: Int64($0), cells: cells(&random))
    }
    let (found, values) = try evaluate(source, records)
    #expect(found == type)
    for (record, value) in zip(records, values) {
      let expected = walk(parsed, record).bits
      if value != expected { wrong.append("\(source) over \(record.cells)") }
      if value != nil { knownValues += 1 }
    }
  }
  #expect(wrong == [])
  // Else the comparison would be of missing with missing.
  #expect(knownValues > 5000)
}
