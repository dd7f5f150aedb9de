import Kafka

/// One difference between the topics that are declared and those of a cluster.
public enum TopicChange: Hashable, Sendable, CustomStringConvertible {
  case create(NewTopic)
  /// Keys move to other partitions: what was kept by key stays where it was.
  case widen(topic: String, from: Int32, to: Int32)
  case configure(topic: String, [SettingChange])
  /// Cannot be applied without losing records or moving replicas; for people to settle.
  case conflict(topic: String, reason: String)

  public struct SettingChange: Hashable, Sendable {
    public var name: String
    public var from: String?
    public var to: String
  }

  public var topic: String {
    switch self {
    case .create(let topic): topic.name
    case .widen(let topic, _, _), .configure(let topic, _), .conflict(let topic, _): topic
    }
  }
  public var isConflict: Bool { if case .conflict = self { true } else { false } }

  public var description: String {
    switch self {
    case .create(let topic):
      "create \(topic.name) partitions=\(topic.partitions) replication=\(topic.replication)"
        + topic.config.map { " \($0.name)=\($0.value)" }.joined()
    case .widen(let topic, let from, let to): "widen \(topic) partitions=\(from)→\(to)"
    case .configure(let topic, let changes):
      "configure \(topic)" + changes.map { " \($0.name)=\($0.from ?? "?")→\($0.to)" }.joined()
    case .conflict(let topic, let reason): "conflict \(topic): \(reason)"
    }
  }
}

/// The differences, in the order of `desired`; empty when the cluster is as declared. Topics that are not declared
/// are nobody's business here, and settings that are not declared stay as they are.
public func planTopics(_ desired: [NewTopic], _ admin: Admin) throws(KafkaError) -> [TopicChange] {
  let present = try admin.topics()
  var changes: [TopicChange] = []
  for topic in desired {
    guard let found = present.first(where: { $0.name == topic.name }) else {
      changes.append(.create(topic))
      continue
    }
    let settings = try admin.settings(ofTopic: topic.name)
    changes += differences(topic, found, settings)
  }
  return changes
}

/// What separates one declared topic from the one that is there.
func differences(
  _ topic: NewTopic, _ found: TopicDescription, _ settings: [TopicSetting]
) -> [TopicChange] {
  var changes: [TopicChange] = []
  if topic.partitions > found.partitionCount {
    changes.append(.widen(topic: topic.name, from: found.partitionCount, to: topic.partitions))
  } else if topic.partitions < found.partitionCount {
    changes.append(
      .conflict(
        topic: topic.name,
        reason: "it has \(found.partitionCount) partitions, \(topic.partitions) are declared, and none can be taken away"))
  }
  if topic.replication > 0, topic.replication != found.replication {
    changes.append(
      .conflict(
        topic: topic.name,
        reason: "it has \(found.replication) replicas, \(topic.replication) are declared; replicas are moved by Kafka's own tools"))
  }
  let differing = topic.config.compactMap { declared -> TopicChange.SettingChange? in
    let old = settings.first { $0.name == declared.name }?.value
    return old == declared.value
      ? nil : TopicChange.SettingChange(name: declared.name, from: old, to: declared.value)
  }
  if !differing.isEmpty { changes.append(.configure(topic: topic.name, differing)) }
  return changes
}

/// Creates what is missing, widens and configures; never deletes. Conflicts are passed over: they are in the plan.
///
/// `applied` is told each change once the cluster has confirmed it; the first failure stops the rest.
public func applyTopics(
  _ changes: [TopicChange], _ admin: Admin, applied: (TopicChange) -> Void = { _ in }
) throws(KafkaError) {
  for change in changes {
    switch change {
    case .create(let topic): try admin.create([topic])
    case .widen(let topic, _, let count): try admin.createPartitions(topic, count: count)
    case .configure(let topic, let settings):
      try admin.change(settings.map { NewTopic.Setting($0.name, $0.to) }, ofTopic: topic)
    case .conflict: continue
    }
    applied(change)
  }
}
