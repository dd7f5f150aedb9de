import Records

/// A record as it lies in a topic, with nothing left out.
struct StoredRecord: Sendable {
  var offset: Int64
  /// Milliseconds since 1970.
  var timestamp: Int64
  var key: [UInt8]?
  var value: [UInt8]
  /// As `HeaderBlock` has them.
  var headers: [UInt8] = []

  /// The last header of this name as text; nil where there is none.
  func header(_ name: String) -> String? {
    HeaderBlock(bytes: headers).list?.last { $0.name == name }?.value.map {
      String(decoding: $0, as: UTF8.self)
    }
  }
}

/// Everything that a run left behind in its topics and on disk: what is checked.
struct Evidence: Sendable {
  /// `[input][partition]`.
  var inputs: [[[StoredRecord]]]
  /// `[partition]`.
  var predictions: [[StoredRecord]]
  var journal: [[StoredRecord]]
  /// Of all partitions together.
  var deadLetters: [StoredRecord]
  var learning: [StoredRecord]
  /// What the group committed: `[partition][input]`.
  var committed: [[Int64?]]
  /// Workers' last model states: each as its checkpoint encodes it, and the offset it stands before.
  var modelStates: [(worker: String, bytes: [UInt8], next: Int64)]
  /// Per partition the sections of the worker's last checkpoint; nil: not compared.
  var partitionStates: [[String: [UInt8]]?]
}
