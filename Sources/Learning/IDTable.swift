import Records

/// From the low 32 bits of an id's hash to entries: open addressing, linear probing, removal by shifting back.
///
/// Cost:     one or two cache lines a look-up at a load below 0.7; memory doubles when that is reached.
/// Replay:   look-ups depend on what is in, never on the order in which it came.
struct IDTable: ~Copyable {
  /// Low half: slot + 1, 0 where empty; high half: hash.
  private var places: FixedBuffer<UInt64>
  private var mask: Int
  private(set) var count = 0

  struct Probe {
    let hash: UInt32
    var place: Int
  }

  init(capacity: Int) {
    var size = 64
    while size * 7 / 10 < capacity { size *= 2 }
    places = FixedBuffer(repeating: 0, count: size)
    mask = size - 1
  }

  var byteCount: Int { places.count * 8 }

  @inline(__always) func probe(_ hash: UInt32) -> Probe {
    Probe(hash: hash, place: Int(hash) & mask)
  }

  /// The next entry with this hash; nil once there are no more.
  @inline(__always) func next(_ probe: inout Probe) -> UInt32? {
    while true {
      let value = places[probe.place]
      if value == 0 { return nil }
      probe.place = (probe.place + 1) & mask
      if UInt32(truncatingIfNeeded: value >> 32) == probe.hash {
        return UInt32(truncatingIfNeeded: value) - 1
      }
    }
  }

  mutating func insert(_ hash: UInt32, _ slot: UInt32) {
    if (count + 1) * 10 > places.count * 7 { grow() }
    put(UInt64(hash) << 32 | UInt64(slot + 1))
    count += 1
  }

  mutating func remove(_ hash: UInt32, _ slot: UInt32) {
    let value = UInt64(hash) << 32 | UInt64(slot + 1)
    var hole = Int(hash) & mask
    while places[hole] != value {
      precondition(places[hole] != 0, "entry is not in the table")
      hole = (hole + 1) & mask
    }
    var at = hole
    while true {
      at = (at + 1) & mask
      let moved = places[at]
      if moved == 0 { break }
      // An entry may fill the hole unless its home lies after the hole on its way to `at`.
      let home = Int(moved >> 32) & mask
      if (at - home) & mask >= (at - hole) & mask {
        places[hole] = moved
        hole = at
      }
    }
    places[hole] = 0
    count -= 1
  }

  mutating func removeAll() {
    places.fill(0)
    count = 0
  }

  private func put(_ value: UInt64) { Self.put(value, into: places, mask: mask) }

  private static func put(_ value: UInt64, into places: borrowing FixedBuffer<UInt64>, mask: Int) {
    var place = Int(value >> 32) & mask
    while places[place] != 0 { place = (place + 1) & mask }
    places[place] = value
  }

  private mutating func grow() {
    let larger = FixedBuffer<UInt64>(repeating: 0, count: 2 * places.count)
    for index in 0..<places.count where places[index] != 0 {
      Self.put(places[index], into: larger, mask: larger.count - 1)
    }
    mask = larger.count - 1
    places = larger
  }
}
