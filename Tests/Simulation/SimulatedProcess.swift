import Storage
@testable import Worker

/// One process of the simulated world, from its start to its end; the next one under the same name is another.
final class SimulatedProcess: @unchecked Sendable {
  let name: String
  /// Counts the starts under this name.
  let incarnation: Int
  let scheduler: Scheduler
  /// False from `kill -9` on: nothing it does has an effect any more, and its strands unwind.
  private(set) var isAlive = true
  /// Until then it does not run, as after SIGSTOP.
  private(set) var stalledUntil: UInt64 = 0
  /// Until then nothing reaches it, and it reaches nobody.
  var cutOffUntil: UInt64 = 0
  /// Heartbeats alone are lost until then.
  var heartbeatsLostUntil: UInt64 = 0
  private var strands: [Strand] = []
  /// The worker's end, once it ended by itself.
  var exit: Exit?
  /// Lets the worker's loops end, which outlive its effects.
  var onKill: () -> Void = {}
  /// Those that were made in this process.
  var producers: [SimulatedProducer] = []
  /// The next one that is made asks in vain.
  var wedgesNextProducer = false
  /// For planted faults: a transaction was aborted and none committed since.
  var hasAborted = false

  enum Exit: Equatable {
    case stopped
    case failed(WorkerFailure)
  }

  init(name: String, incarnation: Int, scheduler: Scheduler) {
    self.name = name
    self.incarnation = incarnation
    self.scheduler = scheduler
  }

  func add(_ strand: Strand) { strands.append(strand) }

  func stall(_ nanoseconds: UInt64) { stalledUntil = max(stalledUntil, scheduler.now + nanoseconds) }

  /// One of its threads does not run for a while.
  func stallThread(_ nanoseconds: UInt64) {
    let running = strands.filter { !$0.isDone }
    guard !running.isEmpty else { return }
    running[Int(scheduler.random.next() % UInt64(running.count))].stalledUntil = scheduler.now + nanoseconds
  }

  /// As `kill -9`.
  func kill() {
    guard isAlive else { return }
    isAlive = false
    onKill()
    onKill = {}
    producers = []
    for strand in strands { scheduler.wake(strand) }
  }

  /// Lets go of everything, once nothing runs any more.
  func forget() {
    strands = []
    producers = []
    onKill = {}
  }

  /// All its strands have ended, or never will.
  var isGone: Bool { strands.allSatisfy { $0.isDone || $0.isAbandoned } }
  var abandonedCount: Int { strands.count { $0.isAbandoned } }
}

/// Time, threads and waiting of one simulated process.
final class SimulatedRuntime: Runtime, @unchecked Sendable {
  private let process: SimulatedProcess
  private let scheduler: Scheduler
  private let wall: () -> Int64
  /// Waits of this system end late by up to this many nanoseconds.
  private let lateness: UInt64

  init(_ process: SimulatedProcess, lateness: UInt64, wall: @escaping () -> Int64) {
    self.process = process
    scheduler = process.scheduler
    self.lateness = lateness
    self.wall = wall
  }

  func now() -> UInt64 { scheduler.now }
  func wallMilliseconds() -> Int64 { wall() }

  func pause(milliseconds: UInt32) {
    scheduler.sleep(UInt64(milliseconds) * 1_000_000 + scheduler.random.next() % (lateness + 1))
  }

  func startThread(
    _ name: String, _ body: sending @escaping () -> Void
  ) throws(ThreadFailure) -> any RunningThread {
    let strand = scheduler.start("\(process.name).\(name)", of: process, body)
    process.add(strand)
    return SimulatedThread(strand, scheduler)
  }

  func makeMonitor() -> any Monitor { SimulatedMonitor(scheduler) }
  func giveBackMemory() {}
}

final class SimulatedThread: RunningThread, @unchecked Sendable {
  private let strand: Strand
  private let scheduler: Scheduler
  init(_ strand: Strand, _ scheduler: Scheduler) {
    self.strand = strand
    self.scheduler = scheduler
  }
  func join() { scheduler.join(strand) }
}

/// A lock that is never contended, since strands change only where they wait, and a condition.
final class SimulatedMonitor: Monitor, @unchecked Sendable {
  private let scheduler: Scheduler
  private var waiting = WaitList()
  private var isHeld = false
  init(_ scheduler: Scheduler) { self.scheduler = scheduler }

  func lock() {
    precondition(!isHeld, "a strand let go while it held a lock")
    isHeld = true
  }
  func unlock() { isHeld = false }
  func wait() { pass(until: nil) }
  func wait(untilNanoseconds deadline: UInt64) -> Bool {
    pass(until: deadline)
    return scheduler.now < deadline
  }
  func signalAll() { waiting.wakeAll(scheduler) }

  private func pass(until deadline: UInt64?) {
    waiting.add(scheduler.current!)
    isHeld = false
    _ = scheduler.park(until: deadline)
    isHeld = true
  }
}
