/// "Did you mean": the nearest of some names, if one is near.
enum NameHints {
  static func nearest(_ name: String, among candidates: [String]) -> String {
    let limit = max(1, min(3, name.count / 3))
    var best: (distance: Int, name: String)?
    for candidate in candidates {
      let distance = distance(Array(name.lowercased()), Array(candidate.lowercased()))
      if distance <= limit, best == nil || distance < best!.distance { best = (distance, candidate) }
    }
    return best.map { "did you mean '\($0.name)'?" } ?? ""
  }

  /// Insertions, deletions, replacements and swaps of neighbours.
  private static func distance(_ a: [Character], _ b: [Character]) -> Int {
    guard abs(a.count - b.count) <= 3 else { return .max }
    var before: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
        row.append(cost)
      }
      before = last
      last = row
    }
    return last[b.count]
  }
}

/// Durations as the declaration writes them: `90s`, `30m`, `2h`, `1d`.
enum DurationText {
  private static let units: [(name: String, milliseconds: Int64)] = [
    ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
  ]

  static func format(_ milliseconds: Int64) -> String {
    // Weeks are read but never written: `7d` is plainer.
    for unit in units.dropFirst() where milliseconds != 0 && milliseconds % unit.milliseconds == 0 {
      return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
    return "\(milliseconds)ms"
  }

  static func parse(_ text: some StringProtocol) -> Int64? {
    let digits = text.prefix { ("0"..."9").contains($0) }
    guard !digits.isEmpty, let count = Int64(digits),
      let unit = units.first(where: { $0.name == text.dropFirst(digits.count) })
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.milliseconds)
    return overflow ? nil : product
  }
}
