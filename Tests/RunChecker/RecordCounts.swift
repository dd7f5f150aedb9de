/// How many records of each input of a partition were usable, there before, or refused: by what they say of themselves.
struct RecordCounts {
  private(set) var valid, repeated, refused: [UInt64]

  init(inputs: Int) {
    valid = Array(repeating: 0, count: inputs)
    repeated = valid
    refused = valid
  }

  mutating func note(_ input: Int, _ truth: Truth?) {
    switch truth {
    case .valid, nil: valid[input] += 1
    case .repeated: repeated[input] += 1
    case .refused: refused[input] += 1
    }
  }

  func all(_ input: Int) -> UInt64 { valid[input] + repeated[input] + refused[input] }

  /// What of a journal record's totals is not so; nil where all is. They are the records taken by input, then the account:
  /// events scored, duplicate, dead-lettered; labels joined, correction, duplicate, late, orphan, rejected; other
  /// records observed, rejected; predictions expired.
  func difference(_ totals: [UInt64], scored: Int, labels: Int?) -> String? {
    let inputs = valid.count
    guard totals.count == inputs + 12 else { return "totals=\(totals.count)" }
    let taken = Array(totals[..<inputs])
    let account = Array(totals[inputs...])
    let others = (0..<inputs).filter { $0 != scored && $0 != labels }
    let expected: [(String, [UInt64], [UInt64])] = [
      ("taken", taken, (0..<inputs).map { all($0) }),
      ("events", Array(account[0..<3]), [valid[scored], repeated[scored], refused[scored]]),
      (
        "others", Array(account[9..<11]),
        [others.reduce(0) { $0 + valid[$1] + repeated[$1] }, others.reduce(0) { $0 + refused[$1] }]
      ),
      ("labels rejected", [account[8]], [labels.map { refused[$0] } ?? 0]),
    ]
    for (name, found, wanted) in expected where found != wanted { return "\(name)=\(found) expected=\(wanted)" }
    // Which of them a label comes to depends on the reading; that it comes to one, or waits, does not.
    let settled = account[3..<8].reduce(0, +)
    guard let labels, settled > valid[labels] + repeated[labels] else { return nil }
    return "labels=\(settled) of \(valid[labels] + repeated[labels])"
  }
}
