import Foundation
import Kafka
@testable import RunChecker
import Testing

extension LiveTests.Faults {
  /// A process that has less than it asks for, or a clock that lies.
  @Suite(.serialized) struct Surroundings {
    static let prlimit = tool("prlimit")
    static let taskset = tool("taskset")
    /// Built with the tests (`Tests/FakeClock`), beside the program.
    static let clock = WorkerProcess.program.map {
      URL(fileURLWithPath: $0).deletingLastPathComponent().appendingPathComponent("libFakeClock.so").path
    }.flatMap { FileManager.default.fileExists(atPath: $0) ? $0 : nil }

    private static func tool(_ name: String) -> String? {
      ["/usr/bin/", "/bin/"].map { $0 + name }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    @Test(.enabled(if: Self.clock != nil, "needs libFakeClock.so beside the program"))
    func `row 31: a wall clock that jumps an hour ahead, an hour back and stands still changes nothing`() throws {
      let file = FileManager.default.temporaryDirectory.appendingPathComponent("clock-\(UUID().uuidString)")
      defer { try? FileManager.default.removeItem(at: file) }
      /// Seconds beside the true time; nil: it stands still, two hours ago.
      func set(_ offset: Int64?) throws -> Double {
        let now = Date().timeIntervalSince1970
        let frozen = offset == nil ? now - 7_200 : 0
        let words = [(offset ?? 0) * 1_000_000_000, Int64(frozen * 1e9)]
        // In place: the worker has the file in its memory.
        if !FileManager.default.fileExists(atPath: file.path) { try Data(count: 16).write(to: file) }
        let handle = try FileHandle(forWritingTo: file)
        try handle.write(contentsOf: words.withUnsafeBytes { Data($0) })
        try handle.close()
        return offset.map { now + Double($0) } ?? frozen
      }
      _ = try set(0)
      let scene = try Scene(
        "clock", variables: ["LD_PRELOAD": try #require(Self.clock), "MILLRACE_FAKE_CLOCK": file.path])
      let feed = Feed(scene, seed: 31, requests: 1_200)
      try scene.worker.start()
      try feed.advance(200)
      let jumps: [Int64?] = [3_600, -3_600, nil, 0, -3_600]
      for (index, jump) in jumps.enumerated() {
        // While it runs, and the last one while it does not.
        if index == jumps.count - 1 { #expect(try scene.worker.terminate() == 0) }
        let told = try set(jump)
        if scene.worker.id == nil { try scene.worker.start() }
        try feed.advance(200)
        // The worker itself must see this time, or nothing would be tested.
        try feed.flow("a checkpoint of about \(told)") {
          try scene.checkRunning()
          return scene.members[0].sample("millrace_checkpoint_last_success_timestamp_seconds").map { abs($0 - told) < 120 } ?? false
        }
      }
      try feed.finish()
    }

    @Test(.enabled(if: Self.prlimit != nil, "needs prlimit"))
    func `row 49: with too few file descriptors it does not start and says so, with few it works`() throws {
      let prlimit = try #require(Self.prlimit)
      let scene = try Scene("descriptors")
      let feed = Feed(scene, requests: 450)
      for count in [16, 96] {
        let size = scene.worker.logSize
        try scene.worker.start(under: [prlimit, "--nofile=\(count):\(count)"])
        try feed.send(2)
        let code = try scene.worker.waitForExit(seconds: 60)
        #expect(code == 78, "descriptors=\(count)")
        #expect(
          scene.worker.log(since: size).contains("too few file descriptors"),
          "descriptors=\(count) \(scene.worker.log(since: size).suffix(2_000))")
      }
      // The hard limit is what counts: the worker raises its own.
      try scene.worker.start(under: [prlimit, "--nofile=64:192"])
      try feed.advance(300)
      try feed.finish()
    }

    @Test(.long, .enabled(if: Self.prlimit != nil, "needs prlimit"))
    func `row 49: without memory for all it wants it ends, and goes on where it stopped`() throws {
      let prlimit = try #require(Self.prlimit)
      let scene = try Scene("address-space")
      let feed = Feed(scene, requests: 1_500, piece: 40)
      try scene.worker.start()
      try feed.advance(100)
      let peak = try #require(scene.worker.kilobytes("VmPeak"))
      scene.worker.kill()
      // From far too little to hardly enough.
      for share in [20, 50, 70, 80, 90, 95] {
        try scene.worker.start(under: [prlimit, "--as=\(peak * 1_024 / 100 * share)"])
        let goal = try scene.committedCount() + 200
        var code: Int32?
        try feed.flow("an end, or progress, with \(share) % of the memory") {
          code = scene.worker.pollExit()
          return try code != nil || scene.committedCount() >= goal
        }
        // It works, or ends by itself: never as if all were well, and never waits for what it cannot get.
        if let code {
          #expect(![0, 64, 65, 77, 78].contains(code), "share=\(share): nobody would start it again\n\(scene.worker.tail())")
        }
        scene.worker.kill()
      }
      try scene.worker.start()
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .enabled(if: MemoryGroup.isAvailable, "needs the right to make a memory cgroup (v1)"))
    func `row 49: killed by the kernel for its memory, it goes on where it stopped`() throws {
      let scene = try Scene("cgroup")
      let feed = Feed(scene, requests: 1_200, piece: 40)
      let group = try MemoryGroup("millrace-\(UUID().uuidString.prefix(8))")
      defer { group.remove() }
      var ends = 0
      for megabytes in [8, 12, 16, 24, 40, 64] {
        try group.limit(bytes: megabytes << 20)
        try scene.worker.start(under: group.launcher)
        let goal = try scene.committedCount() + 200
        var code: Int32?
        try feed.flow("an end, or progress, within \(megabytes) MiB") {
          code = scene.worker.pollExit()
          return try code != nil || scene.committedCount() >= goal
        }
        if let code {
          #expect(code == 128 + SIGKILL)
          ends += 1
        }
        scene.worker.kill()
      }
      #expect(ends > 0, "no limit was small enough")
      try scene.worker.start()
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .enabled(if: Self.taskset != nil, "needs taskset"))
    func `row 49: on one processor a backlog is worked off in bounded memory`() throws {
      let taskset = try #require(Self.taskset)
      let scene = try Scene("one-processor")
      let feed = Feed(scene, requests: 3_000, piece: 400)
      // Everything at once: what cannot be taken yet must wait in the topics.
      while !feed.isEmpty { try feed.send(1) }
      try scene.worker.start(under: [taskset, "-c", "0"])
      var most = 0
      let ends = try scene.inputEnds().joined().reduce(0, +)
      try feed.flow("the backlog to be worked off", seconds: 120) {
        try scene.checkRunning()
        most = max(most, scene.worker.residentKilobytes)
        return try scene.committedCount() >= ends
      }
      #expect(most < 512 * 1_024, "\(most) KiB")
      try feed.finish()
    }
  }
}

/// A memory cgroup (version 1) that a process can be put into.
private struct MemoryGroup {
  private static let root = "/sys/fs/cgroup/memory"
  static let isAvailable: Bool = {
    let probe = "\(root)/millrace-probe-\(getpid())"
    guard mkdir(probe, 0o755) == 0 else { return false }
    defer { rmdir(probe) }
    return access("\(probe)/memory.limit_in_bytes", W_OK) == 0
  }()
  private let path: String

  init(_ name: String) throws {
    path = "\(Self.root)/\(name)"
    guard mkdir(path, 0o755) == 0 else { throw WorkerProcess.Failure(description: "no cgroup: \(String(cString: strerror(errno)))") }
  }

  /// For whoever starts in it from now on.
  func limit(bytes: Int) throws {
    try "\(bytes)".write(toFile: "\(path)/memory.limit_in_bytes", atomically: false, encoding: .utf8)
  }

  /// Puts itself into the group, then becomes the program.
  var launcher: [String] { ["/bin/sh", "-c", "echo $$ > \(path)/cgroup.procs && exec \"$@\"", "sh"] }

  func remove() { rmdir(path) }
}
