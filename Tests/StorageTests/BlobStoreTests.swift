// Method: the simulated disk of SimulatedDisk.swift; what is loaded equals what was put, or is refused.
import Glibc
import Records
import Storage
import Testing

@Test func `a blob is read back by its digest and stored once`() throws {
  let disk = SimulatedDisk()
  let blobs = try BlobStore(in: "/state", files: disk)
  let digest = try blobs.put([1, 2, 3])
  #expect(digest == Digest.of([1, 2, 3]))
  let before = disk.log.count
  #expect(try blobs.put([1, 2, 3]) == digest)
  #expect(disk.log[before...] == [.read])
  #expect(try blobs.load(digest) == [1, 2, 3])
  let empty = try blobs.put([])
  #expect(try blobs.load(empty) == [])
  #expect(try blobs.list() == [digest, empty].sorted())
  #expect(throws: StorageError.self) { try blobs.load(Digest.of([9])) }
}

@Test func `a damaged blob is refused, set aside and can be put again`() throws {
  let disk = SimulatedDisk()
  let blobs = try BlobStore(in: "/state", files: disk)
  let digest = try blobs.put([1, 2, 3])
  disk.state.withLock { $0.nodes[$0.names["/state/blobs/\(digest)"]!].content[1] = 7 }
  #expect(throws: StorageError.wrongDigest(path: "/state/blobs/\(digest)")) {
    try blobs.load(digest)
  }
  #expect(try disk.list("/state/blobs") == ["\(digest).corrupt"])
  try blobs.put([1, 2, 3])
  #expect(try blobs.load(digest) == [1, 2, 3])
  // Damage that nobody has read yet is repaired by writing the content again.
  disk.state.withLock { $0.nodes[$0.names["/state/blobs/\(digest)"]!].content = [] }
  try blobs.put([1, 2, 3])
  #expect(try blobs.load(digest) == [1, 2, 3])
}

@Test func `whichever call of a put fails, other blobs stay and a second put succeeds`() throws {
  for failing in 0..<7 {
    let disk = SimulatedDisk()
    let blobs = try BlobStore(in: "/state", files: disk)
    let first = try blobs.put([1])
    disk.state.withLock {
      $0.failingCall = $0.calls + failing
      $0.failureCode = ENOSPC
    }
    let error = #expect(throws: StorageError.self) { try blobs.put([2, 2]) }
    if case .file(let failure) = error { #expect(failure.kind == .full) } else { Issue.record("\(failing)") }
    #expect(try blobs.load(first) == [1])
    #expect(try disk.list("/state/blobs").count == 1)
    #expect(try blobs.load(try blobs.put([2, 2])) == [2, 2])
  }
}

@Test func `after a crash in a put a blob is whole or refused`() throws {
  let disk = SimulatedDisk()
  let blobs = try BlobStore(in: "/state", files: disk)
  let first = try blobs.put([1])
  disk.state.withLock { $0.recordsCrashes = true }
  let second = try blobs.put([UInt8](repeating: 5, count: 200))
  for crash in disk.state.withLock({ $0.crashes }) {
    for after in SimulatedDisk.crashStates(crash) {
      let restarted = try BlobStore(in: "/state", files: after)
      #expect(try restarted.load(first) == [1])
      if try restarted.list().contains(second) {
        #expect(try restarted.load(second).count == 200)
      }
    }
  }
}

@Test func `pruning keeps what is named and nothing else`() throws {
  let disk = SimulatedDisk()
  let blobs = try BlobStore(in: "/state", files: disk)
  let digests = try (0..<6).map { try blobs.put([UInt8($0)]) }
  #expect(try blobs.prune(keeping: [digests[1], digests[4], Digest.of([99])]) == 4)
  #expect(try blobs.list() == [digests[1], digests[4]].sorted())
}
