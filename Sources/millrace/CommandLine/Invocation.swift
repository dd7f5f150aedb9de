import Glibc
import Pipeline

/// Where results and notes go; passed in, so that tests can listen.
struct Output: Sendable {
  /// stdout, as it is.
  var write: @Sendable (String) -> Void
  /// stderr, as it is.
  var writeNote: @Sendable (String) -> Void
  var resultIsTerminal = false
  var noteIsTerminal = false

  /// One line of result.
  func result(_ line: String) { write(line + "\n") }
  /// One line for people.
  func note(_ line: String) { writeNote(line + "\n") }

  static func process() -> Output {
    Output(
      write: { put($0, STDOUT_FILENO) }, writeNote: { put($0, STDERR_FILENO) },
      resultIsTerminal: isatty(STDOUT_FILENO) == 1, noteIsTerminal: isatty(STDERR_FILENO) == 1)
  }

  /// What cannot be written (a closed pipe, a full disk) is lost; the exit code still tells the outcome.
  private static func put(_ text: String, _ descriptor: Int32) {
    let bytes = Array(text.utf8)
    var at = 0
    while at < bytes.count {
      // SAFETY: the slice lies within the array, which lives across the call.
      let done = unsafe bytes[at...].withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
      }
      if done < 0 {
        if errno == EINTR { continue }
        return
      }
      at += done
    }
  }
}

/// One run of a verb: what was asked, and the world it runs in.
struct Invocation: Sendable {
  var verb: Verb
  var values: CommandValues
  var output: Output
  var surroundings: Surroundings
  var table: CommandTable

  // Asking for a flag that the verb does not declare is a programmer error.
  private func given(_ name: String) -> [String] {
    precondition(
      (table.globals + verb.flags).contains { $0.name == name },
      "'\(verb.name)' declares no flag --\(name)")
    return values.flags[name] ?? []
  }
  func has(_ flag: String) -> Bool { !given(flag).isEmpty }
  func text(_ flag: String) -> String? { given(flag).last }
  func texts(_ flag: String) -> [String] { given(flag) }
  /// Nil where the flag is absent, or is one of the words it also allows.
  func integer(_ flag: String) -> Int? { text(flag).flatMap { Int($0) } }
  func number(_ flag: String) -> Double? { text(flag).flatMap { Double($0) } }
  func milliseconds(_ flag: String) -> Int64? { text(flag).flatMap { DurationText.milliseconds($0) } }
  var arguments: [String] { values.arguments }

  var wantsJSON: Bool { has("json") }
  var isQuiet: Bool { has("quiet") }
  var logLevel: String { text("log-level") ?? "info" }
  /// `auto` resolved: JSON unless people are reading.
  var logsJSON: Bool {
    switch text("log-format") ?? "auto" {
    case "json": true
    case "text": false
    default: !output.noteIsTerminal
    }
  }
  /// Whether results may be coloured.
  var colorsResult: Bool {
    switch text("color") ?? "auto" {
    case "always": true
    case "never": false
    default: output.resultIsTerminal && (surroundings.variables["NO_COLOR"] ?? "").isEmpty
    }
  }
  func note(_ line: String) { if !isQuiet { output.note(line) } }

  /// The configuration that the flags name. `get()` gives the settings or throws all faults.
  func pipeline() throws -> LoadedPipeline {
    let named = texts("config")
    return try pipeline(files: named.isEmpty ? ["pipeline.yaml"] : named)
  }

  func pipeline(files: [String]) throws -> LoadedPipeline {
    PipelineLoader.load(
      files: files.map(Self.configurationFile), overrides: texts("set"),
      surroundings: try filledSurroundings())
  }

  /// The environment with what `--env-file` adds.
  func filledSurroundings() throws -> Surroundings {
    var filled = surroundings
    for file in texts("env-file") {
      switch surroundings.read(file) {
      case .failure(let error): throw Failure(.usage, "--env-file cannot be read: \(error.reason) path=\(file)")
      case .success(let bytes):
        for (name, value) in try EnvironmentFile.parse(bytes, path: file)
        where filled.variables[name] == nil {
          filled.variables[name] = value
        }
      }
    }
    return filled
  }

  private static func configurationFile(_ path: String) -> String {
    var facts = stat()
    // SAFETY: the path is lent as a terminated string, `facts` lives across the call.
    guard unsafe stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR else { return path }
    return path.hasSuffix("/") ? path + "pipeline.yaml" : path + "/pipeline.yaml"
  }
}

/// Lines `NAME=value`; blank lines and those that begin with `#` are skipped, quotes around a value are dropped.
enum EnvironmentFile {
  static func parse(_ bytes: [UInt8], path: String) throws -> [(name: String, value: String)] {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(.usage, "--env-file is not UTF-8 path=\(path)")
    }
    var found: [(String, String)] = []
    for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      var line = raw.drop { $0 == " " || $0 == "\t" }
      if line.hasSuffix("\r") { line = line.dropLast() }
      if line.isEmpty || line.hasPrefix("#") { continue }
      if line.hasPrefix("export ") { line = line.dropFirst(7) }
      guard let equals = line.firstIndex(of: "="), equals > line.startIndex else {
        throw Failure(.usage, "\(path):\(index + 1): a line is NAME=value")
      }
      var value = line[line.index(after: equals)...]
      if value.count >= 2, let quote = value.first, quote == "\"" || quote == "'", value.last == quote {
        value = value.dropFirst().dropLast()
      }
      found.append((String(line[..<equals]), String(value)))
    }
    return found
  }
}
