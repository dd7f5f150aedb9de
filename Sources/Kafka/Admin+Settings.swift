import CRdKafka

/// One setting of a topic as the broker has it.
public struct TopicSetting: Hashable, Sendable {
  public var name: String
  public var value: String
  /// Given for this topic, not inherited from the broker.
  public var isOwn: Bool
  public init(name: String, value: String, isOwn: Bool) {
    self.name = name
    self.value = value
    self.isOwn = isOwn
  }
}

extension Admin {
  /// A topic's settings, by name.
  public func settings(
    ofTopic topic: String, timeoutMilliseconds: Int32 = 30_000
  ) throws(KafkaError) -> [TopicSetting] {
    // SAFETY: the object is destroyed after the answer.
    let made = unsafe rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)
    defer { unsafe rd_kafka_ConfigResource_destroy(made) }
    var natives: [OpaquePointer?] = unsafe [made]
    var settings: [TopicSetting] = []
    try unsafe ask(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_DescribeConfigs(handle.pointer, &natives, 1, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let resources = unsafe rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count)
      try unsafe checkResources(resources, count)
      for index in 0..<count {
        guard let resource = unsafe resources?[index] else { continue }
        var entryCount = 0
        let entries = unsafe rd_kafka_ConfigResource_configs(resource, &entryCount)
        for entry in 0..<entryCount {
          // A sensitive value is not told.
          guard let native = unsafe entries?[entry], let value = unsafe rd_kafka_ConfigEntry_value(native)
          else { continue }
          let source = unsafe rd_kafka_ConfigEntry_source(native)
          unsafe settings.append(
            TopicSetting(
              name: String(cString: rd_kafka_ConfigEntry_name(native)), value: String(cString: value),
              isOwn: source == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG))
        }
      }
    }
    return settings.sorted { $0.name < $1.name }
  }

  /// Changes settings of a topic and keeps its others. The request replaces all of a topic's own settings, so
  /// those it has are sent along; a change made elsewhere between the two requests is undone.
  public func change(
    _ changes: [NewTopic.Setting], ofTopic topic: String, timeoutMilliseconds: Int32 = 30_000
  ) throws(KafkaError) {
    if changes.isEmpty { return }
    let present = try settings(ofTopic: topic, timeoutMilliseconds: timeoutMilliseconds).filter(\.isOwn)
    let kept = present.filter { old in !changes.contains { $0.name == old.name } }
    // SAFETY: the object is destroyed after the answer.
    let made = unsafe rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)
    defer { unsafe rd_kafka_ConfigResource_destroy(made) }
    for (name, value) in kept.map({ ($0.name, $0.value) }) + changes.map({ ($0.name, $0.value) }) {
      try check(unsafe rd_kafka_ConfigResource_set_config(made, name, value), .admin)
    }
    var natives: [OpaquePointer?] = unsafe [made]
    try unsafe ask(RD_KAFKA_ADMIN_OP_ALTERCONFIGS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_AlterConfigs(handle.pointer, &natives, 1, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let resources = unsafe rd_kafka_AlterConfigs_result_resources(
        rd_kafka_event_AlterConfigs_result(event), &count)
      try unsafe checkResources(resources, count)
    }
  }

  private func checkResources(
    _ resources: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int
  ) throws(KafkaError) {
    for index in 0..<count {
      // SAFETY: the event that holds `count` resources lives through this call.
      guard let resource = unsafe resources?[index] else { continue }
      let code = unsafe rd_kafka_ConfigResource_error(resource)
      if code == RD_KAFKA_RESP_ERR_NO_ERROR { continue }
      let words = unsafe rd_kafka_ConfigResource_error_string(resource).map { unsafe String(cString: $0) }
      let topic = unsafe String(cString: rd_kafka_ConfigResource_name(resource))
      throw KafkaError(
        code: code.rawValue, call: .admin,
        message: "\(words ?? KafkaError(code: code.rawValue, call: .admin).message) topic=\(topic)")
    }
  }
}
