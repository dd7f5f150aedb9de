import Glibc

extension FileFailure.Kind {
  init(code: Int32) {
    switch code {
    case ENOSPC, EDQUOT: self = .full
    case EIO: self = .inputOutput
    case EROFS: self = .readOnly
    case EACCES, EPERM: self = .denied
    case ENOENT: self = .missing
    case EEXIST: self = .exists
    default: self = .other
    }
  }
}

/// File operations of the real system.
///
/// SAFETY of the calls marked `unsafe`: paths are lent to each call as C strings; other pointers say why.
public struct POSIXFiles: FileOperations {
  public init() {}

  public func createDirectory(_ path: String) throws(FileFailure) {
    guard unsafe mkdir(path, 0o700) != 0 else { return }
    let code = errno
    if code == EEXIST { return }
    if code == ENOENT, let slash = path.dropFirst().lastIndex(of: "/"), slash > path.startIndex {
      try createDirectory(String(path[..<slash]))
      guard unsafe mkdir(path, 0o700) != 0 else { return }
      let second = errno
      if second == EEXIST { return }
      throw FileFailure(.createDirectory, path: path, code: second)
    }
    throw FileFailure(.createDirectory, path: path, code: code)
  }

  public func create(_ path: String) throws(FileFailure) -> FileHandle {
    while true {
      let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      if descriptor >= 0 { return FileHandle(descriptor: descriptor) }
      let code = errno
      if code != EINTR { throw FileFailure(.create, path: path, code: code) }
    }
  }

  public func write(
    _ file: FileHandle, _ bytes: [UInt8], from: Int, path: String
  ) throws(FileFailure) -> Int {
    precondition(from >= 0 && from < bytes.count, "nothing to write")
    while true {
      // SAFETY: the buffer is lent for the call and `from` lies within it.
      let (count, code) = unsafe bytes.withUnsafeBytes { buffer in
        let count = unsafe Glibc.write(
          file.descriptor, buffer.baseAddress! + from, min(buffer.count - from, 1 << 20))
        return (count, errno)
      }
      if count > 0 { return count }
      // A write of more than zero bytes that returns zero would make the caller spin.
      if count == 0 { throw FileFailure(.write, path: path, code: EIO) }
      if code != EINTR { throw FileFailure(.write, path: path, code: code) }
    }
  }

  public func sync(_ file: FileHandle, path: String) throws(FileFailure) {
    // Not retried, not even on EINTR: see `writeDurably`.
    guard fsync(file.descriptor) == 0 else { throw FileFailure(.sync, path: path, code: errno) }
  }

  public func close(_ file: FileHandle, path: String) throws(FileFailure) {
    guard Glibc.close(file.descriptor) == 0 else {
      let code = errno
      // On Linux the descriptor is closed even then.
      if code != EINTR { throw FileFailure(.close, path: path, code: code) }
      return
    }
  }

  public func rename(_ from: String, to: String) throws(FileFailure) {
    guard unsafe Glibc.rename(from, to) == 0 else { throw FileFailure(.rename, path: to, code: errno) }
  }

  public func remove(_ path: String) throws(FileFailure) {
    guard unsafe unlink(path) == 0 else { throw FileFailure(.remove, path: path, code: errno) }
  }

  public func syncDirectory(_ path: String) throws(FileFailure) {
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFailure(.syncDirectory, path: path, code: errno) }
    let result = fsync(descriptor)
    let code = errno
    _ = Glibc.close(descriptor)
    guard result == 0 else { throw FileFailure(.syncDirectory, path: path, code: code) }
  }

  public func list(_ path: String) throws(FileFailure) -> [String] {
    guard let stream = unsafe opendir(path) else {
      throw FileFailure(.list, path: path, code: errno)
    }
    defer { unsafe _ = closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        let code = errno
        if code != 0 { throw FileFailure(.list, path: path, code: code) }
        return names
      }
      // SAFETY: `d_name` is a C string within the entry, which lives until the next `readdir`.
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
          unsafe String(validatingCString: $0)
        }
      }
      // A name that is not UTF-8 is none of ours.
      if let name, name != ".", name != ".." { names.append(name) }
    }
  }

  public func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFailure(.read, path: path, code: errno) }
    defer { _ = Glibc.close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw FileFailure(.read, path: path, code: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw FileFailure(.read, path: path, code: EISDIR)
    }
    guard status.st_size <= byteCountMax else { return nil }
    let expected = Int(status.st_size)
    var failure: Int32 = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: expected) { buffer, count in
      while count < expected {
        // SAFETY: `count` bytes of the buffer are initialised, `expected - count` are left.
        let got = unsafe Glibc.read(descriptor, buffer.baseAddress! + count, expected - count)
        if got > 0 {
          count += got
        } else if got == 0 {
          return  // Shorter than it was a moment ago: what there is will not verify.
        } else if errno != EINTR {
          failure = errno
          return
        }
      }
    }
    guard failure == 0 else { throw FileFailure(.read, path: path, code: failure) }
    return bytes
  }
}
