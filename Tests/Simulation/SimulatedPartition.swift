/// One transaction as the log sees it: what became of the records that name it.
final class LoggedTransaction {
  enum Outcome { case open, committed, aborted }
  let writer: String
  var outcome = Outcome.open
  init(writer: String) { self.writer = writer }
}

/// One partition of the simulated log: records and markers at consecutive offsets.
final class SimulatedPartition {
  struct Entry {
    var timestamp: Int64
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [UInt8]
    /// nil: written outside of any transaction.
    var transaction: LoggedTransaction?
    var isMarker = false
    /// Compaction has removed it.
    var isRemoved = false
  }
  /// What a leader remembers of a producer, to refuse doubles and gaps.
  struct ProducerState {
    var epoch: Int
    var sequence: Int
  }

  let topic: String
  let number: Int32
  private(set) var entries: [Entry] = []
  /// First offset that is still kept.
  private(set) var low: Int64 = 0
  /// Transactions with records here and no marker yet, with their first offset; oldest first.
  private(set) var open: [(transaction: LoggedTransaction, first: Int64)] = []
  var producers: [Int: ProducerState] = [:]
  /// How often records were lost: what was fetched before is of another log.
  private(set) var lossCount = 0
  /// Called whenever the end or the last stable offset moves.
  var watchers: [Fetcher] = []

  init(topic: String, number: Int32) {
    self.topic = topic
    self.number = number
  }

  /// The high watermark.
  var end: Int64 { Int64(entries.count) }
  /// The last stable offset: no open transaction has a record before it.
  var stable: Int64 { open.first?.first ?? end }

  @discardableResult
  func append(_ entry: Entry) -> Int64 {
    let offset = end
    entries.append(entry)
    if let transaction = entry.transaction, !open.contains(where: { $0.transaction === transaction }) {
      open.append((transaction, offset))
    }
    changed()
    return offset
  }

  /// Ends a transaction in this partition: its records are visible, or never will be.
  func mark(_ transaction: LoggedTransaction, timestamp: Int64) {
    entries.append(
      Entry(timestamp: timestamp, key: nil, value: nil, headers: [], transaction: transaction, isMarker: true))
    open.removeAll { $0.transaction === transaction }
    changed()
  }

  /// Takes the last records away, and with them all of every transaction that they are of; how many.
  func loseRecords(_ count: Int64) -> Int64 {
    var cut = Int(max(low, end - count))
    while let first = entries.indices[..<cut].first(where: { index in
      guard let transaction = entries[index].transaction else { return false }
      return entries[cut...].contains { $0.transaction === transaction }
    }) { cut = first }
    guard cut >= low, cut < entries.count else { return 0 }
    let lost = Int64(entries.count - cut)
    entries.removeSubrange(cut...)
    open.removeAll { $0.first >= cut }
    lossCount += 1
    for watcher in watchers { watcher.recordsLost() }
    return lost
  }

  /// Retention: records before `offset` are gone.
  func deleteRecords(before offset: Int64) { low = max(low, min(offset, stable)) }

  /// Compaction: of each key only the newest record before the last stable offset stays, and no tombstone.
  func compact() {
    var newest: [[UInt8]: Int] = [:]
    for index in 0..<Int(stable) where isVisible(Int64(index)) {
      if let key = entries[index].key { newest[key] = index }
    }
    for index in 0..<Int(stable) {
      guard isVisible(Int64(index)), let key = entries[index].key else { continue }
      if newest[key] != index || entries[index].value == nil { entries[index].isRemoved = true }
    }
  }

  /// Whether a read_committed reader is given this record, once the last stable offset has passed it.
  func isVisible(_ offset: Int64) -> Bool {
    // Why by parts: a copy of an entry counts references to all that it holds.
    let index = Int(offset)
    if entries[index].isMarker || entries[index].isRemoved { return false }
    return (entries[index].transaction?.outcome ?? .committed) == .committed
  }

  /// Nobody is told any more.
  func forgetWatchers() { watchers = [] }

  private func changed() { for watcher in watchers { watcher.logChanged() } }
}
