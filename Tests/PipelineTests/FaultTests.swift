import Pipeline
import Testing

/// One fault each, made from the flagship by replacing a piece of text: the exact code and place.
struct FaultTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var old: String
    var new: String
    var code: FaultCode
    /// Where the fault must be: at the first character of this text, which the faulty file has once.
    var at: String
    var hint = ""
    var testDescription: String { "\(code.rawValue) \(new)" }
  }

  static let cases: [Case] = [
    Case(old: "max_future: 10m", new: "max_futur: 10m", code: .unknownKey, at: "max_futur", hint: "did you mean 'max_future'?"),
    Case(old: "  keep: 10", new: "  keeep: 10", code: .unknownKey, at: "keeep", hint: "did you mean 'keep'?"),
    Case(old: "version: 1", new: "version: 2", code: .outOfRange, at: "2\npipeline"),
    Case(old: "  wait: 36h\n", new: "", code: .missingKey, at: "from: arrivals\n  target"),
    Case(old: "late_after: 10m", new: "late_after: 10", code: .wrongType, at: "10,\n     fields"),
    Case(old: "threshold: 0.35", new: "threshold: 1.5", code: .outOfRange, at: "1.5"),
    Case(old: "threshold: 0.35", new: "threshold: 1", code: .outOfRange, at: "1}\n  output"),
    Case(old: "lanes: 1", new: "lanes: 0", code: .outOfRange, at: "0}\nmax_future"),
    Case(old: "lanes: 1", new: "lanes: many", code: .wrongType, at: "many"),
    Case(old: "on: schedules", new: "on: schedule", code: .unknownInput, at: "schedule\n", hint: "did you mean 'schedules'?"),
    Case(old: "from: arrivals", new: "from: arivals", code: .unknownInput, at: "arivals", hint: "did you mean 'arrivals'?"),
    Case(old: "event_time: arrived_at", new: "event_time: arrived", code: .unknownField, at: "arrived, late"),
    Case(old: "event_time: arrived_at", new: "event_time: arr_delay", code: .unusableField, at: "arr_delay, late"),
    Case(old: "dep_delay: number!", new: "dep_delay: numbr!", code: .wrongType, at: "numbr!", hint: "did you mean 'number'?"),
    Case(old: "unit: rfc3339", new: "unit: fortnights", code: .invalidValue, at: "fortnights"),
    Case(old: "arr_delay: number,", new: "arr_delay: {type: number, unit: seconds},", code: .contradiction, at: "seconds}"),
    Case(old: "key: origin, id: flight_id, event_time: published_at", new: "key: origin, event_time: published_at", code: .contradiction, at: "schedules\n  decision"),
    Case(old: "key: origin, id: flight_id, event_time: arrived_at", new: "key: origin, event_time: arrived_at", code: .contradiction, at: "arrivals\n  target"),
    Case(old: "scope: partition", new: "scope: global", code: .unsupportedValue, at: "global"),
    Case(old: ", scope: partition", new: "", code: .scopeUnstated, at: "[carrier]"),
    Case(old: "pane: 5m, aggregates: [count, mean]", new: "pane: 5m, aggregates: [count, p90]", code: .unsupportedValue, at: "p90"),
    Case(old: "pane: 5m, aggregates: [count, mean]", new: "pane: 5m, aggregates: [count, men]", code: .invalidValue, at: "men]"),
    Case(old: "name: carrier, type", new: "name: hour, type", code: .duplicateName, at: "hour, type"),
    Case(old: "name: no-windows", new: "name: champion", code: .duplicateName, at: "champion, kind"),
    Case(old: "without: [origin_delay_mean_2h,", new: "without: [origin_delay_mean_3h,", code: .unknownFeature, at: "origin_delay_mean_3h"),
    Case(old: "mode: exactly-once", new: "mode: at-most-once", code: .invalidValue, at: "at-most-once"),
    Case(old: "interval: 100ms", new: "interval: 6s", code: .contradiction, at: "6s"),
    Case(old: "interval: 100ms", new: "timeout: 30s", code: .contradiction, at: "30s}}\ncheck"),
    Case(old: "lanes: 1", new: "heartbeat: 5s", code: .contradiction, at: "5s}\nmax"),
    Case(old: "topic: flights.learning.v1", new: "topic: flights.journal.v1", code: .topicTwice, at: "flights.journal.v1\n  rate"),
    Case(old: "topic: ml.alerts.v1", new: "topic: flights.arrivals.v1", code: .topicTwice, at: "flights.arrivals.v1}"),
    Case(old: "topic: ml.alerts.v1", new: "topic: ml alerts", code: .invalidValue, at: "ml alerts"),
    Case(old: "socket.keepalive.enable: true", new: "enable.auto.commit: true", code: .ownedProperty, at: "enable.auto.commit"),
    Case(old: "protocol: sasl_ssl, mechanism", new: "protocol: sasl_tls, mechanism", code: .invalidValue, at: "sasl_tls"),
    Case(old: "username: millrace, ", new: "", code: .contradiction, at: "sasl_ssl"),
    Case(old: "{file: kafka-password}", new: "hunter2", code: .inlineSecret, at: "hunter2"),
    Case(old: "keys/operators.pub", new: "keys/nobody.pub", code: .unusableKey, at: "keys/nobody.pub"),
    Case(old: "output: {topic: flights.delay-predictions.v1, key: origin}", new: "output: {topic: flights.delay-predictions.v1, key: dest}", code: .contradiction, at: "dest}\nlabels"),
    Case(old: "listen: \"127.0.0.1:8080\"", new: "listen: \"8080\"", code: .invalidValue, at: "\"8080\""),
    Case(old: "instance: \"${HOSTNAME}\"", new: "instance: \"${NOWHERE}\"", code: .unsetVariable, at: "\"${NOWHERE}\""),
    Case(old: "  hash_bits: 18", new: "  hash_bits: 18\n  hash_bits: 19", code: .duplicateKey, at: "hash_bits: 19"),
    Case(old: "pipeline: flight-delay", new: "pipeline: Flight Delay", code: .invalidValue, at: "Flight Delay"),
    Case(old: "model:\n", new: "model: &m\n", code: .unsupportedYAML, at: "&m"),
    Case(old: "alerts: {topic: ml.alerts.v1}", new: "alerts: *m", code: .unsupportedYAML, at: "*m"),
    Case(old: "expr: origin_dep.mean_2h", new: "expr: origin_dep.mean_3h", code: .expression, at: "mean_3h"),
    Case(old: "\"arr_delay > 15\"", new: "\"arr_dely > 15\"", code: .expression, at: "arr_dely"),
    Case(old: "\"arr_delay > 15\"", new: "'15 < arr_delay ?'", code: .expression, at: "?'"),
    Case(old: "name: distance, type", new: "name: distnce, type", code: .expression, at: "distnce"),
    Case(old: "'America/New_York'", new: "'America/New_Yolk'", code: .expression, at: "'America/New_Yolk'"),
    Case(old: "pane: 5m", new: "pane: 7m", code: .expression, at: "7m, agg"),
    Case(old: "align: {wait: 0s}", new: "align: {wait: 0s", code: .syntax, at: ": {topic: ml.control.v1"),
  ]

  @Test(arguments: cases) func `each fault has its code and its place`(_ item: Case) throws {
    let text = Flagship.with(item.old, item.new)
    let loaded = Flagship.load(text)
    #expect(loaded.settings == nil)
    let errors = loaded.errors
    #expect(errors.map(\.code) == [item.code], "\(errors.map(\.text))")
    let found = text.ranges(of: item.at)
    try #require(found.count == 1, "'\(item.at)' is there \(found.count) times")
    let before = text[..<found[0].lowerBound]
    let line = before.count { $0 == "\n" } + 1
    let column = before.reversed().prefix { $0 != "\n" }.count + 1
    #expect(errors.first?.place.description == "p.yaml:\(line):\(column)", "\(errors.map(\.text))")
    if !item.hint.isEmpty { #expect(errors.first?.hint == item.hint) }
  }

  @Test func `all faults come at once, in reading order`() {
    var text = Flagship.yaml
    for (old, new) in [
      ("version: 1", "version: 3"), ("lanes: 1", "lanes: -1"), ("on: schedules", "on: nothing"),
      ("max_future: 10m", "max_future: soon"), ("keep: 10", "kep: 10"),
    ] { text = text.replacing(old, with: new) }
    let faults = Flagship.load(text).faults
    #expect(
      faults.map(\.code) == [.outOfRange, .unknownInput, .unknownKey, .outOfRange, .wrongType])
    #expect(faults.map(\.place.line) == faults.map(\.place.line).sorted())
  }

  @Test func `a fault reads file, line, column, code, message and hint`() throws {
    let fault = try #require(Flagship.load(Flagship.with("  keep: 10", "  keeep: 10")).faults.first)
    #expect(
      fault.text
        == "p.yaml:48:3: error[MR010]: unknown key 'keeep' in 'learning' (hint: did you mean 'keep'?)")
    #expect(
      fault.json.encoded()
        == #"{"code":"MR010","severity":"error","file":"p.yaml","line":48,"column":3,"place":"p.yaml:48:3","path":"learning.keeep","message":"unknown key 'keeep' in 'learning'","hint":"did you mean 'keep'?"}"#
    )
  }

  @Test func `a model of one kind refuses the settings of another`() {
    let text = Flagship.with("kind: ftrl\n  hash_bits: 18\n  compress: int8\n  calibrate: platt", "kind: base_rate\n  hash_bits: 18")
    #expect(Flagship.load(text).errors.map(\.code) == [.contradiction])
  }

  @Test func `more contenders, or more crossed features, than the fold holds are refused`() {
    let many = (0..<16).map { "{name: c\($0), kind: base_rate}" }.joined(separator: ", ")
    #expect(Flagship.load(set: ["challengers=[\(many)]"]).errors.map(\.code) == [.outOfRange])
    let wide = (0..<129).map { "{name: f\($0), type: number, expr: distance + \($0)}" }
      .joined(separator: ", ")
    let set = ["challengers=[]", "features=[\(wide)]"]
    #expect(Flagship.load(set: set).errors.map(\.code) == [.contradiction])
    #expect(Flagship.load(set: set + ["model.crosses=false"]).errors == [])
  }

  @Test func `overrides that lead nowhere are refused with the nearest name`() {
    func first(_ assignment: String) -> ConfigurationFault? {
      Flagship.load(set: [assignment]).errors.first
    }
    #expect(first("worker.lane=2")?.code == .badOverride)
    #expect(first("worker.lane=2")?.hint == "did you mean 'lanes'?")
    #expect(first("worker.lanes.x=2")?.code == .badOverride)
    #expect(first("features[99].type=number")?.code == .badOverride)
    #expect(first("nothing")?.code == .badOverride)
    #expect(first("worker.lanes=[")?.code == .syntax)
    #expect(first("worker.lanes=two")?.place == Place(.override("worker.lanes")))
  }

  @Test func `an unknown variable of ours and an open transport are warnings`() {
    let loaded = Flagship.load(variables: ["HOSTNAME": "w", "MILLRACE_WORKER_LANE": "2", "MILLRACE_COLOUR": "blue"])
    #expect(loaded.faults.map(\.code) == [.unknownVariable])
    #expect(loaded.faults.first?.hint == "did you mean 'MILLRACE_WORKER_LANES'?")
    #expect(loaded.settings != nil)
    let open = Flagship.load(set: [
      "kafka.security={protocol: plaintext, mechanism: null, username: null, password: null}",
      "kafka.bootstrap=broker:9092",
    ])
    #expect(open.faults.map(\.code) == [.openTransport])
  }

  @Test func `codes are unique and every one has a meaning`() {
    #expect(Set(FaultCode.allCases.map(\.rawValue)).count == FaultCode.allCases.count)
    #expect(FaultCode.allCases.allSatisfy { !$0.meaning.isEmpty })
  }
}
