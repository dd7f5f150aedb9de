// Method: the text is read back by a parser written from the format's specification, not by our writer's
// rules turned round; promtool, where it is installed, has the last word.
import Foundation
import Testing

@testable import Worker

struct Sample: Hashable {
  var name: String
  var labels: [String: String]
  var value: Double
}
struct Exposition {
  var types: [String: String] = [:]
  var helps: [String: String] = [:]
  var samples: [Sample] = []

  struct Fault: Error { var line: String }

  init(_ bytes: [UInt8]) throws {
    let text = try #require(String(validating: bytes, as: UTF8.self))
    guard text.hasSuffix("\n") || text.isEmpty else { throw Fault(line: "no final line end") }
    for line in text.split(separator: "\n") {
      if line.hasPrefix("# HELP ") || line.hasPrefix("# TYPE ") {
        let parts = line.split(separator: " ", maxSplits: 3)
        guard parts.count == 4 else { throw Fault(line: String(line)) }
        if parts[1] == "HELP" { helps[String(parts[2])] = String(parts[3]) } else { types[String(parts[2])] = String(parts[3]) }
        continue
      }
      samples.append(try Self.sample(line))
    }
  }
  private static func sample(_ line: Substring) throws -> Sample {
    var rest = Array(line.unicodeScalars)[...]
    func fault() -> Fault { Fault(line: String(line)) }
    func take(_ isPart: (Unicode.Scalar) -> Bool) -> String {
      let part = rest.prefix(while: isPart)
      rest = rest.dropFirst(part.count)
      return String(String.UnicodeScalarView(part))
    }
    func isNamePart(_ s: Unicode.Scalar) -> Bool {
      s.isASCII && (s.properties.isAlphabetic || s == "_" || s == ":" || ("0"..."9").contains(s))
    }
    let name = take(isNamePart)
    guard !name.isEmpty else { throw fault() }
    var labels: [String: String] = [:]
    if rest.first == "{" {
      rest = rest.dropFirst()
      while rest.first != "}" {
        let label = take(isNamePart)
        guard !label.isEmpty, rest.starts(with: "=\"".unicodeScalars) else { throw fault() }
        rest = rest.dropFirst(2)
        var value = String.UnicodeScalarView()
        while let scalar = rest.popFirst(), scalar != "\"" {
          if scalar == "\\" {
            switch rest.popFirst() {
            case "n": value.append("\n")
            case "\\": value.append("\\")
            case "\"": value.append("\"")
            default: throw fault()
            }
          } else {
            value.append(scalar)
          }
        }
        guard labels.updateValue(String(value), forKey: label) == nil else { throw fault() }
        if rest.first == "," { rest = rest.dropFirst() } else if rest.first != "}" { throw fault() }
      }
      rest = rest.dropFirst()
    }
    guard rest.popFirst() == " " else { throw fault() }
    let text = String(String.UnicodeScalarView(rest))
    let value: Double? =
      switch text {
      case "+Inf": .infinity
      case "-Inf": -.infinity
      case "NaN": .nan
      default: Double(text)
      }
    guard let value else { throw fault() }
    return Sample(name: name, labels: labels, value: value)
  }
  func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
    samples.first { $0.name == name && $0.labels == labels }?.value
  }
}

@Test func `labels, help and values are read back as they were`() throws {
  let registry = MetricRegistry(commonLabels: [("pipeline", "fl\"ig\\hts\n")])
  let nasty = "a\"b\\c\nd{}=,é 😀"
  let counter = registry.counter("x_total", "help with \\ and\nline", labels: ["topic", "reason"])
  counter(nasty, "").add(3)
  counter("t", "r").add(UInt64.max - 5)
  let gauge = registry.gauge("g", "gauge")
  let text = try Exposition(registry.exposition())
  #expect(text.value("x_total", ["pipeline": "fl\"ig\\hts\n", "topic": nasty, "reason": ""]) == 3)
  #expect(text.value("x_total", ["pipeline": "fl\"ig\\hts\n", "topic": "t", "reason": "r"]) == 0x1p64)
  #expect(text.types == ["x_total": "counter", "g": "gauge"])
  #expect(text.helps["x_total"] == "help with \\\\ and\\nline")
  for value in [0, -1, 1.5, 1e-9, 1e300, -0.1, 123_456_789_012_345_680, .infinity, -.infinity, .nan] {
    gauge.set(value)
    let read = try Exposition(registry.exposition()).samples.first { $0.name == "g" }?.value
    #expect(read == value || (value.isNaN && read?.isNaN == true))
  }
}

@Test func `a histogram's buckets are cumulative, end in +Inf and agree with its count and sum`() throws {
  let registry = MetricRegistry()
  let family = registry.histogram("h_seconds", "h", labels: ["stage"], bounds: [0.1, 1, 10])
  let histogram = family("decode")
  for value in [0.05, 0.1, 0.10001, 5, 10, 11, 1e9, -3] { histogram.observe(value) }
  histogram.observe(2, count: 10)
  histogram.observe(.nan)
  let text = try Exposition(registry.exposition())
  func bucket(_ bound: String) -> Double? { text.value("h_seconds_bucket", ["stage": "decode", "le": bound]) }
  #expect(bucket("0.1") == 3)
  #expect(bucket("1") == 4)
  #expect(bucket("10") == 16)
  #expect(bucket("+Inf") == 18)
  #expect(text.value("h_seconds_count", ["stage": "decode"]) == 18)
  let sum = 0.05 + 0.1 + 0.10001 + 5 + 10 + 11 + 1e9 - 3 + 20
  #expect(abs((text.value("h_seconds_sum", ["stage": "decode"]) ?? 0) - sum) < 1e-6)
  #expect(text.types["h_seconds"] == "histogram")
}

@Test func `updates from several threads lose nothing`() throws {
  let counter = Counter()
  let histogram = Histogram(bounds: [1])
  let threads = try (0..<4).map { index in
    try NamedThread("adder\(index)") {
      for _ in 0..<20_000 {
        counter.add()
        histogram.observe(0.5)
      }
    }
  }
  for thread in threads { thread.join() }
  #expect(counter.value == 80_000)
  #expect(histogram.cumulativeCounts == [80_000, 80_000])
  #expect(histogram.sum == 40_000)
}

@Test func `the number of series is bounded whatever the labels`() throws {
  let registry = MetricRegistry()
  let family = registry.counter("x_total", "x", labels: ["topic"], seriesMax: 10)
  for index in 0..<1000 { family("t\(index)").add() }
  let samples = try Exposition(registry.exposition()).samples
  #expect(samples.count == 11)
  #expect(samples.first { $0.labels["topic"] == "other" }?.value == 990)
  #expect(samples.map(\.value).reduce(0, +) == 1000)
  family.remove("t3")
  #expect(try Exposition(registry.exposition()).samples.count == 10)
}

@Test func `a counter's total never goes back`() {
  let counter = Counter()
  counter.advance(to: 10)
  counter.advance(to: 7)
  #expect(counter.value == 10)
}

private func makeMetrics() -> WorkerMetrics {
  let metrics = WorkerMetrics(pipeline: "flights", version: "0.1", commit: "abc", librdkafka: "2.0.2")
  metrics.recordsConsumed("events").add(5)
  metrics.recordsProduced("predictions", "ok").add(5)
  metrics.recordsRejected("events", "decode", "malformed-json").add()
  metrics.consumerLagRecords("events", "0").set(3)
  metrics.watermarkTimestampSeconds("events", "0").set(1_372_701_600.25)
  metrics.windowKeys("carrier").set(17)
  metrics.lateEvents("carrier", "counted").add()
  metrics.endToEndLatencySeconds.cell([]).observe(0.12)
  metrics.checkpointDurationSeconds.cell([]).observe(0.01)
  metrics.checkpointBytes("partition").set(10_000)
  metrics.stageDurationSeconds("decode").observe(1e-5)
  metrics.predictions("champion", "champion", "alert").add()
  metrics.modelLogLoss("champion", "1k").set(0.5)
  metrics.modelBrier("champion", "1k").set(0.2)
  metrics.modelAUC("champion", "1k").set(0.7)
  metrics.controlCommands("rollback", "applied").add()
  metrics.consumedBytes("events").add(100)
  return metrics
}

@Test func `every series of the worker has help and type and carries the pipeline`() throws {
  let metrics = makeMetrics()
  let text = try Exposition(metrics.registry.exposition())
  #expect(Set(text.types.keys) == Set(text.helps.keys))
  #expect(text.samples.allSatisfy { $0.labels["pipeline"] == "flights" })
  #expect(text.samples.allSatisfy { $0.name.hasPrefix("millrace_") || $0.name.hasPrefix("process_") })
  #expect(Set(text.samples.map { "\($0.name)\($0.labels.sorted { $0.key < $1.key })" }).count == text.samples.count)
  for state in WorkerMetrics.eventStates {
    #expect(text.value("millrace_events_total", ["pipeline": "flights", "state": state]) == 0)
  }
  #expect(text.value("millrace_state", ["pipeline": "flights", "state": "starting"]) == 1)
  #expect((text.value("process_resident_memory_bytes", ["pipeline": "flights"]) ?? 0) > 1_000_000)
  #expect((text.value("process_open_fds", ["pipeline": "flights"]) ?? 0) >= 3)
  #expect((text.value("process_start_time_seconds", ["pipeline": "flights"]) ?? 0) > 1_600_000_000)

  metrics.setState(.running)
  let states = try Exposition(metrics.registry.exposition()).samples.filter { $0.name == "millrace_state" }
  #expect(states.count == 6 && states.filter { $0.value == 1 }.map { $0.labels["state"] } == ["running"])
}

@Test func `the process's statistics are read behind a hostile name`() {
  let numbers = (1...50).map(String.init).joined(separator: " ")
  let sample = ProcessMetrics.parse("12 (a b) c)) S \(numbers)")
  // Field 4 of the manual is 1 here.
  #expect(sample == .init(cpuTicks: 11 + 12, startTicks: 19, virtualBytes: 20, residentPages: 21))
  for text in ["", ")", "1 (a) S 1 2", "1 (a) S " + Array(repeating: "x", count: 40).joined(separator: " ")] {
    #expect(ProcessMetrics.parse(text) == nil)
  }
}

private let promtool = ((ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":"))
  .map { "\($0)/promtool" }.first { FileManager.default.isExecutableFile(atPath: $0) }

@Test(.enabled(if: promtool != nil, "promtool (Debian package prometheus) is not installed"))
func `promtool finds nothing to object to`() throws {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: try #require(promtool))
  process.arguments = ["check", "metrics"]
  let input = Pipe()
  let output = Pipe()
  process.standardInput = input
  process.standardOutput = output
  process.standardError = output
  try process.run()
  input.fileHandleForWriting.write(Data(makeMetrics().registry.exposition()))
  try input.fileHandleForWriting.close()
  let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  #expect(process.terminationStatus == 0 && said.isEmpty, "\(said)")
}
