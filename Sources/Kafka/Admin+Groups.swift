import CRdKafka
import Glibc

/// One member of a consumer group, as its coordinator knows it.
public struct GroupMember: Hashable, Sendable {
  /// Given by the coordinator; another one at each joining.
  public var id: String
  public var clientID: String
  public var instanceID: String?
  public var host: String
  public var partitions: [TopicPartition]

  public init(id: String, clientID: String, instanceID: String?, host: String, partitions: [TopicPartition]) {
    self.id = id
    self.clientID = clientID
    self.instanceID = instanceID
    self.host = host
    self.partitions = partitions
  }
}

extension Admin {
  /// Names of the groups that the brokers know.
  public func groups(timeoutMilliseconds: Int32 = 30_000) throws(KafkaError) -> [String] {
    var names: [String] = []
    try unsafe ask(RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_ListConsumerGroups(handle.pointer, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let result = unsafe rd_kafka_event_ListConsumerGroups_result(event)
      let listed = unsafe rd_kafka_ListConsumerGroups_result_valid(result, &count)
      for index in 0..<count {
        guard let group = unsafe listed?[index] else { continue }
        unsafe names.append(String(cString: rd_kafka_ConsumerGroupListing_group_id(group)))
      }
    }
    return names.sorted()
  }

  /// Who is in the group now, by client id: who should answer a command.
  public func members(
    ofGroup group: String, timeoutMilliseconds: Int32 = 30_000
  ) throws(KafkaError) -> [GroupMember] {
    var members: [GroupMember] = []
    // SAFETY: the copy lives until the answer is here.
    let name = unsafe strdup(group)
    defer { unsafe free(name) }
    var names: [UnsafePointer<CChar>?] = unsafe [UnsafePointer(name)]
    try unsafe ask(RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_DescribeConsumerGroups(handle.pointer, &names, 1, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let result = unsafe rd_kafka_event_DescribeConsumerGroups_result(event)
      let described = unsafe rd_kafka_DescribeConsumerGroups_result_groups(result, &count)
      for index in 0..<count {
        guard let group = unsafe described?[index] else { continue }
        if let error = unsafe rd_kafka_ConsumerGroupDescription_error(group) {
          try check(unsafe rd_kafka_error_code(error), .admin)
        }
        for place in 0..<(unsafe rd_kafka_ConsumerGroupDescription_member_count(group)) {
          guard let member = unsafe rd_kafka_ConsumerGroupDescription_member(group, place) else { continue }
          unsafe members.append(read(member))
        }
      }
    }
    return members.sorted { $0.clientID < $1.clientID }
  }

  /// Forgets a group that nobody is in, with the offsets that it committed.
  public func delete(group: String, timeoutMilliseconds: Int32 = 30_000) throws(KafkaError) {
    // SAFETY: the object copies the name and is destroyed after the answer.
    let made = unsafe rd_kafka_DeleteGroup_new(group)
    defer { unsafe rd_kafka_DeleteGroup_destroy(made) }
    var natives: [OpaquePointer?] = unsafe [made]
    try unsafe ask(RD_KAFKA_ADMIN_OP_DELETEGROUPS, timeoutMilliseconds) { options, queue in
      unsafe rd_kafka_DeleteGroups(handle.pointer, &natives, 1, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let results = unsafe rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count)
      for index in 0..<count {
        guard let result = unsafe results?[index] else { continue }
        if let error = unsafe rd_kafka_group_result_error(result) {
          try check(unsafe rd_kafka_error_code(error), .admin)
        }
      }
    }
  }

  private func read(_ member: OpaquePointer) -> GroupMember {
    // SAFETY: the event that holds the member lives through this call; texts are copied.
    func text(_ pointer: UnsafePointer<CChar>?) -> String? { unsafe pointer.map { unsafe String(cString: $0) } }
    var partitions: [TopicPartition] = []
    if let assignment = unsafe rd_kafka_MemberDescription_assignment(member) {
      unsafe partitions = PartitionList.topicPartitions(rd_kafka_MemberAssignment_partitions(assignment))
    }
    return unsafe GroupMember(
      id: text(rd_kafka_MemberDescription_consumer_id(member)) ?? "",
      clientID: text(rd_kafka_MemberDescription_client_id(member)) ?? "",
      instanceID: text(rd_kafka_MemberDescription_group_instance_id(member)),
      host: text(rd_kafka_MemberDescription_host(member)) ?? "", partitions: partitions)
  }
}
