import Kafka
import Records

/// Why logs cannot be read back as far as is asked.
public enum LogFault: Error, Sendable, Equatable, CustomStringConvertible {
  case kafka(KafkaError)
  /// What is needed is not kept any more, or never was there.
  case beyondReach(String)
  /// An open transaction hides what is needed.
  case stalled(String)
  /// The logs are not those of this declaration and build.
  case unfit(String)

  public var description: String {
    switch self {
    case .kafka(let error): error.description
    case .beyondReach(let why), .stalled(let why), .unfit(let why): why
    }
  }
}

/// What a partition holds, as of one question.
struct LogRange: Equatable, Sendable {
  var low: Int64
  /// The last stable offset: what a reader of committed records can see.
  var stable: Int64
  /// The true end, open transactions included.
  var end: Int64
}

/// One partition and where reading begins.
struct LogPlace: Hashable, Sendable {
  var topic: String
  var partition: Int32
  var from: Int64
}

/// A pipeline's topics as they can be read back: from brokers, or made up by tests.
///
/// Threads: owned by one.
protocol LogSource: AnyObject {
  var clusterID: String { get }
  func partitionCount(_ topic: String) throws(LogFault) -> Int32
  func range(_ topic: String, _ partition: Int32) throws(LogFault) -> LogRange
  /// Streams of their own, which none of the others holds up.
  func open(_ places: [LogPlace]) throws(LogFault) -> [LogStream]
}

/// Where the records of one stream come from.
protocol RecordFetcher: AnyObject {
  /// The next record, waited for until it is known that none lies before `end`. With a patience, nil also once
  /// that has passed; without, what hides the rest for too long is `LogFault.stalled`.
  func fetch(before end: Int64, patienceMilliseconds: Int32?) throws(LogFault) -> OfflineRecord?
}

/// The committed records of one partition, one after the other.
final class LogStream {
  let topic: String
  let partition: Int32
  private let fetcher: any RecordFetcher
  private var held: OfflineRecord?

  init(_ place: LogPlace, _ fetcher: any RecordFetcher) {
    topic = place.topic
    partition = place.partition
    self.fetcher = fetcher
  }

  func peek(before end: Int64, patienceMilliseconds: Int32? = nil) throws(LogFault) -> OfflineRecord? {
    if held == nil { held = try fetcher.fetch(before: end, patienceMilliseconds: patienceMilliseconds) }
    guard let held, held.offset < end else { return nil }
    return held
  }

  func take(before end: Int64, patienceMilliseconds: Int32? = nil) throws(LogFault) -> OfflineRecord? {
    guard let record = try peek(before: end, patienceMilliseconds: patienceMilliseconds) else { return nil }
    held = nil
    return record
  }
}
