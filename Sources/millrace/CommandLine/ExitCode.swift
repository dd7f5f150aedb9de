/// How the process ends; the numbers are a contract with service managers and scripts.
enum ExitCode: Int32, CaseIterable, Sendable {
  case done = 0
  case failed = 1
  case differs = 2
  case usage = 64
  case badData = 65
  case unreachable = 69
  case bug = 70
  case exhausted = 71
  case storage = 74
  case timedOut = 75
  case refused = 77
  case badConfiguration = 78
  case interrupted = 130
  case terminated = 143

  var meaning: String {
    switch self {
    case .done: "done, or drained after SIGTERM or SIGINT"
    case .failed: "tests failed, or a check found errors in data"
    case .differs: "a plan or comparison found differences"
    case .usage: "the command line is wrong"
    case .badData: "input data beyond what is tolerated"
    case .unreachable: "brokers unreachable past the limit"
    case .bug: "an internal invariant does not hold"
    case .exhausted: "the system gives no more threads or memory"
    case .storage: "a checkpoint or model on disk cannot be read or written"
    case .timedOut: "timed out, acknowledgements missing, port in use, or fenced by a newer member"
    case .refused: "refused: access rights, authentication or signature"
    case .badConfiguration: "the configuration is invalid"
    case .interrupted: "stopped at once by a second SIGINT"
    case .terminated: "stopped at once by a second SIGTERM"
    }
  }

  /// Whether starting again can help.
  var restarts: Bool {
    switch self {
    case .unreachable, .bug, .exhausted, .storage, .timedOut, .interrupted, .terminated: true
    default: false
    }
  }
}

/// A verb ends here, with this code and this message on stderr.
struct Failure: Error, Sendable {
  var code: ExitCode
  var message: String
  /// The message stands in the log already.
  var isSaid: Bool
  init(_ code: ExitCode, _ message: String, isSaid: Bool = false) {
    self.code = code
    self.message = message
    self.isSaid = isSaid
  }
}

/// What is wrong with a command line, and what may have been meant.
struct UsageFault: Error, Equatable, Sendable {
  var message: String
  var hint: String
  /// The verb whose help is worth reading; empty: the program's.
  var verb: [String]
}
