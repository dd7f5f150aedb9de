import Kafka
import Pipeline
import Worker

/// The declared topics, or all faults.
private func catalogue(_ invocation: Invocation) throws -> [TopicDeclaration] {
  let catalogue = TopicCatalogue(
    directory: invocation.arguments.first ?? "topics", try invocation.filledSurroundings())
  guard catalogue.faults.isEmpty else { throw ConfigurationFaults(catalogue.faults) }
  return catalogue.topics
}

private func admin(_ invocation: Invocation) throws -> Admin {
  let settings = try invocation.pipeline().get()
  do {
    let security = try ResolvedSecurity(settings.kafka, try invocation.filledSurroundings())
    return try Admin(security.clientSettings(clientID: "\(settings.name).topics"))
  } catch {
    throw failure(error, settings)
  }
}

private func plan(_ invocation: Invocation, _ admin: Admin) throws -> [TopicChange] {
  let desired = try catalogue(invocation).map { topic in
    NewTopic(
      name: topic.name, partitions: topic.partitions, replication: topic.replication,
      config: topic.config.map { NewTopic.Setting($0.name, $0.value) })
  }
  do { return try planTopics(desired, admin) } catch { throw failure(error, try invocation.pipeline().get()) }
}

/// `millrace topics plan`
func topicsPlan(_ invocation: Invocation) throws -> ExitCode {
  let changes = try plan(invocation, try admin(invocation))
  for change in changes { invocation.output.result("\(change)") }
  invocation.note(changes.isEmpty ? "the cluster is as declared" : "\(changes.count) differences")
  return changes.isEmpty ? .done : .differs
}

/// `millrace topics apply`
func topicsApply(_ invocation: Invocation) throws -> ExitCode {
  let admin = try admin(invocation)
  let changes = try plan(invocation, admin)
  do {
    try applyTopics(changes, admin) { invocation.output.result("\($0)") }
  } catch {
    throw failure(error, try invocation.pipeline().get())
  }
  let conflicts = changes.filter(\.isConflict)
  for conflict in conflicts { invocation.output.result("\(conflict)") }
  invocation.note("\(changes.count - conflicts.count) changes applied, \(conflicts.count) conflicts left")
  return conflicts.isEmpty ? .done : .differs
}

/// `millrace topics check`
func topicsCheck(_ invocation: Invocation) throws -> ExitCode {
  let topics = try catalogue(invocation)
  invocation.output.result("valid: topics=\(topics.count)")
  return .done
}

/// `millrace topics render`: the declarations as commands of Kafka's own tool.
func topicsRender(_ invocation: Invocation) throws -> ExitCode {
  for topic in try catalogue(invocation) {
    var line = "kafka-topics.sh --create --if-not-exists --topic \(topic.name) --partitions \(topic.partitions)"
    if topic.replication > 0 { line += " --replication-factor \(topic.replication)" }
    for setting in topic.config { line += " --config \(setting.name)=\(setting.value)" }
    invocation.output.result(line + " --bootstrap-server \"$KAFKA_BOOTSTRAP\"")
  }
  return .done
}
