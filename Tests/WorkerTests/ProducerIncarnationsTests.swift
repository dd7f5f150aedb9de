import Foundation
import Testing

@testable import Worker

/// Numbers of transactional ids, on a real directory.
@Suite struct ProducerIncarnationsTests {
  private func withDirectory(_ body: (String) throws -> Void) throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("producers-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try body(directory.path)
  }

  @Test func `no number is given twice, and each role counts by itself`() throws {
    try withDirectory { directory in
      let first = ProducerIncarnations(in: directory)
      #expect(first.last("0") == nil)
      let given = [try first.advance("0"), try first.advance("0"), try first.advance("replica")]
      #expect(given == [1, 2, 1])
      let second = ProducerIncarnations(in: directory)
      #expect(second.last("0") == 2)
      let next = try second.advance("0")
      #expect(next == 3)
      #expect(second.last("replica") == 1)
    }
  }

  @Test(arguments: ["", "x", "-1", "99999999999999999999", "3 4"])
  func `a file that holds no number counts as none`(text: String) throws {
    try withDirectory { directory in
      try text.write(toFile: directory + "/producer-0", atomically: true, encoding: .utf8)
      let numbers = ProducerIncarnations(in: directory)
      #expect(numbers.last("0") == nil)
      let given = try numbers.advance("0")
      #expect(given == 1)
    }
  }

  @Test func `a directory that cannot be written says so`() {
    #expect(throws: (any Error).self) { try ProducerIncarnations(in: "/nowhere/at/all").advance("0") }
  }
}
