/// What the maker of an input record knows it to be. It travels in a header of the record, so that the checker
/// needs to believe no decoder.
enum Truth: Equatable, Sendable {
  /// Usable and, where it has an id, the first of it.
  case valid
  /// An event whose id was there before.
  case repeated
  /// Unusable, for one of these reasons.
  case refused([String])

  static let header = "truth"

  var text: String {
    switch self {
    case .valid: "valid"
    case .repeated: "repeated"
    case .refused(let codes): "refused:" + codes.joined(separator: "|")
    }
  }

  init?(_ text: String) {
    switch text {
    case "valid": self = .valid
    case "repeated": self = .repeated
    default:
      guard text.hasPrefix("refused:") else { return nil }
      self = .refused(text.dropFirst("refused:".count).split(separator: "|").map(String.init))
    }
  }
}

extension StoredRecord {
  var truth: Truth? { header(Truth.header).flatMap { Truth($0) } }
}
