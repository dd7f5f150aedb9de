import Checkpoints
import Records

/// Why a checkpoint could not be written or read.
public enum StorageError: Error, Hashable, Sendable, CustomStringConvertible {
  case file(FileFailure)
  /// The file is larger than the store reads.
  case tooLarge(path: String, byteCountMax: Int)
  /// The content does not verify. The file has been set aside if that was possible.
  case corrupt(path: String, CheckpointError)
  /// A blob's content is not what its name says.
  case wrongDigest(path: String)

  public var description: String {
    switch self {
    case .file(let failure): failure.description
    case .tooLarge(let path, let limit): "file too large: limit=\(limit) path=\(path)"
    case .corrupt(let path, let error): "corrupt checkpoint: reason=\(error) path=\(path)"
    case .wrongDigest(let path): "content differs from its digest: path=\(path)"
    }
  }
}

/// A checkpoint that is on the device under a temporary name and waits for the commit that covers it.
public struct PendingFile: Hashable, Sendable {
  public let name: CheckpointName
  public let byteCount: Int
  let temporaryPath: String
}

/// A file that was looked at and may not be used.
public struct RefusedFile: Hashable, Sendable {
  public enum Reason: Hashable, Sendable {
    case refused(CheckpointRefusal)
    /// The system could not give its bytes, or it is too large. The file stays where it is.
    case unread(StorageError)
  }
  public var name: CheckpointName
  public var reason: Reason
}

/// What was found at a restart.
public struct RestoredCheckpoint: Sendable {
  /// nil: none is usable, rebuild from the logs.
  public var checkpoint: Checkpoint?
  /// Newest first.
  public var refused: [RefusedFile]
  /// The generation for the next checkpoint: above that of every file in the directory, good or bad.
  public var generationNext: UInt64
}

/// Checkpoint files of one worker in one directory.
///
/// A checkpoint appears in two steps, because it must never stand ahead of the committed
/// offsets: `prepare` writes and syncs a temporary file, early and beside the work; `commit`
/// renames it once the transaction that covers it is known to be committed. A crash between the two
/// leaves a temporary file, which the next start sweeps.
///
/// Threads:  any; calls about different partitions may run at once. No mutable state of its own.
/// Errors:   `StorageError`. No failure here may stop scoring: the caller counts it and goes on.
/// Source:   order of the steps as in Pillai et al., "All file systems are not created equal",
///           OSDI 2014: write, fsync, rename, fsync of the directory.
public final class CheckpointStore: Sendable {
  public let directory: String
  /// Larger files are refused before a byte of them is read.
  public let byteCountMax: Int
  private let files: any FileOperations
  private let lock: DirectoryLock?

  /// The worker's store: takes the directory for this process and sweeps what a crash left.
  public static func open(
    _ directory: String, owner: String, files: any FileOperations = POSIXFiles(), byteCountMax: Int = 8 << 30
  ) throws(DirectoryLockError) -> CheckpointStore {
    do { try files.createDirectory(directory) } catch { throw .failed(error) }
    let lock = try DirectoryLock(directory, owner: owner)
    let store = CheckpointStore(directory, files: files, byteCountMax: byteCountMax, lock: lock)
    do { try store.sweep() } catch { throw .failed(error) }
    return store
  }

  /// A store without lock or sweep: for inspection, and for tests.
  public convenience init(
    _ directory: String, files: any FileOperations = POSIXFiles(), byteCountMax: Int = 8 << 30
  ) {
    self.init(directory, files: files, byteCountMax: byteCountMax, lock: nil)
  }

  private init(
    _ directory: String, files: any FileOperations, byteCountMax: Int, lock: DirectoryLock?
  ) {
    self.directory = directory
    self.files = files
    self.byteCountMax = byteCountMax
    self.lock = lock
  }

  static let temporarySuffix = ".tmp"
  static let corruptSuffix = ".corrupt"

  public func path(_ name: CheckpointName) -> String { "\(directory)/\(name)" }

  /// Puts `bytes` on the device under a temporary name. On failure nothing is left of it, and the same
  /// name must not be prepared again: take the next generation.
  public func prepare(
    _ name: CheckpointName, _ bytes: [UInt8]
  ) throws(StorageError) -> PendingFile {
    let temporary = path(name) + Self.temporarySuffix
    do { try files.writeDurably(bytes, to: temporary) } catch { throw .file(error) }
    return PendingFile(name: name, byteCount: bytes.count, temporaryPath: temporary)
  }

  /// Gives the file its name. To be called only after the commit that covers its offsets is known.
  /// On failure the file is removed: what was the newest checkpoint before is it still.
  public func commit(_ pending: PendingFile) throws(StorageError) {
    let final = path(pending.name)
    do { try files.rename(pending.temporaryPath, to: final) } catch {
      files.removeAfterFailure(pending.temporaryPath)
      throw .file(error)
    }
    do { try files.syncDirectory(directory) } catch {
      files.removeAfterFailure(final)
      throw .file(error)
    }
  }

  /// Gives up a prepared file: its transaction was aborted or its partition lost. Nothing to undo if it is gone.
  public func discard(_ pending: PendingFile) { files.removeAfterFailure(pending.temporaryPath) }

  /// All checkpoints by kind, partition and age, oldest first.
  public func list() throws(StorageError) -> [CheckpointName] {
    do { return try files.list(directory).compactMap { CheckpointName($0) }.sorted() } catch {
      throw .file(error)
    }
  }
  /// Those of one partition (or the model: kind `model`, partition 0), oldest first.
  public func list(
    _ kind: CheckpointKind, _ partition: PartitionID
  ) throws(StorageError) -> [CheckpointName] {
    try list().filter { $0.kind == kind && $0.partition == partition }
  }

  /// Reads and verifies one file; changes nothing on disk.
  public func load(
    _ name: CheckpointName, knownSections: [String]? = nil
  ) throws(StorageError) -> Checkpoint {
    let path = path(name)
    let bytes: [UInt8]?
    do { bytes = try files.read(path, byteCountMax: byteCountMax) } catch { throw .file(error) }
    guard let bytes else { throw .tooLarge(path: path, byteCountMax: byteCountMax) }
    let checkpoint: Checkpoint
    do { checkpoint = try Checkpoint.decode(bytes, knownSections: knownSections) } catch {
      throw .corrupt(path: path, error)
    }
    // A file under another's name would defeat the order that names give.
    guard CheckpointName(checkpoint.identity) == name else {
      throw .corrupt(path: path, .malformed(FormatError(.invalidValue, at: 0, field: "file name")))
    }
    return checkpoint
  }

  /// Loads the checkpoint that `chooseCheckpoint` chooses among all files of this partition, reading from
  /// the newest on and no further than needed. Damaged files are set aside as `.corrupt`.
  public func restore(
    at point: RestorePoint, knownSections: [String]
  ) throws(StorageError) -> RestoredCheckpoint {
    let entries: [String]
    do { entries = try files.list(directory) } catch { throw .file(error) }
    let partition = point.fingerprint.partition
    let generationNext = Self.generationNext(after: entries, point.kind, partition)
    let ours = entries.compactMap { CheckpointName($0) }.sorted()
      .filter { $0.kind == point.kind && $0.partition == partition }

    var refused: [RefusedFile] = []
    for name in ours.reversed() {
      do {
        let checkpoint = try load(name, knownSections: knownSections)
        guard let reason = refusal(of: checkpoint.identity, at: point) else {
          return RestoredCheckpoint(
            checkpoint: checkpoint, refused: refused, generationNext: generationNext)
        }
        refused.append(RefusedFile(name: name, reason: .refused(reason)))
      } catch .corrupt(_, let error) {
        refused.append(RefusedFile(name: name, reason: .refused(.unreadable(error))))
        // A version or section of a newer build is no damage: that build may come back.
        switch error {
        case .unsupportedVersion, .unknownRequiredSection: break
        default: quarantine(name)
        }
      } catch {
        refused.append(RefusedFile(name: name, reason: .unread(error)))
      }
    }
    return RestoredCheckpoint(checkpoint: nil, refused: refused, generationNext: generationNext)
  }

  /// Sets a damaged file aside under `<name>.corrupt`, for people to look at. If even that fails the file
  /// stays, is refused again at the next restart, and nothing is lost.
  public func quarantine(_ name: CheckpointName) {
    do { try files.rename(path(name), to: path(name) + Self.corruptSuffix) } catch {}
  }

  /// Removes all but the newest `count` checkpoints of a partition. Returns how many were removed.
  /// To be called after a successful `commit` only.
  @discardableResult
  public func retain(
    newest count: Int, of kind: CheckpointKind, _ partition: PartitionID
  ) throws(StorageError) -> Int {
    precondition(count >= 1, "at least one checkpoint stays")
    let old = try list(kind, partition).dropLast(count)
    for name in old {
      do { try files.remove(path(name)) } catch { throw .file(error) }
    }
    return old.count
  }

  /// Removes temporary files. Only for the holder of the directory, before it prepares any.
  func sweep() throws(FileFailure) {
    for name in try files.list(directory) where name.hasSuffix(Self.temporarySuffix) {
      try files.remove("\(directory)/\(name)")
    }
  }

  /// Set-aside and temporary files count too, so that no name is ever used twice.
  private static func generationNext(
    after entries: [String], _ kind: CheckpointKind, _ partition: PartitionID
  ) -> UInt64 {
    var greatest: UInt64 = 0
    for entry in entries {
      var text = Substring(entry)
      for suffix in [corruptSuffix, temporarySuffix] where text.hasSuffix(suffix) {
        text = text.dropLast(suffix.count)
      }
      guard let name = CheckpointName(String(text)), name.kind == kind, name.partition == partition
      else { continue }
      greatest = max(greatest, name.generation)
    }
    // A file that claims the last number cannot be followed; creating it again then fails and says so.
    return greatest == .max ? .max : greatest + 1
  }
}
