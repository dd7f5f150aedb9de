// Method: real threads and sums over many elements; order, loss and doubling would change what arrives.
import Synchronization
import Testing
@testable import Worker

private final class Collected: Sendable {
  let values = Mutex<[Int]>([])
}

@Test func `everything pushed is popped once and in order, whatever the capacity`() throws {
  for capacity in [1, 2, 3, 7] {
    let ring = Ring<[Int]>(capacity: capacity)
    let received = Collected()
    let consumer = try NamedThread("consumer") {
      while let element = ring.pop() {
        received.values.withLock { $0.append(element[0]) }
        if ring.count > capacity { Issue.record("more elements than capacity") }
      }
    }
    for value in 0..<5000 { #expect(ring.push([value])) }
    ring.close()
    consumer.join()
    #expect(received.values.withLock { $0 } == Array(0..<5000))
  }
}

@Test func `many producers and consumers lose nothing and double nothing`() throws {
  let ring = Ring<Int>(capacity: 3)
  let seen = Collected()
  let consumers = try (0..<3).map { index in
    try NamedThread("consumer\(index)") {
      var mine: [Int] = []
      while let value = ring.pop() { mine.append(value) }
      seen.values.withLock { [mine] in $0 += mine }
    }
  }
  let producers = try (0..<3).map { index in
    try NamedThread("producer\(index)") {
      for value in 0..<2000 where !ring.push(index * 2000 + value) { Issue.record("closed early") }
    }
  }
  for thread in producers { thread.join() }
  ring.close()
  for thread in consumers { thread.join() }
  #expect(seen.values.withLock { $0.sorted() } == Array(0..<6000))
}

@Test func `a closed ring takes nothing more, gives what it holds and then nil`() {
  let ring = Ring<Int>(capacity: 2)
  #expect(ring.push(1))
  #expect(ring.push(2))
  ring.close()
  #expect(!ring.push(3))
  #expect(ring.isClosed)
  #expect(ring.pop() == 1)
  #expect(ring.tryPop() == 2)
  #expect(ring.pop() == nil)
  #expect(ring.pop(untilNanoseconds: Monotonic.nanoseconds() + 10_000_000_000) == nil)
  #expect(ring.tryPop() == nil)
}

@Test func `closing wakes a producer that waits for room`() throws {
  let ring = Ring<Int>(capacity: 1)
  #expect(ring.push(1))
  let accepted = Atomic<Int>(-1)
  let producer = try NamedThread("producer") {
    accepted.store(ring.push(2) ? 1 : 0, ordering: .releasing)
  }
  ring.close()
  producer.join()
  #expect(accepted.load(ordering: .acquiring) == 0)
  #expect(ring.pop() == 1)
  #expect(ring.pop() == nil)
}

@Test func `a timed pop gives up on an empty ring`() {
  let ring = Ring<Int>(capacity: 1)
  #expect(ring.pop(untilNanoseconds: 0) == nil)
  #expect(ring.pop(untilNanoseconds: 0) == nil)
  #expect(ring.push(4))
  #expect(ring.pop(untilNanoseconds: 0) == 4)
}

private final class Counted: Sendable {
  let alive: Mutex<Int>
  init() { alive = Mutex(0) }
}
/// Non-copyable: may only be handed over.
private struct Unit: ~Copyable {
  let counted: Counted
  let value: Int
  init(_ counted: Counted, _ value: Int) {
    self.counted = counted
    self.value = value
    counted.alive.withLock { $0 += 1 }
  }
  deinit { counted.alive.withLock { $0 -= 1 } }
}

@Test func `elements left in a freed ring are freed, and refused ones too`() {
  let counted = Counted()
  do {
    let ring = Ring<Unit>(capacity: 3)
    for value in 0..<3 {
      let accepted = ring.push(Unit(counted, value))
      #expect(accepted)
    }
    if let first = ring.pop() {
      let value = first.value
      #expect(value == 0)
    }
    let refilled = ring.push(Unit(counted, 3))
    ring.close()
    let late = ring.push(Unit(counted, 4))
    #expect(refilled && !late)
    #expect(counted.alive.withLock { $0 } == 3)
  }
  #expect(counted.alive.withLock { $0 } == 0)
}

@Test func `a joined thread has run once and what it wrote is seen`() throws {
  final class Box: @unchecked Sendable { var value = 0 }
  let box = Box()
  let thread = try NamedThread("a name longer than the kernel keeps") { box.value += 1 }
  thread.join()
  #expect(box.value == 1)
}
