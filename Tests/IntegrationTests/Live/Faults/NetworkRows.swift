import Foundation
@testable import RunChecker
import Synchronization
import TestSupport
import Testing

extension LiveTests.Faults {
  /// Replies that are lost, requests that come late, a coordinator or a network that is gone.
  @Suite(.serialized) struct Network {
    /// Counts what comes by and remembers what was done.
    private final class Count: Sendable {
      private let value = Mutex(0)
      func next() -> Int { value.withLock { $0 += 1; return $0 } }
      var now: Int { value.withLock { $0 } }
    }

    /// The lane's own transactions, not the replica's.
    private func lane(_ scene: Scene) -> String { "\(scene.pipeline.settings.name)-one-0-" }

    @Test func `row 5: killed while the end of a transaction is under way, which comes, comes late or is never answered`() throws {
      let scene = try Scene("end", isProxied: true)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 600)
      let lane = lane(scene)
      for verdict in [KafkaProxy.Verdict.swallow, .passAndCut, .holdAndCut, .passAndCut] {
        try scene.worker.start()
        let id = try #require(scene.worker.id)
        let count = Count()
        proxy.onRequest { request in
          guard request.kind == .endTransaction, request.mentions(lane), count.next() == 4 else { return .pass }
          kill(id, SIGKILL)
          return verdict
        }
        var code: Int32?
        try feed.flow("the kill") {
          code = scene.worker.pollExit()
          return code != nil
        }
        #expect(code == 128 + SIGKILL)
        proxy.onRequest(nil)
        // What was held arrives when nobody expects it any more.
        proxy.release()
      }
      try scene.worker.start()
      try feed.finish()
    }

    @Test func `row 19: the answers to written records are lost, a few at a time`() throws {
      // A request is waited for as long as a transaction may take.
      let scene = try Scene("ack-lost", isProxied: true, settings: Members.short)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 450)
      let predictions = scene.pipeline.settings.topics.predictions
      let (seen, lost) = (Count(), Count())
      proxy.onReply { request in
        guard request.kind == .produce, request.mentions(predictions), lost.now < 8, seen.next() % 9 == 4
        else { return .pass }
        // With the line all answers under way are lost; without it, one.
        return lost.next() == 2 ? .swallow : .cut
      }
      try scene.worker.start()
      try feed.flow("eight answers to be lost") {
        try scene.checkRunning()
        return lost.now >= 8
      }
      try feed.finish()
    }

    @Test(.long) func `row 20: the end of a transaction comes once more, in the middle of the next one`() throws {
      let scene = try Scene("late-end", isProxied: true)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 600)
      let lane = lane(scene)
      let (ends, held, late) = (Count(), Count(), Count())
      proxy.onRequest { [weak proxy] request in
        guard request.mentions(lane) else { return .pass }
        switch request.kind {
        case .endTransaction where ends.next() % 12 == 6 && held.now < 4:
          _ = held.next()
          return .holdAndCut
        case .transactionalOffsets where held.now > late.now:
          // The client has asked again and was answered; this is the next transaction.
          _ = late.next()
          proxy?.release()
          return .delay(milliseconds: 50)
        default: return .pass
        }
      }
      try scene.worker.start()
      try feed.flow("four late ends") {
        try scene.checkRunning()
        return late.now >= 4
      }
      try feed.finish()
    }

    @Test(.long) func `row 21: the coordinator is away in the middle of a transaction`() throws {
      let scene = try Scene("coordinator", isProxied: true)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 600)
      let lane = lane(scene)
      for kinds: [KafkaProxy.Kind] in [[.addPartitions], [.addOffsets], [.transactionalOffsets], [.endTransaction]] {
        if scene.worker.id == nil { try scene.worker.start() }
        try feed.advance(60)
        let refused = Count()
        proxy.onRequest { request in
          guard kinds.contains(request.kind), request.mentions(lane), refused.now < 6 else { return .pass }
          _ = refused.next()
          return .cut
        }
        try feed.flow("\(kinds) to be refused") {
          try scene.checkRunning()
          return refused.now >= 6
        }
        proxy.onRequest(nil)
      }
      try feed.finish()
    }

    /// The records time out before the question does, since it was asked late. Had the transaction been given up by the
    /// client library's abort, the library would end the process when the question times out after it.
    @Test(.long) func `row 21: the coordinator is asked late about the partitions of a transaction, and never answers`() throws {
      let scene = try Scene("unanswered-partitions", isProxied: true, settings: Members.short)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 600)
      let lane = lane(scene)
      let (asked, swallowed) = (Count(), Count())
      proxy.onRequest { request in
        guard request.kind == .addPartitions, request.mentions(lane), swallowed.now < 4 else { return .pass }
        return asked.next() % 12 > 8 ? .cut : .pass
      }
      proxy.onReply { reply in
        guard reply.kind == .addPartitions, reply.mentions(lane), swallowed.now < 4, asked.now % 12 == 0 else { return .pass }
        _ = swallowed.next()
        return .swallow
      }
      try scene.worker.start()
      try feed.flow("four answers to be lost", seconds: 90) {
        try scene.checkRunning()
        return swallowed.now >= 4
      }
      try feed.finish()
    }

    @Test(.long) func `row 22: the network is gone for a while, memory does not grow, nothing is lost`() throws {
      let scene = try Scene("network", isProxied: true)
      let proxy = try #require(scene.proxy)
      let feed = Feed(scene, requests: 900)
      try scene.worker.start()
      try feed.advance(200)
      let before = scene.worker.residentKilobytes
      for _ in 0..<2 {
        let refused = proxy.refused
        proxy.setDown(true)
        try feed.flow("the worker to try and fail", seconds: 90) {
          try scene.checkRunning()
          return proxy.refused >= refused + 40
        }
        proxy.setDown(false)
        try feed.advance(100)
      }
      #expect(scene.worker.residentKilobytes < before + 128 * 1_024)
      try feed.finish()
    }
  }
}
