import Foundation
import Kafka
import Records
@testable import RunChecker
import Storage
import TestSupport

/// Faults at random against three workers under a constant load, for as long as asked.
///
/// Replay:  the seed decides which faults come, in which order, at which distance; what they meet is up to the machine.
/// Members: the first is never killed, so that its memory tells of leaks; the others die, leave, come back, lose their
///          checkpoints, and kill themselves at failpoints. All stand still, and lose their network, now and then.
/// Errors:  a worker that ends by itself in a way that no service manager would start again from, one that is not ready for
///          two minutes, and a journal in which nothing is committed for a minute and a half end the run, with the seed and
///          the fault before.
final class Chaos {
  enum Fault: CaseIterable {
    case kill, failpoint, hang, stop, leave, damage, cut, lose, late, slow, down, command
  }
  struct Failure: Error, CustomStringConvertible { var description: String }

  let scene: Scene
  let seed: UInt64
  private let proxy: KafkaProxy
  private let feed: Feed
  private let duration: Double
  private var begun = ContinuousClock.now
  private let pieces: Int
  private var random: SplitMix
  private var slots: [Slot] = []
  private var journal: Reader
  /// Ends what holds on for a while.
  private var endings: [(at: Double, what: String, end: () -> Void)] = []
  private var lastProgress: (at: Double, sum: Int64) = (0, -1)
  private var lastFault = "none"
  private var commands = 0
  private(set) var faults: [Fault: Int] = [:]
  /// Ends by itself, by exit code, that a service manager answers with another start.
  private(set) var restarts: [Int32: Int] = [:]
  /// Seconds and KiB of the first member; the most of any.
  private(set) var memory: [(seconds: Double, kilobytes: Double)] = []
  private(set) var most = 0

  /// One worker and what is known of it.
  private final class Slot {
    let member: Scene.Member
    let isSpared: Bool
    /// It may kill itself.
    var isArmed = false
    var isLeaving = false
    var isStopped = false
    /// When it was last seen ready, or away.
    var readyAt = 0.0
    /// When it is started again, while it is away.
    var startsAt: Double?
    var failNext: String?
    init(_ member: Scene.Member, isSpared: Bool) {
      self.member = member
      self.isSpared = isSpared
    }
    var isRunning: Bool { member.worker.id != nil }
  }

  /// Requests a second; some three records each.
  private static let requestsPerSecond = 25.0
  private static let piece = 10
  private static let progressSeconds = 90.0
  private static let readySeconds = 120.0
  /// How long it is asked to be.
  static let minutes = Double(ProcessInfo.processInfo.environment["MILLRACE_SOAK_MINUTES"] ?? "") ?? 0
  /// From which another start helps. A bug and exhaustion are answered with one too, but are findings here.
  private static let restartable: Set<Int32> = [69, 74, 75]
  private static let points = [
    "after_poll", "after_apply", "after_assign", "during_restore", "before_model_swap", "after_begin", "after_produce",
    "after_send_offsets", "during_commit", "after_commit", "checkpoint_create", "checkpoint_write", "checkpoint_fsync",
    "checkpoint_rename", "checkpoint_dirsync", "checkpoint_written", "between_chunks_and_manifest", "before_ack",
  ]

  init(seed: UInt64, minutes: Double) throws {
    self.seed = seed
    random = SplitMix(seed)
    duration = minutes * 60
    scene = try Scene("soak", isProxied: true, settings: LiveTests.Faults.Members.short)
    proxy = scene.proxy!
    feed = Feed(
      scene, seed: seed, requests: Int(duration * Self.requestsPerSecond), faultShare: 0.05, piece: Self.piece)
    pieces = feed.left
    journal = try Reader(scene.broker.settings("soak"), topic: scene.pipeline.settings.topics.journal)
    slots.append(Slot(scene.members[0], isSpared: true))
    for name in ["two", "three"] { slots.append(Slot(try scene.addMember(name), isSpared: false)) }
  }

  private var now: Double {
    let elapsed = begun.duration(to: .now).components
    return Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
  }

  private func say(_ text: String) {
    print("soak seed=\(seed) t=\(String(format: "%.1f", now)) \(text)")
  }

  /// Plays to the end; afterwards every worker runs, nothing is broken any more, and the rest is for `Feed.finish`.
  func run() throws {
    begun = .now
    say("minutes=\(duration / 60) pieces=\(pieces)")
    for slot in slots { try slot.member.worker.start() }
    var nextFault = 5.0
    var nextSample = 0.0
    while now < duration {
      let due = min(pieces, Int(now / duration * Double(pieces)))
      try feed.send(min(5, max(0, due - (pieces - feed.left))))
      try look()
      if now >= nextFault {
        try inflict()
        nextFault = now + Double.random(in: 0.4..<2.5, using: &random)
      }
      if now >= nextSample {
        try sample()
        nextSample = now + 1
      }
      usleep(10_000)
    }
    try settle()
  }

  // MARK: What goes on

  private func look() throws {
    let time = now
    for ending in endings where ending.at <= time {
      ending.end()
      say("\(ending.what) is over")
    }
    endings.removeAll { $0.at <= time }
    for slot in slots {
      if slot.isRunning, let code = slot.member.worker.pollExit() { try ended(slot, code) }
      if !slot.isRunning, let at = slot.startsAt, at <= time {
        slot.startsAt = nil
        slot.isArmed = slot.failNext != nil
        try slot.member.worker.start(fail: slot.failNext)
        say("start \(slot.member.instance) \(slot.failNext ?? "")")
        slot.failNext = nil
      }
    }
    let sum = try progress() ?? lastProgress.sum
    if sum != lastProgress.sum { lastProgress = (time, sum) }
    guard time - lastProgress.at < Self.progressSeconds else {
      throw Failure(description: "seed=\(seed) nothing was committed for \(Self.progressSeconds) s, last fault: \(lastFault)")
    }
  }

  private var nextLook = 0.0
  /// How far the journal is committed; nil where nobody was asked, or answers, just now.
  private func progress() throws -> Int64? {
    guard now >= nextLook else { return nil }
    nextLook = now + 1
    return try? (0..<TestPipeline.partitions).reduce(0) {
      $0 + (try journal.watermarks(TopicPartition(journal.topic, $1))).high
    }
  }

  private func ended(_ slot: Slot, _ code: Int32) throws {
    let isExpected = slot.isLeaving && code == 0 || slot.isArmed && code == 128 + SIGKILL
    if !isExpected {
      guard Self.restartable.contains(code) else {
        throw Failure(
          description:
            "seed=\(seed) t=\(now) \(slot.member.instance) ended by itself code=\(code) last fault: \(lastFault)\n\(slot.member.worker.log.suffix(3_000))")
      }
      restarts[code, default: 0] += 1
    }
    say("end \(slot.member.instance) code=\(code)")
    slot.isLeaving = false
    slot.isArmed = false
    slot.isStopped = false
    if slot.startsAt == nil { slot.startsAt = now + Double.random(in: 0..<2, using: &random) }
  }

  private func sample() throws {
    for slot in slots {
      if !slot.isRunning || slot.isStopped || slot.member.page("/readyz") != nil { slot.readyAt = now }
      guard now - slot.readyAt < Self.readySeconds else {
        throw Failure(
          description:
            "seed=\(seed) t=\(now) \(slot.member.instance) is not ready for \(Self.readySeconds) s leaving=\(slot.isLeaving) last fault: \(lastFault)\n\(slot.member.worker.log.suffix(3_000))")
      }
      let kilobytes = slot.member.worker.residentKilobytes
      most = max(most, kilobytes)
      if slot.isSpared, kilobytes > 0 { memory.append((now, Double(kilobytes))) }
    }
  }

  // MARK: Faults

  private func inflict() throws {
    let fault = Fault.allCases.randomElement(using: &random)!
    // All numbers are drawn whatever the fault, so that what comes after does not depend on what is met.
    let mortal = slots[Int.random(in: 1..<slots.count, using: &random)]
    let any = slots.randomElement(using: &random)!
    let seconds = Double.random(in: 0.3..<3.5, using: &random)
    let passing = Int.random(in: 1...20, using: &random)
    let point = Self.points.randomElement(using: &random)!
    let every = Int.random(in: 3...9, using: &random)
    let kind: KafkaProxy.Kind = [.endTransaction, .produce, .transactionalOffsets, .addPartitions].randomElement(using: &random)!
    let damage = Int.random(in: 0..<3, using: &random)
    let chance = Double.random(in: 0..<1, using: &random)
    let isNetwork = [.cut, .lose, .late, .slow, .down].contains(fault)
    // One at a time of what has an end; nobody is killed who is not there.
    guard !isNetwork || endings.allSatisfy({ !$0.what.hasPrefix("network") }) else { return }
    switch fault {
    case .kill:
      guard mortal.isRunning, !mortal.isLeaving else { return }
      tell(fault, "kill -9 \(mortal.member.instance)")
      bury(mortal, for: seconds)
    case .failpoint, .hang:
      guard mortal.isRunning, !mortal.isLeaving else { return }
      let isFile = point.hasPrefix("checkpoint_") && point != "checkpoint_written"
      let action = fault == .hang ? ":hang=\(Int(seconds * 1_000))" : point == "during_commit" ? ":kill=\(passing * 200)" : ""
      mortal.failNext = "\(point):\(isFile ? 1 + passing / 4 : passing)\(action)"
      tell(fault, "kill -9 \(mortal.member.instance), then \(mortal.failNext!)")
      bury(mortal, for: 0.2)
    case .damage:
      guard mortal.isRunning, !mortal.isLeaving else { return }
      tell(fault, "kill -9 \(mortal.member.instance), its newest checkpoints \(["flipped", "cut", "deleted"][damage])")
      bury(mortal, for: 0.2)
      try self.damage(mortal.member, damage)
    case .leave:
      guard mortal.isRunning, !mortal.isLeaving, !mortal.isStopped else { return }
      tell(fault, "SIGTERM \(mortal.member.instance)")
      mortal.isLeaving = true
      mortal.startsAt = now + seconds
      mortal.member.worker.signal(SIGTERM)
    case .stop:
      guard any.isRunning, !any.isStopped else { return }
      // Longer than a session, where the broker can judge that.
      let seconds = LocalBroker.isApacheKafka && chance < 0.3 ? 5 + seconds : seconds
      tell(fault, "SIGSTOP \(any.member.instance) for \(String(format: "%.1f", seconds)) s")
      any.isStopped = true
      any.member.worker.signal(SIGSTOP)
      endings.append((now + seconds, "stop of \(any.member.instance)", {
        any.member.worker.signal(SIGCONT)
        any.isStopped = false
      }))
    case .cut:
      tell(fault, "network: every connection cut")
      proxy.cut()
    case .lose:
      tell(fault, "network: every \(every)th answer of \(kind) lost for \(String(format: "%.1f", seconds)) s")
      proxy.onReply { $0.kind == kind && $0.count % every == 0 ? (chance < 0.5 ? .swallow : .cut) : .pass }
      endings.append((now + seconds, "network: loss", { [proxy] in proxy.onReply(nil) }))
    case .late:
      // The small broker's own fencing is not what is tested here.
      guard LocalBroker.isApacheKafka else { return }
      tell(fault, "network: every \(every)th EndTxn held for \(String(format: "%.1f", seconds)) s")
      proxy.onRequest { $0.kind == .endTransaction && $0.count % every == 0 ? .holdAndCut : .pass }
      endings.append((now + seconds, "network: late EndTxn", { [proxy] in
        proxy.onRequest(nil)
        proxy.release()
      }))
    case .slow:
      tell(fault, "network: 30 kB a second, answers of \(kind) late, for \(String(format: "%.1f", seconds)) s")
      proxy.throttle(bytesPerSecond: 30_000)
      proxy.onReply { $0.kind == kind ? .delay(milliseconds: every * 40) : .pass }
      endings.append((now + seconds, "network: slowness", { [proxy] in
        proxy.onReply(nil)
        proxy.throttle(bytesPerSecond: nil)
      }))
    case .down:
      tell(fault, "network: gone for \(String(format: "%.1f", seconds)) s")
      proxy.setDown(true)
      endings.append((now + seconds, "network: absence", { [proxy] in proxy.setDown(false) }))
    case .command:
      commands += 1
      tell(fault, "command \(commands)")
      let id = "soak-\(commands)"
      switch commands % 4 {
      case 1: try scene.send(id, .tag(name: "t\(commands)"))
      case 2: try scene.send(id, .rollback(to: .previous, then: .continue))
      case 3: try scene.send(id, .freeze)
      default: try scene.send(id, .unfreeze)
      }
    }
  }

  private func tell(_ fault: Fault, _ text: String) {
    faults[fault, default: 0] += 1
    lastFault = "t=\(String(format: "%.1f", now)) \(text)"
    say(text)
  }

  private func bury(_ slot: Slot, for seconds: Double) {
    slot.member.worker.kill()
    slot.isArmed = false
    slot.isStopped = false
    slot.startsAt = now + seconds
  }

  private func damage(_ member: Scene.Member, _ how: Int) throws {
    let store = CheckpointStore(member.stateDirectory)
    // A directory that it had no time to make holds nothing to damage.
    var newest: [String: CheckpointName] = [:]
    for name in (try? store.list()) ?? [] { newest["\(name.kind)\(name.partition)"] = name }
    for name in newest.values {
      let file = URL(fileURLWithPath: store.path(name))
      var bytes = try Data(contentsOf: file)
      switch how {
      case 0: bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 0x10
      case 1: bytes = bytes.prefix(bytes.count / 2)
      default:
        try FileManager.default.removeItem(at: file)
        continue
      }
      try bytes.write(to: file)
    }
  }

  // MARK: The end

  /// Everything heals; whoever has a failpoint left starts again without.
  private func settle() throws {
    for ending in endings { ending.end() }
    endings.removeAll()
    for slot in slots {
      if slot.isArmed || slot.isLeaving { slot.member.worker.kill() }
      if slot.isRunning, let code = slot.member.worker.pollExit() { try ended(slot, code) }
      slot.failNext = nil
      if !slot.isRunning { try slot.member.worker.start() }
    }
    if commands % 4 == 3 { try scene.send("soak-last", .unfreeze) }
    let counts = Fault.allCases.map { "\($0)=\(faults[$0] ?? 0)" }.joined(separator: " ")
    say("\(counts); restarts by exit code: \(restarts)")
    let topics = scene.pipeline.settings.topics
    let ends = try [topics.predictions, topics.journal, topics.learning, topics.acks, topics.alerts, topics.checkpoints].map { name in
      let reader = try Reader(scene.broker.settings("soak"), topic: name)
      let end = try (0..<(try reader.partitionCount())).reduce(0) { $0 + (try reader.watermarks(TopicPartition(name, $1))).high }
      return "\(name.split(separator: ".").last!)=\(end)"
    }
    say("ends of topics: \(ends.joined(separator: " "))")
    say("memory: first member \(Int(early)) → \(Int(late)) KiB, slope \(Int(slope)) KiB a minute; most of any \(most) KiB")
  }

  private func median(_ part: some Collection<(seconds: Double, kilobytes: Double)>) -> Double {
    let sorted = part.map(\.kilobytes).sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
  }
  /// Of the first member: the second sixth, when windows and waiting predictions have come to their size, and the last.
  var early: Double { median(memory[(memory.count / 6)..<(memory.count / 3)]) }
  var late: Double { median(memory[(memory.count - memory.count / 6)...]) }
  /// Kilobytes a minute, by least squares, from the second sixth on.
  var slope: Double {
    let points = memory[(memory.count / 6)...]
    let count = Double(points.count)
    let (x, y) = (points.reduce(0) { $0 + $1.seconds } / count, points.reduce(0) { $0 + $1.kilobytes } / count)
    let (xy, xx) = points.reduce((0, 0)) { ($0.0 + ($1.seconds - x) * ($1.kilobytes - y), $0.1 + ($1.seconds - x) * ($1.seconds - x)) }
    return xx > 0 ? xy / xx * 60 : 0
  }
}
