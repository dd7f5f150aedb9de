import Records

/// Files named by the SHA-256 of their content, in `<directory>/blobs`: kept model versions.
///
/// The name is the checksum, so what is read is what was meant, or an error; writing the same content
/// twice is one file.
///
/// Threads:  any; two writers of the same content at once: one of them may see `exists`, and the content
///           is there or will be (one process owns the directory and writes blobs from one thread).
/// Cost:     `put` and `load` are O(bytes) and one SHA-256 pass.
public final class BlobStore: Sendable {
  public let directory: String
  public let byteCountMax: Int
  private let files: any FileOperations

  /// Makes `<parent>/blobs` if need be and sweeps what a crash left there. The caller holds the
  /// parent's `DirectoryLock`.
  public init(
    in parent: String, files: any FileOperations = POSIXFiles(), byteCountMax: Int = 4 << 30
  ) throws(StorageError) {
    directory = parent + "/blobs"
    self.files = files
    self.byteCountMax = byteCountMax
    do {
      try files.createDirectory(directory)
      for name in try files.list(directory) where name.hasSuffix(CheckpointStore.temporarySuffix) {
        try files.remove("\(directory)/\(name)")
      }
    } catch { throw .file(error) }
  }

  private func path(_ digest: Digest) -> String { "\(directory)/\(digest)" }

  /// Stores the bytes durably and returns their name. Content that is there and verifies is not written again.
  @discardableResult
  public func put(_ bytes: [UInt8]) throws(StorageError) -> Digest {
    let digest = Digest.of(bytes)
    let final = path(digest)
    do {
      if try files.read(final, byteCountMax: byteCountMax) == bytes { return digest }
    } catch where error.kind == .missing {
      // The usual case: it is new.
    } catch { throw .file(error) }
    let temporary = final + CheckpointStore.temporarySuffix
    do throws(FileFailure) {
      try files.writeDurably(bytes, to: temporary)
      do throws(FileFailure) {
        // Replaces a damaged file of this name, if there was one.
        try files.rename(temporary, to: final)
      } catch {
        files.removeAfterFailure(temporary)
        throw error
      }
      do throws(FileFailure) { try files.syncDirectory(directory) } catch {
        files.removeAfterFailure(final)
        throw error
      }
    } catch { throw .file(error) }
    return digest
  }

  /// The content, verified. A damaged file is set aside as `.corrupt`.
  public func load(_ digest: Digest) throws(StorageError) -> [UInt8] {
    let path = path(digest)
    let bytes: [UInt8]?
    do { bytes = try files.read(path, byteCountMax: byteCountMax) } catch { throw .file(error) }
    guard let bytes else { throw .tooLarge(path: path, byteCountMax: byteCountMax) }
    guard Digest.of(bytes) == digest else {
      // If it cannot be set aside it stays and is refused again: nothing is lost.
      do { try files.rename(path, to: path + CheckpointStore.corruptSuffix) } catch {}
      throw .wrongDigest(path: path)
    }
    return bytes
  }

  /// Names present, in order; contents not verified.
  public func list() throws(StorageError) -> [Digest] {
    do { return try files.list(directory).compactMap { Digest(hex: $0) }.sorted() } catch {
      throw .file(error)
    }
  }

  /// Removes every blob whose name is not among `kept`. Returns how many were removed.
  @discardableResult
  public func prune(keeping kept: [Digest]) throws(StorageError) -> Int {
    let kept = Set(kept)
    var removed = 0
    for digest in try list() where !kept.contains(digest) {
      do { try files.remove(path(digest)) } catch { throw .file(error) }
      removed += 1
    }
    return removed
  }
}
