import Models
import Records

extension LearningSettings {
  /// What differs from `old`, one line each, for people who are about to propose these settings as a charter.
  public func changes(from old: LearningSettings) -> [String] {
    var lines: [String] = []
    func note(_ name: String, _ before: some Equatable & CustomStringConvertible, _ after: some CustomStringConvertible) {
      if before.description != after.description { lines.append("\(name): \(before) → \(after)") }
    }
    note("keep_every", old.keepEvery, keepEvery)
    note("keep", old.keep, keep)
    note("contenders", Self.list(old.contenders.map(\.name)), Self.list(contenders.map(\.name)))
    for contender in contenders {
      guard let before = old.contenders.first(where: { $0.name == contender.name }) else { continue }
      let after = Self.properties(contender)
      let known = Self.properties(before)
      for (name, value) in after {
        note("\(contender.name) \(name)", known.first { $0.name == name }?.value ?? "none", value)
      }
      for (name, value) in known where !after.contains(where: { $0.name == name }) {
        note("\(contender.name) \(name)", value, "none")
      }
    }
    return lines
  }

  private static func list(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ",") }

  private static func properties(_ contender: ContenderSettings) -> [(name: String, value: String)] {
    var result: [(name: String, value: String)] = []
    switch contender.kind {
    case .baseRate: result.append(("kind", "base_rate"))
    case .ftrl(let ftrl, let encoder):
      result += [
        ("kind", "ftrl"), ("rate", "\(ftrl.alpha)"), ("beta", "\(ftrl.beta)"), ("l1", "\(ftrl.l1)"), ("l2", "\(ftrl.l2)"),
        ("hash_bits", "\(encoder.hashBits)"), ("crosses", "\(encoder.crosses)"),
        ("columns", list(encoder.columns.map(\.name))), ("missing indicators", list(encoder.missingIndicators)),
      ]
    }
    switch contender.calibration {
    case .none: result.append(("calibrate", "none"))
    case .platt(let rate): result.append(("calibrate", "platt rate \(rate)"))
    }
    return result
  }
}
