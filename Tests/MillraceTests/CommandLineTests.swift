import Kafka
import Pipeline
import Synchronization
import Testing

@testable import millrace

/// The command line against its own table: what the table says, parser, help, completions and manual must say.
struct CommandLineTests {
  /// Every verb that has a form, whether or not its body is in the program yet.
  static let everything: CommandTable = {
    let nothing: VerbBody = { _ in .done }
    var table = CommandTable.millrace
    table.verbs = [
      .run(body: nothing), .check(body: nothing), .produce(body: nothing), .replay(body: nothing),
      .tap(body: nothing), .demo(body: nothing), .controlRollback(body: nothing),
      .controlFreeze(body: nothing), .controlUnfreeze(body: nothing), .controlTag(body: nothing),
      .controlStatus(body: nothing), .controlKeygen(body: nothing), .checkpointList(body: nothing),
      .checkpointInspect(body: nothing), .checkpointVerify(body: nothing),
      .modelList(body: nothing), .modelInspect(body: nothing), .topicsPlan(body: nothing),
      .topicsApply(body: nothing), .topicsCheck(body: nothing), .topicsRender(body: nothing),
      .configShow(body: nothing), .configSchema(body: nothing), .configFields(body: nothing),
      .completions(body: nothing), .man(body: nothing), .help(body: nothing),
      .version(body: nothing),
    ]
    return table
  }()

  static func parse(_ line: String) throws -> (verb: String, values: CommandValues) {
    let words = line.split(separator: " ").map(String.init)
    guard case .run(let verb, let values) = try CommandParser(table: everything).parse(words) else {
      throw UsageFault(message: "not a verb", hint: "", verb: [])
    }
    return (verb.name, values)
  }
  static func fault(_ line: String) -> UsageFault? {
    do {
      _ = try CommandParser(table: everything).parse(line.split(separator: " ").map(String.init))
      return nil
    } catch {
      return error
    }
  }

  @Test func `flags stand anywhere, with a blank or an equals sign`() throws {
    let lines = [
      "control rollback --to previous --reason why --key k --timeout 10s",
      "--reason=why control --key=k rollback --to=previous --timeout=10s",
      "control --to previous rollback --timeout 10s --reason why --key k",
    ]
    for line in lines {
      let (verb, values) = try Self.parse(line)
      #expect(verb == "control rollback")
      #expect(values.flags == ["to": ["previous"], "reason": ["why"], "key": ["k"], "timeout": ["10s"]])
      #expect(values.arguments == [])
    }
  }

  @Test func `a dash alone and what follows two dashes are arguments`() throws {
    #expect(try Self.parse("produce -").values.arguments == ["-"])
    #expect(try Self.parse("tap -- --strange").values.arguments == ["--strange"])
    #expect(try Self.parse("replay --input - --input b").values.flags["input"] == ["-", "b"])
  }

  @Test func `whatever the table does not know is refused, with the nearest name`() {
    #expect(Self.fault("rn")?.hint == "did you mean 'run'?")
    #expect(Self.fault("control rolback")?.hint == "did you mean 'rollback'?")
    #expect(Self.fault("run --untilend")?.hint == "did you mean '--until-end'?")
    #expect(Self.fault("run --speed 3")?.message == "unknown flag '--speed' of 'run'")
    #expect(Self.fault("")?.message == "no verb")
    #expect(Self.fault("control")?.message == "'control' needs a further word")
    for line in [
      "run extra", "run -x", "run --until-end=yes", "tap t --from", "produce f --speed --rate 3",
      "produce", "produce a b", "produce f --speed fast", "produce f --speed -1", "produce f --speed 0",
      "produce f --rate nan", "tap t --limit 0", "tap t --limit 1.5", "tap t --from start",
      "control rollback --to previous", "control rollback --to previous --reason r --key k --then go",
      "control rollback --to a --to b --reason r --key k", "control tag --reason r --key k",
      "completions csh", "version --log-level loud", "control keygen",
    ] { #expect(Self.fault(line) != nil, "\(line)") }
  }

  @Test func `words and numbers that a flag allows are taken`() throws {
    #expect(try Self.parse("produce f --speed max").values.flags["speed"] == ["max"])
    #expect(try Self.parse("produce f --speed 3600").values.flags["speed"] == ["3600"])
    #expect(try Self.parse("tap t --from 17 --limit 5 --raw").values.flags["raw"] == [""])
    #expect(try Self.parse("tap t --from end -q").values.flags["quiet"] == [""])
  }

  @Test func `help, manual and completions contain every verb and flag`() {
    let table = Self.everything
    let help = Help(table: table)
    let manual = ManPage(table: table, version: "1").page().replacing("\\-", with: "-")
    let scripts = Shell.allCases.map { Completions(table: table).script($0) }
    #expect(!table.verbs.isEmpty)
    for verb in table.verbs {
      let page = help.page(verb.path)
      #expect(manual.contains(".SS \(verb.name)\n"))
      for word in verb.path { for script in scripts { #expect(script.contains("'\(word)") || script.contains(" \(word)")) } }
      for flag in verb.flags + table.globals {
        #expect(page.contains("--\(flag.name)"), "\(verb.name) --\(flag.name)")
        #expect(manual.contains("--\(flag.name)"))
        #expect(scripts[0].contains("--\(flag.name)"))
        #expect(scripts[1].contains("--\(flag.name)"))
        #expect(scripts[2].contains("-l \(flag.name)"))
      }
      for argument in verb.arguments { #expect(page.contains(argument.value.placeholder)) }
      for example in verb.examples { #expect(Self.fault(example.replacing("'", with: "").replacing("labels poisoned", with: "x").split(separator: " > ")[0].description) == nil, "\(example)") }
    }
  }

  @Test func `no verb or flag is declared twice, and none takes the name of a global one`() {
    let table = Self.everything
    #expect(Set(table.verbs.map(\.name)).count == table.verbs.count)
    for verb in table.verbs {
      let names = (verb.flags + table.globals).map(\.name)
      #expect(Set(names).count == names.count, "\(verb.name)")
      #expect(!verb.summary.isEmpty && (verb.flags + table.globals).allSatisfy { $0.doc.hasSuffix(".") })
    }
  }

  @Test func `exit codes are those of the contract`() {
    #expect(ExitCode.allCases.map(\.rawValue) == [0, 1, 2, 64, 65, 69, 70, 71, 74, 75, 77, 78, 130, 143])
    #expect(ExitCode.allCases.filter { !$0.restarts }.map(\.rawValue) == [0, 1, 2, 64, 65, 77, 78])
  }
}

/// Whole runs, from words to exit code, stdout and stderr.
struct ProgramTests {
  final class Heard: Sendable {
    let result = Mutex("")
    let notes = Mutex("")
  }

  static func run(
    _ words: [String], files: [String: String] = [:], variables: [String: String] = ["HOSTNAME": "w"]
  ) -> (code: ExitCode, out: String, err: String) {
    let heard = Heard()
    let output = Output(
      write: { text in heard.result.withLock { $0 += text } },
      writeNote: { text in heard.notes.withLock { $0 += text } })
    let world = Surroundings(variables: variables) { path in
      files[path].map { .success(Array($0.utf8)) } ?? .failure(FileError(reason: "No such file or directory"))
    }
    let code = Program(table: .millrace, output: output, surroundings: world).run(words)
    return (code, heard.result.withLock { $0 }, heard.notes.withLock { $0 })
  }

  static let good = """
    version: 1
    pipeline: p
    inputs: {events: {topic: events, id: id, fields: {id: string, x: number}}}
    features: [{name: x, type: number}]
    model: {kind: ftrl}
    predict: {on: events}
    """

  @Test func `check lists all faults on stdout and ends with 78`() {
    let bad = Self.good.replacing("version: 1", with: "version: 9").replacing("x: number}", with: "x: numbr}")
    let run = Self.run(["check", "--config", "p.yaml"], files: ["p.yaml": bad])
    #expect(run.code == .badConfiguration)
    #expect(run.out.contains("p.yaml:1:10: error[MR014]: "))
    #expect(run.out.contains("p.yaml:3:66: error[MR012]: "))
    #expect(run.err == "")
  }

  @Test func `check says what it found valid, and warnings count when asked`() {
    let files = ["p.yaml": Self.good, "q.yaml": Self.good]
    let run = Self.run(["check", "p.yaml", "q.yaml"], files: files)
    #expect(run.code == .done)
    #expect(run.out.contains("valid: pipeline=p inputs=1 windows=0 features=1 contenders=1 learning="))
    #expect(Self.run(["check", "p.yaml", "--deny-warnings"], files: files).code == .badConfiguration)
    let json = Self.run(["check", "p.yaml", "--json"], files: files)
    #expect(json.out.contains("\"code\": \"MR103\""))
    let sarif = Self.run(["check", "p.yaml", "--format", "sarif"], files: files)
    #expect(sarif.out.contains("\"startLine\"") || sarif.out.contains("\"ruleId\": \"MR103\""))
    #expect(Self.run(["check", "p.yaml", "--config", "q.yaml"], files: files).code == .usage)
  }

  @Test func `a library that cannot do SCRAM is told at its place`() throws {
    let text = Self.good + """

      kafka: {security: {protocol: sasl_ssl, mechanism: SCRAM-SHA-512, username: u, password: {env: P}}}
      """
    let world = Surroundings(variables: ["HOSTNAME": "w"]) { _ in .success(Array(text.utf8)) }
    let loaded = PipelineLoader.load(files: ["p.yaml"], surroundings: world)
    #expect(libraryFaults(loaded, LibraryVersion(2, 14, 2)) == [])
    let old = libraryFaults(loaded, LibraryVersion(2, 0, 2))
    #expect(old.map(\.place.description) == ["p.yaml:7:51"])
    #expect(old.allSatisfy { $0.code.isWarning })
    #expect(libraryFaults(loaded, LibraryVersion(2, 10, 0)).map(\.path) == ["kafka"])
  }

  @Test func `a usage fault goes to stderr with a hint and ends with 64`() {
    let run = Self.run(["chek"])
    #expect(run.code == .usage)
    #expect(run.out == "")
    #expect(run.err.contains("did you mean 'check'?"))
  }

  @Test func `config show prints values with their origin`() {
    let run = Self.run(
      ["config", "show", "--origin", "--config", "p.yaml", "--set", "worker.lanes=2", "--env-file", "e"],
      files: ["p.yaml": Self.good, "e": "# ours\nMILLRACE_KAFKA_BOOTSTRAP=\"10.0.0.1:9092\"\n"])
    #expect(run.code == .done, "\(run.err)")
    #expect(run.out.contains("lanes: 2  # --set worker.lanes"))
    #expect(run.out.contains("bootstrap: \"10.0.0.1:9092\"  # environment MILLRACE_KAFKA_BOOTSTRAP"))
    #expect(run.out.contains("pipeline: p  # p.yaml:2:11"))
    #expect(run.out.contains("keep: 3  # built-in default"))
  }

  @Test func `a missing file is a fault of the configuration`() {
    let run = Self.run(["config", "show"])
    #expect(run.code == .badConfiguration)
    #expect(run.err.contains("pipeline.yaml:1:1: error[MR001]: the file cannot be read: No such file"))
  }

  @Test func `help and version answer everywhere`() {
    #expect(Self.run(["--help"]).out.contains("verbs:"))
    #expect(Self.run(["config", "show", "-h"]).out.hasPrefix("usage: millrace config show"))
    #expect(Self.run(["config", "--help"]).out.contains("schema"))
    #expect(Self.run(["help", "config", "show"]).out.hasPrefix("usage: millrace config show"))
    #expect(Self.run(["--version", "--json"]).out.hasPrefix("{\"version\":\"\(BuildFacts.version)\""))
    #expect(Self.run(["version", "--json"]).out == Self.run(["--version", "--json"]).out)
  }
}
