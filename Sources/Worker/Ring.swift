import Glibc

/// Bounded blocking queue from producer threads to consumer threads: what a lane hands to its commit thread.
///
/// A full ring stops the producer, which stops the taking of records: memory does not grow behind a slow
/// broker. After `close` nothing more goes in; what is inside is still taken, in order.
///
/// Cost:     one mutex and at most one wake-up a call; no allocation after `init`. Meant for a few elements
///           a second to some thousands, a commit unit each, not for events.
/// Threads:  any number on either side.
@safe public final class Ring<Element: ~Copyable>: @unchecked Sendable {
  // Invariant: every stored field below is read and written only under `lock`, except `capacity`, which
  // does not change. An element leaves the thread that pushed it (`sending`) before another takes it.
  public let capacity: Int
  private let lock: PThreadMutex
  private let notFull: PThreadCondition
  private let notEmpty: PThreadCondition
  private let slots: UnsafeMutablePointer<Element>
  private var head = 0
  private var used = 0
  private var isClosedLocked = false

  public init(capacity: Int) {
    precondition(capacity >= 1, "a ring holds at least one element")
    self.capacity = capacity
    lock = PThreadMutex()
    notFull = PThreadCondition()
    notEmpty = PThreadCondition()
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
  public func push(_ element: consuming sending Element) -> Bool {
    lock.lock()
    defer { lock.unlock() }
    while used == capacity && !isClosedLocked { notFull.wait(lock) }
    guard !isClosedLocked else { return false }
    // SAFETY: one slot is free, and it is not initialised.
    unsafe (slots + (head + used) % capacity).initialize(to: element)
    used += 1
    notEmpty.signal()
    return true
  }

  /// Waits for an element and takes the oldest. nil once the ring is closed and empty, and from then on.
  public func pop() -> sending Element? {
    lock.lock()
    defer { lock.unlock() }
    while used == 0 && !isClosedLocked { notEmpty.wait(lock) }
    return take()
  }

  /// As `pop`, but gives up after the time: nil then, or when closed and empty (see `isClosed`).
  public func pop(timeoutMilliseconds: Int) -> sending Element? {
    lock.lock()
    defer { lock.unlock() }
    var deadline = PThreadCondition.deadline(afterMilliseconds: timeoutMilliseconds)
    while used == 0 && !isClosedLocked {
      if !notEmpty.wait(lock, until: &deadline) { break }
    }
    return take()
  }

  /// The oldest element, or nil at once if there is none.
  public func tryPop() -> sending Element? {
    lock.lock()
    defer { lock.unlock() }
    return take()
  }

  private func take() -> sending Element? {
    guard used > 0 else { return nil }
    // SAFETY: the slot at `head` is initialised; moving out ends that.
    nonisolated(unsafe) let element = unsafe (slots + head).move()
    head = (head + 1) % capacity
    used -= 1
    notFull.signal()
    // SAFETY: the slot was moved out of, so this is the only reference; `push` took it as `sending`.
    return unsafe element
  }

  /// Nothing more goes in. Producers that wait return false, consumers take what is left and then get nil.
  public func close() {
    lock.lock()
    isClosedLocked = true
    notFull.broadcast()
    notEmpty.broadcast()
    lock.unlock()
  }

  public var isClosed: Bool {
    lock.lock()
    defer { lock.unlock() }
    return isClosedLocked
  }

  /// Elements inside now.
  public var count: Int {
    lock.lock()
    defer { lock.unlock() }
    return used
  }
}

/// A pthread mutex at a fixed address.
@safe final class PThreadMutex {
  fileprivate let pointer: UnsafeMutablePointer<pthread_mutex_t>
  init() {
    unsafe pointer = .allocate(capacity: 1)
    // SAFETY: freshly allocated; null attributes are the defaults.
    let result = unsafe pthread_mutex_init(pointer, nil)
    precondition(result == 0, "pthread_mutex_init")
  }
  deinit {
    unsafe pthread_mutex_destroy(pointer)
    unsafe pointer.deallocate()
  }
  func lock() {
    let result = unsafe pthread_mutex_lock(pointer)
    precondition(result == 0, "pthread_mutex_lock")
  }
  func unlock() {
    let result = unsafe pthread_mutex_unlock(pointer)
    precondition(result == 0, "pthread_mutex_unlock")
  }
}

/// A condition variable on the monotonic clock, so that a step of the wall clock wakes nobody.
@safe final class PThreadCondition {
  private let pointer: UnsafeMutablePointer<pthread_cond_t>
  init() {
    unsafe pointer = .allocate(capacity: 1)
    var attributes = pthread_condattr_t()
    // SAFETY: the attributes live across the three calls; the condition was freshly allocated.
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    let result = unsafe pthread_cond_init(pointer, &attributes)
    precondition(result == 0, "pthread_cond_init")
    unsafe pthread_condattr_destroy(&attributes)
  }
  deinit {
    unsafe pthread_cond_destroy(pointer)
    unsafe pointer.deallocate()
  }
  func wait(_ mutex: PThreadMutex) {
    let result = unsafe pthread_cond_wait(pointer, mutex.pointer)
    precondition(result == 0, "pthread_cond_wait")
  }
  /// False once the deadline has passed.
  func wait(_ mutex: PThreadMutex, until deadline: inout timespec) -> Bool {
    unsafe pthread_cond_timedwait(pointer, mutex.pointer, &deadline) == 0
  }
  func signal() { unsafe pthread_cond_signal(pointer) }
  func broadcast() { unsafe pthread_cond_broadcast(pointer) }

  static func deadline(afterMilliseconds milliseconds: Int) -> timespec {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    let wait = max(0, min(milliseconds, 1_000_000_000))
    now.tv_sec += wait / 1000
    now.tv_nsec += (wait % 1000) * 1_000_000
    if now.tv_nsec >= 1_000_000_000 {
      now.tv_nsec -= 1_000_000_000
      now.tv_sec += 1
    }
    return now
  }
}
