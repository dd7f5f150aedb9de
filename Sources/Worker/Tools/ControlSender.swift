import Glibc
import Kafka
import Pipeline
import Records

/// What an operator wants, before it has an id and a signature.
public struct ControlRequest: Sendable {
  public var action: Command.Action
  public var issuer: String
  public var reason: String
  public var expectLineage: Lineage?
  public var isDryRun: Bool
  public var timeoutMilliseconds: Int64

  public init(
    action: Command.Action, issuer: String, reason: String, expectLineage: Lineage? = nil,
    isDryRun: Bool = false, timeoutMilliseconds: Int64 = 30_000
  ) {
    self.action = action
    self.issuer = issuer
    self.reason = reason
    self.expectLineage = expectLineage
    self.isDryRun = isDryRun
    self.timeoutMilliseconds = timeoutMilliseconds
  }

  /// Shorter lives than this would make clocks that differ a little refuse good commands.
  static let lifeMillisecondsMin: Int64 = 300_000

  /// The command to sign. It outlives the waiting for its answers twice over, and no longer: what was given up must
  /// not take effect hours later.
  public func command(
    id: String, pipeline: String, clusterID: String, keyID: String, now: EventTime
  ) -> Command {
    let (doubled, overflow) = timeoutMilliseconds.multipliedReportingOverflow(by: 2)
    let life = max(overflow ? Int64.max : doubled, Self.lifeMillisecondsMin)
    let (end, isFar) = now.milliseconds.addingReportingOverflow(life)
    return Command(
      id: id, pipeline: pipeline, clusterID: clusterID, action: action, issuer: issuer, keyID: keyID,
      reason: reason, issuedAt: now,
      expiresAt: EventTime(milliseconds: min(isFar ? .max : end, Self.timeMax)),
      expectLineage: expectLineage, isDryRun: isDryRun)
  }

  /// The last instant of the year 9999, which RFC 3339 can still write.
  private static let timeMax: Int64 = 253_402_300_799_000
}

/// What came of sending a command.
public struct ControlReport: Sendable {
  public var command: Command
  /// Where it stands on `control`; its broker's timestamp if it was read back in time.
  public var offset: Int64?
  public var timestamp: EventTime?
  public var acks: ControlAcks

  public init(command: Command, offset: Int64? = nil, timestamp: EventTime? = nil, acks: ControlAcks) {
    self.command = command
    self.offset = offset
    self.timestamp = timestamp
    self.acks = acks
  }
}

/// Sends one signed command and waits for the answers to it.
///
/// The places from which answers are read are noted before the command is sent, so none can be missed.
///
/// - Parameter onAck: called for each new answer, as it comes.
/// Errors:   `KafkaError` where brokers fail; missing answers are no error but stand in the report.
public func sendCommand(
  _ request: ControlRequest, key: Ed25519.PrivateKey, settings: PipelineSettings,
  surroundings: Surroundings, onAck: (CommandAck) -> Void
) throws -> ControlReport {
  let client = try ResolvedSecurity(settings.kafka, surroundings)
    .clientSettings(bootstrap: settings.kafka.bootstrap, clientID: "millrace-control")
  let admin = try Admin(client)
  var generator = SystemRandomNumberGenerator()
  let command = request.command(
    id: hexadecimal(generator.next()) + hexadecimal(generator.next()), pipeline: settings.name,
    clusterID: try admin.clusterID(), keyID: key.publicKey.keyID, now: wallTime())
  let (value, signature) = try command.signed(with: key)

  let acks = try Reader(client, topic: settings.topics.acks)
  for partition in 0..<(try acks.partitionCount()) {
    let end = try acks.watermarks(TopicPartition(settings.topics.acks, partition)).high
    try acks.start(partition: partition, at: .offset(end))
  }
  let control = try Reader(
    client, topic: settings.topics.control, fetch: FetchSettings(isolation: .readUncommitted))
  let end = try control.watermarks(TopicPartition(settings.topics.control, 0)).high
  try control.start(partition: 0, at: .offset(end))

  let expected = try liveInstances(settings, admin)
  var report = ControlReport(
    command: command,
    acks: ControlAcks(commandID: command.id, isDryRun: command.isDryRun, expected: expected))
  try produce(value, signature, to: settings.topics.control, client, pipeline: settings.name)

  let deadline = Monotonic.nanoseconds() &+ UInt64(max(request.timeoutMilliseconds, 0)) &* 1_000_000
  while Monotonic.nanoseconds() < deadline {
    if report.offset == nil {
      try check(
        control.next(timeoutMilliseconds: 20) { record in
          guard bytes(of: record) == value else { return }
          report.offset = record.offset
          report.timestamp = EventTime(milliseconds: record.timestamp)
        })
    }
    let taken = acks.next(timeoutMilliseconds: 50) { record in
      let value = bytes(of: record)
      // What is no answer is not for us to judge.
      guard let ack = CommandAck(parsing: value), report.acks.take(ack) else { return }
      onAck(ack)
    }
    try check(taken)
    switch report.acks.verdict {
    case .waiting: continue
    case .complete, .rejected: if report.offset != nil { return report }
    }
  }
  return report
}

/// Instances that are in the group now. Nobody where the group is empty or unknown.
///
/// Errors: none: brokers that cannot describe groups leave it open who should answer.
func liveInstances(_ settings: PipelineSettings, _ admin: Admin) throws(KafkaError) -> Set<String> {
  let members: [GroupMember]
  do throws(KafkaError) {
    members = try admin.members(ofGroup: settings.name)
  } catch {
    guard error.action != .denied else { throw error }
    return []
  }
  return Set(
    members.compactMap {
      workerInstance(instanceID: $0.instanceID, clientID: $0.clientID, pipeline: settings.name)
    })
}

private func produce(
  _ value: [UInt8], _ signature: String, to topic: String, _ client: ClientSettings,
  pipeline: String
) throws(KafkaError) {
  let producer = try Producer(client)
  var headers = HeaderBlock()
  headers.append(Command.signatureHeader, signature)
  try producer.produce(
    producer.open(topic), partition: 0, key: Array(pipeline.utf8), value: value, headers: headers)
  try producer.flush()
}

func check(_ taken: Taken) throws(KafkaError) {
  if case .error(let error) = taken, error.action != .retrySameCall { throw error }
}

/// A copy of what a record says.
func bytes(of record: borrowing Record) -> [UInt8] {
  // SAFETY: the bytes are copied while they are lent.
  unsafe record.value.withUnsafeBytes { unsafe Array($0) }
}

func hexadecimal(_ number: UInt64) -> String {
  let digits = String(number, radix: 16)
  return String(repeating: "0", count: 16 - digits.utf8.count) + digits
}

func wallTime() -> EventTime {
  var time = timespec()
  // SAFETY: writes one struct; this clock always exists.
  unsafe clock_gettime(CLOCK_REALTIME, &time)
  return EventTime(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec / 1_000_000))
}
