/// Headers of a dead letter: those the record came with, then why it could not be used and where it stood.
///
///     millrace-error-code       `DeadLetterReason.code`
///     millrace-error-stage      what was being done: decode, join, produce
///     millrace-error-message    in words, with the field
///     millrace-error-topic, -partition, -offset
public enum DeadLetter {
  private static let prefix = Array("millrace-error-".utf8)

  /// - Parameters:
  ///   - original: header block of the record.
  ///   - bytesMax: the original headers are left out if they are larger, or no header block; ours are always
  ///     there, once: those of an earlier dead letter, sent again, go.
  public static func headers(
    reason: DeadLetterReason, stage: String, message: String, topic: String, partition: Int32,
    offset: Int64, original: UnsafeRawBufferPointer, bytesMax: Int
  ) -> [UInt8] {
    var block = HeaderBlock()
    if original.count <= bytesMax {
      // SAFETY: the span does not outlive this call, for which `original` is lent.
      let isWhole = unsafe HeaderBlock.forEach(in: RawSpan(_unsafeBytes: original)) { name, value in
        let isOurs = unsafe name.withUnsafeBytes { unsafe $0.starts(with: Self.prefix) }
        if !isOurs { block.append(name: name, value: value) }
      }
      if !isWhole { block.removeAll() }
    }
    block.append("millrace-error-code", reason.code)
    block.append("millrace-error-stage", stage)
    block.append("millrace-error-message", message)
    block.append("millrace-error-topic", topic)
    block.append("millrace-error-partition", "\(partition)")
    block.append("millrace-error-offset", "\(offset)")
    return block.bytes
  }
}
