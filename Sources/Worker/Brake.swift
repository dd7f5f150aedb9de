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
  private let reader: Reader
  private var isStarted = false

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

  /// The fold met this command: its word is final.
  func release(command: String) {
    guard context.hub.pinnedBy == command else { return }
    context.hub.unpin(by: command)
    context.log.notice("brake-released", "pin ended by the log", LogFields(["command": command]))
  }

  private func consider(_ received: LoggedCommand, _ state: ModelState) {
    guard let (command, pin) = state.pin(for: received) else { return }
    switch pin {
    case .present: context.hub.pin(by: command, scorers: nil)
    case .kept(let entry): context.hub.pin(by: command, scorers: state.scorers(of: entry))
    }
    context.log.notice(
      "brake", "serving is pinned until the log confirms", LogFields(["command": command]))
  }
}
