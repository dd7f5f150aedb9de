import Foundation
import Kafka
import TestSupport
import Testing

@testable import Worker

/// Plans of topics: the differences as pure values, and their application against a broker.
struct TopicPlanTests {
  @Test func `differences of topics are told apart by what can be done about them`() {
    let found = TopicDescription(name: "t", partitionCount: 4, replication: 1)
    let settings = [
      TopicSetting(name: "cleanup.policy", value: "delete", isOwn: false),
      TopicSetting(name: "retention.ms", value: "1", isOwn: true),
    ]
    func plan(_ partitions: Int32, _ replication: Int32, _ config: [NewTopic.Setting]) -> [TopicChange] {
      differences(
        NewTopic(name: "t", partitions: partitions, replication: replication, config: config), found, settings)
    }
    #expect(plan(4, 1, [NewTopic.Setting("retention.ms", "1")]) == [])
    #expect(plan(4, -1, []) == [])
    #expect(plan(8, 1, []) == [.widen(topic: "t", from: 4, to: 8)])
    #expect(plan(2, 1, []).map(\.isConflict) == [true])
    #expect(plan(4, 3, []).map(\.isConflict) == [true])
    #expect(
      plan(4, 1, [NewTopic.Setting("cleanup.policy", "compact")]) == [
        .configure(
          topic: "t", [TopicChange.SettingChange(name: "cleanup.policy", from: "delete", to: "compact")])
      ])
  }

  @Test(.enabled(if: LocalBroker.isAvailable, "noida-db is not installed"))
  func `applying a plan leaves nothing to plan`() throws {
    let broker = try LocalBroker.shared()
    let admin = try Admin(broker.settings())
    let name = "applied-\(UUID().uuidString.prefix(8).lowercased())"
    var desired = [
      NewTopic(name: name, partitions: 2, replication: 1, config: [NewTopic.Setting("retention.ms", "-1")]),
      NewTopic(name: name + "-b", partitions: 1, replication: 1),
    ]
    let plan = try planTopics(desired, admin)
    #expect(plan.count == 2)
    var applied: [TopicChange] = []
    try applyTopics(plan, admin) { applied.append($0) }
    #expect(applied == plan)
    #expect(try planTopics(desired, admin) == [])
    desired[0].partitions = 5
    desired[0].config = [NewTopic.Setting("retention.ms", "86400000")]
    let second = try planTopics(desired, admin)
    #expect(second.count == 2, "\(second)")
    try applyTopics(second, admin)
    #expect(try planTopics(desired, admin) == [])
  }
}
