/// Reads an expression by precedence climbing. Binding, loosest first:
/// `or`, `and`, `not`, comparisons and `in` (which do not chain), `+ -`, `* /`, unary `-`.
///
/// Cost:     linear; at most `ParsedExpression.depthMax` calls deep.
/// Errors:   the first fault with its column; never traps, whatever the text.
struct ExpressionParser {
  private let tokens: [(token: Token, column: Int)]
  private var at = 0
  private var nesting = 0

  static let words: Set<String> = ["and", "or", "not", "in", "true", "false"]

  static func parse(_ text: String) throws(ExpressionFault) -> ParsedExpression {
    var lexer = ExpressionLexer(text)
    var parser = ExpressionParser(tokens: try lexer.tokens())
    if parser.token == .end { throw ExpressionFault(0, "empty expression") }
    let whole = try parser.expression(binding: 0)
    guard parser.token == .end else { throw parser.unexpected("an operator or the end") }
    return whole
  }

  private init(tokens: [(token: Token, column: Int)]) { self.tokens = tokens }

  private var token: Token { tokens[at].token }
  private var column: Int { tokens[at].column }

  private func unexpected(_ wanted: String) -> ExpressionFault {
    let found: String
    switch token {
    case .number(let value): found = "number \(value)"
    case .text(let text): found = "text '\(text)'"
    case .name(let name), .quotedName(let name): found = "'\(name)'"
    case .symbol(let symbol): found = "'\(symbol)'"
    case .end: found = "end"
    }
    return ExpressionFault(column, "expected \(wanted), found \(found)")
  }

  private mutating func take(_ symbol: String) -> Bool {
    guard token == .symbol(symbol) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ symbol: String) throws(ExpressionFault) {
    guard take(symbol) else { throw unexpected("'\(symbol)'") }
  }

  private func node(
    _ kind: ParsedExpression.Kind, _ column: Int, over children: [ParsedExpression] = []
  ) throws(ExpressionFault) -> ParsedExpression {
    let depth = 1 + (children.map(\.depth).max() ?? 0)
    guard depth <= ParsedExpression.depthMax else { throw tooDeep(column) }
    return ParsedExpression(column: column, kind: kind, depth: depth)
  }

  private func tooDeep(_ column: Int) -> ExpressionFault {
    ExpressionFault(
      column, "expression is nested more than \(ParsedExpression.depthMax) deep",
      hint: "use parentheses to balance it, or several features")
  }

  /// The operator at hand with its binding, if it is one.
  private func infix() -> (ParsedExpression.Operator, Int)? {
    switch token {
    case .name("or"): return (.or, 1)
    case .name("and"): return (.and, 2)
    case .symbol(let symbol):
      guard let found = ParsedExpression.Operator(rawValue: symbol) else { return nil }
      switch found {
      case .add, .subtract: return (found, 5)
      case .multiply, .divide: return (found, 6)
      default: return (found, 4)
      }
    default: return nil
    }
  }

  private mutating func expression(binding: Int) throws(ExpressionFault) -> ParsedExpression {
    nesting += 1
    defer { nesting -= 1 }
    guard nesting <= ParsedExpression.depthMax else { throw tooDeep(column) }
    var left = try prefix()
    var compared = false
    while true {
      let place = column
      if let (found, strength) = infix(), strength > binding {
        if strength == 4, compared { throw chained(place) }
        at += 1
        let right = try expression(binding: strength)
        left = try node(.binary(found, left, right), place, over: [left, right])
        compared = strength == 4
      } else if binding < 4, token == .name("in") || isNotIn {
        if compared { throw chained(place) }
        let negated = token != .name("in")
        at += negated ? 2 : 1
        let items = try list()
        guard !items.isEmpty else { throw ExpressionFault(place, "'in' needs at least one value") }
        left = try node(.oneOf(left, items), place, over: [left] + items)
        if negated { left = try node(.not(left), place, over: [left]) }
        compared = true
      } else {
        return left
      }
    }
  }

  private var isNotIn: Bool {
    token == .name("not") && tokens[at + 1].token == .name("in")
  }

  private func chained(_ column: Int) -> ExpressionFault {
    ExpressionFault(column, "comparisons do not chain", hint: "join two comparisons by 'and'")
  }

  private mutating func list() throws(ExpressionFault) -> [ParsedExpression] {
    try expect("(")
    var items: [ParsedExpression] = []
    if take(")") { return items }
    repeat { items.append(try expression(binding: 0)) } while take(",")
    guard take(")") else { throw unexpected("',' or ')'") }
    return items
  }

  private mutating func prefix() throws(ExpressionFault) -> ParsedExpression {
    let place = column
    switch token {
    case .number(let value):
      at += 1
      return try node(.number(value), place)
    case .text(let text):
      at += 1
      return try node(.text(text), place)
    case .quotedName(let name):
      at += 1
      return try node(.name(name), place)
    case .symbol("("):
      at += 1
      let inner = try expression(binding: 0)
      try expect(")")
      return inner
    case .symbol("-"):
      at += 1
      if case .number(let value) = token {
        at += 1
        return try node(.number(-value), place)
      }
      let inner = try expression(binding: 6)
      return try node(.negate(inner), place, over: [inner])
    case .name("not"):
      at += 1
      let inner = try expression(binding: 3)
      return try node(.not(inner), place, over: [inner])
    case .name("true"), .name("false"):
      let value = token == .name("true")
      at += 1
      return try node(.boolean(value), place)
    case .name(let name) where !Self.words.contains(name):
      at += 1
      if token == .symbol("(") {
        let items = try list()
        return try node(.call(name, items), place, over: items)
      }
      guard take(".") else { return try node(.name(name), place) }
      guard case .name(let aggregate) = token else {
        throw unexpected("an aggregate such as mean_2h")
      }
      at += 1
      return try node(.window(name, aggregate), place)
    default:
      throw unexpected("a value")
    }
  }
}
