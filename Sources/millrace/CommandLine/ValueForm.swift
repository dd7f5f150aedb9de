import Pipeline

/// What a flag or argument takes: its name in help, what completes it, and when it is wrong.
struct ValueForm: Sendable {
  var placeholder: String
  /// Words that shells offer; not always the only ones allowed.
  var words: [String] = []
  var completesFiles = false
  /// What is wrong with a text; nil if it will do.
  var fault: @Sendable (String) -> String?

  static func text(_ placeholder: String) -> ValueForm {
    ValueForm(placeholder: placeholder) { $0.isEmpty ? "is empty" : nil }
  }
  static func path(_ placeholder: String) -> ValueForm {
    var form = text(placeholder)
    form.completesFiles = true
    return form
  }
  static func integer(_ placeholder: String, _ bounds: ClosedRange<Int>) -> ValueForm {
    ValueForm(placeholder: placeholder) { text in
      guard let value = Int(text), text.utf8.first != 0x2b else { return "is not an integer" }
      return bounds.contains(value)
        ? nil : "is not between \(bounds.lowerBound) and \(bounds.upperBound)"
    }
  }
  static func number(_ placeholder: String, above least: Double) -> ValueForm {
    ValueForm(placeholder: placeholder) { text in
      let plain = text.utf8.allSatisfy { (0x30...0x39).contains($0) || [0x2e, 0x65, 0x2d].contains($0) }
      guard plain, let value = Double(text), value.isFinite else { return "is not a number" }
      return value > least ? nil : "is not above \(least)"
    }
  }
  static func duration(_ placeholder: String) -> ValueForm {
    ValueForm(placeholder: placeholder) {
      DurationText.milliseconds($0) == nil ? "is not a duration such as 30s, 10m or 36h" : nil
    }
  }
  static func choice(_ words: [String]) -> ValueForm {
    ValueForm(placeholder: words.joined(separator: "|"), words: words) { text in
      if words.contains(text) { return nil }
      let close = closestName(to: text, among: words).map { "; did you mean '\($0)'?" } ?? ""
      return "is not one of \(words.joined(separator: ", "))\(close)"
    }
  }
  /// One of the words, or whatever the other form allows.
  static func either(_ words: [String], _ other: ValueForm) -> ValueForm {
    var form = other
    form.placeholder = (words + [other.placeholder]).joined(separator: "|")
    form.words = words
    form.fault = { text in
      guard !words.contains(text), let fault = other.fault(text) else { return nil }
      return "\(fault), nor \(words.joined(separator: ", "))"
    }
    return form
  }
}
