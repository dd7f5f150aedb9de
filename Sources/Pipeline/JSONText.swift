/// A JSON value that is only ever written, members in the given order.
public indirect enum JSONText: Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  /// Not finite becomes null: JSON has no other word for it.
  case number(Double)
  case string(String)
  case array([JSONText])
  case object([(String, JSONText)])

  /// One line, or indented by two blanks.
  public func encoded(pretty: Bool = false) -> String {
    var out = ""
    write(into: &out, depth: pretty ? 0 : nil)
    return out
  }

  private func write(into out: inout String, depth: Int?) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .integer(let value): out += String(value)
    case .number(let value): out += value.isFinite ? "\(value)" : "null"
    case .string(let value): Self.quote(value, into: &out)
    case .array(let items):
      Self.list("[", "]", items.count, depth, &out) { index, depth, out in
        items[index].write(into: &out, depth: depth)
      }
    case .object(let members):
      Self.list("{", "}", members.count, depth, &out) { index, depth, out in
        Self.quote(members[index].0, into: &out)
        out += depth == nil ? ":" : ": "
        members[index].1.write(into: &out, depth: depth)
      }
    }
  }

  private static func list(
    _ open: String, _ close: String, _ count: Int, _ depth: Int?, _ out: inout String,
    _ item: (Int, Int?, inout String) -> Void
  ) {
    out += open
    for index in 0..<count {
      if index > 0 { out += "," }
      if let depth { out += "\n" + String(repeating: "  ", count: depth + 1) }
      item(index, depth.map { $0 + 1 }, &out)
    }
    if let depth, count > 0 { out += "\n" + String(repeating: "  ", count: depth) }
    out += close
  }

  static func quote(_ text: String, into out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7f:
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }
}

extension JSONText: Equatable {
  public static func == (a: Self, b: Self) -> Bool { a.encoded() == b.encoded() }
}
