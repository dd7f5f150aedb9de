/// Headers of a dead letter: those the record came with, then why it could not be used and where it stood.
///
///     millrace-error-code       `DeadLetterReason.code`
///     millrace-error-stage      what was being done: decode, join, produce
///     millrace-error-message    in words, with the field
///     millrace-error-topic, -partition, -offset
public enum DeadLetter {
  /// - Parameters:
  ///   - original: header block of the record.
  ///   - bytesMax: the original headers are left out if they are larger; ours are always there.
  public static func headers(
    reason: DeadLetterReason, stage: String, message: String, topic: String, partition: Int32,
    offset: Int64, original: UnsafeRawBufferPointer, bytesMax: Int
  ) -> [UInt8] {
    var block = unsafe HeaderBlock(bytes: original.count <= bytesMax ? Array(original) : [])
    block.append("millrace-error-code", reason.code)
    block.append("millrace-error-stage", stage)
    block.append("millrace-error-message", message)
    block.append("millrace-error-topic", topic)
    block.append("millrace-error-partition", "\(partition)")
    block.append("millrace-error-offset", "\(offset)")
    return block.bytes
  }
}
