import Glibc
import Testing

@testable import Worker

/// The language of failpoints: what it says, and that anything else is refused.
struct FailpointTests {
  @Test func `a list of points is read with passings and actions`() throws {
    let rules = try Failpoints.parse(
      "after_poll:1,after_produce:12:stop,checkpoint_fsync:2+:io,checkpoint_write:1:full,after_begin:3:hang=50,during_commit:4,after_commit:5:kill=700")
    #expect(
      rules == [
        .init(point: .afterPoll, passing: 1, andLater: false, action: .kill(afterMicroseconds: 0)),
        .init(point: .afterProduce, passing: 12, andLater: false, action: .stop),
        .init(point: .checkpointSync, passing: 2, andLater: true, action: .fail(errno: EIO)),
        .init(point: .checkpointWrite, passing: 1, andLater: false, action: .fail(errno: ENOSPC)),
        .init(point: .afterBegin, passing: 3, andLater: false, action: .hang(milliseconds: 50)),
        .init(point: .duringCommit, passing: 4, andLater: false, action: .kill(afterMicroseconds: 300)),
        .init(point: .afterCommit, passing: 5, andLater: false, action: .kill(afterMicroseconds: 700)),
      ])
  }

  @Test(arguments: [
    "after_poll", "after_poll:0", "after_poll:-1", "after_poll:1:", "after_poll:1:sing", "nowhere:1", ":1", "after_poll:1,",
    "after_poll:1:io", "after_poll:1:hang", "after_poll:1:hang=-1", "after_poll:1:kill=1=2", "after_poll:1:stop:2",
  ])
  func `any other text is refused`(text: String) {
    #expect(throws: Failpoints.Faulty.self) { try Failpoints.parse(text) }
  }

  @Test func `a point counts its passings, and later ones fail as well where that is asked for`() throws {
    let once = Failpoints(try Failpoints.parse("checkpoint_fsync:2:io"))
    #expect((1...4).map { _ in once.count(.checkpointSync) } == [nil, EIO, nil, nil])
    let always = Failpoints(try Failpoints.parse("checkpoint_fsync:2+:full"))
    #expect((1...4).map { _ in always.count(.checkpointSync) } == [nil, ENOSPC, ENOSPC, ENOSPC])
    #expect(always.count(.checkpointWrite) == nil)
  }

  @Test func `nothing is armed where the variable is not set`() {
    #expect(Failpoints.armed == nil)
  }
}
