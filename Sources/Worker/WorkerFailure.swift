import Kafka

/// Why a worker cannot go on, sorted by what its supervisor should do.
public enum WorkerFailure: Error, Equatable, Sendable, CustomStringConvertible {
  case kafka(KafkaError)
  /// No broker answers; it may come back.
  case unreachable(String)
  /// Another member took over: start again.
  case superseded(String)
  /// The logs do not fit together; starting again would not help.
  case unrecoverable(String)
  /// A topic does not hold what was read of it.
  case topicRecreated(String)
  /// Topics have gone, or have other partitions than before.
  case topicsChanged(String)
  /// Settings that contradict the cluster or the charter.
  case misconfigured(String)
  /// More dead letters than the declaration tolerates.
  case beyondTolerance(String)
  /// A right is missing, which is named.
  case denied(String)
  /// Disk.
  case storage(String)
  /// The system gives no more threads; with more of them, or at another time, it may work.
  case exhausted(String)

  public var description: String {
    switch self {
    case .kafka(let error): error.description
    case .superseded(let why), .unrecoverable(let why), .misconfigured(let why),
      .beyondTolerance(let why), .storage(let why), .unreachable(let why), .denied(let why),
      .topicRecreated(let why), .topicsChanged(let why), .exhausted(let why):
      why
    }
  }

  /// The system gives no more threads or memory.
  static let exhaustedExitCode: Int32 = 71
  /// Exit code by the table of the command line.
  public var exitCode: Int32 {
    switch self {
    case .kafka(let error):
      switch error.action {
      case .denied: 77
      case .misconfigured: 78
      case .rejoinGroup: 75
      case .offsetOutOfRange: 65
      case _ where error.isExhausted: Self.exhaustedExitCode
      default: error.isFenced || error.isInstanceFenced ? 75 : 69
      }
    case .unreachable: 69
    case .superseded: 75
    case .unrecoverable, .beyondTolerance, .topicRecreated: 65
    case .misconfigured, .topicsChanged: 78
    case .denied: 77
    case .storage: 74
    case .exhausted: Self.exhaustedExitCode
    }
  }
}

/// Runs a client call; its error becomes a failure of the worker.
func kafka<T>(_ body: () throws(KafkaError) -> T) throws(WorkerFailure) -> T {
  do throws(KafkaError) { return try body() } catch { throw .kafka(error) }
}
