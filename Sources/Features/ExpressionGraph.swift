import Records

/// The types of the expression language.
enum ValueType: String {
  case number, boolean, category, time
  var article: String { "a \(rawValue)" }
}

/// What one instruction does. Numbers, booleans (1 and 0) and times (milliseconds) are 64-bit
/// floats with NaN for missing; categories are hashes with 0 for missing.
enum Operation: UInt8 {
  // Leaves.
  case loadNumber, loadCategory, constantNumber, constantCategory
  /// A result of the windows, written into its register from outside.
  case window
  // Numbers.
  case add, subtract, multiply, divide, negate, clamp, minimum, maximum
  case absolute, floor, logarithm, exponential, squareRoot, bucket
  // Booleans.
  case equal, less, lessOrEqual, and, or, not, missingNumber, missingCategory
  // Either.
  case selectNumber, selectCategory, coalesceNumber, coalesceCategory
  // Categories.
  case equalCategory, categoryOfNumber, combine
  // Time; `localTime` gives milliseconds of the zone's wall clock.
  case secondsBetween, addSeconds, localTime, year, month, day, weekday, hour, minute

  var isCategory: Bool {
    switch self {
    case .loadCategory, .constantCategory, .selectCategory, .coalesceCategory, .categoryOfNumber,
      .combine:
      true
    default: false
    }
  }
  var isCommutative: Bool {
    switch self {
    case .add, .multiply, .equal, .and, .or, .equalCategory: true
    default: false
    }
  }
}

/// What is known of a number's values when the plan is compiled.
struct ValueBounds: Equatable {
  var lower = -Double.infinity
  var upper = Double.infinity
  /// Every value is a whole number.
  var isInteger = false
  static let boolean = ValueBounds(lower: 0, upper: 1, isInteger: true)
  var isFinite: Bool { lower.isFinite && upper.isFinite }
}

/// Expressions of one input as a graph in which equal subexpressions are one node.
struct ExpressionGraph {
  struct Node: Hashable {
    var operation: Operation
    /// Operands; -1 where there is none.
    var a: Int32 = -1
    var b: Int32 = -1
    var c: Int32 = -1
    /// Constant bits, field index, window result, place in `edges` or `zones`.
    var immediate: UInt64 = 0
  }

  private(set) var nodes: [Node] = []
  private(set) var bounds: [ValueBounds] = []
  /// True where the value can be known only after the windows are read.
  private(set) var dependsOnWindows: [Bool] = []
  private(set) var edges: [[Double]] = []
  private(set) var zones: [(name: String, rules: TimeZoneRules)] = []
  /// Look-up only; its order is never seen.
  private var known: [Node: Int32] = [:]

  static let nodesMax = 8192

  mutating func add(_ node: Node, bounds given: ValueBounds = ValueBounds()) -> Int32 {
    var node = node
    if node.operation.isCommutative, node.b < node.a { swap(&node.a, &node.b) }
    if let found = known[node] { return found }
    let index = Int32(nodes.count)
    known[node] = index
    nodes.append(node)
    bounds.append(given)
    dependsOnWindows.append(
      node.operation == .window
        || [node.a, node.b, node.c].contains { $0 >= 0 && dependsOnWindows[Int($0)] })
    return index
  }

  mutating func number(_ value: Double) -> Int32 {
    // -0 and 0 are one constant.
    let value = value + 0
    return add(
      Node(operation: .constantNumber, immediate: value.bitPattern),
      bounds: ValueBounds(
        lower: value, upper: value, isInteger: value.rounded(.towardZero) == value))
  }

  mutating func category(_ text: String) -> Int32 {
    add(Node(operation: .constantCategory, immediate: present(Hash64.hash(text))))
  }

  /// The value of a constant number, nil for any other node.
  func constant(_ node: Int32) -> Double? {
    let node = nodes[Int(node)]
    return node.operation == .constantNumber ? Double(bitPattern: node.immediate) : nil
  }

  mutating func edgesIndex(_ list: [Double]) -> UInt64 {
    if let found = edges.firstIndex(of: list) { return UInt64(found) }
    edges.append(list)
    return UInt64(edges.count - 1)
  }

  mutating func zoneIndex(_ name: String, _ rules: TimeZoneRules) -> UInt64 {
    if let found = zones.firstIndex(where: { $0.name == name }) { return UInt64(found) }
    zones.append((name, rules))
    return UInt64(zones.count - 1)
  }

  /// The bounds of an arithmetic result, by interval arithmetic.
  static func bounds(_ operation: Operation, _ a: ValueBounds, _ b: ValueBounds) -> ValueBounds {
    func whole(_ lower: Double, _ upper: Double) -> ValueBounds {
      ValueBounds(
        lower: lower.isNaN ? -.infinity : lower, upper: upper.isNaN ? .infinity : upper,
        isInteger: a.isInteger && b.isInteger)
    }
    switch operation {
    case .add: return whole(a.lower + b.lower, a.upper + b.upper)
    case .subtract: return whole(a.lower - b.upper, a.upper - b.lower)
    case .multiply:
      guard a.isFinite, b.isFinite else { return ValueBounds(isInteger: a.isInteger && b.isInteger) }
      let corners = [a.lower * b.lower, a.lower * b.upper, a.upper * b.lower, a.upper * b.upper]
      return whole(corners.min()!, corners.max()!)
    case .minimum: return whole(min(a.lower, b.lower), min(a.upper, b.upper))
    case .maximum: return whole(max(a.lower, b.lower), max(a.upper, b.upper))
    case .selectNumber, .coalesceNumber: return whole(min(a.lower, b.lower), max(a.upper, b.upper))
    default: return ValueBounds()
    }
  }
}

/// A hash that stands for a value: 0 means missing, so the one value in 2^64 that hashes to it becomes 1.
@inline(__always) func present(_ hash: UInt64) -> UInt64 { hash == 0 ? 1 : hash }

/// Tells numbers from texts among categories.
let numberCategorySeed: UInt64 = 0x6E75_6D62_6572_0001

/// The category of a number: the same for every way to write the number.
@inline(__always) func category(ofNumber value: Double) -> UInt64 {
  value == value ? present(Hash64.combine(numberCategorySeed, (value + 0).bitPattern)) : 0
}

/// The category of an ordered pair; missing where either is.
@inline(__always) func category(pair a: UInt64, _ b: UInt64) -> UInt64 {
  a == 0 || b == 0 ? 0 : present(Hash64.combine(a, b))
}
