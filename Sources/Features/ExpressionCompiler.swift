import Records

/// A window as expressions see it.
struct WindowScope {
  var name: String
  var aggregates: [Aggregate]
  /// Ascending.
  var sizesMilliseconds: [Int64]
}

/// Resolves names, checks types and adds expressions to a graph.
///
/// Errors:   the first fault of an expression with its column.
struct ExpressionCompiler {
  struct Operand {
    var node: Int32
    var type: ValueType
  }

  var graph = ExpressionGraph()
  let input: InputSchema
  private let scopes: [WindowScope]?
  /// Only the features of the scored input may name windows.
  var windowsAllowed = true
  let zones: (String) -> TimeZoneRules?
  /// Results of windows that were asked for, in order: (window, aggregate, index of the size).
  private(set) var windowResults: [WindowResult] = []

  struct WindowResult: Hashable {
    var window: Int
    var aggregate: Aggregate
    var size: Int
  }

  init(
    input: InputSchema, windows: [WindowScope]?, zones: @escaping (String) -> TimeZoneRules?
  ) {
    self.input = input
    scopes = windows
    self.zones = zones
  }

  /// Nil where windows may not be used.
  private var windows: [WindowScope]? { windowsAllowed ? scopes : nil }

  mutating func compile(_ text: String) throws(ExpressionFault) -> Operand {
    let operand = try lower(try ExpressionParser.parse(text))
    guard graph.nodes.count <= ExpressionGraph.nodesMax else {
      throw ExpressionFault(0, "the expressions of input '\(input.name)' are too many")
    }
    return operand
  }

  /// The field itself.
  mutating func field(_ index: Int) -> Operand {
    typealias Node = ExpressionGraph.Node
    let immediate = UInt64(index)
    switch input.fields[index].type {
    case .string:
      return Operand(
        node: graph.add(Node(operation: .loadCategory, immediate: immediate)), type: .category)
    case .number:
      return Operand(
        node: graph.add(Node(operation: .loadNumber, immediate: immediate)), type: .number)
    case .integer:
      return Operand(
        node: graph.add(
          Node(operation: .loadNumber, immediate: immediate), bounds: ValueBounds(isInteger: true)),
        type: .number)
    case .boolean:
      return Operand(
        node: graph.add(Node(operation: .loadNumber, immediate: immediate), bounds: .boolean),
        type: .boolean)
    case .time:
      return Operand(
        node: graph.add(Node(operation: .loadNumber, immediate: immediate)), type: .time)
    }
  }

  /// Any value as a category; equal values of one type are equal categories.
  mutating func asCategory(_ operand: Operand) -> Int32 {
    operand.type == .category ? operand.node : add(.categoryOfNumber, operand.node)
  }

  // MARK: nodes

  mutating func add(
    _ operation: Operation, _ a: Int32, _ b: Int32 = -1, _ c: Int32 = -1, immediate: UInt64 = 0,
    bounds: ValueBounds? = nil
  ) -> Int32 {
    let derived: ValueBounds
    if let bounds {
      derived = bounds
    } else if operation == .selectNumber {
      derived = ExpressionGraph.bounds(operation, graph.bounds[Int(b)], graph.bounds[Int(c)])
    } else if b >= 0 {
      derived = ExpressionGraph.bounds(operation, graph.bounds[Int(a)], graph.bounds[Int(b)])
    } else {
      derived = ValueBounds()
    }
    return graph.add(
      ExpressionGraph.Node(operation: operation, a: a, b: b, c: c, immediate: immediate),
      bounds: derived)
  }

  func bounds(_ node: Int32) -> ValueBounds { graph.bounds[Int(node)] }

  // MARK: expressions

  mutating func lower(_ expression: ParsedExpression) throws(ExpressionFault) -> Operand {
    switch expression.kind {
    case .number(let value): return Operand(node: graph.number(value), type: .number)
    case .boolean(let value): return Operand(node: graph.number(value ? 1 : 0), type: .boolean)
    case .text(let text): return Operand(node: graph.category(text), type: .category)
    case .name(let name):
      guard let index = input.index(of: name) else { throw unknown(name, expression.column) }
      return field(index)
    case .window(let name, let column):
      return try window(name, column, expression.column)
    case .not(let inner):
      let operand = try lower(inner, as: .boolean)
      return Operand(node: add(.not, operand, bounds: .boolean), type: .boolean)
    case .negate(let inner):
      let operand = try lower(inner, as: .number)
      let b = bounds(operand)
      return Operand(
        node: add(
          .negate, operand,
          bounds: ValueBounds(lower: -b.upper, upper: -b.lower, isInteger: b.isInteger)),
        type: .number)
    case .binary(let operation, let left, let right):
      return try binary(operation, left, right, expression.column)
    case .oneOf(let subject, let items):
      let whole = try lower(subject)
      var any: Int32 = -1
      for item in items {
        let one = try equality(whole, try lower(item), item.column)
        any = any < 0 ? one : add(.or, any, one, bounds: .boolean)
      }
      return Operand(node: any, type: .boolean)
    case .call(let name, let arguments):
      return try call(name, arguments, expression.column)
    }
  }

  mutating func lower(
    _ expression: ParsedExpression, as type: ValueType
  ) throws(ExpressionFault) -> Int32 {
    let operand = try lower(expression)
    guard operand.type == type else {
      let hint: String
      switch (operand.type, type) {
      case (.boolean, .number): hint = "write if(x, 1, 0)"
      case (.number, .boolean): hint = "compare it, for example x > 0"
      case (.time, .number): hint = "subtract two times for seconds, or use hour(x, 'UTC')"
      case (.category, .boolean): hint = "compare it, for example x == 'A'"
      default: hint = ""
      }
      throw ExpressionFault(
        expression.column, "expected \(type.article), found \(operand.type.article)", hint: hint)
    }
    return operand.node
  }

  private func unknown(_ name: String, _ column: Int) -> ExpressionFault {
    if let windows, windows.contains(where: { $0.name == name }) {
      return ExpressionFault(
        column, "'\(name)' is a window", hint: "name a result, for example \(name).count_1h")
    }
    if Self.functions[name] != nil {
      return ExpressionFault(column, "'\(name)' is a function", hint: "call it: \(name)(…)")
    }
    var hint = NameHints.nearest(
      name, among: input.fields.map(\.name) + (windows ?? []).map(\.name))
    if hint.isEmpty {
      hint = "fields of '\(input.name)': " + input.fields.map(\.name).joined(separator: ", ")
    }
    return ExpressionFault(column, "input '\(input.name)' has no field '\(name)'", hint: hint)
  }

  private mutating func equality(
    _ a: Operand, _ b: Operand, _ column: Int
  ) throws(ExpressionFault) -> Int32 {
    guard a.type == b.type else {
      throw ExpressionFault(
        column, "cannot compare \(a.type.article) with \(b.type.article)",
        hint: a.type == .category || b.type == .category
          ? "texts stand in quotes, numbers do not" : "")
    }
    return add(a.type == .category ? .equalCategory : .equal, a.node, b.node, bounds: .boolean)
  }

  private mutating func binary(
    _ operation: ParsedExpression.Operator, _ left: ParsedExpression, _ right: ParsedExpression,
    _ column: Int
  ) throws(ExpressionFault) -> Operand {
    switch operation {
    case .and, .or:
      let a = try lower(left, as: .boolean)
      let b = try lower(right, as: .boolean)
      return Operand(
        node: add(operation == .and ? .and : .or, a, b, bounds: .boolean), type: .boolean)
    case .equal, .notEqual:
      let a = try lower(left)
      let equal = try equality(a, try lower(right), column)
      return Operand(
        node: operation == .equal ? equal : add(.not, equal, bounds: .boolean), type: .boolean)
    case .less, .lessOrEqual, .greater, .greaterOrEqual:
      let a = try lower(left)
      let b = try lower(right)
      guard a.type == b.type, a.type == .number || a.type == .time else {
        throw ExpressionFault(
          column, "cannot order \(a.type.article) and \(b.type.article)",
          hint: "two numbers or two times can be ordered")
      }
      let strict = operation == .less || operation == .greater
      let turned = operation == .greater || operation == .greaterOrEqual
      return Operand(
        node: add(
          strict ? .less : .lessOrEqual, turned ? b.node : a.node, turned ? a.node : b.node,
          bounds: .boolean),
        type: .boolean)
    case .add, .subtract:
      let a = try lower(left)
      let b = try lower(right)
      switch (a.type, b.type, operation) {
      case (.number, .number, _):
        return Operand(
          node: add(operation == .add ? .add : .subtract, a.node, b.node), type: .number)
      case (.time, .time, .subtract):
        return Operand(node: add(.secondsBetween, a.node, b.node), type: .number)
      case (.time, .number, _):
        let seconds = operation == .add ? b.node : add(.negate, b.node)
        return Operand(node: add(.addSeconds, a.node, seconds), type: .time)
      case (.number, .time, .add):
        return Operand(node: add(.addSeconds, b.node, a.node), type: .time)
      default:
        throw ExpressionFault(
          column, "'\(operation.rawValue)' cannot join \(a.type.article) and \(b.type.article)",
          hint: "numbers can be added, times subtracted, seconds added to a time")
      }
    case .multiply, .divide:
      let a = try lower(left, as: .number)
      let b = try lower(right, as: .number)
      return Operand(
        node: add(operation == .multiply ? .multiply : .divide, a, b), type: .number)
    }
  }

  private mutating func window(
    _ name: String, _ text: String, _ column: Int
  ) throws(ExpressionFault) -> Operand {
    guard let windows else {
      throw ExpressionFault(
        column, "windows cannot be used here", hint: "only features can name windows")
    }
    guard let index = windows.firstIndex(where: { $0.name == name }) else {
      var hint = NameHints.nearest(name, among: windows.map(\.name))
      if hint.isEmpty, !windows.isEmpty {
        hint = "windows: " + windows.map(\.name).joined(separator: ", ")
      }
      throw ExpressionFault(column, "no window '\(name)'", hint: hint)
    }
    let scope = windows[index]
    let at = column + name.count + 1
    let aggregate: Aggregate
    let size: Int
    if let whole = Aggregate(rawValue: text) {
      // Without a size: the only one, or for the last record the longest.
      guard scope.sizesMilliseconds.count == 1 || whole == .last || whole == .sinceLast else {
        throw ExpressionFault(
          at, "window '\(name)' has several sizes",
          hint: "write \(text)_\(DurationText.format(scope.sizesMilliseconds[0]))")
      }
      (aggregate, size) = (whole, scope.sizesMilliseconds.count - 1)
    } else {
      let parts = text.split(separator: "_", omittingEmptySubsequences: false)
      let head = parts.dropLast().joined(separator: "_")
      let sizes = scope.sizesMilliseconds.map(DurationText.format).joined(separator: ", ")
      guard parts.count > 1, let milliseconds = DurationText.parse(parts[parts.count - 1]) else {
        throw ExpressionFault(
          at, "'\(text)' is not an aggregate and a size", hint: "for example mean_2h; sizes: \(sizes)")
      }
      guard let found = Aggregate(rawValue: head) else {
        let rank = head.first == "p" && head.dropFirst().allSatisfy(\.isNumber)
        throw ExpressionFault(
          at, rank ? "quantiles such as '\(head)' are not supported yet" : "no aggregate '\(head)'",
          hint: rank ? "" : NameHints.nearest(head, among: Aggregate.allCases.map(\.rawValue)))
      }
      guard let place = scope.sizesMilliseconds.firstIndex(of: milliseconds) else {
        throw ExpressionFault(
          at, "window '\(name)' has no size \(parts[parts.count - 1])", hint: "sizes: \(sizes)")
      }
      (aggregate, size) = (found, place)
    }
    guard scope.aggregates.contains(aggregate) else {
      throw ExpressionFault(
        at, "window '\(name)' does not keep '\(aggregate.rawValue)'",
        hint: "add it to the window's aggregates")
    }
    let result = WindowResult(window: index, aggregate: aggregate, size: size)
    let place = windowResults.firstIndex(of: result) ?? windowResults.count
    if place == windowResults.count { windowResults.append(result) }
    return Operand(
      node: graph.add(ExpressionGraph.Node(operation: .window, immediate: UInt64(place))),
      type: .number)
  }
}
