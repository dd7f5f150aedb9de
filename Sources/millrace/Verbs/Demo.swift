import Glibc
import Pipeline

/// `millrace demo`: the story that `deploy/demo/demo.py` tells with this binary. Replaces the process, so that
/// Ctrl-C reaches the script, which stops all that it started.
func demo(_ invocation: Invocation) throws -> ExitCode {
  let script = "deploy/demo/demo.py"
  guard isUsable(script, R_OK) else {
    throw Failure(.usage, "no \(script) here: the demo runs from the root of the project's tree")
  }
  let python = [".venv/bin/python", "/usr/bin/python3"].first { isUsable($0, X_OK) } ?? "python3"
  var words: [String] = [python, script, "--millrace", try ownPath()]
  if let seconds = invocation.number("seconds") { words += ["--seconds", "\(seconds)"] }
  if invocation.has("keep") { words.append("--keep") }
  var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) }
  unsafe arguments.append(nil)
  // SAFETY: the vector is null-terminated and lives until the process is replaced.
  unsafe execvp(python, &arguments)
  // SAFETY: strerror returns a terminated string that is copied at once.
  throw Failure(.bug, "python cannot be started: \(unsafe String(cString: strerror(errno))) path=\(python)")
}

private func isUsable(_ path: String, _ mode: Int32) -> Bool {
  // SAFETY: the path is lent as a terminated string for the call.
  unsafe access(path, mode) == 0
}

private func ownPath() throws -> String {
  var buffer = [CChar](repeating: 0, count: 4_096)
  // SAFETY: the buffer holds `count` bytes, one of which stays the terminator.
  let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count - 1)
  guard length > 0 else { throw Failure(.bug, "the path of this binary is not known") }
  return String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
