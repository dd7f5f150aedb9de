import Records

/// A pipeline's topics as `tap --raw` wrote them into files. They are taken to hold all of the run: nothing that they
/// lack was lost to retention.
///
/// Memory:  24 bytes a record.
final class TapLogs: LogSource {
  /// Of no cluster: charters of any are folded.
  let clusterID = ""
  private let taps: TapIndex
  private let predictions: String
  private let published: TapIndex?

  /// `published`: where the records of topic `predictions` are, if they are anywhere.
  init(_ taps: TapIndex, predictions: String, published: TapIndex?) {
    self.taps = taps
    self.predictions = predictions
    self.published = published
  }

  private func index(_ topic: String) -> TapIndex { topic == predictions ? published ?? taps : taps }

  func partitionCount(_ topic: String) -> Int32 { index(topic).partitionCount(of: topic) }

  func range(_ topic: String, _ partition: Int32) -> LogRange {
    let end = index(topic).end(topic, partition)
    return LogRange(low: 0, stable: end, end: end)
  }

  func open(_ places: [LogPlace]) -> [LogStream] {
    places.map { place in
      LogStream(place, TapFetcher(index(place.topic).cursor(place.topic, place.partition, from: place.from)))
    }
  }
}

private final class TapFetcher: RecordFetcher {
  private let cursor: TapIndex.Cursor

  init(_ cursor: TapIndex.Cursor) { self.cursor = cursor }

  func fetch(before end: Int64, patienceMilliseconds: Int32?) throws(LogFault) -> OfflineRecord? {
    do throws(OfflineFault) { return try cursor.take(before: end).map { OfflineRecord($0) } } catch {
      throw .unfit("\(error)")
    }
  }
}

extension OfflineRecord {
  /// As a worker would have been handed it.
  init(_ tap: TapRecord) {
    self.init(
      payload: tap.value ?? [], key: tap.key, headers: HeaderBlock(tap.headers).bytes, offset: tap.offset,
      timestamp: tap.timestamp)
  }
}

extension HeaderBlock {
  init(_ headers: [TapRecord.Header]) {
    self.init()
    for header in headers { append(header.name, header.value) }
  }
}
