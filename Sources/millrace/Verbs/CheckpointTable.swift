/// Rows of text under a head, columns as wide as their widest cell.
struct TextTable {
  private var rows: [[String]]

  init(_ head: [String]) { rows = [head] }
  mutating func add(_ row: [String]) {
    precondition(row.count == rows[0].count, "a row as wide as the head")
    rows.append(row)
  }
  var count: Int { rows.count - 1 }

  var lines: [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        line += cell
        if column < row.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
      }
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }
}

/// With so many digits behind the point, rounded to nearest; `-` for what is no number.
func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "-" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  guard scaled < 9e18 else { return "\(value)" }
  let number = UInt64(scaled)
  let sign = value < 0 && number > 0 ? "-" : ""
  guard digits > 0 else { return sign + String(number) }
  let whole = number / UInt64(scale)
  let rest = String(number % UInt64(scale))
  return sign + "\(whole)." + String(repeating: "0", count: digits - rest.count) + rest
}
