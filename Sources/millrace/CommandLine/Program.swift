import Glibc
import Pipeline

/// Reads a command line and does what it asks.
struct Program: Sendable {
  var table: CommandTable
  var output: Output
  var surroundings: Surroundings

  /// - Parameter words: without the program's name.
  func run(_ words: [String]) -> ExitCode {
    let request: Request
    do throws(UsageFault) {
      request = try CommandParser(table: table).parse(words)
    } catch {
      output.note("\(table.program): \(error.message)")
      if !error.hint.isEmpty { output.note("hint: \(error.hint)") }
      let about = ([table.program] + error.verb + ["--help"]).joined(separator: " ")
      output.note("'\(about)' explains.")
      return .usage
    }
    switch request {
    case .help(let path):
      output.write(Help(table: table).page(path))
      return .done
    case .version(let values):
      output.write(BuildFacts.report(json: values.flags["json"] != nil))
      return .done
    case .run(let verb, let values):
      return run(
        Invocation(
          verb: verb, values: values, output: output, surroundings: surroundings, table: table))
    }
  }

  private func run(_ invocation: Invocation) -> ExitCode {
    do {
      return try invocation.verb.body(invocation)
    } catch let failure as Failure {
      if !failure.isSaid { output.note("\(table.program): \(failure.message)") }
      return failure.code
    } catch let faults as ConfigurationFaults {
      for fault in faults.faults { output.note(fault.text) }
      output.note("\(table.program): the configuration is invalid faults=\(faults.faults.count)")
      return .badConfiguration
    } catch let usage as UsageFault {
      output.note("\(table.program): \(usage.message)")
      if !usage.hint.isEmpty { output.note("hint: \(usage.hint)") }
      return .usage
    } catch {
      output.note("\(table.program): unexpected: \(error)")
      return .bug
    }
  }
}
