import Pipeline

/// What a command line asks for.
enum Request: Sendable {
  case run(Verb, CommandValues)
  /// Help on a verb, a group or, with an empty path, the program.
  case help([String])
  case version(CommandValues)
}

/// Flags and arguments as given, every value checked against its form.
struct CommandValues: Sendable, Equatable {
  /// By flag name, in order; a flag without value holds empty texts.
  var flags: [String: [String]] = [:]
  var arguments: [String] = []
}

/// Reads command lines strictly: whatever the table does not know is refused, with the nearest name.
///
/// Flags may stand before, between and after the words; `--flag value` and `--flag=value` are the same; after `--`
/// everything is an argument, and `-` alone is one.
struct CommandParser {
  let table: CommandTable

  func parse(_ words: [String]) throws(UsageFault) -> Request {
    var path: [String] = []
    var verb: Verb?
    var values = CommandValues()
    var rest = words[...]
    var onlyArguments = false
    // Flags of a verb may come before it: told apart once the verb is known.
    var given: [(flag: Flag, value: String)] = []
    let late = try verbAhead(words)

    while let word = rest.popFirst() {
      if !onlyArguments, word == "--" {
        onlyArguments = true
      } else if !onlyArguments, word.hasPrefix("--") {
        try long(word, &rest, late, &given)
      } else if !onlyArguments, word.hasPrefix("-"), word.count > 1 {
        guard word.count == 2, let letter = word.last,
          let flag = (table.globals + (late?.flags ?? [])).first(where: { $0.short == letter })
        else { throw fault("unknown flag '\(word)'", "", late) }
        given.append((flag, try value(of: flag, nil, &rest, late)))
      } else if verb == nil, !onlyArguments {
        path.append(word)
        verb = table.verb(path)
      } else {
        values.arguments.append(word)
      }
    }
    for (flag, value) in given {
      if values.flags[flag.name] != nil, !flag.repeats, flag.value != nil {
        throw fault("the flag --\(flag.name) is given twice", "", verb)
      }
      values.flags[flag.name, default: []].append(value)
    }
    if values.flags["help"] != nil { return .help(path) }
    if values.flags["version"] != nil { return .version(values) }
    guard let verb else {
      throw path.isEmpty
        ? fault("no verb", "check, run and demo are the first ones to know", nil)
        : UsageFault(
          message: "'\(path.joined(separator: " "))' needs a further word",
          hint: "one of \(table.words(after: path).map(\.word).joined(separator: ", "))", verb: path)
    }
    try check(values, verb)
    return .run(verb, values)
  }

  /// The verb that the words name, found before the flags are read so that its own flags are known.
  private func verbAhead(_ words: [String]) throws(UsageFault) -> Verb? {
    var path: [String] = []
    var rest = words[...]
    while let word = rest.popFirst() {
      if word == "--" { return nil }
      if word.hasPrefix("-"), word.count > 1 {
        // A flag that takes the next word as its value: that word is no verb.
        let name = word.drop { $0 == "-" }
        if !name.contains("="), anyFlag(named: String(name))?.value != nil { rest = rest.dropFirst() }
        continue
      }
      path.append(word)
      if let verb = table.verb(path) { return verb }
      if !table.isGroup(path) {
        let above = Array(path.dropLast())
        let known = table.words(after: above).map(\.word)
        let close =
          (table.paths.first { $0.count > 1 && above.isEmpty && $0.last == word }?.joined(separator: " ")
          ?? closestName(to: word, among: known)).map { "did you mean '\($0)'?" }
        throw UsageFault(
          message: "unknown verb '\(path.joined(separator: " "))'",
          hint: close ?? "one of \(known.joined(separator: ", "))", verb: above)
      }
    }
    return nil
  }

  private func anyFlag(named name: String) -> Flag? {
    (table.globals + table.verbs.flatMap(\.flags)).first { $0.name == name }
  }

  private func long(
    _ word: String, _ rest: inout ArraySlice<String>, _ verb: Verb?,
    _ given: inout [(flag: Flag, value: String)]
  ) throws(UsageFault) {
    let body = word.dropFirst(2)
    let equals = body.firstIndex(of: "=")
    let name = String(body[..<(equals ?? body.endIndex)])
    let known = table.globals + (verb?.flags ?? [])
    guard let flag = known.first(where: { $0.name == name }) else {
      let close = closestName(to: name, among: known.map(\.name)).map { "did you mean '--\($0)'?" } ?? ""
      let where_ = verb.map { " of '\($0.name)'" } ?? ""
      throw fault("unknown flag '--\(name)'\(where_)", close, verb)
    }
    let attached = equals.map { String(body[body.index(after: $0)...]) }
    given.append((flag, try value(of: flag, attached, &rest, verb)))
  }

  private func value(
    of flag: Flag, _ attached: String?, _ rest: inout ArraySlice<String>, _ verb: Verb?
  ) throws(UsageFault) -> String {
    guard let form = flag.value else {
      if attached != nil { throw fault("the flag --\(flag.name) takes no value", "", verb) }
      return ""
    }
    let text: String
    if let attached {
      text = attached
    } else if let next = rest.first, !next.hasPrefix("--") {
      text = next
      rest = rest.dropFirst()
    } else {
      throw fault("the flag --\(flag.name) needs a value", "--\(flag.name) \(form.placeholder)", verb)
    }
    if let wrong = form.fault(text) {
      throw fault("--\(flag.name): '\(text)' \(wrong)", "--\(flag.name) \(form.placeholder)", verb)
    }
    return text
  }

  private func check(_ values: CommandValues, _ verb: Verb) throws(UsageFault) {
    for flag in verb.flags where flag.required && values.flags[flag.name] == nil {
      throw fault("'\(verb.name)' needs --\(flag.name)", flag.doc, verb)
    }
    let least = verb.arguments.count { $0.required }
    if values.arguments.count < least {
      let missing = verb.arguments[values.arguments.count]
      throw fault("'\(verb.name)' needs \(missing.value.placeholder)", missing.doc, verb)
    }
    for (index, text) in values.arguments.enumerated() {
      let argument: Argument
      if index < verb.arguments.count {
        argument = verb.arguments[index]
      } else if let last = verb.arguments.last, last.repeats {
        argument = last
      } else {
        throw fault("'\(verb.name)' has no use for '\(text)'", "", verb)
      }
      if let wrong = argument.value.fault(text) {
        throw fault("\(argument.value.placeholder): '\(text)' \(wrong)", argument.doc, verb)
      }
    }
  }

  private func fault(_ message: String, _ hint: String, _ verb: Verb?) -> UsageFault {
    UsageFault(message: message, hint: hint, verb: verb?.path ?? [])
  }
}
