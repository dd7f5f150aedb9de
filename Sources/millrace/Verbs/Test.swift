import Glibc
import Pipeline
import Records
import Worker

/// `millrace test`: the unit tests beside a pipeline's configuration.
func test(_ invocation: Invocation) throws -> ExitCode {
  let filter = invocation.text("filter")
  var passed = 0
  var reports: [(test: PipelineTestFile.Case, failures: [PipelineTestRun.Failure])] = []
  for group in try testGroups(invocation) {
    let (settings, features) = try invocation.pipeline(files: group.configuration).compiled()
    let runner = PipelineTestRun(settings: settings, features: features)
    for file in group.tests {
      let tests = try PipelineTestFile(
        file, settings.features, surroundings: invocation.filledSurroundings())
      for test in tests.cases where filter.map({ test.name.contains($0) }) ?? true {
        let failures = try runner.run(test)
        reports.append((test, failures))
        if failures.isEmpty { passed += 1 }
        guard !invocation.wantsJSON else { continue }
        if failures.isEmpty {
          invocation.note("pass  \(test.name)  \(test.place)")
        } else {
          invocation.output.result("FAIL  \(test.name)  \(test.place)")
          for failure in failures { invocation.output.result("      \(failure.place): \(failure.message)") }
        }
      }
    }
  }
  if reports.isEmpty, let filter { throw Failure(.usage, "no test has '\(filter)' in its name") }
  let failed = reports.count - passed
  if invocation.wantsJSON {
    invocation.output.result(json(reports, passed: passed, failed: failed))
  } else {
    invocation.output.result("\(passed) passed, \(failed) failed")
  }
  return failed == 0 ? .done : .failed
}

private func json(
  _ reports: [(test: PipelineTestFile.Case, failures: [PipelineTestRun.Failure])], passed: Int, failed: Int
) -> String {
  func place(_ place: Place, _ json: inout JSONWriter) {
    if case .file(let path) = place.source {
      json.key("file")
      json.value(path)
    }
    json.key("line")
    json.value(place.line)
    json.key("column")
    json.value(place.column)
  }
  var json = JSONWriter()
  json.beginObject()
  json.key("passed")
  json.value(passed)
  json.key("failed")
  json.value(failed)
  json.key("tests")
  json.beginArray()
  for (test, failures) in reports {
    json.beginObject()
    json.key("name")
    json.value(test.name)
    place(test.place, &json)
    json.key("passed")
    json.value(failures.isEmpty)
    json.key("failures")
    json.beginArray()
    for failure in failures {
      json.beginObject()
      place(failure.place, &json)
      json.key("message")
      json.value(failure.message)
      json.endObject()
    }
    json.endArray()
    json.endObject()
  }
  json.endArray()
  json.endObject()
  return json.text
}

// MARK: Which files

private struct TestGroup {
  var configuration: [String]
  var tests: [String]
}

/// Test files with the configuration each is for: a path is a configuration, its directory, or a test file.
private func testGroups(_ invocation: Invocation) throws -> [TestGroup] {
  let named = invocation.texts("config")
  var paths = invocation.arguments
  if paths.isEmpty { paths = named.isEmpty ? ["pipeline.yaml"] : [named[0]] }
  var groups: [TestGroup] = []
  for path in paths {
    if path.hasSuffix(testSuffix) {
      groups.append(
        TestGroup(configuration: named.isEmpty ? [configuration(of: path)] : named, tests: [path]))
      continue
    }
    let configuration = isDirectory(path) ? join(path, "pipeline.yaml") : path
    let directory = isDirectory(path) ? path : directoryName(path)
    // A test file with a configuration of its own name belongs to that one alone.
    let tests = try testFiles(in: directory).filter { test in
      let own = String(test.dropLast(testSuffix.count)) + ".yaml"
      return own == configuration || !exists(own)
    }
    guard !tests.isEmpty else {
      throw Failure(.usage, "no tests: no file *\(testSuffix) beside \(configuration)")
    }
    groups.append(
      TestGroup(
        configuration: named.isEmpty || !invocation.arguments.isEmpty ? [configuration] : named, tests: tests))
  }
  return groups
}

private let testSuffix = ".test.yaml"

/// `x.test.yaml` tests `x.yaml`, or where there is none the `pipeline.yaml` beside it.
private func configuration(of test: String) -> String {
  let own = String(test.dropLast(testSuffix.count)) + ".yaml"
  return exists(own) ? own : join(directoryName(test), "pipeline.yaml")
}

private func directoryName(_ path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

private func join(_ directory: String, _ name: String) -> String {
  directory == "." ? name : directory.hasSuffix("/") ? directory + name : directory + "/" + name
}

private func exists(_ path: String) -> Bool {
  // SAFETY: the path is lent as a terminated string for the call.
  unsafe access(path, F_OK) == 0
}

private func isDirectory(_ path: String) -> Bool {
  var facts = stat()
  // SAFETY: the path is lent as a terminated string, `facts` lives across the call.
  return unsafe stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
}

/// In order of their names.
private func testFiles(in directory: String) throws -> [String] {
  // SAFETY: the stream is closed below; each entry is read before the next call.
  guard let stream = unsafe opendir(directory) else {
    throw Failure(.usage, "the directory cannot be read path=\(directory)")
  }
  defer { unsafe closedir(stream) }
  var names: [String] = []
  while let entry = unsafe readdir(stream) {
    let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name.hasSuffix(testSuffix) { names.append(join(directory, name)) }
  }
  return names.sorted()
}
