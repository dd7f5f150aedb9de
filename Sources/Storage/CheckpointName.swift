import Checkpoints
import Records

/// Name of a checkpoint file: `p00003-o00000000000000000120-g0000000007.ckpt` for a partition,
/// `m00000-…` for the model. Wide enough that a directory listing is in order; `<` compares the numbers.
public struct CheckpointName: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var kind: CheckpointKind
  public var partition: PartitionID
  /// The identity's `logNext`.
  public var offset: Offset
  public var generation: UInt64

  public init(kind: CheckpointKind, partition: PartitionID, offset: Offset, generation: UInt64) {
    self.kind = kind
    self.partition = partition
    self.offset = offset
    self.generation = generation
  }
  /// The name a file with this content must have.
  public init(_ identity: CheckpointIdentity) {
    self.init(
      kind: identity.kind, partition: identity.fingerprint.partition, offset: identity.logNext,
      generation: identity.generation)
  }

  static let suffix = ".ckpt"

  public static func < (a: Self, b: Self) -> Bool {
    if a.kind != b.kind { return a.kind.rawValue < b.kind.rawValue }
    return (a.partition.value, a.offset.value, a.generation)
      < (b.partition.value, b.offset.value, b.generation)
  }

  public var description: String {
    func padded(_ value: some BinaryInteger, _ width: Int) -> String {
      let digits = String(value)
      return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
    let letter = kind == .partition ? "p" : "m"
    return "\(letter)\(padded(partition.value, 5))-o\(padded(offset.value, 20))"
      + "-g\(padded(generation, 10))\(Self.suffix)"
  }

  /// Reads exactly what `description` writes; nil for any other name.
  public init?(_ text: String) {
    guard text.hasSuffix(Self.suffix) else { return nil }
    let parts = text.dropLast(Self.suffix.count).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1].first == "o", parts[2].first == "g" else { return nil }
    switch parts[0].first {
    case "p": kind = .partition
    case "m": kind = .model
    default: return nil
    }
    guard let partition = Int32(parts[0].dropFirst()), partition >= 0,
      let offset = Int64(parts[1].dropFirst()), offset >= 0,
      let generation = UInt64(parts[2].dropFirst())
    else { return nil }
    self.partition = PartitionID(partition)
    self.offset = Offset(offset)
    self.generation = generation
    // One name, one spelling: no sign, no missing or further zeros.
    guard description == text else { return nil }
  }
}
