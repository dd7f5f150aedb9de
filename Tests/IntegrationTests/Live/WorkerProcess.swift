import Foundation
import Synchronization

/// One `millrace` process at a time, started as an operator would, its output in a file.
///
/// Life: killed by `deinit` at the latest, and at exit.
final class WorkerProcess {
  struct Failure: Error, CustomStringConvertible { var description: String }

  /// The program: `MILLRACE_BINARY`, else `millrace` beside the bundle that runs.
  static let program: String? = {
    if let named = ProcessInfo.processInfo.environment["MILLRACE_BINARY"] { return named }
    var path = [CChar](repeating: 0, count: 4096)
    guard readlink("/proc/self/exe", &path, path.count - 1) > 0 else { return nil }
    let bytes = path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let own = URL(fileURLWithPath: String(decoding: bytes, as: UTF8.self)).deletingLastPathComponent()
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    return [own.appendingPathComponent("millrace"), package.appendingPathComponent(".build/debug/millrace")]
      .map(\.path).first { FileManager.default.isExecutableFile(atPath: $0) }
  }()

  private let program: String?
  private let arguments: [String]
  private let variables: [String: String]
  private let logFile: String
  private(set) var id: pid_t?

  init(program: String? = WorkerProcess.program, arguments: [String], variables: [String: String], logFile: String) {
    self.program = program
    self.arguments = arguments
    self.variables = variables
    self.logFile = logFile
  }

  deinit { kill() }

  /// `fail`: at which failpoints it is to fail, as `MILLRACE_FAIL` has them. `under`: a program and its arguments that
  /// become the worker, with less than others have.
  func start(fail: String? = nil, under launcher: [String] = []) throws {
    precondition(id == nil, "it runs already")
    guard let worker = program else { throw Failure(description: "no millrace was found") }
    let program = launcher.first ?? worker
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, logFile, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in variables { environment[name] = value }
    environment["MILLRACE_FAIL"] = fail
    var texts = (launcher + [worker] + arguments).map { strdup($0) } + [nil]
    var pairs = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in texts + pairs { free(text) } }
    var id: pid_t = 0
    let code = posix_spawn(&id, program, &actions, nil, &texts, &pairs)
    guard code == 0 else { throw Failure(description: "cannot start \(program): \(String(cString: strerror(code)))") }
    self.id = id
    Self.running.withLock { $0.append(id) }
    Self.killAllAtExit
  }

  /// SIGKILL, and gone when it returns.
  func kill() {
    guard let id else { return }
    Glibc.kill(id, SIGKILL)
    reap()
  }

  func signal(_ signal: Int32) {
    guard let id else { return }
    Glibc.kill(id, signal)
  }

  /// Waits for the process to end by itself; its exit code, or 128 + the signal that ended it.
  func waitForExit(seconds: Double) throws -> Int32 {
    guard let id else { throw Failure(description: "it does not run") }
    var status: Int32 = 0
    try wait(seconds: seconds, "the end of the process\n\(tail())") { waitpid(id, &status, WNOHANG) == id }
    forget(id)
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
  }

  /// SIGTERM, and its exit code.
  func terminate(seconds: Double = 30) throws -> Int32 {
    signal(SIGTERM)
    return try waitForExit(seconds: seconds)
  }

  /// Whether it ended by itself; its exit code, or 128 + the signal that ended it.
  func pollExit() -> Int32? {
    guard let id else { return nil }
    var status: Int32 = 0
    guard waitpid(id, &status, WNOHANG) == id else { return nil }
    forget(id)
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
  }

  /// Whether it stands still by SIGSTOP.
  var isStopped: Bool {
    guard let id, let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8) else { return false }
    return text.split(separator: ")").last?.split(separator: " ").first == "T"
  }

  /// Kilobytes in memory.
  var residentKilobytes: Int { kilobytes("VmRSS") ?? 0 }

  /// A size that the kernel tells of it, by its name there.
  func kilobytes(_ name: String) -> Int? {
    guard let id, let text = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8) else { return nil }
    let line = text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
    return line.flatMap { $0.split(whereSeparator: \.isWhitespace).dropLast().last.flatMap { Int($0) } }
  }

  /// Throws with the end of the log where the process ended by itself.
  func checkRunning() throws {
    guard let id else { return }
    var status: Int32 = 0
    if waitpid(id, &status, WNOHANG) == id {
      forget(id)
      throw Failure(description: "the worker ended by itself status=\(status)\n\(tail())")
    }
  }

  /// Everything that it and its predecessors wrote.
  var log: String { (try? String(contentsOfFile: logFile, encoding: .utf8)) ?? "" }
  var logSize: Int { log.utf8.count }
  /// What was written since `logSize` was this.
  func log(since size: Int) -> String { String(decoding: Array(log.utf8).dropFirst(size), as: UTF8.self) }
  func tail(of lines: Int = 12) -> String { log.split(separator: "\n").suffix(lines).joined(separator: "\n") }

  private func reap() {
    guard let id else { return }
    waitpid(id, nil, 0)
    forget(id)
  }
  private func forget(_ id: pid_t) {
    self.id = nil
    Self.running.withLock { $0.removeAll { $0 == id } }
  }

  private static let running = Mutex<[pid_t]>([])
  private static let killAllAtExit: Void = {
    atexit { WorkerProcess.running.withLock { for id in $0 { Glibc.kill(id, SIGKILL) } } }
  }()
}

/// How many times longer than a quiet machine needs something is waited for. A wait that is in vain only has to end some
/// time; one that would have come true must not fail because the machine is busy.
private let patience = ProcessInfo.processInfo.environment["MILLRACE_PATIENCE"].flatMap { Double($0) } ?? 3

/// Asks again and again until `condition` holds; fails past the deadline, saying what was waited for.
/// `seconds`: on a quiet machine.
func wait(
  seconds: Double, _ what: @autoclosure () -> String, until condition: () throws -> Bool
) throws {
  let seconds = seconds * patience
  let deadline = ContinuousClock.now + .seconds(seconds)
  while true {
    if try condition() { return }
    guard ContinuousClock.now < deadline else {
      throw WorkerProcess.Failure(description: "waited \(seconds) s for \(what())")
    }
    usleep(5_000)
  }
}
