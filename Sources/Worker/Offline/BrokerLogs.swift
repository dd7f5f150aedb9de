import Kafka
import Pipeline
import Records

/// The topics of a pipeline on its cluster, read without joining the group and without committing.
///
/// Memory: what is prefetched, some 128 MB shared by all streams opened together.
final class BrokerLogs: LogSource {
  static let prefetchKilobytes = 131_072
  /// How long an open transaction may hide what is needed before that is a fault; its time-out is shorter.
  static let stallMilliseconds: UInt64 = 60_000

  let clusterID: String
  private let client: ClientSettings
  private let group: String
  private let admin: Admin
  private let stable: Reader
  private let uncommitted: Reader

  init(_ settings: PipelineSettings, _ surroundings: Surroundings, role: String) throws {
    client = try ResolvedSecurity(settings.kafka, surroundings)
      .clientSettings(clientID: "\(settings.name).\(role)")
    group = settings.name
    admin = try Admin(client)
    clusterID = try admin.clusterID()
    stable = try Reader(client, topic: settings.topics.journal)
    uncommitted = try Reader(
      client, topic: settings.topics.journal, fetch: FetchSettings(isolation: .readUncommitted))
  }

  func partitionCount(_ topic: String) throws(LogFault) -> Int32 {
    try asking { () throws(KafkaError) in
      guard let found = try admin.topics().first(where: { $0.name == topic }) else {
        throw KafkaError(
          code: KafkaCode.unknownTopicOrPartition, call: .query,
          message: "the topic is missing, or there is no right to see it topic=\(topic)")
      }
      return found.partitionCount
    }
  }

  func range(_ topic: String, _ partition: Int32) throws(LogFault) -> LogRange {
    try asking { () throws(KafkaError) in
      let place = TopicPartition(topic, partition)
      let visible = try stable.watermarks(place)
      let whole = try uncommitted.watermarks(place)
      return LogRange(low: whole.low, stable: visible.high, end: max(whole.high, visible.high))
    }
  }

  func open(_ places: [LogPlace]) throws(LogFault) -> [LogStream] {
    let share = min(max(Self.prefetchKilobytes / max(places.count, 1), 512), 16_384)
    return try asking { () throws(KafkaError) in
      let consumer = try Consumer(
        client, GroupSettings(groupID: group, fetch: FetchSettings(prefetchKilobytes: share)))
      let queues = try consumer.assign(
        places.map { PartitionOffset(TopicPartition($0.topic, $0.partition), offset: $0.from) })
      return zip(places, queues).map { LogStream($0, BrokerFetcher($0, $1, consumer)) }
    }
  }
}

/// One assigned partition, taken record by record.
private final class BrokerFetcher: RecordFetcher {
  private let place: LogPlace
  private let queue: any RecordQueue
  private let consumer: Consumer
  /// Every offset before this one has been taken or is known to hold no committed record.
  private var position: Int64

  init(_ place: LogPlace, _ queue: any RecordQueue, _ consumer: Consumer) {
    self.place = place
    self.queue = queue
    self.consumer = consumer
    position = place.from
  }

  func fetch(before end: Int64, patienceMilliseconds: Int32?) throws(LogFault) -> OfflineRecord? {
    var deadline: UInt64?
    while position < end {
      var record: OfflineRecord?
      let taken = queue.next(timeoutMilliseconds: deadline == nil ? 0 : 20) { record = OfflineRecord($0) }
      switch taken {
      case .record:
        guard let record else { continue }
        position = record.offset + 1
        return record
      case .endOfPartition(_, let offset):
        position = max(position, offset)
        continue
      case .error(let error):
        switch error.action {
        case .retrySameCall: break
        case .offsetOutOfRange:
          throw .beyondReach("records are no longer kept topic=\(place.topic) partition=\(place.partition) offset=\(position)")
        default: throw .kafka(error)
        }
      case .nothing: break
      }
      if case .error(let error) = consumer.poll(milliseconds: 0), error.action != .retrySameCall {
        throw .kafka(error)
      }
      // The clock is asked only once nothing was there.
      let now = Monotonic.nanoseconds()
      let limit = patienceMilliseconds.map { UInt64(max($0, 0)) } ?? BrokerLogs.stallMilliseconds
      guard let until = deadline else {
        deadline = now + limit * 1_000_000
        continue
      }
      guard now >= until else { continue }
      if patienceMilliseconds != nil { return nil }
      throw .stalled(
        "nothing more can be read: an open transaction hides it, or no broker answers topic=\(place.topic) partition=\(place.partition) position=\(position) needed=\(end)")
    }
    return nil
  }
}

extension OfflineRecord {
  /// A copy of a lent record.
  init(_ record: borrowing Record) {
    var headers = HeaderBlock()
    record.appendHeaders(to: &headers)
    self.init(
      // SAFETY: the bytes are copied while they are lent.
      payload: record.valueBytes, key: record.hasKey ? unsafe Array(record.unsafeKey) : nil,
      headers: headers.bytes, offset: record.offset, timestamp: record.timestamp)
  }
}

extension LearningLogRecord {
  init(_ record: OfflineRecord) {
    self.init(
      bytes: record.payload, offset: Offset(record.offset), timestamp: EventTime(milliseconds: record.timestamp))
  }
}

/// Runs a client call; its error becomes a fault of the logs.
private func asking<T>(_ body: () throws(KafkaError) -> T) throws(LogFault) -> T {
  do throws(KafkaError) { return try body() } catch { throw .kafka(error) }
}
