import Kafka
import Learning
import Pipeline
import Records

/// Reads `control` beside the lanes and pins what the worker serves as soon as a valid signed rollback or
/// freeze stands there, so that a stalled lane or transaction never delays the one command that is sent in
/// emergencies. The logged command makes it final, or its rejection lifts the pin.
///
/// A pin changes what is served, never what is learnt: predictions go on naming the pinned version.
/// Threads: the replica's.
final class Brake {
  private let context: WorkerContext
  private let reader: any LogReader
  private var isStarted = false
  private var age = PinAge()
  /// A pinned version whose state is not held here; what was served before is served until it is.
  private(set) var wanted: (command: String, entry: KeptEntry)?

  init(_ context: WorkerContext) throws(KafkaError) {
    self.context = context
    reader = try context.makeReader(context.settings.topics.control)
  }

  /// Takes what came since the last look.
  func look(at state: ModelState) {
    if !isStarted {
      // From behind the last command the fold knows; nothing before it can still matter.
      let next = state.ledger.lastControlOffset.value + 1
      do throws(KafkaError) {
        let low = try reader.watermarks(TopicPartition(context.settings.topics.control, 0)).low
        try reader.start(partition: 0, at: .offset(max(next, low)))
        isStarted = true
      } catch {
        context.log.warning(
          "brake-unavailable", "control cannot be read for the brake; tried again",
          LogFields(["error": "\(error)"]))
        return
      }
    }
    while true {
      var received: LoggedCommand?
      let taken = reader.next(timeoutMilliseconds: 0) { record in
        received = LoggedCommand(record, trusted: context.trust)
      }
      switch taken {
      case .record: if let received { consider(received, state) }
      case .endOfPartition: continue
      case .nothing: return
      case .error(let error):
        if error.action != .retrySameCall {
          context.log.warning("brake-read", "control log", LogFields(["error": "\(error)"]))
        }
        return
      }
    }
  }

  /// What people should hear of a pin that the log does not confirm; nil: nothing new.
  func alarm() -> String? {
    let command = context.hub.pinnedBy
    guard let seconds = age.alarm(pinnedBy: command, now: context.now()), let command else { return nil }
    let text = "serving is pinned and the learning log does not bring the command id=\(command) seconds=\(seconds)"
    context.log.warning("brake-held", text)
    return text
  }

  /// The fold met this command: its word is final.
  func release(command: String) {
    context.hub.unpin(by: command)
    if wanted?.command == command { wanted = nil }
    context.log.notice("brake-released", "pin ended by the log", LogFields(["command": command]))
  }

  /// Serves the version that was wanted, if `state` holds it by now.
  func serveWanted(from state: ModelState) {
    guard let (command, entry) = wanted, let scorers = state.scorers(of: entry) else { return }
    wanted = nil
    // Another command's pin is newer.
    if context.hub.pinnedBy == command { context.hub.pin(by: command, scorers: scorers) }
  }

  private func consider(_ received: LoggedCommand, _ state: ModelState) {
    guard let (command, pin) = state.pin(for: received) else { return }
    switch pin {
    case .present: context.hub.pin(by: command, scorers: nil)
    case .kept(let entry):
      let scorers = state.scorers(of: entry)
      context.hub.pin(by: command, scorers: scorers)
      wanted = scorers == nil ? (command, entry) : nil
    }
    context.log.notice(
      "brake", "serving is pinned until the log confirms", LogFields(["command": command]))
  }
}

/// How long a pin has stood: it has no time-out, so that it is heard of instead, again and again.
struct PinAge {
  static let firstNanoseconds: UInt64 = 30_000_000_000
  static let everyNanoseconds: UInt64 = 300_000_000_000

  private var pin: (command: String, since: UInt64)?
  private var next: UInt64 = 0

  /// Seconds that `pinnedBy` has stood, where it is time to say so.
  mutating func alarm(pinnedBy: String?, now: UInt64) -> UInt64? {
    guard let pinnedBy else {
      pin = nil
      return nil
    }
    guard let pin, pin.command == pinnedBy else {
      pin = (pinnedBy, now)
      next = now + Self.firstNanoseconds
      return nil
    }
    guard now >= next else { return nil }
    next = now + Self.everyNanoseconds
    return (now - pin.since) / 1_000_000_000
  }
}
