@testable import RunChecker

/// How requests travel between a process and the brokers, and what may happen to them on the way.
///
/// A request that was sent is the broker's: it may arrive although its sender is dead by then, or has given up. An
/// answer that is lost leaves the sender without knowing.
final class Network {
  /// Shares of requests, while there are faults.
  struct Weather {
    var lostRequests = 0.0
    var lostAnswers = 0.0
    /// Requests that take long.
    var slow = 0.0
    /// Of lost requests, those that arrive all the same, when their sender has long given up and asked again.
    var lateRequests = 0.0
    var latencyNanoseconds: UInt64 = 1_000_000
    var slowNanoseconds: UInt64 = 400_000_000
  }

  let scheduler: Scheduler
  var weather = Weather()
  /// No broker answers until then.
  var downUntil: UInt64 = 0
  /// How long a client waits for an answer before it asks again.
  static let patienceNanoseconds: UInt64 = 1_000_000_000
  private(set) var lostCount = 0

  init(_ scheduler: Scheduler) { self.scheduler = scheduler }

  func isCut(_ process: SimulatedProcess) -> Bool {
    scheduler.now < downUntil || scheduler.now < process.cutOffUntil
  }

  private func latency() -> UInt64 {
    var time = 20_000 + scheduler.random.next() % weather.latencyNanoseconds
    if weather.slow > 0, scheduler.random.chance(weather.slow) {
      time += scheduler.random.next() % weather.slowNanoseconds
    }
    return time
  }

  /// Sends a request; `then` is called once with its answer, or nil where none came. Nothing is called for a process
  /// that is dead by then; one that is stalled hears later.
  func send<T>(
    from process: SimulatedProcess, _ what: StaticString, _ apply: @escaping () -> T,
    then: @escaping (T?) -> Void
  ) {
    guard process.isAlive else { return }
    scheduler.note("\(process.name) \(what)", UInt64(bitPattern: Int64(what.utf8CodeUnitCount)))
    func answer(after nanoseconds: UInt64, _ value: T?) {
      scheduler.after(nanoseconds) { self.deliver(process, value, then) }
    }
    guard !isCut(process), !(weather.lostRequests > 0 && scheduler.random.chance(weather.lostRequests)) else {
      lostCount += 1
      answer(after: Self.patienceNanoseconds, nil)
      if weather.lateRequests > 0, scheduler.random.chance(weather.lateRequests) {
        scheduler.after(scheduler.random.next() % 3_000_000_000) { [self] in
          if scheduler.now >= downUntil { _ = apply() }
        }
      }
      return
    }
    scheduler.after(latency()) { [self] in
      guard scheduler.now >= downUntil else {
        lostCount += 1
        answer(after: Self.patienceNanoseconds, nil)
        return
      }
      let value = apply()
      if isCut(process) || (weather.lostAnswers > 0 && scheduler.random.chance(weather.lostAnswers)) {
        lostCount += 1
        answer(after: Self.patienceNanoseconds, nil)
      } else {
        answer(after: latency(), value)
      }
    }
  }

  private func deliver<T>(_ process: SimulatedProcess, _ value: T?, _ then: @escaping (T?) -> Void) {
    guard process.isAlive else { return }
    if process.stalledUntil > scheduler.now {
      scheduler.after(process.stalledUntil - scheduler.now) { self.deliver(process, value, then) }
    } else {
      then(value)
    }
  }

  /// As `send`, and waits for the answer. nil: none came, or the process is dead.
  func ask<T>(
    from process: SimulatedProcess, _ what: StaticString, _ apply: @escaping () -> T
  ) -> T? {
    guard process.isAlive, let strand = scheduler.current else { return nil }
    var answer: T?
    var isAnswered = false
    send(from: process, what, apply) { value in
      answer = value
      isAnswered = true
      self.scheduler.wake(strand)
    }
    while !isAnswered, process.isAlive { _ = scheduler.park() }
    return process.isAlive ? answer : nil
  }
}
