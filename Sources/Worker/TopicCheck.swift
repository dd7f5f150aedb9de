import Kafka
import Pipeline

/// Compares the topics that exist with what the pipeline needs. Pure; every fault at once.
func topicFaults(_ settings: PipelineSettings, existing: [TopicDescription]) -> [String] {
  var faults: [String] = []
  func count(_ name: String, _ role: String) -> Int32? {
    guard let topic = existing.first(where: { $0.name == name }) else {
      faults.append("topic is missing, or there is no right to see it topic=\(name) role=\(role)")
      return nil
    }
    return topic.partitionCount
  }
  let scored = settings.features.inputs[settings.features.scoredInput]
  let partitions = count(scored.topic, "scored input")
  for (index, input) in settings.features.inputs.enumerated()
  where index != settings.features.scoredInput {
    if let other = count(input.topic, "input \(input.name)"), let partitions, other != partitions {
      faults.append(
        "inputs need equal partition counts \(scored.topic)=\(partitions) \(input.topic)=\(other)")
    }
  }
  for (name, role) in [
    (settings.topics.predictions, "predictions"), (settings.topics.journal, "journal"),
  ] {
    if let other = count(name, role), let partitions, other != partitions {
      faults.append("topic needs the partitions of the scored input topic=\(name) count=\(other) needed=\(partitions)")
    }
  }
  for (name, role) in [
    (settings.topics.learning, "learning"), (settings.topics.checkpoints, "checkpoints"),
    (settings.topics.control, "control"),
  ] {
    if let other = count(name, role), other != 1 {
      faults.append("topic needs exactly one partition topic=\(name) role=\(role) count=\(other)")
    }
  }
  for (name, role) in [
    (settings.topics.acks, "control acks"), (settings.topics.deadLetters, "dead letters"),
    (settings.topics.alerts, "alerts"),
  ] { _ = count(name, role) }
  if !faults.isEmpty {
    faults.append("`millrace topics plan` shows what the declared topics would change, `millrace topics apply` creates and widens them")
  }
  return faults
}
