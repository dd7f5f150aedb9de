import CStacks
@testable import RunChecker

/// Runs many threads of a simulated world on one real one, one at a time, in virtual time.
///
/// Method: a discrete-event simulation. A *strand* is a thread of the worker on a stack of its own; whatever it asks of
/// the outside (cluster, disk, clock, another thread) lets it go until an event takes it up again. What happens at the
/// same moment happens in an order that the seed draws.
/// Replay:  the same seed and the same code give the same events: `history` is a digest of all of them.
/// Threads: one at a time.
final class Scheduler: @unchecked Sendable {
  /// Monotonic nanoseconds of the world.
  private(set) var now: UInt64 = 1_000_000_000_000
  var random: SplitMix
  /// FNV-1a over everything that happened.
  private(set) var history: UInt64 = 0xcbf2_9ce4_8422_2325
  /// What happened, in words, where wanted.
  var trace: ((UInt64, String) -> Void)?
  private(set) var current: Strand?
  private(set) var steps = 0
  private var events: [Event] = []
  private var serial: UInt64 = 0
  private let stacks: StackPool

  private struct Event {
    var time: UInt64
    /// Drawn: the order of what happens at one moment.
    var tie: UInt64
    var serial: UInt64
    var action: Action
    static func precedes(_ a: Event, _ b: Event) -> Bool {
      (a.time, a.tie, a.serial) < (b.time, b.tie, b.serial)
    }
  }
  private enum Action {
    case call(() -> Void)
    case resume(Strand, ticket: UInt64)
  }

  init(seed: UInt64, stacks: StackPool) {
    random = SplitMix(seed)
    self.stacks = stacks
  }

  // MARK: Events

  func after(_ nanoseconds: UInt64, _ action: @escaping () -> Void) { push(now + nanoseconds, .call(action)) }

  func note(_ what: @autoclosure () -> String, _ number: UInt64 = 0) {
    mix(number)
    trace?(now, what())
  }
  func mix(_ number: UInt64) {
    var value = number
    for _ in 0..<8 {
      history = (history ^ (value & 0xff)) &* 0x100_0000_01b3
      value >>= 8
    }
  }

  private func push(_ time: UInt64, _ action: Action) {
    serial += 1
    events.append(Event(time: time, tie: random.next() >> 40, serial: serial, action: action))
    var child = events.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard Event.precedes(events[child], events[parent]) else { break }
      events.swapAt(child, parent)
      child = parent
    }
  }

  private func pop() -> Event? {
    guard let first = events.first else { return nil }
    let last = events.removeLast()
    guard !events.isEmpty else { return first }
    events[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < events.count && Event.precedes(events[child], events[least]) { least = child }
      if least == parent { return first }
      events.swapAt(parent, least)
      parent = least
    }
  }

  /// Runs events until `isDone`, nothing is left, or a bound is reached: false then.
  func run(until deadline: UInt64, stepsMax: Int = .max, _ isDone: () -> Bool) -> Bool {
    precondition(current == nil, "only the world's own thread runs events")
    while !isDone() {
      guard steps < stepsMax, let event = pop() else { return false }
      guard event.time <= deadline else {
        push(event.time, event.action)
        return false
      }
      steps += 1
      now = max(now, event.time)
      mix(now)
      switch event.action {
      case .call(let action): action()
      case .resume(let strand, let ticket): resume(strand, ticket)
      }
    }
    return true
  }

  // MARK: Strands

  func start(_ name: String, of process: SimulatedProcess?, _ body: @escaping () -> Void) -> Strand {
    let strand = Strand(name: name, process: process, body)
    strand.ticket = 1
    push(now, .resume(strand, ticket: 1))
    return strand
  }

  private func resume(_ strand: Strand, _ ticket: UInt64) {
    // An older reason to go on: it went on already.
    guard strand.ticket == ticket, !strand.isDone, !strand.isAbandoned else { return }
    if let process = strand.process, process.isAlive, max(process.stalledUntil, strand.stalledUntil) > now {
      push(max(process.stalledUntil, strand.stalledUntil), .resume(strand, ticket: ticket))
      return
    }
    strand.ticket += 1
    current = strand
    if let stack = strand.stack {
      mr_stack_enter(stack)
    } else {
      let stack = stacks.take()
      strand.stack = stack
      mr_stack_start(stack, { Unmanaged<Strand>.fromOpaque($0!).takeUnretainedValue().main() },
        Unmanaged.passUnretained(strand).toOpaque())
    }
    current = nil
    if let stack = strand.stack, mr_stack_is_idle(stack) != 0 {
      strand.stack = nil
      stacks.give(stack)
      strand.isDone = true
      let joiners = strand.joiners
      strand.joiners = []
      for joiner in joiners { wake(joiner) }
    }
  }

  /// Lets the running strand go until `wake`, or the deadline: false then. A strand of a dead process goes on at once,
  /// again and again, so that it can unwind; one that does not is abandoned, its stack with all that it holds.
  func park(until deadline: UInt64? = nil) -> Bool {
    guard let strand = current else { preconditionFailure("only a strand can wait") }
    if let process = strand.process, !process.isAlive {
      strand.unwindings += 1
      if strand.unwindings > 4_000 { strand.isAbandoned = true }
      push(now, .resume(strand, ticket: strand.ticket))
      mr_stack_leave(strand.stack)
      return true
    }
    strand.isParked = true
    if let deadline { push(max(deadline, now), .resume(strand, ticket: strand.ticket)) }
    mr_stack_leave(strand.stack)
    defer { strand.isParked = false }
    return !strand.isParked
  }

  /// Takes a parked strand up again, now.
  func wake(_ strand: Strand) {
    guard strand.isParked, !strand.isDone else { return }
    strand.isParked = false
    push(now, .resume(strand, ticket: strand.ticket))
  }

  /// Lets time pass for the running strand.
  func sleep(_ nanoseconds: UInt64) {
    let end = now + nanoseconds
    // Nothing else happens until then: no need to switch. Now and then all the same, so that bounds are seen.
    if let strand = current, strand.stalledUntil <= now,
      strand.process.map({ $0.isAlive && $0.stalledUntil <= now }) ?? true,
      events.first.map({ $0.time > end }) ?? true, steps % 64 != 0
    {
      steps += 1
      now = end
      mix(now)
      return
    }
    repeat { _ = park(until: end) } while now < end && current?.process?.isAlive ?? true
  }

  /// Waits for the end of another strand.
  func join(_ strand: Strand) {
    while !strand.isDone, !strand.isAbandoned {
      strand.joiners.append(current!)
      _ = park()
    }
  }

  /// Lets go of all that is still to happen.
  func close() { events.removeAll() }
}

/// A thread of the simulated world.
final class Strand {
  let name: String
  let process: SimulatedProcess?
  fileprivate var body: (() -> Void)?
  fileprivate var stack: OpaquePointer?
  /// Number of the present wait: an event that names an older one comes too late.
  fileprivate var ticket: UInt64 = 0
  fileprivate var isParked = false
  fileprivate var joiners: [Strand] = []
  /// Until then it does not run, as a thread that waits for a page or a core.
  var stalledUntil: UInt64 = 0
  fileprivate(set) var isDone = false
  fileprivate(set) var isAbandoned = false
  fileprivate var unwindings = 0

  init(name: String, process: SimulatedProcess?, _ body: @escaping () -> Void) {
    self.name = name
    self.process = process
    self.body = body
  }

  fileprivate func main() {
    body?()
    body = nil
  }
}

/// Strands that wait for one thing.
struct WaitList {
  private var strands: [Strand] = []
  mutating func add(_ strand: Strand) { strands.append(strand) }
  mutating func wakeAll(_ scheduler: Scheduler) {
    let waiting = strands
    strands.removeAll()
    for strand in waiting { scheduler.wake(strand) }
  }
}

/// Stacks that are free. Those of abandoned strands never come back: what stands on them may still be referred to.
final class StackPool {
  private var free: [OpaquePointer] = []
  func take() -> OpaquePointer { free.popLast() ?? mr_stack_make(1 << 20)! }
  func give(_ stack: OpaquePointer) { free.append(stack) }
  deinit { for stack in free { mr_stack_free(stack) } }
}
