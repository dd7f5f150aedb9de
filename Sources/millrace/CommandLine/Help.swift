/// Help as text, from the table alone.
struct Help {
  let table: CommandTable
  var width = 100

  func page(_ path: [String]) -> String {
    if let verb = table.verb(path) { return page(verb) }
    var out = path.isEmpty ? "\(table.program): \(table.summary)\n\n" : ""
    let name = ([table.program] + path).joined(separator: " ")
    out += "usage: \(name) VERB [flags]\n\nverbs:\n"
    out += rows(table.words(after: path).map { ($0.word, $0.summary) })
    out += "\nflags of every verb:\n" + rows(table.globals.map { ($0.usage, $0.doc) })
    out += "\n'\(name) VERB --help' explains one.\n"
    return out
  }

  private func page(_ verb: Verb) -> String {
    var out = "usage: \(synopsis(verb))\n\n\(verb.summary)\n"
    if !verb.discussion.isEmpty { out += "\n" + wrapped(verb.discussion, indent: 0) }
    if !verb.arguments.isEmpty {
      out += "\narguments:\n" + rows(verb.arguments.map { ($0.value.placeholder, $0.doc) })
    }
    if !verb.flags.isEmpty {
      out += "\nflags:\n" + rows(verb.flags.map { ($0.usage, $0.doc + ($0.required ? " Required." : "")) })
    }
    out += "\nflags of every verb:\n" + rows(table.globals.map { ($0.usage, $0.doc) })
    if !verb.examples.isEmpty {
      out += "\nexamples:\n" + verb.examples.map { "  \(table.program) \($0)\n" }.joined()
    }
    return out
  }

  func synopsis(_ verb: Verb) -> String {
    var parts = [table.program] + verb.path
    parts += verb.arguments.map(\.usage)
    for flag in verb.flags where flag.required {
      parts.append(flag.value.map { "--\(flag.name) \($0.placeholder)" } ?? "--\(flag.name)")
    }
    parts.append("[flags]")
    return parts.joined(separator: " ")
  }

  /// Two columns; the second is wrapped.
  private func rows(_ rows: [(String, String)]) -> String {
    let column = min(rows.map { $0.0.count }.max() ?? 0, 28) + 4
    return rows.map { name, doc in
      let lines = wrapped(doc, indent: column)
      guard name.count + 4 <= column else { return "  \(name)\n\(lines)" }
      return "  \(name)" + lines.dropFirst(name.count + 2)
    }.joined()
  }

  private func wrapped(_ text: String, indent: Int) -> String {
    let blanks = String(repeating: " ", count: indent)
    var out = ""
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, indent + line.count + 1 + word.count > width {
        out += blanks + line + "\n"
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return out + blanks + line + "\n"
  }
}
