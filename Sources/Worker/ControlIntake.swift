import Engine
import Kafka
import Records

/// Reads `control` for the lane that owns it: checks signatures and writes the signed bytes to
/// `learning`, with an ack, in the lane's own transaction. Whether a command takes effect is for the
/// fold alone to say.
final class ControlIntake {
  /// Commands taken between two steps: an operator's log is no bulk input.
  static let commandsPerStep = 16

  private let context: WorkerContext
  private var queue: (any RecordQueue)?
  private var next: Int64?
  /// Where the next command is fetched from.
  private(set) var position: Int64

  init(context: WorkerContext, position: Int64) {
    self.context = context
    self.position = position
  }

  /// To be told at every assignment.
  func read(from queue: any RecordQueue) { self.queue = queue }

  /// Offset after the last command taken since the last call.
  func takeNextOffset() -> Int64? {
    defer { next = nil }
    return next
  }

  /// Whether anything was taken.
  func take(into unit: CommitUnit) throws(WorkerFailure) -> Bool {
    guard let queue else { return false }
    var taken = 0
    while taken < Self.commandsPerStep {
      let result = queue.next { record in
        // Handed out before: some clients do so after a rebalance.
        guard record.offset >= position else { return }
        accept(record, into: unit)
        next = record.offset + 1
        position = record.offset + 1
      }
      switch result {
      case .record: taken += 1
      case .endOfPartition: continue
      case .nothing: return taken > 0
      case .error(let error):
        guard error.action == .retrySameCall else { throw .kafka(error) }
        return taken > 0
      }
    }
    return true
  }

  private func accept(_ record: borrowing Record, into unit: CommitUnit) {
    let received = LoggedCommand(record, trusted: context.trust)
    var command: Command?
    // Where the bytes are no command but name one, its sender hears of it.
    var id = ""
    var fault = received.isVerified ? "" : "bad or missing signature, or a key that is not trusted"
    do throws(CommandFault) {
      let parsed = try Command(parsing: received.value)
      id = parsed.id
      command = parsed
    } catch {
      id = error.id ?? ""
      fault = "\(error)"
    }
    // Another pipeline's command is passed over without a word: its own workers answer it.
    if let command, command.pipeline != context.settings.name { return }
    let isTaken = received.isVerified && command != nil
    // An answer without an id would be nobody's: such bytes are for the log and the metric below.
    if !id.isEmpty {
      let ack = CommandAck(
        id: id, instance: context.settings.worker.instance,
        status: isTaken ? .received : .rejected, detail: fault)
      unit.append(
        .acks, partition: -1, key: Array(id.utf8), value: ack.json(), timestamp: 0)
    }
    context.metrics.command(
      kind: command?.action.kind ?? "unknown", status: isTaken ? "received" : "rejected")
    guard isTaken else {
      context.log.warning(
        "command-refused", "command refused",
        LogFields(["offset": "\(record.offset)", "reason": fault]))
      return
    }
    unit.append(
      .learning, partition: 0, key: nil, value: received.record(), timestamp: 0)
  }
}

extension LoggedCommand {
  /// A record of `control`, its detached signature tried under every trusted key.
  init(_ record: borrowing Record, trusted keys: [Ed25519.PublicKey]) {
    var block = HeaderBlock()
    record.appendHeaders(to: &block)
    self.init(
      verifying: record.valueBytes,
      header: block.list?.last { $0.name == Command.signatureHeader }?.value, trusted: keys,
      controlOffset: Offset(record.offset),
      controlTimestamp: EventTime(milliseconds: record.timestamp))
  }
}
