import Glibc

/// How many descriptors the process may have open: as many as the system lets it, and no start with too few.
///
/// Why at the start: the client library opens pipes and sockets whenever it meets another broker, and ends the process
/// where it cannot, in the middle of the work and without the reason.
public enum FileDescriptors {
  /// One lane with one broker has some 110 open, nearly all pipes of its clients, and a few more while it restores.
  static func needed(lanes: Int) -> UInt64 { 192 + 64 * UInt64(max(0, lanes - 1)) }
  /// More would serve nobody.
  private static let most: UInt64 = 65_536

  /// Raises the soft limit to the hard one.
  public static func secure(lanes: Int) throws(WorkerFailure) {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    // SAFETY: a local structure is lent.
    guard unsafe getrlimit(resource, &limit) == 0 else { return }
    if limit.rlim_cur < min(limit.rlim_max, rlim_t(most)) {
      var raised = limit
      raised.rlim_cur = min(limit.rlim_max, rlim_t(most))
      // SAFETY: as above. Where the system refuses, what there is must do.
      if unsafe setrlimit(resource, &raised) == 0 { limit = raised }
    }
    let needed = needed(lanes: lanes)
    guard limit.rlim_cur >= rlim_t(needed) else {
      throw .misconfigured(
        "too few file descriptors: raise the hard limit (ulimit -Hn, LimitNOFILE=) limit=\(limit.rlim_cur) needed=\(needed)")
    }
  }
}
