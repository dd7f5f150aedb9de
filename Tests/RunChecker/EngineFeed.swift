import Engine
import Records

/// Gives an engine the records of one partition, as a lane would: as much as there is room for.
struct EngineFeed {
  let engine: PartitionEngine
  /// `[input]`.
  let records: [[StoredRecord]]
  /// Index of the next record per input.
  private var next: [Int]

  init(_ engine: PartitionEngine, _ records: [[StoredRecord]]) {
    self.engine = engine
    self.records = records
    next = records.map { _ in 0 }
  }

  /// How many records of an input were given.
  func given(_ input: Int) -> Int { next[input] }

  /// Fills the engine's queues, no further than `limits` (record counts per input) where given. An input counts as
  /// at its end once all of its records up to the limit were given.
  mutating func fill(limits: [Int]? = nil) {
    for input in records.indices {
      let limit = min(limits?[input] ?? .max, records[input].count)
      while next[input] < limit, engine.room(input: input) > 0 {
        let record = records[input][next[input]]
        next[input] += 1
        record.value.withUnsafeBytes { value in
          record.headers.withUnsafeBytes { headers in
            func append(_ key: UnsafeRawBufferPointer?) {
              engine.append(
                input: input, payload: value, key: key, headers: headers, offset: record.offset,
                timestamp: record.timestamp)
            }
            if let key = record.key { key.withUnsafeBytes { append($0) } } else { append(nil) }
          }
        }
      }
      if next[input] == limit { engine.markAtEnd(input: input) }
      engine.seal(input: input)
    }
  }
}

extension CommitUnit {
  /// The unit's records for one destination, in order, as stored records without offsets.
  func stored(_ destination: OutputRecord.Destination, partition: Int32? = nil) -> [StoredRecord] {
    var found: [StoredRecord] = []
    for record in records
    where record.destination == destination && (partition == nil || record.partition == partition) {
      withParts(of: record) { key, value, headers in
        var block: [UInt8] = []
        if let headers { block = headers.withUnsafeBytes { Array($0) } }
        found.append(
          StoredRecord(
            offset: -1, timestamp: record.timestamp, key: key.map { Array($0) }, value: Array(value),
            headers: block))
      }
    }
    return found
  }
}
