/// A flag, long with two dashes; with a value or without.
struct Flag: Sendable {
  var name: String
  var short: Character?
  /// Nil: the flag is there or not.
  var value: ValueForm?
  var repeats = false
  var required = false
  var doc: String

  init(
    _ name: String, short: Character? = nil, _ value: ValueForm?, repeats: Bool = false,
    required: Bool = false, _ doc: String
  ) {
    self.name = name
    self.short = short
    self.value = value
    self.repeats = repeats
    self.required = required
    self.doc = doc
  }

  /// A flag without a value.
  init(_ name: String, short: Character? = nil, _ doc: String) {
    self.init(name, short: short, nil, doc)
  }

  /// `--speed FACTOR`, `-q, --quiet`.
  var usage: String {
    let long = value.map { "--\(name) \($0.placeholder)" } ?? "--\(name)"
    return short.map { "-\($0), \(long)" } ?? long
  }
}

/// A word without a dash.
struct Argument: Sendable {
  var value: ValueForm
  var required = true
  var repeats = false
  var doc: String

  var usage: String {
    let name = value.placeholder + (repeats ? "..." : "")
    return required ? name : "[\(name)]"
  }
}

/// Something the program does.
///
/// To add one: write its body, a function `(Invocation) throws -> ExitCode`, and put one entry into
/// `CommandTable.millrace` (Verbs.swift). Parsing, help, completions and the man page follow:
///
///     Verb("replay", "Run a pipeline over files.", flags: [
///       Flag("limit", .integer("N", 1...1_000), "Stop after N records."),
///     ], body: replay)
///
///     func replay(_ invocation: Invocation) throws -> ExitCode {
///       let settings = try invocation.pipeline().get()   // faults end with 78 by themselves
///       if let limit = invocation.integer("limit") { … }
///       invocation.output.result("…")                    // stdout: results only
///       throw Failure(.badData, "record 7 cannot be read file=x.ndjson")
///     }
struct Verb: Sendable {
  /// `["control", "rollback"]`.
  var path: [String]
  var summary: String
  /// A few sentences for help and manual; may be empty.
  var discussion: String
  var arguments: [Argument]
  var flags: [Flag]
  /// Command lines without the program's name.
  var examples: [String]
  var body: @Sendable (Invocation) throws -> ExitCode

  init(
    _ path: String, _ summary: String, discussion: String = "", arguments: [Argument] = [],
    flags: [Flag] = [], examples: [String] = [],
    body: @escaping @Sendable (Invocation) throws -> ExitCode
  ) {
    self.path = path.split(separator: " ").map(String.init)
    self.summary = summary
    self.discussion = discussion
    self.arguments = arguments
    self.flags = flags
    self.examples = examples
    self.body = body
  }

  var name: String { path.joined(separator: " ") }
}

/// Every verb and flag of the program. Parser, help, completions and man page read nothing else.
struct CommandTable: Sendable {
  var program: String
  var summary: String
  var globals: [Flag]
  var verbs: [Verb]
  /// First words that have verbs below them, with what they are about.
  var groups: [(name: String, summary: String)]

  /// Words that may follow a path of verbs, each with its summary, in the table's order.
  func words(after path: [String]) -> [(word: String, summary: String)] {
    var found: [(word: String, summary: String)] = []
    for verb in verbs where verb.path.count > path.count && Array(verb.path.prefix(path.count)) == path {
      let word = verb.path[path.count]
      guard !found.contains(where: { $0.word == word }) else { continue }
      let isGroup = verb.path.count > path.count + 1
      let about = groups.first { $0.name == word }?.summary
      found.append((word, isGroup ? about ?? verb.summary : verb.summary))
    }
    return found
  }

  func verb(_ path: [String]) -> Verb? { verbs.first { $0.path == path } }
  func isGroup(_ path: [String]) -> Bool { verb(path) == nil && !words(after: path).isEmpty }

  /// Every path that completions must tell apart: the program itself, groups and verbs.
  var paths: [[String]] {
    var all: [[String]] = [[]]
    for verb in verbs {
      for count in 1...verb.path.count {
        let path = Array(verb.path.prefix(count))
        if !all.contains(path) { all.append(path) }
      }
    }
    return all
  }

  /// Flags that every verb takes.
  static let globals: [Flag] = [
    Flag("config", .path("FILE|DIR"), repeats: true,
      "Configuration file, or a directory with a pipeline.yaml; several are merged, the later wins. Default: pipeline.yaml."),
    Flag("set", .text("PATH=VALUE"), repeats: true, "Give one value of the configuration, such as worker.lanes=2."),
    Flag("env-file", .path("FILE"), repeats: true, "Take variables from lines NAME=value; those already set stay."),
    Flag("json", "Print results as JSON."),
    Flag("quiet", short: "q", "Print no progress and no notes."),
    Flag("log-format", .choice(["auto", "text", "json"]), "Form of log lines on stderr; auto: text on a terminal, JSON elsewhere."),
    Flag("log-level", .choice(["debug", "info", "warning", "error"]), "Lowest level that is logged; info by default."),
    Flag("color", .choice(["auto", "always", "never"]), "Whether texts are coloured; auto: on a terminal, unless NO_COLOR is set."),
    Flag("help", short: "h", "Explain the verb."),
    Flag("version", "Print the version."),
  ]
}
