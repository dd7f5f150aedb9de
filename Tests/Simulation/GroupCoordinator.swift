import Kafka

/// The group as its coordinator keeps it: members by generation, eager rebalances by `range`, offsets.
final class GroupCoordinator {
  struct Place: Equatable {
    var member: String
    var generation: Int
  }
  enum State { case empty, preparing, stable }
  final class Member {
    var id: String
    let instance: String
    let topics: [String]
    let sessionNanoseconds: UInt64
    var lastHeard: UInt64
    /// A join that waits for the others; its answer.
    var joining: ((Result<Place, Refusal>) -> Void)?
    var assignment: [TopicPartition] = []
    init(id: String, instance: String, topics: [String], session: UInt64, now: UInt64) {
      self.id = id
      self.instance = instance
      self.topics = topics
      sessionNanoseconds = session
      lastHeard = now
    }
  }

  private unowned let broker: SimulatedBroker
  private(set) var members: [Member] = []
  private(set) var generation = 0
  private(set) var state = State.empty
  private var joinCount = 0
  private var offsets: [TopicPartition: (offset: Int64, metadata: String, place: Int)] = [:]
  private var pending: [(producer: Int, offsets: [PartitionOffset], place: Int)] = []
  /// Where the next commit stands in the log of commits. A marker that comes late makes an older one count, which must
  /// not take the place of a newer one.
  private var nextPlace = 0
  /// How long members that have to come again are waited for.
  var rebalanceNanoseconds: UInt64 = 60_000_000_000
  private(set) var rebalanceCount = 0
  /// As one broker does: offsets in a transaction count whoever sends them.
  var acceptsOldGenerations = false

  init(_ broker: SimulatedBroker) { self.broker = broker }

  private var now: UInt64 { broker.scheduler.now }
  private func member(_ id: String) -> Member? { members.first { $0.id == id } }

  // MARK: Membership

  /// Joins, or joins again after a rebalance was announced. A static member that comes back under a new id takes over
  /// what the old one had, at once where the group is stable.
  func join(
    id: String, instance: String, topics: [String], sessionNanoseconds: UInt64,
    _ answer: @escaping (Result<Place, Refusal>) -> Void
  ) {
    if let known = members.first(where: { $0.instance == instance }) {
      if id.isEmpty {
        joinCount += 1
        known.joining?(.failure(.fencedInstance))
        known.joining = nil
        known.id = "\(instance)-\(joinCount)"
        known.lastHeard = now
        if state == .stable {
          answer(.success(Place(member: known.id, generation: generation)))
          return
        }
        known.joining = answer
        completeIfAllJoined()
        return
      }
      guard known.id == id else {
        answer(.failure(.fencedInstance))
        return
      }
      known.lastHeard = now
      known.joining = answer
      if state == .stable { prepare() }
      completeIfAllJoined()
      return
    }
    guard id.isEmpty else {
      answer(.failure(.unknownMember))
      return
    }
    joinCount += 1
    let member = Member(
      id: "\(instance)-\(joinCount)", instance: instance, topics: topics, session: sessionNanoseconds, now: now)
    member.joining = answer
    members.append(member)
    watch(member)
    prepare()
    completeIfAllJoined()
  }

  func assignment(of id: String, generation asked: Int) -> Result<[TopicPartition], Refusal> {
    guard let member = member(id) else { return .failure(.unknownMember) }
    guard asked == generation else { return .failure(.illegalGeneration) }
    guard state == .stable else { return .failure(.rebalanceInProgress) }
    member.lastHeard = now
    return .success(member.assignment)
  }

  func heartbeat(id: String, instance: String, generation asked: Int) -> Refusal? {
    if let why = fault(id: id, instance: instance, generation: asked) { return why }
    member(id)!.lastHeard = now
    return state == .preparing ? .rebalanceInProgress : nil
  }

  func leave(id: String) {
    guard let member = member(id) else { return }
    remove(member)
  }

  /// Lets everybody join again, as when a member with another subscription comes.
  func forceRebalance() { if state == .stable { prepare() } }

  /// A coordinator takes over that has not heard of the last joining of anybody whose instance's name begins so: it
  /// knows him by another id, whose session begins now.
  func forgetJoining(of prefix: String) {
    for member in members where member.instance.hasPrefix(prefix) {
      joinCount += 1
      member.joining?(.failure(.fencedInstance))
      member.joining = nil
      member.id = "\(member.instance)-\(joinCount)"
      member.lastHeard = now
    }
    completeIfAllJoined()
  }

  private func fault(id: String, instance: String, generation asked: Int) -> Refusal? {
    guard member(id) != nil else {
      return members.contains { $0.instance == instance } ? .fencedInstance : .unknownMember
    }
    return asked == generation ? nil : .illegalGeneration
  }

  private func watch(_ member: Member) {
    broker.scheduler.after(member.sessionNanoseconds / 4) { [weak self, weak member] in
      guard let self, let member, members.contains(where: { $0 === member }) else { return }
      // One that waits for its answer is not asked for heartbeats.
      if member.joining == nil, now - member.lastHeard > member.sessionNanoseconds {
        remove(member)
      } else {
        watch(member)
      }
    }
  }

  private func remove(_ member: Member) {
    member.joining?(.failure(.unknownMember))
    members.removeAll { $0 === member }
    if members.isEmpty {
      generation += 1
      state = .empty
    } else if state == .stable {
      prepare()
    }
    completeIfAllJoined()
  }

  private func prepare() {
    guard state != .preparing else { return }
    state = .preparing
    rebalanceCount += 1
    let count = rebalanceCount
    broker.scheduler.after(rebalanceNanoseconds) { [weak self] in
      guard let self, state == .preparing, rebalanceCount == count else { return }
      members.removeAll { $0.joining == nil }
      completeIfAllJoined()
    }
  }

  private func completeIfAllJoined() {
    guard state == .preparing, !members.isEmpty, members.allSatisfy({ $0.joining != nil }) else { return }
    generation += 1
    state = .stable
    assign()
    for member in members {
      member.lastHeard = now
      let answer = member.joining
      member.joining = nil
      answer?(.success(Place(member: member.id, generation: generation)))
    }
  }

  /// The `range` assignor: of each topic consecutive partitions, in the order of the instances' names.
  private func assign() {
    for member in members { member.assignment = [] }
    let sorted = members.sorted { $0.instance < $1.instance }
    for topic in broker.topics {
      let takers = sorted.filter { $0.topics.contains(topic.name) }
      guard !takers.isEmpty else { continue }
      let (each, more) = topic.partitions.count.quotientAndRemainder(dividingBy: takers.count)
      var next: Int32 = 0
      for (index, member) in takers.enumerated() {
        for _ in 0..<(each + (index < more ? 1 : 0)) {
          member.assignment.append(TopicPartition(topic.name, next))
          next += 1
        }
      }
    }
  }

  // MARK: Offsets

  /// Offsets of a transaction: they count once it commits.
  func commitInTransaction(
    _ new: [PartitionOffset], producer: Int, epoch: Int, member id: String, instance: String, generation asked: Int
  ) -> Refusal? {
    if let why = broker.transactions.verifyOffsets(producer: producer, epoch: epoch) { return why }
    if !acceptsOldGenerations {
      if let why = fault(id: id, instance: instance, generation: asked) { return why }
      member(id)!.lastHeard = now
    }
    broker.scheduler.note("group: producer \(producer) adds \(new.map { "\($0.partition)=\($0.offset)" })")
    pending.append((producer, new, nextPlace))
    nextPlace += 1
    return nil
  }

  /// Offsets outside of any transaction.
  func commit(_ new: [PartitionOffset], member id: String, instance: String, generation asked: Int) -> Refusal? {
    if let why = fault(id: id, instance: instance, generation: asked) { return why }
    if state == .preparing { return .rebalanceInProgress }
    for item in new { offsets[item.partition] = (item.offset, item.metadata, nextPlace) }
    nextPlace += 1
    return nil
  }

  /// As after a week without members: nobody remembers where they stood. False while there are any.
  func forgetOffsets(of topics: [String]) -> Bool {
    guard members.isEmpty, pending.isEmpty else { return false }
    offsets = offsets.filter { !topics.contains($0.key.topic) }
    return true
  }

  func endTransaction(producer: Int, commit: Bool) {
    broker.scheduler.note("group: producer \(producer) \(commit ? "commits" : "aborts")")
    if commit {
      for entry in pending where entry.producer == producer {
        for item in entry.offsets where (offsets[item.partition]?.place ?? -1) < entry.place {
          offsets[item.partition] = (item.offset, item.metadata, entry.place)
        }
      }
    }
    pending.removeAll { $0.producer == producer }
  }

  /// `stable`: not while a transaction about one of them is open.
  func fetch(_ partitions: [TopicPartition], stable: Bool) -> Result<[CommittedOffset], Refusal> {
    if stable, pending.contains(where: { $0.offsets.contains { partitions.contains($0.partition) } }) {
      return .failure(.unstableOffsets)
    }
    return .success(
      partitions.map {
        CommittedOffset(partition: $0, offset: offsets[$0]?.offset, metadata: offsets[$0]?.metadata ?? "")
      })
  }
}
