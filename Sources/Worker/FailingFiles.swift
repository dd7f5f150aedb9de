import Storage

/// The system's files with a failpoint before each call that a checkpoint makes. Only in use where failpoints are armed.
///
/// Writes go out a few hundred bytes at a time, so that a kill between two of them leaves a torn file.
struct FailingFiles: FileOperations {
  static let pieceBytes = 512
  private let files = POSIXFiles()

  func create(_ path: String) throws(FileFailure) -> FileHandle {
    try pass(.checkpointCreate, .create, path)
    return try files.create(path)
  }
  func write(_ file: FileHandle, _ bytes: [UInt8], from: Int, path: String) throws(FileFailure) -> Int {
    try pass(.checkpointWrite, .write, path)
    let end = min(bytes.count, from + Self.pieceBytes)
    return try files.write(file, Array(bytes[from..<end]), from: 0, path: path)
  }
  func sync(_ file: FileHandle, path: String) throws(FileFailure) {
    try pass(.checkpointSync, .sync, path)
    try files.sync(file, path: path)
  }
  func rename(_ from: String, to: String) throws(FileFailure) {
    try pass(.checkpointRename, .rename, to)
    try files.rename(from, to: to)
  }
  func syncDirectory(_ path: String) throws(FileFailure) {
    try pass(.checkpointDirectorySync, .syncDirectory, path)
    try files.syncDirectory(path)
    Failpoints.pass(.checkpointWritten)
  }

  func createDirectory(_ path: String) throws(FileFailure) { try files.createDirectory(path) }
  func close(_ file: FileHandle, path: String) throws(FileFailure) { try files.close(file, path: path) }
  func remove(_ path: String) throws(FileFailure) { try files.remove(path) }
  func list(_ path: String) throws(FileFailure) -> [String] { try files.list(path) }
  func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]? {
    try files.read(path, byteCountMax: byteCountMax)
  }

  private func pass(_ point: Failpoint, _ operation: FileOperation, _ path: String) throws(FileFailure) {
    if let code = Failpoints.errno(at: point) { throw FileFailure(operation, path: path, code: code) }
  }
}
