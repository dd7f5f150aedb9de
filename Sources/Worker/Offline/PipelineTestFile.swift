import Features
import Pipeline
import Records

/// Unit tests of a pipeline: the `*.test.yaml` beside its configuration.
///
///     tests:
///       - name: what is promised
///         given:                            # in this order, each before the next
///           - <input>: {<field>: <value>, …}
///             repeat: 40                    # the same n times; from the second on the id reads `<id>#2`, `<id>#3` …
///         when: {<scored input>: {<field>: <value>, …}}
///         then:
///           features: {<name>: <value> | {about: <number>, within: <number>} | missing}
///           score: {above: <number>, below: <number>}
///           decision: true | false
///
/// Labels among the given records teach: the model learns from all that was given before it scores.
public struct PipelineTestFile: Sendable {
  public struct Record: Sendable {
    var input: Int
    var fields: [YAMLEntry]
    var repeats: Int
    var place: Place
  }
  enum Expectation: Sendable {
    case number(Double, within: Double?)
    case text(String)
    case missing
  }
  struct Feature: Sendable {
    var name: String
    var expectation: Expectation
    var place: Place
  }
  public struct Case: Sendable {
    public var name: String
    public var place: Place
    var given: [Record]
    var when: Record
    var features: [Feature]
    var above: (bound: Double, place: Place)?
    var below: (bound: Double, place: Place)?
    var decision: (value: Bool, place: Place)?
  }

  public private(set) var cases: [Case] = []

  /// Reads a file for a pipeline; every fault at once.
  public init(_ path: String, _ settings: FeatureSettings, surroundings: Surroundings) throws(ConfigurationFaults) {
    var reader = Reader(settings: settings)
    switch surroundings.read(path) {
    case .failure(let error):
      reader.faults.append(
        ConfigurationFault(
          .unreadableFile, at: Place(.file(path)), "the file cannot be read: \(error.reason)"))
    case .success(let bytes):
      let (node, faults) = YAMLReader.read(bytes, source: .file(path))
      reader.faults += faults
      if let node {
        cases = reader.cases(node)
      } else if faults.isEmpty {
        reader.fault(.wrongType, Place(.file(path)), "the file is empty")
      }
    }
    guard reader.faults.isEmpty else { throw ConfigurationFaults(reader.faults) }
  }

  // MARK: Reading

  private struct Reader {
    let settings: FeatureSettings
    var faults: [ConfigurationFault] = []

    mutating func fault(_ code: FaultCode, _ place: Place, _ message: String, hint: String = "") {
      faults.append(ConfigurationFault(code, at: place, message, hint: hint))
    }

    mutating func entries(_ node: YAMLNode, _ what: String) -> [YAMLEntry] {
      if case .mapping(let entries) = node.content { return entries }
      fault(.wrongType, node.place, "\(what) is a mapping")
      return []
    }
    mutating func list(_ node: YAMLNode, _ what: String) -> [YAMLNode] {
      if case .sequence(let nodes) = node.content { return nodes }
      fault(.wrongType, node.place, "\(what) is a list")
      return []
    }
    func scalar(_ node: YAMLNode) -> YAMLScalar? {
      if case .scalar(let scalar) = node.content { return scalar }
      return nil
    }
    mutating func number(_ node: YAMLNode, _ what: String) -> Double? {
      if let scalar = scalar(node), scalar.isPlain, let value = Double(scalar.text), value.isFinite {
        return value
      }
      fault(.wrongType, node.place, "\(what) is a number")
      return nil
    }
    mutating func unknown(_ entry: YAMLEntry, _ known: [String]) {
      let close = closestName(to: entry.key, among: known).map { "did you mean '\($0)'?" }
      fault(
        .unknownKey, entry.keyPlace, "no such key '\(entry.key)'",
        hint: close ?? "one of \(known.joined(separator: ", "))")
    }

    mutating func cases(_ node: YAMLNode) -> [Case] {
      var cases: [Case] = []
      for entry in entries(node, "a test file") {
        guard entry.key == "tests" else {
          unknown(entry, ["tests"])
          continue
        }
        for test in list(entry.value, "'tests'") {
          if let read = self.test(test) { cases.append(read) }
        }
      }
      if cases.isEmpty && faults.isEmpty { fault(.missingKey, node.place, "the file holds no tests") }
      return cases
    }

    private mutating func test(_ node: YAMLNode) -> Case? {
      var name: String?
      var given: [Record] = []
      var when: Record?
      var features: [Feature] = []
      var above: (Double, Place)?
      var below: (Double, Place)?
      var decision: (Bool, Place)?
      var hasExpectation = false
      for entry in entries(node, "a test") {
        switch entry.key {
        case "name": name = scalar(entry.value)?.text
        case "given":
          for record in list(entry.value, "'given'") {
            if let read = self.record(record, isGiven: true) { given.append(read) }
          }
        case "when":
          when = record(entry.value, isGiven: false)
          if let read = when, read.input != settings.scoredInput {
            fault(
              .invalidValue, entry.value.place,
              "'when' is a record of the scored input '\(settings.inputs[settings.scoredInput].name)'")
          }
        case "then":
          for expected in entries(entry.value, "'then'") {
            hasExpectation = true
            switch expected.key {
            case "features": features += self.features(expected.value)
            case "score":
              for bound in entries(expected.value, "'score'") {
                switch bound.key {
                case "above": above = number(bound.value, "'above'").map { ($0, bound.value.place) }
                case "below": below = number(bound.value, "'below'").map { ($0, bound.value.place) }
                default: unknown(bound, ["above", "below"])
                }
              }
            case "decision":
              switch scalar(expected.value)?.text {
              case "true": decision = (true, expected.value.place)
              case "false": decision = (false, expected.value.place)
              default: fault(.wrongType, expected.value.place, "'decision' is true or false")
              }
            default: unknown(expected, ["features", "score", "decision"])
            }
          }
        default: unknown(entry, ["name", "given", "when", "then"])
        }
      }
      guard let name, !name.isEmpty else {
        fault(.missingKey, node.place, "a test has a name")
        return nil
      }
      guard let when, hasExpectation else {
        if faults.isEmpty { fault(.missingKey, node.place, "a test has 'when' and 'then'") }
        return nil
      }
      return Case(
        name: name, place: node.place, given: given, when: when, features: features, above: above,
        below: below, decision: decision)
    }

    private mutating func record(_ node: YAMLNode, isGiven: Bool) -> Record? {
      var found: Record?
      var repeats = 1
      let names = settings.inputs.map(\.name)
      for entry in entries(node, "a record") {
        if entry.key == "repeat" && isGiven {
          guard let times = number(entry.value, "'repeat'").flatMap({ Int(exactly: $0) }),
            (1...100_000).contains(times)
          else {
            fault(.outOfRange, entry.value.place, "'repeat' is a whole number from 1 to 100000")
            continue
          }
          repeats = times
        } else if let input = names.firstIndex(of: entry.key) {
          if found != nil { fault(.contradiction, entry.keyPlace, "one record names one input") }
          let fields = entries(entry.value, "a record of '\(entry.key)'")
          found = Record(input: input, fields: fields, repeats: 1, place: entry.keyPlace)
        } else {
          unknown(entry, names + (isGiven ? ["repeat"] : []))
        }
      }
      if found == nil && faults.isEmpty { fault(.missingKey, node.place, "a record names its input") }
      found?.repeats = repeats
      return found
    }

    private mutating func features(_ node: YAMLNode) -> [Feature] {
      var features: [Feature] = []
      for entry in entries(node, "'features'") {
        guard let declared = settings.features.first(where: { $0.name == entry.key }) else {
          let names = settings.features.map(\.name)
          let close = closestName(to: entry.key, among: names).map { "did you mean '\($0)'?" }
          fault(
            .unknownFeature, entry.keyPlace, "no feature '\(entry.key)'",
            hint: close ?? "one of \(names.joined(separator: ", "))")
          continue
        }
        var expectation: Expectation?
        switch entry.value.content {
        case .scalar(let scalar):
          if scalar.isPlain && scalar.text == "missing" {
            expectation = .missing
          } else if declared.kind == .category {
            expectation = .text(scalar.text)
          } else {
            expectation = number(entry.value, "'\(entry.key)'").map { .number($0, within: nil) }
          }
        case .mapping(let parts):
          var about: Double?
          var within: Double?
          for part in parts {
            switch part.key {
            case "about": about = number(part.value, "'about'")
            case "within": within = number(part.value, "'within'")
            default: unknown(part, ["about", "within"])
            }
          }
          if declared.kind == .category {
            fault(.wrongType, entry.value.place, "'\(entry.key)' is a category, not a number")
          } else if let about, let within, within >= 0 {
            expectation = .number(about, within: within)
          } else {
            fault(.missingKey, entry.value.place, "'about' needs a number and 'within' one that is not negative")
          }
        case .sequence:
          fault(.wrongType, entry.value.place, "a feature is a value, {about, within} or missing")
        }
        if let expectation {
          features.append(Feature(name: entry.key, expectation: expectation, place: entry.value.place))
        }
      }
      return features
    }
  }
}
