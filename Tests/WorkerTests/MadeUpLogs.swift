// Topics in memory, as a broker would hold them: what retention took is gone, and records can be altered.
import Kafka
import Pipeline
import Records

@testable import Worker

final class MadeUpLogs: LogSource {
  let clusterID = "sim"
  private var partitions: [LogPlace: [OfflineRecord]] = [:]
  private var lows: [LogPlace: Int64] = [:]
  private let count: Int32

  init(_ run: SimulatedRun, partitions count: Int32) {
    self.count = count
    for (topic, records) in run.topics { for record in records { append(topic, record) } }
  }

  private func place(_ topic: String, _ partition: Int32) -> LogPlace {
    LogPlace(topic: topic, partition: partition, from: 0)
  }

  private func append(_ topic: String, _ record: TapRecord) {
    partitions[place(topic, record.partition), default: []].append(
      OfflineRecord(
        payload: record.value ?? [], key: record.key, headers: HeaderBlock(record.headers).bytes,
        offset: record.offset, timestamp: record.timestamp))
  }

  func records(_ topic: String, _ partition: Int32) -> [OfflineRecord] { partitions[place(topic, partition)] ?? [] }

  func change(_ topic: String, _ partition: Int32, _ change: (inout [OfflineRecord]) -> Void) {
    change(&partitions[place(topic, partition), default: []])
  }

  /// Takes away what lies before an offset.
  func retain(_ topic: String, _ partition: Int32, from low: Int64) {
    lows[place(topic, partition)] = low
    change(topic, partition) { $0.removeAll { $0.offset < low } }
  }

  func partitionCount(_ topic: String) -> Int32 { count }

  func range(_ topic: String, _ partition: Int32) -> LogRange {
    let records = records(topic, partition)
    // A marker stands behind the last record.
    let end = records.last.map { $0.offset + 2 } ?? lows[place(topic, partition)] ?? 0
    return LogRange(low: lows[place(topic, partition)] ?? 0, stable: end, end: end)
  }

  func open(_ places: [LogPlace]) throws(LogFault) -> [LogStream] {
    for asked in places where asked.from < range(asked.topic, asked.partition).low {
      throw .beyondReach("records are no longer kept topic=\(asked.topic) offset=\(asked.from)")
    }
    return places.map { LogStream($0, MadeUpFetcher($0, records($0.topic, $0.partition))) }
  }
}

private final class MadeUpFetcher: RecordFetcher {
  private let records: [OfflineRecord]
  private var next: Int

  init(_ place: LogPlace, _ records: [OfflineRecord]) {
    self.records = records
    next = records.firstIndex { $0.offset >= place.from } ?? records.count
  }

  func fetch(before end: Int64, patienceMilliseconds: Int32?) throws(LogFault) -> OfflineRecord? {
    guard next < records.count, records[next].offset < end else { return nil }
    next += 1
    return records[next - 1]
  }
}
