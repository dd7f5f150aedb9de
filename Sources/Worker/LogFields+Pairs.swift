extension LogFields {
  /// Fields of text alone, in the order given.
  init(_ pairs: KeyValuePairs<String, String>) {
    self.init(pairs.map { ($0.key, .text($0.value)) })
  }
}
