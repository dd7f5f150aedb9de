import Kafka
import Pipeline

/// What is known of this build.
enum BuildFacts {
  static let version = "0.1.0"
  /// A build from a source tree does not know its commit.
  static let commit = "unknown"

  static var facts: [(String, String)] {
    #if arch(x86_64)
      let architecture = "x86_64"
    #elseif arch(arm64)
      let architecture = "aarch64"
    #else
      let architecture = "other"
    #endif
    #if DEBUG
      let configuration = "debug"
    #else
      let configuration = "release"
    #endif
    return [
      ("version", version), ("architecture", architecture), ("configuration", configuration),
      ("librdkafka", LibraryVersion.current.description),
    ]
  }

  static func report(json: Bool) -> String {
    if json { return JSONText.object(facts.map { ($0.0, .string($0.1)) }).encoded() + "\n" }
    let others = facts.dropFirst().map { $0.0 == "librdkafka" ? "\($0.0) \($0.1)" : $0.1 }
    return "millrace \(version) (\(others.joined(separator: ", ")))\n"
  }
}

func version(_ invocation: Invocation) throws -> ExitCode {
  invocation.output.write(BuildFacts.report(json: invocation.wantsJSON))
  return .done
}

func completions(_ invocation: Invocation) throws -> ExitCode {
  guard let shell = invocation.arguments.first.flatMap({ Shell(rawValue: $0) }) else {
    preconditionFailure("the argument was checked")
  }
  invocation.output.write(Completions(table: invocation.table).script(shell))
  return .done
}

func man(_ invocation: Invocation) throws -> ExitCode {
  invocation.output.write(ManPage(table: invocation.table, version: BuildFacts.version).page())
  return .done
}

func help(_ invocation: Invocation) throws -> ExitCode {
  let path = invocation.arguments
  guard path.isEmpty || invocation.table.paths.contains(path) else {
    let asked = path.joined(separator: " ")
    let known = invocation.table.paths.map { $0.joined(separator: " ") }
    // The last word of a longer verb is what people remember: `help rollback`.
    let close = known.first { $0.hasSuffix(" " + asked) } ?? closestName(to: asked, among: known)
    throw UsageFault(
      message: "there is no verb '\(asked)'", hint: close.map { "did you mean '\($0)'?" } ?? "", verb: [])
  }
  invocation.output.write(Help(table: invocation.table).page(path))
  return .done
}
