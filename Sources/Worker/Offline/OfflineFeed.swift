import Engine
import Records

/// A record on its way into an engine.
struct OfflineRecord {
  var payload: [UInt8]
  var key: [UInt8]?
  var headers: [UInt8] = []
  var offset: Int64
  var timestamp: Int64
}

/// One partition run from files: its engine and where the records of its inputs come from.
///
/// An input that has no record left is at its end, as a broker would say of a topic that is read to its end.
final class OfflineFeed<Fault: Error> {
  let engine: PartitionEngine
  private let pull: (_ input: Int) throws(Fault) -> OfflineRecord?

  init(_ engine: PartitionEngine, pull: @escaping (_ input: Int) throws(Fault) -> OfflineRecord?) {
    self.engine = engine
    self.pull = pull
  }

  /// Moves as many records into the engine as it has room for.
  func fill() throws(Fault) {
    for input in engine.plan.inputs.indices {
      while engine.room(input: input) > 0 {
        guard let record = try pull(input) else {
          engine.markAtEnd(input: input)
          break
        }
        append(record, to: input)
      }
      engine.seal(input: input)
    }
  }

  private func append(_ record: OfflineRecord, to input: Int) {
    // SAFETY: the arrays outlive the calls, and the engine copies what it is lent.
    _ = unsafe record.payload.withUnsafeBytes { payload in
      unsafe record.headers.withUnsafeBytes { headers in
        if let key = record.key {
          unsafe key.withUnsafeBytes { key in
            unsafe engine.append(
              input: input, payload: payload, key: key, headers: headers, offset: record.offset,
              timestamp: record.timestamp)
          }
        } else {
          unsafe engine.append(
            input: input, payload: payload, key: nil, headers: headers, offset: record.offset,
            timestamp: record.timestamp)
        }
      }
    }
  }
}

extension CommitUnit {
  /// The value's bytes of one of its records.
  func value(of record: OutputRecord) -> [UInt8] {
    unsafe arena.withBytes(record.value) { unsafe Array($0) }
  }
  /// The bytes of a key or a header block; nil where there are none.
  func bytes(_ place: ByteArena.Place) -> [UInt8]? {
    place.length < 0 ? nil : unsafe arena.withBytes(place) { unsafe Array($0) }
  }
}
