import Records

/// What a call on a file was about to do.
public enum FileOperation: String, Hashable, Sendable, CaseIterable {
  case createDirectory, create, write, sync, close, rename, remove, syncDirectory, list, read, lock

  /// What could not be done, after "cannot".
  var words: String {
    switch self {
    case .createDirectory: "make the directory"
    case .create: "make the file"
    case .write: "write the file"
    case .sync: "bring the file to the disk"
    case .close: "close the file"
    case .rename: "rename the file"
    case .remove: "remove the file"
    case .syncDirectory: "bring the directory to the disk"
    case .list: "list the directory"
    case .read: "read the file"
    case .lock: "lock the directory"
    }
  }
}

/// A call of the operating system that failed, with what the worker can do about it.
public struct FileFailure: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Kind: String, Hashable, Sendable {
    /// ENOSPC or EDQUOT: the disk or the quota is full.
    case full
    /// EIO: the device failed.
    case inputOutput
    case readOnly
    case denied
    case missing
    case exists
    case other

    var words: String {
      switch self {
      case .full: "the disk or its quota is full"
      case .inputOutput: "the device failed"
      case .readOnly: "the file system is read-only"
      case .denied: "permission denied"
      case .missing: "no such file or directory"
      case .exists: "it exists already"
      case .other: "the system refused"
      }
    }
  }
  public var operation: FileOperation
  public var path: String
  /// The system's `errno`.
  public var code: Int32
  public var kind: Kind

  public init(_ operation: FileOperation, path: String, code: Int32) {
    self.operation = operation
    self.path = path
    self.code = code
    kind = Kind(code: code)
  }
  public var description: String {
    "cannot \(operation.words): \(kind.words) errno=\(code) path=\(path)"
  }
}

/// A file opened for writing.
public struct FileHandle: Hashable, Sendable {
  public var descriptor: Int32
  public init(descriptor: Int32) { self.descriptor = descriptor }
}

/// The calls that storage makes of the operating system, so that a test can fail any one of them or
/// lose what was not yet on disk.
///
/// Threads:  called from several threads at once.
/// Errors:   `FileFailure`; an implementation retries EINTR itself.
public protocol FileOperations: Sendable {
  /// Makes the directory and those above it; no error if it is there.
  func createDirectory(_ path: String) throws(FileFailure)
  /// A new, empty file; an error if the name exists.
  func create(_ path: String) throws(FileFailure) -> FileHandle
  /// Writes a prefix of `bytes[from...]`; returns how many bytes, at least one.
  func write(_ file: FileHandle, _ bytes: [UInt8], from: Int, path: String) throws(FileFailure) -> Int
  /// Returns once content and length are on the device.
  func sync(_ file: FileHandle, path: String) throws(FileFailure)
  func close(_ file: FileHandle, path: String) throws(FileFailure)
  /// Replaces `to` at once: a reader sees the old file or the new one.
  func rename(_ from: String, to: String) throws(FileFailure)
  func remove(_ path: String) throws(FileFailure)
  /// Returns once the names in the directory are on the device.
  func syncDirectory(_ path: String) throws(FileFailure)
  /// Names of the entries, in no order.
  func list(_ path: String) throws(FileFailure) -> [String]
  /// The whole file; nil where it is larger than `byteCountMax`.
  func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]?
}

extension FileOperations {
  /// Writes `bytes` under `path` and has them on the device when it returns. On any failure the file is
  /// removed.
  ///
  /// Why removed, also after a failed `sync`: Linux drops the dirty mark of the pages it could not write,
  /// so that a second fsync says yes while the content is lost (Rebello et al., "Can applications recover
  /// from fsync failures?", USENIX ATC 2020). The file is given up; the next attempt has another name.
  public func writeDurably(_ bytes: [UInt8], to path: String) throws(FileFailure) {
    let file = try create(path)
    do throws(FileFailure) {
      do throws(FileFailure) {
        var written = 0
        while written < bytes.count {
          written += try write(file, bytes, from: written, path: path)
        }
        try sync(file, path: path)
      } catch {
        // The first failure is the one to tell; the descriptor is gone after close whatever it returns.
        do { try close(file, path: path) } catch {}
        throw error
      }
      try close(file, path: path)
    } catch {
      removeAfterFailure(path)
      throw error
    }
  }

  /// Removes what a failed step left. Not finding it is as good; any other failure leaves a temporary
  /// name, which no reader looks at and the next start sweeps.
  func removeAfterFailure(_ path: String) {
    do { try remove(path) } catch {}
  }
}
