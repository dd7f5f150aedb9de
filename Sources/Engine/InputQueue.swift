import Features
import Records

/// A record that a state has taken: its place, and the CRC32C of its payload. A topic that holds another one there is
/// not the topic that the state was made from.
public struct TakenRecord: Equatable, Sendable {
  public var offset: Int64
  public var checksum: UInt32
  public init(offset: Int64, checksum: UInt32) {
    self.offset = offset
    self.checksum = checksum
  }
}

/// Decoded records of one input that wait for the merge: two batches, one read while the other fills.
///
/// Life:     the lane appends while there is `room`, then `seal`s, which decodes and prepares the batch;
///           the merge reads the head and `advance`s.
/// Cost:     no allocation after `init` in the steady state.
final class InputQueue {
  private let input: Int
  private let plan: FeaturePlan
  private let batches: [InputBatch]
  private let prepared: [PreparedBatch]
  /// Which of the two is read; the other one fills.
  private var reading = 0
  private var cursor = 0
  private var fillingIsSealed = false
  /// Of the newest record appended since `clear`.
  private(set) var newestOffset = Int64.min
  /// The broker said that nothing follows what was appended so far.
  private(set) var isAtEnd = false

  init(input: Int, plan: FeaturePlan) {
    self.input = input
    self.plan = plan
    let schema = plan.settings.inputs[input]
    batches = [InputBatch(schema: schema), InputBatch(schema: schema)]
    prepared = [
      PreparedBatch(plan: plan, input: input), PreparedBatch(plan: plan, input: input),
    ]
  }

  private var filling: Int { 1 - reading }
  /// Records that can be appended now.
  var room: Int { fillingIsSealed ? 0 : InputBatch.capacity - batches[filling].count }
  var hasUnsealed: Bool { !fillingIsSealed && batches[filling].count > 0 }

  func append(
    payload: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer?, headers: UnsafeRawBufferPointer,
    offset: Int64, timestamp: Int64
  ) {
    isAtEnd = false
    newestOffset = offset
    unsafe batches[filling].append(
      payload: payload, key: key, headers: headers, offset: offset, timestamp: timestamp)
  }

  /// The record taken last, as far as its bytes were kept; nil before the first one.
  var lastTaken: TakenRecord? { cursor > 0 ? Self.mark(batches[reading], cursor - 1) : retired }
  /// As above, of the batch before.
  private var retired: TakenRecord?

  func restore(lastTaken: TakenRecord?) { retired = lastTaken }

  private static func mark(_ batch: InputBatch, _ record: Int) -> TakenRecord? {
    unsafe batch.withPayload(record) { payload in
      // Of an oversized payload none are kept.
      guard payload.count > 0 else { return nil }
      // SAFETY: the span does not outlive the closure that lends the bytes.
      let checksum = unsafe CRC32C.of(RawSpan(_unsafeBytes: payload))
      return TakenRecord(offset: batch.offsets[record], checksum: checksum)
    }
  }

  func clear() {
    retired = lastTaken
    for batch in batches { batch.clear() }
    cursor = 0
    fillingIsSealed = false
    isAtEnd = false
    newestOffset = .min
  }

  func markAtEnd() { isAtEnd = true }

  /// Decodes what was appended, if it is a full batch or the merge has nothing else to read.
  func seal() {
    guard hasUnsealed, batches[filling].isFull || cursor == batches[reading].count else { return }
    batches[filling].decode()
    plan.prepare(batches[filling], input: input, into: prepared[filling])
    fillingIsSealed = true
    turnIfDone()
  }

  var head: InputHead {
    if cursor < batches[reading].count {
      return .record(eventTime: batches[reading].eventTimes[cursor])
    }
    return isAtEnd && !hasUnsealed ? .atEnd : .unknown
  }

  /// The record at the head; meaningful while `head` is `.record`.
  var current: (batch: InputBatch, prepared: PreparedBatch, record: Int) {
    (batches[reading], prepared[reading], cursor)
  }
  var currentOffset: Int64 { batches[reading].offsets[cursor] }

  func advance() {
    cursor += 1
    turnIfDone()
  }

  private func turnIfDone() {
    guard cursor == batches[reading].count, fillingIsSealed else { return }
    // One checksum a batch: its record will be looked up when the partition is restored.
    retired = lastTaken
    batches[reading].clear()
    reading = 1 - reading
    cursor = 0
    fillingIsSealed = false
  }
}
