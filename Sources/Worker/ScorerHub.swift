import Learning
import Records
import Synchronization

/// Where the replica publishes scorers and the lanes adopt them.
///
/// A publication is immutable and named by one version. While a pin is set (the brake: a signed
/// rollback or freeze that the log has not confirmed yet), lanes keep what the pin says; newer
/// publications are remembered and served when the pin ends.
///
/// Cost:    lanes read one atomic per step; the lock is taken only when something changed.
/// Threads: `publish`, `pin` and `unpin` by the replica; `generation` and `current` by anyone.
final class ScorerHub: Sendable {
  struct State: Sendable {
    var latest: ScorerSet?
    var pinned: ScorerSet?
    /// Command that set the pin.
    var pinnedBy: String?
  }
  private let state = Mutex(State())
  private let counter = Atomic<UInt64>(0)

  /// Changes whenever what is to be served changes; 0 before the first publication.
  var generation: UInt64 { counter.load(ordering: .acquiring) }

  /// What is to be served now, with its generation.
  func current() -> (scorers: ScorerSet?, generation: UInt64) {
    state.withLock { ($0.pinned ?? $0.latest, counter.load(ordering: .acquiring)) }
  }

  /// Returns the generation under which lanes serve it (or, while pinned, the present one).
  @discardableResult
  func publish(_ scorers: ScorerSet) -> UInt64 {
    state.withLock { state in
      state.latest = scorers
      if state.pinned == nil {
        return counter.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
      }
      return counter.load(ordering: .acquiring)
    }
  }

  /// Serves `scorers` (nil: the present ones, unchanged) until `unpin` with the same command.
  func pin(by command: String, scorers: ScorerSet?) {
    state.withLock { state in
      guard let serve = scorers ?? state.pinned ?? state.latest else { return }
      state.pinned = serve
      state.pinnedBy = command
      counter.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }
  }

  /// Ends the pin that this command set; another command's stays.
  func unpin(by command: String) {
    state.withLock { state in
      guard state.pinnedBy == command else { return }
      state.pinned = nil
      state.pinnedBy = nil
      counter.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }
  }

  var pinnedBy: String? { state.withLock { $0.pinnedBy } }
}
