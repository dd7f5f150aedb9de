// Method: a directory stands for the machine; each life of the process is a fuse made anew on it.
import Foundation
import Storage
import Testing
@testable import Worker

@Suite struct CrashFuseTests {
  let directory: String
  init() throws {
    directory = NSTemporaryDirectory() + "fuse-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }
  private func life() -> CrashFuse { CrashFuse(in: directory, files: POSIXFiles()) }

  @Test func `a record that two careful lives died at is the culprit, no sooner`() {
    var fuse = life()
    #expect(fuse.restored(0, at: [5, 7]) == nil)
    fuse.begin([(0, [5, 7]), (1, [0, 0])])
    fuse = life()
    #expect(fuse.restored(0, at: [5, 7]) == CrashFuse.Care(deaths: 1, culprit: nil))
    // The other partition got further: no death there.
    #expect(fuse.restored(1, at: [3, 0]) == nil)
    fuse.begin([(0, [5, 7])])
    fuse.suspect(0, .init(input: 0, offset: 5))
    fuse.suspect(0, nil)
    fuse.suspect(0, .init(input: 1, offset: 7))
    fuse = life()
    #expect(fuse.restored(0, at: [5, 7]) == CrashFuse.Care(deaths: 2, culprit: nil))
    fuse.suspect(0, .init(input: 1, offset: 7))
    fuse = life()
    #expect(
      fuse.restored(0, at: [5, 7]) == CrashFuse.Care(deaths: 3, culprit: .init(input: 1, offset: 7)))
  }

  @Test func `killing from outside, at other records each time, makes no culprit`() {
    var fuse = life()
    fuse.begin([(0, [0])])
    for offset in Int64(0)..<20 {
      fuse = life()
      #expect(fuse.restored(0, at: [0])?.culprit == nil)
      fuse.suspect(0, .init(input: 0, offset: offset))
    }
  }

  @Test func `an orderly end, a survived range and a note that is torn leave nothing`() throws {
    var fuse = life()
    fuse.begin([(0, [1])])
    fuse.clear()
    #expect(life().restored(0, at: [1]) == nil)
    fuse = life()
    fuse.begin([(0, [1])])
    fuse = life()
    #expect(fuse.restored(0, at: [1])?.deaths == 1)
    fuse.suspect(0, .init(input: 0, offset: 1))
    fuse.survived(0)
    #expect(life().restored(0, at: [1])?.deaths == 1)
    let path = directory + "/attempts"
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    for length in 0..<bytes.count {
      try bytes.prefix(length).write(to: URL(fileURLWithPath: path))
      #expect(life().restored(0, at: [1]) == nil)
    }
    for junk in ["9 9 9 9 9 9\n", "0 -1 - - 0 1\n", "0 1 x - 0 1\n", "0 1 - - 0 99999999999999999999\n", "\n \n"] {
      #expect(CrashFuse.parse(Array(junk.utf8)).isEmpty)
    }
  }
}
