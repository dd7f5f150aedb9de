import Foundation
@testable import RunChecker
import TestSupport
import Testing

extension LiveTests.Faults {
  /// Members that stand still, come twice, come and go, or lose their coordinator.
  @Suite(.serialized) struct Members {
    static let silence: Comment = "noida-db never takes partitions from a silent member"
    static let generations: Comment = "noida-db takes offsets from a member of an older generation"
    /// Short enough to wait for.
    static let short = [
      // The small broker takes no shorter one.
      "worker.session_timeout=\(LocalBroker.isApacheKafka ? 3 : 6)s", "worker.heartbeat=500ms",
      "delivery.transaction.timeout=2s",
    ]

    @Test(.long, .needsKafka(Self.generations))
    func `row 15: stopped in a transaction while another takes over under its name, and woken`() throws {
      let scene = try Scene("zombie-twin", settings: Self.short)
      let feed = Feed(scene, requests: 500)
      try scene.worker.start(fail: "after_produce:5:stop")
      try feed.flow("the worker to stand still") { scene.worker.isStopped }
      let heir = try scene.addMember("one")
      try heir.worker.start()
      try feed.advance(150)
      scene.worker.signal(SIGCONT)
      try oneGivesWay(scene, feed)
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .needsKafka(Self.silence))
    func `row 15: stopped in a transaction past its session, and woken when another holds its partitions`() throws {
      let scene = try Scene("zombie", settings: Self.short)
      let feed = Feed(scene, requests: 900)
      try scene.worker.start(fail: "after_produce:8:stop")
      try feed.flow("the worker to stand still") { scene.worker.isStopped }
      let heir = try scene.addMember("two")
      try heir.worker.start()
      try feed.flow("the heir to go on") {
        try scene.checkRunning()
        return heir.partitions == Int(TestPipeline.partitions)
      }
      try feed.advance(150)
      scene.worker.signal(SIGCONT)
      try feed.flow("the woken one to take part again") {
        try scene.checkRunning()
        return scene.members[0].partitions ?? 9 < 3 && heir.partitions ?? 9 < 3
      }
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .needsKafka(Self.generations)) func `row 16: of two workers with one name one ends and says so`() throws {
      let scene = try Scene("twins", settings: Self.short)
      let feed = Feed(scene, requests: 600)
      try scene.worker.start()
      try feed.advance(100)
      let twin = try scene.addMember("one")
      try twin.worker.start()
      try oneGivesWay(scene, feed)
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .needsKafka("noida-db has no transaction time-out"))
    func `row 17: a transaction that its broker gave up is sent again`() throws {
      let scene = try Scene("timed-out", settings: Self.short)
      let feed = Feed(scene, requests: 500)
      for fail in ["after_produce:5:hang=5000", "after_send_offsets:4:hang=5000"] {
        try scene.worker.start(fail: fail)
        try feed.flow("the transaction to be lost", every: .milliseconds(60)) {
          try scene.checkRunning()
          return scene.worker.log.contains("transaction-failed")
        }
        try feed.advance(60)
        #expect(try scene.worker.terminate() == 0)
      }
      try scene.worker.start()
      try feed.finish()
    }

    @Test func `row 25: members come and go, and the rest goes on`() throws {
      let scene = try Scene("storm", settings: Self.short)
      let feed = Feed(scene, requests: FaultSelection.isWhole ? 1_500 : 600)
      let second = try scene.addMember("two")
      try scene.worker.start()
      try feed.advance(50)
      for _ in 0..<(FaultSelection.isWhole ? 8 : 3) {
        try second.worker.start()
        try feed.flow("the second to take part") {
          try scene.checkRunning()
          return second.partitions ?? 0 > 0
        }
        try feed.advance(40)
        #expect(try second.worker.terminate() == 0)
        try feed.advance(40)
      }
      // A static member does not say good-bye, and the small broker never gives its partitions to another.
      if !LocalBroker.isApacheKafka { try second.worker.start() }
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .needsKafka(Self.silence)) func `row 26: a member comes in the middle of a commit, a restore and a change of model`() throws {
      let scene = try Scene("rebalance", settings: Self.short)
      let feed = Feed(scene, requests: 900)
      let second = try scene.addMember("two")
      for fail in [
        "after_send_offsets:12:hang=1500", "after_begin:10:hang=1500", "before_model_swap:10:hang=1500",
        "during_restore:1:hang=1500,during_restore:4:hang=1500",
      ] {
        let isRestore = fail.hasPrefix("during")
        try scene.worker.start(fail: fail)
        if !isRestore { try feed.advance(60) }
        try second.worker.start(fail: isRestore ? "during_restore:1:hang=1500" : nil)
        try feed.flow("both to take part in \(fail)") {
          try scene.checkRunning()
          return scene.members.allSatisfy { $0.partitions ?? 0 > 0 }
        }
        try feed.advance(60)
        #expect(try scene.worker.terminate() == 0)
        #expect(try second.worker.terminate() == 0)
      }
      try scene.worker.start()
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long, .needsKafka(Self.silence))
    func `row 27: a member that its coordinator does not hear loses its partitions and its unit`() throws {
      let scene = try Scene("unheard", isProxied: true, settings: Self.short)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 900)
      try scene.worker.start()
      try feed.advance(100)
      let heir = try scene.addMember("two")
      let own = "\(scene.pipeline.settings.name).one.0"
      proxy.onRequest { request in
        switch request.kind {
        case .heartbeat, .joinGroup, .syncGroup: request.client == own ? .swallow : .pass
        default: .pass
        }
      }
      try heir.worker.start()
      try feed.flow("the other to hold every partition") {
        try scene.checkRunning()
        return heir.partitions == Int(TestPipeline.partitions)
      }
      try feed.advance(100)
      proxy.onRequest(nil)
      // What was swallowed would be waited for as long as a request may take.
      proxy.cut()
      try feed.flow("both to take part again") {
        try scene.checkRunning()
        return scene.members.allSatisfy { $0.partitions ?? 0 > 0 }
      }
      try feed.finish(comparesPartitionStates: false)
    }

    /// Two bear one name: exactly one ends, with the code for it, and the other goes on.
    private func oneGivesWay(_ scene: Scene, _ feed: Feed, _ location: SourceLocation = #_sourceLocation) throws {
      var ended: [Int32] = []
      try feed.flow("one of two with the same name to end") {
        ended = scene.members.compactMap { $0.worker.pollExit() }
        return !ended.isEmpty
      }
      #expect(ended == [75], sourceLocation: location)
      try feed.advance(100)
    }
  }
}

extension Scene.Member {
  /// Partitions that it says it holds.
  var partitions: Int? {
    status?["partitions"]?.array?.count
  }
}
