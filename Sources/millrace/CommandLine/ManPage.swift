import Pipeline

/// The manual page in roff, from the table alone; without a date, so that it changes only when the table does.
struct ManPage {
  let table: CommandTable
  let version: String

  func page() -> String {
    let help = Help(table: table)
    var out = ".TH \(table.program.uppercased()) 1 \"\" \"\(Self.escaped("\(table.program) \(version)"))\"\n"
    out += ".SH NAME\n\(table.program) \\- \(Self.escaped(table.summary))\n"
    out += ".SH SYNOPSIS\n.B \(table.program)\n.I verb\n.RI [ flags ]\n"
    out += ".SH VERBS\n"
    for verb in table.verbs {
      out += ".SS \(Self.escaped(verb.name))\n"
      out += ".B \(Self.escaped(help.synopsis(verb)))\n.PP\n\(Self.escaped(verb.summary))\n"
      if !verb.discussion.isEmpty { out += ".PP\n\(Self.escaped(verb.discussion))\n" }
      for argument in verb.arguments { out += Self.entry(argument.value.placeholder, argument.doc) }
      out += verb.flags.map(flag).joined()
      for example in verb.examples {
        out += ".PP\n.nf\n.RS 4\n\(Self.escaped("\(table.program) \(example)"))\n.RE\n.fi\n"
      }
    }
    out += ".SH FLAGS OF EVERY VERB\n" + table.globals.map(flag).joined()
    out += ".SH EXIT STATUS\n"
    for code in ExitCode.allCases {
      out += Self.entry(
        String(code.rawValue), code.meaning + (code.restarts ? "; starting again can help" : "") + ".")
    }
    out += ".SH ENVIRONMENT\n"
    for field in ConfigurationField.all() where !field.variable.isEmpty {
      out += Self.entry(field.variable, "\(field.path): \(field.doc)")
    }
    return out
  }

  private func flag(_ flag: Flag) -> String {
    Self.entry(flag.usage, flag.doc + (flag.required ? " Required." : ""))
  }

  private static func entry(_ name: String, _ doc: String) -> String {
    ".TP\n.B \(escaped(name))\n\(escaped(doc))\n"
  }

  /// Text that roff prints as it is: no escapes, no requests, dashes that can be copied.
  static func escaped(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": out += "\\e"
      case "-": out += "\\-"
      case "…": out += "..."
      case "\n": out += " "
      case _ where scalar.value > 0x7e: out += "\\[u\(hex(scalar.value))]"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out.hasPrefix(".") || out.hasPrefix("'") ? "\\&" + out : out
  }
  private static func hex(_ value: UInt32) -> String {
    let digits = String(value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }
}
