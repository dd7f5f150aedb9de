/// `${NAME}` and `${NAME:default}` in values, filled from the environment. `$${` stands for `${` itself.
///
/// An empty variable counts as unset; `${NAME:}` is how to allow it. Defaults are taken as they are, not filled again.
enum Substitution {
  enum Failure: Error, Equatable {
    case unset(String)
    case malformed(String)
  }

  /// The filled text; the same text where there is nothing to fill.
  static func fill(_ text: String, from variables: [String: String]) throws(Failure) -> String {
    guard text.contains("${") else { return text }
    var out = ""
    var rest = text[...]
    while let dollar = rest.firstIndex(of: "$") {
      out += rest[..<dollar]
      let after = rest[rest.index(after: dollar)...]
      if after.hasPrefix("${") {
        out += "${"
        rest = after.dropFirst(2)
      } else if after.hasPrefix("{") {
        guard let close = after.firstIndex(of: "}") else { throw .malformed("'${' without '}'") }
        let inside = after[after.index(after: after.startIndex)..<close]
        let colon = inside.firstIndex(of: ":")
        let name = String(inside[..<(colon ?? inside.endIndex)])
        guard isName(name) else { throw .malformed("'${\(inside)}' names no variable") }
        if let value = variables[name], !value.isEmpty {
          out += value
        } else if let colon {
          out += inside[inside.index(after: colon)...]
        } else {
          throw .unset(name)
        }
        rest = after[after.index(after: close)...]
      } else {
        out += "$"
        rest = after
      }
    }
    return out + rest
  }

  static func isName(_ text: String) -> Bool {
    guard let first = text.utf8.first, !(0x30...0x39).contains(first) else { return false }
    return text.utf8.allSatisfy {
      switch $0 {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
      default: false
      }
    }
  }

  /// Fills every value of a tree; keys stay as written.
  static func fill(
    _ node: inout YAMLNode, from variables: [String: String], faults: inout [ConfigurationFault]
  ) {
    switch node.content {
    case .scalar(let scalar):
      do throws(Failure) {
        let filled = try fill(scalar.text, from: variables)
        if filled != scalar.text { node.content = .scalar(YAMLScalar(text: filled, isPlain: true)) }
      } catch {
        var unusable = scalar
        unusable.isUnusable = true
        node.content = .scalar(unusable)
        switch error {
        case .unset(let name):
          faults.append(
            ConfigurationFault(
              .unsetVariable, at: node.place, "the variable \(name) is not set and has no default",
              hint: "set it, or write ${\(name):default}"))
        case .malformed(let what):
          faults.append(
            ConfigurationFault(.invalidValue, at: node.place, what, hint: "write $${ for a literal ${"))
        }
      }
    case .sequence(var items):
      for index in items.indices { fill(&items[index], from: variables, faults: &faults) }
      node.content = .sequence(items)
    case .mapping(var entries):
      for index in entries.indices { fill(&entries[index].value, from: variables, faults: &faults) }
      node.content = .mapping(entries)
    }
  }
}
