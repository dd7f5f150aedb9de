import CRdKafka
import Glibc

/// One pipe that any number of queues signal when they stop being empty.
///
/// Use:      try every queue without waiting; if all were empty, `wait`, then try them again. A queue signals
///           once between two tries, and `wait` takes the signals before it returns, so none is lost and at
///           worst one wait returns for nothing.
/// Threads:  one waiting thread; the library signals from its own.
final class Wakeup: Sendable {
  private let readEnd: Int32
  private let writeEnd: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    // SAFETY: the array has room for the two descriptors.
    let result = unsafe pipe(&ends)
    precondition(result == 0, "no file descriptor left for a wake-up")
    for end in ends {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    readEnd = ends[0]
    writeEnd = ends[1]
  }
  deinit {
    close(readEnd)
    close(writeEnd)
  }

  /// Asks `queue` to signal here.
  func watch(_ queue: OpaquePointer) {
    // SAFETY: the library copies the one byte. A pipe full of signals drops further ones, and still wakes.
    unsafe rd_kafka_queue_io_event_enable(queue, writeEnd, "!", 1)
  }

  /// Wakes the waiting thread.
  func signal() { _ = unsafe write(writeEnd, "!", 1) }

  /// Waits for a signal; whether there was one.
  func wait(milliseconds: Int32) -> Bool {
    var request = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
    // SAFETY: one entry, as the count says.
    guard unsafe poll(&request, 1, milliseconds) > 0 else { return false }
    unsafe withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { signals in
      // SAFETY: at most the buffer's own length is read; nobody looks at the bytes.
      while unsafe read(readEnd, signals.baseAddress, signals.count) == signals.count {}
    }
    return true
  }
}
