import Synchronization

/// All series of one worker, and their text form.
///
/// Format:   Prometheus text exposition 0.0.4: `# HELP`, `# TYPE`, then one line a sample; families in the
///           order they were declared, series ordered by label values.
/// Threads:  declared by one thread at start; cells are updated and scraped by any.
/// Source:   prometheus.io/docs/instrumenting/exposition_formats.
public final class MetricRegistry: Sendable {
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  private struct State {
    var families: [any MetricFamilyText] = []
    var names: Set<String> = []
    var collectors: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())
  /// Labels that every series carries, before its own.
  private let commonLabels: [(name: String, value: String)]

  public init(commonLabels: [(name: String, value: String)] = []) {
    for label in commonLabels { precondition(MetricText.isLabelName(label.name), "label name") }
    self.commonLabels = commonLabels
  }

  public func counter(
    _ name: String, _ help: String, labels: [String] = [], seriesMax: Int = 256
  ) -> MetricFamily<Counter> {
    precondition(name.hasSuffix("_total"), "a counter's name ends in _total")
    return declare(MetricFamily(name, help, "counter", labels, seriesMax, Counter.init) {
      [("", nil, String($0.value))]
    })
  }
  public func gauge(
    _ name: String, _ help: String, labels: [String] = [], seriesMax: Int = 256
  ) -> MetricFamily<Gauge> {
    declare(MetricFamily(name, help, "gauge", labels, seriesMax, { Gauge() }) {
      [("", nil, MetricText.number($0.value))]
    })
  }
  /// A counter whose total is a fraction and is kept elsewhere: CPU seconds. Its owner sets the total.
  func fraction(_ name: String, _ help: String) -> MetricFamily<Gauge> {
    precondition(name.hasSuffix("_total"), "a counter's name ends in _total")
    return declare(MetricFamily(name, help, "counter", [], 1, { Gauge() }) {
      [("", nil, MetricText.number($0.value))]
    })
  }
  public func histogram(
    _ name: String, _ help: String, labels: [String] = [], bounds: [Double], seriesMax: Int = 64
  ) -> MetricFamily<Histogram> {
    precondition(!labels.contains("le"), "le is the bucket's label")
    return declare(
      MetricFamily(name, help, "histogram", labels, seriesMax, { Histogram(bounds: bounds) }) {
        let counts = $0.cumulativeCounts
        let bounds = $0.bounds.map { MetricText.number($0) } + ["+Inf"]
        return zip(bounds, counts).map { ("_bucket", $0, String($1)) }
          + [
            ("_sum", nil, MetricText.number($0.sum)),
            ("_count", nil, String(counts[counts.count - 1])),
          ]
      })
  }

  /// Called before each scrape, to fill gauges from what is kept elsewhere.
  public func onScrape(_ collect: @escaping @Sendable () -> Void) {
    state.withLock { $0.collectors.append(collect) }
  }

  private func declare<Cell>(_ family: MetricFamily<Cell>) -> MetricFamily<Cell> {
    state.withLock {
      precondition($0.names.insert(family.name).inserted, "metric declared twice")
      $0.families.append(family)
    }
    return family
  }

  /// The whole text. A family without series is left out.
  public func exposition() -> [UInt8] {
    let (families, collectors) = state.withLock { ($0.families, $0.collectors) }
    for collect in collectors { collect() }
    var text = ""
    for family in families { family.append(to: &text, commonLabels) }
    return Array(text.utf8)
  }
}

protocol MetricFamilyText: Sendable {
  func append(to text: inout String, _ commonLabels: [(name: String, value: String)])
}

/// Series of one name that differ in the values of their labels.
///
/// Look a cell up once and keep it: the look-up takes a lock. Without labels there is exactly one cell,
/// made at once. Beyond `seriesMax` every new combination shares the series whose values are all `other`:
/// input can never make the number of series grow.
public final class MetricFamily<Cell: Sendable>: Sendable, MetricFamilyText {
  public let name: String
  public let help: String
  public let labelNames: [String]
  public let seriesMax: Int
  private let type: String
  private let make: @Sendable () -> Cell
  /// Suffix of the name, value of `le`, value: the samples of one cell.
  private let samples: @Sendable (Cell) -> [(suffix: String, bound: String?, value: String)]
  private let cells: Mutex<[[String]: Cell]>

  init(
    _ name: String, _ help: String, _ type: String, _ labelNames: [String], _ seriesMax: Int,
    _ make: @escaping @Sendable () -> Cell,
    _ samples: @escaping @Sendable (Cell) -> [(suffix: String, bound: String?, value: String)]
  ) {
    precondition(MetricText.isName(name), "metric name")
    precondition(labelNames.allSatisfy(MetricText.isLabelName), "label name")
    precondition(seriesMax >= 1, "at least one series")
    self.name = name
    self.help = help
    self.type = type
    self.labelNames = labelNames
    self.seriesMax = seriesMax
    self.make = make
    self.samples = samples
    cells = Mutex(labelNames.isEmpty ? [[]: make()] : [:])
  }

  /// The cell with these label values, in the order of `labelNames`.
  public func callAsFunction(_ values: String...) -> Cell { cell(values) }

  public func cell(_ values: [String]) -> Cell {
    precondition(values.count == labelNames.count, "one value a label")
    return cells.withLock { cells in
      if let cell = cells[values] { return cell }
      let key = cells.count < seriesMax ? values : labelNames.map { _ in "other" }
      if let cell = cells[key] { return cell }
      let cell = make()
      cells[key] = cell
      return cell
    }
  }

  /// Ends a series, such as the lag of a partition that has moved away. Whoever kept the cell may go on using it unseen.
  public func remove(_ values: String...) { cells.withLock { $0[values] = nil } }
  /// Ends all series.
  public func removeAll() { cells.withLock { $0 = labelNames.isEmpty ? $0 : [:] } }

  func append(to text: inout String, _ commonLabels: [(name: String, value: String)]) {
    let series = cells.withLock { cells in
      cells.sorted { $0.key.lexicographicallyPrecedes($1.key) }
    }
    guard !series.isEmpty else { return }
    text += "# HELP \(name) \(MetricText.escapedHelp(help))\n# TYPE \(name) \(type)\n"
    for (values, cell) in series {
      var labels = commonLabels.map { ($0.name, $0.value) }
      for (label, value) in zip(labelNames, values) { labels.append((label, value)) }
      for sample in samples(cell) {
        let all = sample.bound.map { labels + [("le", $0)] } ?? labels
        text += name + sample.suffix
        if !all.isEmpty {
          text += "{"
          text += all.map { "\($0)=\"\(MetricText.escapedValue($1))\"" }.joined(separator: ",")
          text += "}"
        }
        text += " \(sample.value)\n"
      }
    }
  }
}

extension MetricFamily where Cell == Counter {
  /// The only cell of a family without labels.
  public func add(_ count: UInt64 = 1) { cell([]).add(count) }
}
extension MetricFamily where Cell == Gauge {
  public func set(_ value: Double) { cell([]).set(value) }
}

enum MetricText {
  static func isLabelName(_ text: String) -> Bool { isName(text) && !text.contains(":") && !text.hasPrefix("__") }
  static func isName(_ text: String) -> Bool {
    guard let first = text.utf8.first, !(48...57).contains(first) else { return false }
    return text.utf8.allSatisfy {
      switch $0 {
      case 48...58, 65...90, 95, 97...122: true
      default: false
      }
    }
  }
  static func escapedHelp(_ text: String) -> String { escaped(text, quote: false) }
  static func escapedValue(_ text: String) -> String { escaped(text, quote: true) }
  private static func escaped(_ text: String, quote: Bool) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case 0x5C: bytes += [0x5C, 0x5C]
      case 0x0A: bytes += [0x5C, 0x6E]
      case 0x22 where quote: bytes += [0x5C, 0x22]
      default: bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
    return value.description
  }
}
