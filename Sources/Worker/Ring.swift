/// Bounded blocking queue from producer threads to consumer threads: what a lane hands to its commit thread.
///
/// A full ring stops the producer, which stops the taking of records: memory does not grow behind a slow
/// broker. After `close` nothing more goes in; what is inside is still taken, in order.
///
/// Cost:     one lock and at most one wake-up a call; no allocation after `init`. Meant for a few elements
///           a second to some thousands, a commit unit each, not for events.
/// Threads:  any number on either side.
@safe final class Ring<Element: ~Copyable>: @unchecked Sendable {
  // Invariant: every stored field below is read and written only under `monitor`, except `capacity`, which
  // does not change. An element leaves the thread that pushed it (`sending`) before another takes it.
  let capacity: Int
  private let monitor: any Monitor
  private let slots: UnsafeMutablePointer<Element>
  private var head = 0
  private var used = 0
  private var isClosedLocked = false

  init(capacity: Int, _ monitor: any Monitor = SystemMonitor()) {
    precondition(capacity >= 1, "a ring holds at least one element")
    self.capacity = capacity
    self.monitor = monitor
    unsafe slots = .allocate(capacity: capacity)
  }

  deinit {
    for index in 0..<used {
      // SAFETY: exactly the `used` slots from `head` on are initialised; nobody else is left to touch them.
      unsafe (slots + (head + index) % capacity).deinitialize(count: 1)
    }
    unsafe slots.deallocate()
  }

  /// Waits for room, then puts the element at the end. False, and the element is freed, if the ring is closed.
  func push(_ element: consuming sending Element) -> Bool {
    monitor.lock()
    defer { monitor.unlock() }
    while used == capacity && !isClosedLocked { monitor.wait() }
    guard !isClosedLocked else { return false }
    // SAFETY: one slot is free, and it is not initialised.
    unsafe (slots + (head + used) % capacity).initialize(to: element)
    used += 1
    monitor.signalAll()
    return true
  }

  /// Waits for an element and takes the oldest. nil once the ring is closed and empty, and from then on.
  func pop() -> sending Element? {
    monitor.lock()
    defer { monitor.unlock() }
    while used == 0 && !isClosedLocked { monitor.wait() }
    return take()
  }

  /// As `pop`, but gives up at that moment: nil then, or when closed and empty (see `isClosed`).
  func pop(untilNanoseconds deadline: UInt64) -> sending Element? {
    monitor.lock()
    defer { monitor.unlock() }
    while used == 0 && !isClosedLocked {
      if !monitor.wait(untilNanoseconds: deadline) { break }
    }
    return take()
  }

  /// The oldest element, or nil at once if there is none.
  func tryPop() -> sending Element? {
    monitor.lock()
    defer { monitor.unlock() }
    return take()
  }

  private func take() -> sending Element? {
    guard used > 0 else { return nil }
    // SAFETY: the slot at `head` is initialised; moving out ends that.
    nonisolated(unsafe) let element = unsafe (slots + head).move()
    head = (head + 1) % capacity
    used -= 1
    monitor.signalAll()
    // SAFETY: the slot was moved out of, so this is the only reference; `push` took it as `sending`.
    return unsafe element
  }

  /// Nothing more goes in. Producers that wait return false, consumers take what is left and then get nil.
  func close() {
    monitor.lock()
    isClosedLocked = true
    monitor.signalAll()
    monitor.unlock()
  }

  var isClosed: Bool {
    monitor.lock()
    defer { monitor.unlock() }
    return isClosedLocked
  }

  /// Elements inside now.
  var count: Int {
    monitor.lock()
    defer { monitor.unlock() }
    return used
  }
}

