extension ExpressionCompiler {
  /// How many arguments a function takes.
  static let functions: [String: ClosedRange<Int>] = [
    "if": 3...3, "is_missing": 1...1, "coalesce": 2...64,
    "clamp": 3...3, "min": 2...64, "max": 2...64,
    "abs": 1...1, "floor": 1...1, "log": 1...1, "exp": 1...1, "sqrt": 1...1,
    "cross": 2...16, "bucket": 2...256,
    "year": 2...2, "month": 2...2, "day": 2...2, "weekday": 2...2, "hour": 2...2, "minute": 2...2,
  ]
  private static let signatures: [String: String] = [
    "if": "if(condition, a, b)", "is_missing": "is_missing(x)", "coalesce": "coalesce(a, b, …)",
    "clamp": "clamp(x, lowest, highest)", "min": "min(a, b, …)", "max": "max(a, b, …)",
    "cross": "cross(a, b, …)", "bucket": "bucket(x, edge, …)",
  ]

  mutating func call(
    _ name: String, _ arguments: [ParsedExpression], _ column: Int
  ) throws(ExpressionFault) -> Operand {
    guard let counts = Self.functions[name] else {
      if name == "lookup" {
        throw ExpressionFault(column, "tables are not supported yet")
      }
      throw ExpressionFault(
        column, "no function '\(name)'",
        hint: NameHints.nearest(name, among: Self.functions.keys.sorted()))
    }
    guard counts.contains(arguments.count) else {
      let form =
        Self.signatures[name]
        ?? (counts.lowerBound == 2 ? "\(name)(time, 'Area/City')" : "\(name)(x)")
      throw ExpressionFault(
        column, "\(name) does not take \(arguments.count) argument\(arguments.count == 1 ? "" : "s")",
        hint: form)
    }
    switch name {
    case "if":
      let condition = try lower(arguments[0], as: .boolean)
      let a = try lower(arguments[1])
      let b = try same(a.type, arguments[2], as: "the branches of if")
      return Operand(
        node: add(a.type == .category ? .selectCategory : .selectNumber, condition, a.node, b),
        type: a.type)
    case "is_missing":
      let operand = try lower(arguments[0])
      return Operand(
        node: add(
          operand.type == .category ? .missingCategory : .missingNumber, operand.node,
          bounds: .boolean),
        type: .boolean)
    case "coalesce":
      var whole = try lower(arguments[0])
      for argument in arguments.dropFirst() {
        let next = try same(whole.type, argument, as: "the values of coalesce")
        whole.node = add(
          whole.type == .category ? .coalesceCategory : .coalesceNumber, whole.node, next)
      }
      return whole
    case "min", "max":
      var whole = try lower(arguments[0], as: .number)
      for argument in arguments.dropFirst() {
        whole = add(name == "min" ? .minimum : .maximum, whole, try lower(argument, as: .number))
      }
      return Operand(node: whole, type: .number)
    case "clamp": return try clamp(arguments)
    case "cross":
      var whole: Int32 = -1
      for argument in arguments {
        let next = asCategory(try lower(argument))
        whole = whole < 0 ? next : add(.combine, whole, next)
      }
      return Operand(node: whole, type: .category)
    case "bucket": return try bucket(arguments)
    case "abs", "floor", "log", "exp", "sqrt":
      return try elementary(name, try lower(arguments[0], as: .number))
    default: return try calendar(name, arguments)
    }
  }

  private mutating func same(
    _ type: ValueType, _ expression: ParsedExpression, as what: String
  ) throws(ExpressionFault) -> Int32 {
    let operand = try lower(expression)
    guard operand.type == type else {
      throw ExpressionFault(
        expression.column,
        "\(what) differ: \(type.article) and \(operand.type.article)")
    }
    return operand.node
  }

  private mutating func clamp(
    _ arguments: [ParsedExpression]
  ) throws(ExpressionFault) -> Operand {
    let x = try lower(arguments[0], as: .number)
    let lowest = try lower(arguments[1], as: .number)
    let highest = try lower(arguments[2], as: .number)
    if let low = graph.constant(lowest), let high = graph.constant(highest), low > high {
      throw ExpressionFault(arguments[1].column, "clamp needs its lowest before its highest")
    }
    let (a, b, c) = (bounds(x), bounds(lowest), bounds(highest))
    let derived = ValueBounds(
      lower: min(max(a.lower, b.lower), c.lower), upper: min(max(a.upper, b.upper), c.upper),
      isInteger: a.isInteger && b.isInteger && c.isInteger)
    return Operand(node: add(.clamp, x, lowest, highest, bounds: derived), type: .number)
  }

  private mutating func bucket(
    _ arguments: [ParsedExpression]
  ) throws(ExpressionFault) -> Operand {
    let x = try lower(arguments[0], as: .number)
    var edges: [Double] = []
    for argument in arguments.dropFirst() {
      let node = try lower(argument, as: .number)
      guard let edge = graph.constant(node) else {
        throw ExpressionFault(argument.column, "the edges of bucket are plain numbers")
      }
      if let last = edges.last, last >= edge {
        throw ExpressionFault(argument.column, "the edges of bucket ascend")
      }
      edges.append(edge)
    }
    let bounds = ValueBounds(lower: 0, upper: Double(edges.count), isInteger: true)
    return Operand(
      node: add(.bucket, x, immediate: graph.edgesIndex(edges), bounds: bounds), type: .number)
  }

  private mutating func elementary(
    _ name: String, _ x: Int32
  ) throws(ExpressionFault) -> Operand {
    let b = bounds(x)
    let node: Int32
    switch name {
    case "abs":
      let straddles = b.lower < 0 && b.upper > 0
      node = add(
        .absolute, x,
        bounds: ValueBounds(
          lower: straddles ? 0 : min(abs(b.lower), abs(b.upper)),
          upper: max(abs(b.lower), abs(b.upper)), isInteger: b.isInteger))
    case "floor":
      node = add(
        .floor, x,
        bounds: ValueBounds(
          lower: b.lower.rounded(.down), upper: b.upper.rounded(.down), isInteger: true))
    case "log":
      node = add(
        .logarithm, x,
        bounds: ValueBounds(
          lower: b.lower > 0 && b.lower.isFinite ? Elementary.log(b.lower) : -.infinity,
          upper: b.upper > 0 && b.upper.isFinite ? Elementary.log(b.upper) : .infinity))
    case "exp":
      node = add(
        .exponential, x,
        bounds: ValueBounds(lower: Elementary.exp(b.lower), upper: Elementary.exp(b.upper)))
    default:
      node = add(
        .squareRoot, x,
        bounds: ValueBounds(
          lower: max(b.lower, 0).squareRoot(), upper: max(b.upper, 0).squareRoot()))
    }
    return Operand(node: node, type: .number)
  }

  private mutating func calendar(
    _ name: String, _ arguments: [ParsedExpression]
  ) throws(ExpressionFault) -> Operand {
    let time = try lower(arguments[0], as: .time)
    guard case .text(let zone) = arguments[1].kind else {
      throw ExpressionFault(
        arguments[1].column, "expected a time zone in quotes", hint: "for example 'Europe/Vienna'")
    }
    let rules: TimeZoneRules
    if zone == "UTC" || zone == "Etc/UTC" {
      rules = .utc
    } else if let known = graph.zones.first(where: { $0.name == zone }) {
      rules = known.rules
    } else if let found = zones(zone) {
      rules = found
    } else {
      throw ExpressionFault(
        arguments[1].column, "unknown time zone '\(zone)'",
        hint: "names are those of the IANA database, for example 'America/New_York'")
    }
    let local = add(.localTime, time, immediate: graph.zoneIndex(zone, rules))
    let (operation, lower, upper): (Operation, Double, Double)
    switch name {
    case "year": (operation, lower, upper) = (.year, -300_000, 300_000)
    case "month": (operation, lower, upper) = (.month, 1, 12)
    case "day": (operation, lower, upper) = (.day, 1, 31)
    case "weekday": (operation, lower, upper) = (.weekday, 1, 7)
    case "hour": (operation, lower, upper) = (.hour, 0, 23)
    default: (operation, lower, upper) = (.minute, 0, 59)
    }
    return Operand(
      node: add(
        operation, local, bounds: ValueBounds(lower: lower, upper: upper, isInteger: true)),
      type: .number)
  }
}
