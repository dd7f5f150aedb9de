import Testing

@testable import Engine

struct AccountingTests {
  /// Every counter another number, so that one taken for another would be seen.
  private func distinct(_ start: UInt64, _ step: UInt64) -> Accounting {
    var accounting = Accounting()
    for (index, path) in Accounting.all.enumerated() {
      accounting[keyPath: path] = start + step * UInt64(index)
    }
    return accounting
  }

  @Test func `sums and differences take in every counter, each by itself`() {
    let a = distinct(1, 1)
    let b = distinct(1_000, 37)
    let difference = b - a
    var sum = a
    sum += difference
    #expect(sum == b)
    for path in Accounting.all {
      #expect(difference[keyPath: path] == b[keyPath: path] - a[keyPath: path])
    }
  }

  @Test func `a journal holds the counters in the order of the list`() {
    let account = distinct(5, 3)
    var totals: [UInt64] = []
    account.append(to: &totals)
    #expect(totals == Accounting.all.map { account[keyPath: $0] })
  }

  @Test func `the list of counters is the struct`() {
    let names = Mirror(reflecting: Accounting()).children.count
    #expect(Set(Accounting.all).count == names)
  }
}
