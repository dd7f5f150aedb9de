import CAllocationCount
import Glibc

/// What one piece of work cost the calling thread.
struct Cost {
  /// CPU time of this thread: what one core spent, whoever else ran meanwhile.
  var cpuNanoseconds: Double
  var wallNanoseconds: Double
  var allocations: Int
  var allocatedBytes: Int
}

/// Allocations of this thread since it began.
func allocationsNow() -> Int { Int(mr_allocations_now().calls) }

/// Runs `work` once and says what it cost.
func measured(_ work: () throws -> Void) rethrows -> Cost {
  let allocated = mr_allocations_now()
  let cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
  let wall = nanoseconds(CLOCK_MONOTONIC)
  try work()
  let wallAfter = nanoseconds(CLOCK_MONOTONIC)
  let cpuAfter = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
  let allocatedAfter = mr_allocations_now()
  return Cost(
    cpuNanoseconds: cpuAfter - cpu, wallNanoseconds: wallAfter - wall,
    allocations: Int(allocatedAfter.calls - allocated.calls),
    allocatedBytes: Int(allocatedAfter.bytes - allocated.bytes))
}

private func nanoseconds(_ clock: clockid_t) -> Double {
  var time = timespec()
  // SAFETY: writes one struct; both clocks always exist.
  unsafe clock_gettime(clock, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

/// Of several rounds: the middle one, and how far the others lie from it.
struct Spread {
  var median: Double
  var least: Double
  var most: Double
  var rounds: Int

  init(_ values: [Double]) {
    precondition(!values.isEmpty, "no round was run")
    let sorted = values.sorted()
    let half = sorted.count / 2
    median = sorted.count % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
    least = sorted[0]
    most = sorted[sorted.count - 1]
    rounds = sorted.count
  }
}
