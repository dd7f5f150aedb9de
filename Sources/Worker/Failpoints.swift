import Glibc
import Synchronization

/// A place in the worker's protocol at which a test may end, stop or hold up the process.
enum Failpoint: String, Sendable, CaseIterable {
  // The fold thread of a lane.
  /// Records were taken, none is applied.
  case afterPoll = "after_poll"
  /// A unit is computed and sealed, nothing of it was sent.
  case afterApply = "after_apply"
  /// Partitions were given, nothing is restored.
  case afterAssign = "after_assign"
  /// A partition's checkpoint is loaded, its journal is not followed.
  case duringRestore = "during_restore"
  /// A newer model is there, the lane has not adopted it.
  case beforeModelSwap = "before_model_swap"
  // The commit thread of a lane.
  case afterBegin = "after_begin"
  case afterProduce = "after_produce"
  case afterSendOffsets = "after_send_offsets"
  /// As `afterSendOffsets`, but the process is killed a moment later, when the request is under way.
  case duringCommit = "during_commit"
  /// A unit is known to be committed, its checkpoints have no name yet.
  case afterCommit = "after_commit"
  // Each before its call, of checkpoints and kept versions.
  case checkpointCreate = "checkpoint_create"
  case checkpointWrite = "checkpoint_write"
  case checkpointSync = "checkpoint_fsync"
  case checkpointRename = "checkpoint_rename"
  case checkpointDirectorySync = "checkpoint_dirsync"
  /// After the last of them.
  case checkpointWritten = "checkpoint_written"
  // The replica.
  /// A kept version is stored, the log is not told.
  case betweenChunksAndManifest = "between_chunks_and_manifest"
  /// A command has its effect, nobody was answered.
  case beforeAck = "before_ack"

  var isOfFiles: Bool {
    switch self {
    case .checkpointCreate, .checkpointWrite, .checkpointSync, .checkpointRename, .checkpointDirectorySync: true
    default: false
    }
  }
}

/// What `MILLRACE_FAIL` asks for: faults of this process at chosen places, for tests.
///
/// Language: `<point>:<n>[:<action>]`, several with commas between. `n` counts the passings of the point from 1 on;
///           `n+` means that passing and every later one. Actions: `kill` (the default) sends SIGKILL to the own
///           process, so that nothing is tidied up; `kill=<us>` does it that many microseconds later, while the work
///           goes on; `stop` sends SIGSTOP; `hang=<ms>` waits; `full` and `io` let a file call fail with ENOSPC or EIO.
/// Cost:     unset, one look at a constant for each unit, assignment or file call; never for an event.
/// Threads:  any.
final class Failpoints: Sendable {
  enum Action: Equatable, Sendable {
    case kill(afterMicroseconds: UInt32)
    case stop
    case hang(milliseconds: UInt32)
    /// Of file calls alone.
    case fail(errno: Int32)
  }
  struct Rule: Equatable, Sendable {
    var point: Failpoint
    var passing: UInt64
    var andLater: Bool
    var action: Action
  }
  struct Faulty: Error, Equatable, CustomStringConvertible { var description: String }

  static let variable = "MILLRACE_FAIL"
  /// nil where nothing is asked for, which is always so outside tests.
  static let armed: Failpoints? = {
    // A text that cannot be read is told by the worker's start, before any point is passed.
    guard let text = requested, let rules = try? parse(text) else { return nil }
    return Failpoints(rules)
  }()
  /// The variable's text; nil where it is unset or empty.
  static let requested: String? = {
    guard let text = unsafe getenv(variable), unsafe text.pointee != 0 else { return nil }
    // SAFETY: a C string of the environment, which nobody changes.
    return unsafe String(cString: text)
  }()

  let rules: [Rule]
  private let counts = Mutex<[Failpoint: UInt64]>([:])
  private let killers = Mutex<[NamedThread]>([])

  init(_ rules: [Rule]) { self.rules = rules }

  /// Counts a passing and does what is asked for at it.
  static func pass(_ point: Failpoint) {
    guard let armed else { return }
    _ = armed.count(point)
  }

  /// As `pass`; the error that a file call must fail with, if any.
  static func errno(at point: Failpoint) -> Int32? { armed?.count(point) }

  func count(_ point: Failpoint) -> Int32? {
    let passing = counts.withLock { counts in
      counts[point, default: 0] += 1
      return counts[point]!
    }
    for rule in rules where rule.point == point && (passing == rule.passing || (rule.andLater && passing > rule.passing)) {
      switch rule.action {
      case .kill(let delay): die(afterMicroseconds: delay)
      case .stop: kill(getpid(), SIGSTOP)
      case .hang(let milliseconds): usleep(milliseconds * 1_000)
      case .fail(let code): return code
      }
    }
    return nil
  }

  private func die(afterMicroseconds delay: UInt32) {
    if delay > 0, let thread = try? NamedThread("failpoint", { usleep(delay); kill(getpid(), SIGKILL) }) {
      // Never joined: the process ends first.
      killers.withLock { $0.append(thread) }
      return
    }
    kill(getpid(), SIGKILL)
    // The signal ends the process before the call returns; should it not, nothing may happen after it.
    while true { pause() }
  }

  /// Says in the log that this process is going to fail on purpose; refuses a text that it cannot read.
  static func announce(_ log: LogWriter) throws(WorkerFailure) {
    guard let requested else { return }
    do throws(Faulty) { _ = try parse(requested) } catch {
      throw .misconfigured("\(variable): \(error)")
    }
    log.notice(
      "failpoints-armed", "THIS PROCESS WILL FAIL ON PURPOSE: \(variable) is set, which is for tests alone",
      LogFields(["fail": requested]))
  }

  // MARK: Language

  static func parse(_ text: String) throws(Faulty) -> [Rule] {
    var rules: [Rule] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) { rules.append(try rule(part)) }
    return rules
  }

  private static func rule(_ text: Substring) throws(Faulty) -> Rule {
    let words = text.split(separator: ":", omittingEmptySubsequences: false)
    guard words.count == 2 || words.count == 3, let point = Failpoint(rawValue: String(words[0])) else {
      throw Faulty(
        description:
          "no such failpoint text=\(text) points=\(Failpoint.allCases.map(\.rawValue).joined(separator: ","))")
    }
    let andLater = words[1].hasSuffix("+")
    guard let passing = UInt64(andLater ? words[1].dropLast() : words[1]), passing >= 1 else {
      throw Faulty(description: "a failpoint names a passing from 1 on text=\(text)")
    }
    let fallback = Action.kill(afterMicroseconds: point == .duringCommit ? 300 : 0)
    let action = words.count == 3 ? action(words[2]) : fallback
    guard let action else {
      throw Faulty(description: "a failpoint's action is kill, kill=<us>, stop, hang=<ms>, full or io text=\(text)")
    }
    if case .fail = action, !point.isOfFiles {
      throw Faulty(description: "only calls on files can fail so text=\(text)")
    }
    return Rule(point: point, passing: passing, andLater: andLater, action: action)
  }

  private static func action(_ text: Substring) -> Action? {
    switch text {
    case "kill": return .kill(afterMicroseconds: 0)
    case "stop": return .stop
    case "full": return .fail(errno: ENOSPC)
    case "io": return .fail(errno: EIO)
    default: break
    }
    let words = text.split(separator: "=", omittingEmptySubsequences: false)
    guard words.count == 2, let number = UInt32(words[1]), number <= 600_000 else { return nil }
    switch words[0] {
    case "kill": return .kill(afterMicroseconds: number)
    case "hang": return .hang(milliseconds: number)
    default: return nil
    }
  }
}
