/// Where and why an expression cannot be used. The column counts characters from 0.
struct ExpressionFault: Error, Equatable {
  var column: Int
  var message: String
  var hint: String
  init(_ column: Int, _ message: String, hint: String = "") {
    self.column = column
    self.message = message
    self.hint = hint
  }
}

/// An expression as it was written; names are not resolved, types not checked.
struct ParsedExpression {
  enum Operator: String {
    case add = "+", subtract = "-", multiply = "*", divide = "/"
    case equal = "==", notEqual = "!=", less = "<", lessOrEqual = "<="
    case greater = ">", greaterOrEqual = ">="
    case and, or
  }
  indirect enum Kind {
    case number(Double), text(String), boolean(Bool)
    case name(String)
    /// `window.aggregate_size`
    case window(String, String)
    case not(ParsedExpression)
    case negate(ParsedExpression)
    case binary(Operator, ParsedExpression, ParsedExpression)
    case oneOf(ParsedExpression, [ParsedExpression])
    case call(String, [ParsedExpression])
  }
  var column: Int
  var kind: Kind
  /// Height of the tree, so that whoever walks it recurses within bounds.
  var depth: Int

  static let depthMax = 100
  static let charactersMax = 8192
}

enum Token: Equatable {
  case number(Double)
  case text(String)
  case name(String)
  /// In backticks: a field whose name is no identifier, or is a word of the language.
  case quotedName(String)
  case symbol(String)
  case end
}

/// Splits an expression into tokens with their columns.
struct ExpressionLexer {
  private let characters: [Character]
  private var at = 0

  init(_ text: String) { characters = Array(text) }

  mutating func tokens() throws(ExpressionFault) -> [(token: Token, column: Int)] {
    guard characters.count <= ParsedExpression.charactersMax else {
      throw ExpressionFault(
        ParsedExpression.charactersMax,
        "expression is longer than \(ParsedExpression.charactersMax) characters")
    }
    var found: [(token: Token, column: Int)] = []
    while true {
      while at < characters.count, characters[at].isWhitespace { at += 1 }
      let column = at
      guard at < characters.count else {
        found.append((.end, column))
        return found
      }
      found.append((try next(), column))
    }
  }

  private func isDigit(_ index: Int) -> Bool {
    index < characters.count && ("0"..."9").contains(characters[index])
  }
  private func isNameStart(_ index: Int) -> Bool {
    guard index < characters.count else { return false }
    let c = characters[index]
    return ("a"..."z").contains(c) || ("A"..."Z").contains(c) || c == "_"
  }

  private mutating func next() throws(ExpressionFault) -> Token {
    let start = at
    let character = characters[at]
    if isNameStart(at) {
      while isNameStart(at) || isDigit(at) { at += 1 }
      return .name(String(characters[start..<at]))
    }
    if isDigit(at) { return try number() }
    if character == "'" || character == "`" {
      let text = try quoted(by: character)
      return character == "'" ? .text(text) : .quotedName(text)
    }
    if at + 1 < characters.count {
      let pair = String(characters[at...(at + 1)])
      if ["==", "!=", "<=", ">="].contains(pair) {
        at += 2
        return .symbol(pair)
      }
      if let word = ["&&": "and", "||": "or"][pair] {
        throw ExpressionFault(start, "unexpected '\(pair)'", hint: "write '\(word)'")
      }
    }
    at += 1
    if "+-*/<>(),.".contains(character) { return .symbol(String(character)) }
    switch character {
    case "=": throw ExpressionFault(start, "unexpected '='", hint: "write '==' to compare")
    case "!": throw ExpressionFault(start, "unexpected '!'", hint: "write 'not'")
    case "\"": throw ExpressionFault(start, "unexpected '\"'", hint: "texts stand in single quotes")
    default: throw ExpressionFault(start, "unexpected '\(character)'")
    }
  }

  private mutating func number() throws(ExpressionFault) -> Token {
    let start = at
    while isDigit(at) { at += 1 }
    if at < characters.count, characters[at] == ".", isDigit(at + 1) {
      at += 1
      while isDigit(at) { at += 1 }
    }
    if at < characters.count, characters[at] == "e" || characters[at] == "E" {
      let signed = at + 1 < characters.count && "+-".contains(characters[at + 1])
      if isDigit(at + (signed ? 2 : 1)) {
        at += signed ? 2 : 1
        while isDigit(at) { at += 1 }
      }
    }
    guard !isNameStart(at) else {
      throw ExpressionFault(at, "a name cannot follow a number directly")
    }
    guard let value = Double(String(characters[start..<at])), value.isFinite else {
      throw ExpressionFault(start, "number out of range")
    }
    return .number(value)
  }

  /// A doubled quote stands for itself.
  private mutating func quoted(by quote: Character) throws(ExpressionFault) -> String {
    let start = at
    at += 1
    var text = ""
    while at < characters.count {
      if characters[at] == quote {
        guard at + 1 < characters.count, characters[at + 1] == quote else {
          at += 1
          return text
        }
        at += 1
      }
      text.append(characters[at])
      at += 1
    }
    throw ExpressionFault(start, "no closing \(quote)")
  }
}
