// Method: the hook on a fold of a few blocks; what it must leave alone is compared bit for bit.
import Learning
import Models
import Records
import Testing

@testable import Worker

@Suite struct TestFaultTests {
  private static let schema = RowSchema([RowColumn(name: "x", kind: .number)])

  /// A fold of ten blocks of one example, with the fault at work.
  private func hash(_ text: String?, isAgain: Bool = false) -> Digest {
    let settings = LearningSettings(
      pipeline: "p", rowSchema: Self.schema,
      contenders: [
        ContenderSettings(
          name: "champion", kind: .ftrl(FTRLSettings(), EncoderSettings(hashBits: 6, columns: Self.schema.columns)))
      ])
    let state = ModelState()
    var fault = isAgain ? TestFault(text).recurring : TestFault(text)
    _ = state.fold(
      ModelState.charter(settings, clusterID: "c").record(), offset: Offset(0), timestamp: EventTime(milliseconds: 0))
    let rows = RowGroup(schema: Self.schema, capacity: 1)
    rows.missing.fill(0)
    let scores = FixedBuffer<ServedScore>(repeating: .absent, count: 1)
    for step in 1...10 as ClosedRange<Int64> {
      let builder = ExampleBlockBuilder(schema: Self.schema, contenderCount: 1, planDigest: .zero)
      rows.numbers[0] = Float(step)
      builder.append(
        ExampleHeader(
          partition: PartitionID(0), offset: Offset(step), labelOffset: Offset(step), kind: .matured,
          value: Float(step % 2), knownAt: EventTime(milliseconds: step), version: state.version), rows: rows,
        slot: 0, scores: scores, scoreOffset: 0)
      builder.seal()
      let before = state.version
      _ = state.fold(Array(builder.sealed(0)), offset: Offset(step), timestamp: EventTime(milliseconds: step))
      fault.strike(state, since: before)
    }
    return state.stateHash
  }

  @Test func `the hook flips a bit where it is told to, once or in every fold, and else does nothing`() {
    let sound = hash(nil)
    #expect(hash("5") != sound && hash("5") == hash("5"))
    #expect(hash("5", isAgain: true) == sound)
    #expect(hash("5:always", isAgain: true) == hash("5"))
    for text in ["11", "0", "", "x", "-1"] { #expect(hash(text) == sound, "\(text)") }
  }
}
