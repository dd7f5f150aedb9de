import Records

/// One example, taken out of its block: comparable bit for bit.
struct ExampleFacts: Equatable {
  var header: ExampleHeader
  var numberBits: [UInt32]
  var categories: [UInt64]
  var missing: [UInt8]
  var scoreBits: [UInt32]

  struct Key: Hashable, CustomStringConvertible {
    var partition: Int32
    var eventOffset: Int64
    var labelOffset: Int64
    var description: String { "partition=\(partition) event=\(eventOffset) label=\(labelOffset)" }
  }
  var key: Key {
    Key(
      partition: header.partition.value, eventOffset: header.offset.value,
      labelOffset: header.labelOffset.value)
  }
}

extension ExampleBlock {
  var facts: [ExampleFacts] {
    let n = count
    func column<T>(_ values: [T], _ example: Int) -> [T] {
      stride(from: example, to: values.count, by: max(n, 1)).map { values[$0] }
    }
    return headers.indices.map { example in
      ExampleFacts(
        header: headers[example], numberBits: column(numberBits, example),
        categories: column(categories, example), missing: column(missing, example),
        scoreBits: column(scoreBits, example))
    }
  }
}
