// Method: laws of the encoding that any learner relies on.
import Records
import Testing

@testable import Models

private func encoded(_ value: Float) -> [UInt32: Float] {
  let column = RowColumn(name: "x", kind: .number)
  let rows = RowGroup(schema: RowSchema([column]), capacity: 1)
  rows.numbers[0] = value
  rows.missing[0] = 0
  let encoder = RowEncoder(
    settings: EncoderSettings(hashBits: 20, columns: [column]), rowSchema: rows.schema)
  let inputs = InputBuffer(width: encoder.width, columns: encoder.columnCount)
  var result: [UInt32: Float] = [:]
  for index in 0..<encoder.encode(rows, slot: 0, into: inputs) {
    result[inputs.slots[index], default: 0] += inputs.values[index]
  }
  return result
}

@Test func `hats sum to one at each resolution and move continuously across knots, signs and zero`() {
  for value: Float in [0, 1e-9, 0.37, 1, 1.0625, 3, 57.25, 1024, 1e30, .infinity] {
    for x in [value, -value] {
      let here = encoded(x)
      #expect((here.values.reduce(0, +) - 3).magnitude < 1e-6)
      for neighbour in [x.nextUp, x.nextDown] {
        let there = encoded(neighbour)
        for slot in Set(here.keys).union(there.keys) {
          let step = (here[slot, default: 0] - there[slot, default: 0]).magnitude
          #expect(step < 1e-3, "at \(x)")
        }
      }
    }
  }
  #expect(encoded(0.0).filter { $0.value > 0 } == encoded(-0.0).filter { $0.value > 0 })
}

@Test func `rows stay within the width, slots within the table, values within one`() {
  let world = World(seed: 3, count: 500)
  guard case .ftrl(_, let settings) = World.settings().kind else { return }
  let encoder = RowEncoder(settings: settings, rowSchema: world.rows.schema)
  let inputs = InputBuffer(width: encoder.width, columns: encoder.columnCount)
  for row in 0..<500 {
    let count = encoder.encode(world.rows, slot: row, into: inputs)
    #expect(count <= encoder.width)
    #expect(Int(inputs.slots[0]) == encoder.slotCount)
    for index in 1..<count {
      #expect(Int(inputs.slots[index]) < encoder.slotCount)
      #expect((0...1).contains(inputs.values[index]))
    }
  }
}

@Test func `the order of columns in the row changes nothing, a missing column is a missing value`() {
  let world = World(seed: 4, count: 50)
  let reversed = RowSchema(Array(World.columns.reversed()))
  let other = RowGroup(schema: reversed, capacity: 50)
  for row in 0..<50 {
    for (index, column) in reversed.columns.enumerated() {
      let from = World.columns.count - 1 - index
      other.missing[row * 5 + index] = world.rows.missing[row * 5 + from]
      let place = world.rows.schema.places[from]
      if column.kind == .number {
        other.numbers[row * 3 + reversed.places[index]] = world.rows.numbers[row * 3 + place]
      } else {
        other.categories[row * 2 + reversed.places[index]] = world.rows.categories[row * 2 + place]
      }
    }
  }
  let a = world.contender()
  let b = Contender(settings: World.settings(), rowSchema: reversed)
  for row in 0..<50 {
    a.learn(rows: world.rows, slot: row, label: world.labels[row], weight: 1, served: .absent, calibrate: true)
    b.learn(rows: other, slot: row, label: world.labels[row], weight: 1, served: .absent, calibrate: true)
  }
  #expect(bytes(a) == bytes(b))

  let narrow = RowSchema(World.columns.filter { $0.name != "age" })
  let without = RowGroup(schema: narrow, capacity: 1)
  let with = RowGroup(schema: world.rows.schema, capacity: 1)
  #expect(
    Contender(settings: World.settings(), rowSchema: narrow).masterMargin(rows: without, slot: 0)
      == world.contender().masterMargin(rows: with, slot: 0))
}
