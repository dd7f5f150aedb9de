import Records

/// Items in order of time, then offset: a heap of four children a node.
///
/// Why not time buckets: event times may lie anywhere (history is replayed, clocks err), and a heap is exact.
/// Times mostly rise, so that adding costs one comparison.
///
/// Cost:     `add` O(1) for rising times, else O(log n); `removeFirst` O(log n); memory doubles when full.
/// Replay:   the order out depends on (time, offset) alone as long as no two items share both.
final class TimeHeap {
  struct Node: BitwiseCopyable {
    var time: Int64
    var offset: Int64
    var item: UInt32

    @inline(__always) func isBefore(_ other: Node) -> Bool {
      time != other.time ? time < other.time : offset < other.offset
    }
  }

  private(set) var count = 0
  private var nodes: FixedBuffer<Node>
  /// Where each item stands; kept only if items may be removed out of turn.
  private var positions: FixedBuffer<UInt32>
  private let isIndexed: Bool
  private static let blank = Node(time: 0, offset: 0, item: 0)

  init(capacity: Int, isIndexed: Bool = false) {
    nodes = FixedBuffer(repeating: Self.blank, count: max(capacity, 4))
    positions = FixedBuffer(repeating: 0, count: isIndexed ? max(capacity, 4) : 0)
    self.isIndexed = isIndexed
  }

  var byteCount: Int { nodes.count * MemoryLayout<Node>.stride + positions.count * 4 }

  /// The earliest; nil if there is none.
  var first: Node? { count > 0 ? nodes[0] : nil }

  func removeAll() { count = 0 }

  func add(time: Int64, offset: Int64, item: UInt32) {
    if count == nodes.count {
      let larger = FixedBuffer(repeating: Self.blank, count: 2 * count)
      larger.copy(from: nodes, at: 0, to: 0, count: count)
      nodes = larger
    }
    if isIndexed, Int(item) >= positions.count {
      let larger = FixedBuffer<UInt32>(
        repeating: 0, count: max(2 * positions.count, Int(item) + 1))
      larger.copy(from: positions, at: 0, to: 0, count: positions.count)
      positions = larger
    }
    count += 1
    rise(Node(time: time, offset: offset, item: item), from: count - 1)
  }

  func removeFirst() { remove(at: 0) }

  /// Takes out an item wherever it stands; only for an indexed heap.
  func remove(item: UInt32) {
    precondition(isIndexed, "heap keeps no positions")
    let at = Int(positions[Int(item)])
    precondition(at < count && nodes[at].item == item, "item is not in the heap")
    remove(at: at)
  }

  /// Calls `body` with every item, in no useful order.
  func forEach(_ body: (Node) -> Void) {
    for index in 0..<count { body(nodes[index]) }
  }

  private func remove(at index: Int) {
    count -= 1
    guard index < count else { return }
    let last = nodes[count]
    if index > 0 && last.isBefore(nodes[(index - 1) / 4]) {
      rise(last, from: index)
    } else {
      sink(last, from: index)
    }
  }

  @inline(__always) private func place(_ node: Node, _ at: Int) {
    nodes[at] = node
    if isIndexed { positions[Int(node.item)] = UInt32(truncatingIfNeeded: at) }
  }

  private func rise(_ node: Node, from start: Int) {
    var at = start
    while at > 0 {
      let parent = (at - 1) / 4
      let above = nodes[parent]
      if !node.isBefore(above) { break }
      place(above, at)
      at = parent
    }
    place(node, at)
  }

  private func sink(_ node: Node, from start: Int) {
    var at = start
    while true {
      let firstChild = 4 * at + 1
      if firstChild >= count { break }
      var best = firstChild
      for child in (firstChild + 1)..<max(min(firstChild + 4, count), firstChild + 1)
      where nodes[child].isBefore(nodes[best]) {
        best = child
      }
      let below = nodes[best]
      if !below.isBefore(node) { break }
      place(below, at)
      at = best
    }
    place(node, at)
  }
}
