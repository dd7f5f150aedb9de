// Method: on a simulated disk every call is failed once and every crash state is enumerated; in each the
// last good checkpoint must load, and nothing that was not committed. The real file system is used where
// it is the subject: lock, sizes, damage, a full device.
import Checkpoints
import Glibc
import Records
import Storage
import Testing

private let fingerprint = CheckpointFingerprint(
  clusterID: "c", topic: "events", partition: PartitionID(2), pipeline: "flights",
  settings: Digest.of([1]))
private let directory = "/state"

private func makeIdentity(_ step: Int64) -> CheckpointIdentity {
  CheckpointIdentity(
    kind: .partition, fingerprint: fingerprint,
    inputs: [InputPosition(topic: "events", next: Offset(step * 10))], logNext: Offset(step),
    generation: UInt64(step))
}
private func makeFile(_ step: Int64) -> (name: CheckpointName, bytes: [UInt8]) {
  let identity = makeIdentity(step)
  var writer = CheckpointWriter(identity)
  writer.add("state", [UInt8](repeating: UInt8(step), count: 150))
  return (CheckpointName(identity), writer.encode().bytes)
}
private func makePoint(committed: Int64) -> RestorePoint {
  RestorePoint(
    kind: .partition, fingerprint: fingerprint,
    inputs: [
      LogBounds(topic: "events", earliest: Offset(0), committed: Offset(committed * 10))
    ],
    log: LogBounds(topic: "journal", earliest: Offset(0), committed: Offset(committed)))
}
private func restoredStep(
  _ disk: any FileOperations, committed: Int64, in directory: String = directory
) throws -> Int64? {
  let restored = try CheckpointStore(directory, files: disk)
    .restore(at: makePoint(committed: committed), knownSections: ["state"])
  guard let checkpoint = restored.checkpoint else { return nil }
  let step = checkpoint.identity.logNext.value
  #expect(try checkpoint.section("state") == [UInt8](repeating: UInt8(step), count: 150))
  return step
}
private func write(_ step: Int64, to store: CheckpointStore) throws {
  let file = makeFile(step)
  try store.commit(try store.prepare(file.name, file.bytes))
}

/// A directory that is gone when the test ends.
private final class TemporaryDirectory {
  let path: String
  init() {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/storage-test-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template))
  }
  deinit {
    for sub in ["/blobs", "/a/b", "/a", ""] {
      for name in (try? POSIXFiles().list(path + sub)) ?? [] { unlink("\(path)\(sub)/\(name)") }
      rmdir(path + sub)
    }
  }
}

@Test func `whichever call fails, the last good checkpoint still loads and the failure is told`() throws {
  for code in [ENOSPC, EIO, EROFS] {
    // The calls of prepare and commit: create, writes, sync, close, rename, directory sync.
    let rehearsal = SimulatedDisk()
    try write(1, to: CheckpointStore(directory, files: rehearsal))
    let callsPerCheckpoint = rehearsal.log.count
    #expect(Set(rehearsal.log) == [.create, .write, .sync, .close, .rename, .syncDirectory])
    #expect(rehearsal.log.filter { $0 == .write }.count > 2)

    for failing in 0..<callsPerCheckpoint {
      let disk = SimulatedDisk()
      let store = CheckpointStore(directory, files: disk)
      try write(1, to: store)
      disk.state.withLock {
        $0.failingCall = $0.calls + failing
        $0.failureCode = code
      }
      let error = #expect(throws: StorageError.self) { try write(2, to: store) }
      guard case .file(let failure) = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
      #expect(failure.code == code)
      #expect(failure.kind == [ENOSPC: .full, EIO: .inputOutput, EROFS: .readOnly][code])
      #expect(disk.log.filter { $0 == .sync }.count <= 2, "a sync was retried")
      #expect(try restoredStep(disk, committed: 2) == 1)
      // Nothing is left behind, and the next attempt, under a new name, succeeds.
      #expect(try store.list().count == 1)
      #expect(try disk.list(directory).count == 1)
      try write(3, to: store)
      #expect(try restoredStep(disk, committed: 3) == 3)
    }
  }
}

@Test func `after a crash at any call, with any part of the unsynced lost, the newest committed checkpoint loads`()
  throws
{
  let disk = SimulatedDisk()
  let store = CheckpointStore(directory, files: disk)
  try write(1, to: store)
  disk.state.withLock { $0.recordsCrashes = true }
  let file = makeFile(2)
  let pending = try store.prepare(file.name, file.bytes)
  let beforeCommit = disk.state.withLock { $0.crashes.count }
  try store.commit(pending)
  try store.retain(newest: 1, of: .partition, PartitionID(2))
  _ = try disk.list(directory)
  let crashes = disk.state.withLock { $0.crashes }

  var worlds = 0
  for (index, crash) in crashes.enumerated() {
    for after in SimulatedDisk.crashStates(crash) {
      // Before the rename the transaction may not be known: only step 1 is committed.
      let committed: Int64 = index < beforeCommit ? 1 : 2
      let step = try restoredStep(after, committed: committed)
      if index < beforeCommit { #expect(step == 1) } else { #expect(step == 1 || step == 2) }
      worlds += 1
    }
  }
  #expect(worlds > 40)
  // Once commit has returned, a crash leaves nothing but the new one.
  for after in SimulatedDisk.crashStates(crashes[crashes.count - 1]) {
    #expect(try restoredStep(after, committed: 2) == 2)
  }
}

@Test func `a prepared file is not a checkpoint until it is committed, and a discarded one is gone`() throws {
  let disk = SimulatedDisk()
  let store = CheckpointStore(directory, files: disk)
  let file = makeFile(1)
  let pending = try store.prepare(file.name, file.bytes)
  #expect(try store.list().isEmpty)
  store.discard(pending)
  #expect(try disk.list(directory).isEmpty)
  #expect(throws: StorageError.self) { try store.commit(pending) }
  store.discard(pending)
}

@Test func `a damaged newest file is set aside and the one before is used`() throws {
  let good = makeFile(2).bytes
  for index in stride(from: 0, to: good.count, by: 7) {
    let disk = SimulatedDisk()
    let store = CheckpointStore(directory, files: disk)
    try write(1, to: store)
    var damaged = good
    damaged[index] ^= 0x10
    try store.commit(try store.prepare(makeFile(2).name, damaged))
    #expect(try restoredStep(disk, committed: 2) == 1)
    let names = try disk.list(directory)
    // A version of the format that we do not read is not damage: it stays.
    let isVersion = (8..<12).contains(index)
    #expect(names.contains("\(makeFile(2).name).corrupt") == !isVersion)
    // The next generation goes past the damaged one's number.
    let next = try store.restore(at: makePoint(committed: 2), knownSections: ["state"]).generationNext
    #expect(next == 3)
  }
}

@Test func `what is restored from files is what the pure choice over all of them chooses`() throws {
  for committed: Int64 in 0...5 {
    for present in 0..<32 {
      let disk = SimulatedDisk()
      let store = CheckpointStore(directory, files: disk)
      var candidates: [CheckpointCandidate] = []
      for step: Int64 in 1...5 where present & (1 << (step - 1)) != 0 {
        try write(step, to: store)
        candidates.append(
          CheckpointCandidate(name: "\(step)", content: .success(makeIdentity(step))))
      }
      let chosen: Int64? =
        switch chooseCheckpoint(candidates, at: makePoint(committed: committed)) {
        case .restore(let index, _): Int64(candidates[index].name)
        case .rebuild: nil
        }
      #expect(try restoredStep(disk, committed: committed) == chosen)
    }
  }
}

@Test func `the newest stay and other partitions are not touched`() throws {
  let disk = SimulatedDisk()
  let store = CheckpointStore(directory, files: disk)
  for step: Int64 in 1...6 { try write(step, to: store) }
  let model = CheckpointName(kind: .model, partition: PartitionID(0), offset: Offset(1), generation: 1)
  try store.commit(try store.prepare(model, [1]))
  #expect(try store.retain(newest: 3, of: .partition, PartitionID(2)) == 3)
  #expect(try store.list(.partition, PartitionID(2)).map(\.offset.value) == [4, 5, 6])
  #expect(try store.list(.model, PartitionID(0)) == [model])
  #expect(try store.retain(newest: 3, of: .partition, PartitionID(9)) == 0)
}

@Test func `names are read back and no other text is a name`() {
  for name in [
    CheckpointName(kind: .partition, partition: PartitionID(3), offset: Offset(120), generation: 7),
    CheckpointName(kind: .model, partition: PartitionID(0), offset: Offset(.max), generation: .max),
    CheckpointName(kind: .partition, partition: PartitionID(.max), offset: Offset(0), generation: 0),
  ] {
    #expect(CheckpointName(name.description) == name)
    #expect(CheckpointName(name.description + "x") == nil)
    #expect(CheckpointName("0" + name.description) == nil)
    for cut in 0..<name.description.count {
      #expect(CheckpointName(String(name.description.prefix(cut))) == nil)
    }
  }
  #expect(
    CheckpointName(kind: .partition, partition: PartitionID(3), offset: Offset(120), generation: 7)
      .description == "p00003-o00000000000000000120-g0000000007.ckpt")
  for text in ["", ".ckpt", "p3-o1-g1.ckpt", "p-0001-o+0000000000000000001-g0000000001.ckpt", "é.ckpt"] {
    #expect(CheckpointName(text) == nil)
  }
}

@Test func `a second holder of a directory is told who has it, and a freed one can be taken`() throws {
  let temporary = TemporaryDirectory()
  let path = temporary.path + "/a/b"
  do {
    let store = try CheckpointStore.open(path, owner: "pid=42 instance=one")
    #expect(throws: DirectoryLockError.held(directory: path, owner: "pid=42 instance=one")) {
      try CheckpointStore.open(path, owner: "pid=43 instance=two")
    }
    try write(1, to: store)
    #expect(try restoredStep(POSIXFiles(), committed: 1, in: path) == 1)
    // A temporary file, as a crash leaves it.
    _ = try store.prepare(makeFile(2).name, makeFile(2).bytes)
    #expect(try POSIXFiles().list(path).contains { $0.hasSuffix(".tmp") })
  }
  let second = try CheckpointStore.open(path, owner: "pid=43")
  #expect(try !POSIXFiles().list(path).contains { $0.hasSuffix(".tmp") })
  #expect(try second.list() == [makeFile(1).name])
}

@Test func `files beyond the size limit, directories and missing files are refused with a reason`() throws {
  let temporary = TemporaryDirectory()
  let store = CheckpointStore(temporary.path, byteCountMax: 100)
  try write(1, to: store)
  let name = makeFile(1).name
  #expect(throws: StorageError.tooLarge(path: store.path(name), byteCountMax: 100)) {
    try store.load(name)
  }
  let restored = try store.restore(at: makePoint(committed: 1), knownSections: ["state"])
  #expect(restored.checkpoint == nil)
  #expect(
    restored.refused.map(\.reason) == [.unread(.tooLarge(path: store.path(name), byteCountMax: 100))])
  #expect(throws: StorageError.self) { try store.load(makeFile(2).name) }
  #expect(throws: FileFailure.self) { try POSIXFiles().read(temporary.path, byteCountMax: 10) }
  #expect(throws: FileFailure.self) { try POSIXFiles().list(temporary.path + "/none") }
}

@Test func `a full device is told as full`() throws {
  let descriptor = open("/dev/full", O_WRONLY)
  try #require(descriptor >= 0)
  let error = #expect(throws: FileFailure.self) {
    try POSIXFiles().write(FileHandle(descriptor: descriptor), [1, 2, 3], from: 0, path: "full")
  }
  #expect(error?.kind == .full)
  close(descriptor)
}

@Test func `a file under another's name is refused`() throws {
  let disk = SimulatedDisk()
  let store = CheckpointStore(directory, files: disk)
  try store.commit(try store.prepare(makeFile(2).name, makeFile(1).bytes))
  #expect(throws: StorageError.self) { try store.load(makeFile(2).name) }
  #expect(try restoredStep(disk, committed: 2) == nil)
}
