import Learning
import Records
import Testing

@testable import Worker

// Method: the hub through a pin's life, in the order in which the replica calls it; ages on a clock of our own.

private func scorers(_ lineage: UInt32, _ sequence: UInt64) -> ScorerSet {
  ScorerSet(
    version: ModelVersion(lineage: Lineage(lineage), sequence: Sequence(sequence)), scorers: [], names: [],
    championIndex: 0, rowSchema: RowSchema([]))
}

@Test func `nothing that a pin held back is served when the pin ends`() {
  let hub = ScorerHub()
  hub.publish(scorers(1, 10))
  hub.pin(by: "back", scorers: scorers(1, 5))
  hub.publish(scorers(1, 11))
  #expect(hub.current().scorers?.version == scorers(1, 5).version)
  let pinned = hub.generation
  hub.publish(scorers(2, 11))
  #expect(hub.generation == pinned, "lanes need not look while the pin stands")
  hub.unpin(by: "back")
  #expect(hub.current().scorers?.version == scorers(2, 11).version)
  #expect(hub.generation > pinned)
}

@Test func `a freeze pins what is served, a later pin takes over, another command's end changes nothing`() {
  let hub = ScorerHub()
  hub.pin(by: "too early", scorers: nil)
  #expect(hub.pinnedBy == nil, "nothing is served yet, so nothing is held")
  hub.publish(scorers(1, 10))
  hub.pin(by: "freeze", scorers: nil)
  hub.publish(scorers(1, 11))
  #expect(hub.current().scorers?.version == scorers(1, 10).version)
  hub.pin(by: "back", scorers: scorers(1, 5))
  hub.unpin(by: "freeze")
  #expect(hub.pinnedBy == "back")
  #expect(hub.current().scorers?.version == scorers(1, 5).version)
  hub.unpin(by: "back")
  #expect(hub.pinnedBy == nil)
  #expect(hub.current().scorers?.version == scorers(1, 11).version)
}

@Test func `a pin that the log does not confirm is heard of, again and again, by its age`() {
  let second: UInt64 = 1_000_000_000
  var age = PinAge()
  #expect(age.alarm(pinnedBy: nil, now: 0) == nil)
  #expect(age.alarm(pinnedBy: "a", now: 10 * second) == nil)
  #expect(age.alarm(pinnedBy: "a", now: 39 * second) == nil)
  #expect(age.alarm(pinnedBy: "a", now: 40 * second) == 30)
  #expect(age.alarm(pinnedBy: "a", now: 41 * second) == nil)
  #expect(age.alarm(pinnedBy: "a", now: 340 * second) == 330)
  #expect(age.alarm(pinnedBy: "b", now: 341 * second) == nil, "another pin has an age of its own")
  #expect(age.alarm(pinnedBy: nil, now: 400 * second) == nil)
  #expect(age.alarm(pinnedBy: "b", now: 401 * second) == nil)
}
