import Glibc

/// Why a directory could not be taken.
public enum DirectoryLockError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Another process holds it; `owner` is what that process wrote about itself.
  case held(directory: String, owner: String)
  case failed(FileFailure)

  public var description: String {
    switch self {
    case .held(let directory, let owner):
      "the state directory is in use by another process; stop that one, or give this one a checkpoints.directory of its own directory=\(directory) owner=\(owner)"
    case .failed(let failure): failure.description
    }
  }
}

/// The right of one process to write a directory, held until the object is freed or the process ends.
///
/// Why flock and not the file's presence: the kernel frees it with the process, however that ends, so a
/// killed worker never blocks its successor. The file stays and says who holds or held it.
/// Not promised: that file systems shared over a network tell their clients of each other's locks.
public final class DirectoryLock: Sendable {
  public let directory: String
  private let descriptor: Int32

  /// `owner` says who we are, for the message another process prints: `pid=… instance=…`.
  public init(_ directory: String, owner: String) throws(DirectoryLockError) {
    let path = directory + "/lock"
    // SAFETY: the path is lent to the call as a C string.
    let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw .failed(FileFailure(.lock, path: path, code: errno))
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      let holder = Self.readOwner(descriptor)
      _ = close(descriptor)
      if code == EWOULDBLOCK { throw .held(directory: directory, owner: holder) }
      throw .failed(FileFailure(.lock, path: path, code: code))
    }
    let line = Array((owner + "\n").utf8)
    let written: Int
    // SAFETY: the buffer is lent for the call.
    unsafe written = line.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    guard written == line.count, ftruncate(descriptor, off_t(line.count)) == 0,
      fsync(descriptor) == 0
    else {
      let code = errno
      _ = close(descriptor)
      throw .failed(FileFailure(.lock, path: path, code: written >= 0 && written < line.count ? ENOSPC : code))
    }
    self.directory = directory
    self.descriptor = descriptor
  }

  deinit { _ = close(descriptor) }

  private static func readOwner(_ descriptor: Int32) -> String {
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
      // SAFETY: at most `capacity` bytes are written.
      count = max(0, unsafe pread(descriptor, buffer.baseAddress, buffer.count, 0))
    }
    let line = bytes.prefix { $0 != 0x0A }
    return line.isEmpty ? "unknown" : String(decoding: line, as: UTF8.self)
  }
}
