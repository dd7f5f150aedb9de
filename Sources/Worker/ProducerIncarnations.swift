import Records
import Storage

/// Which transactional id each producer of this worker used last, on disk, so that a successor can end the
/// transaction that its predecessor left open and then write under an id of its own.
///
/// Why a new id for each producer: the log names aborted transactions by producer. A broker that goes on naming one
/// to readers who begin behind it (noida-db 0.2.3 does; Apache Kafka does not) hides from them, without an error,
/// everything that the same producer commits later. Nothing rests on the id being the same: what fences an old
/// owner of partitions is the group's generation, which travels with the offsets.
///
/// Layout:  `producer-<role>`: the number in decimal, one line; replaced by rename.
/// Errors:  a number that cannot be stored is not used: the last id serves again, which any correct broker allows.
/// Threads: one a role.
struct ProducerIncarnations: Sendable {
  private let directory: String
  private let files: any FileOperations

  init(in directory: String, files: any FileOperations = POSIXFiles()) {
    self.directory = directory
    self.files = files
  }

  private func path(_ role: String) -> String { "\(directory)/producer-\(role)" }

  /// Number used last; nil where none was, or none can be read.
  func last(_ role: String) -> UInt64? {
    // A missing file is the first start; another failure costs waiting for the broker's transaction time-out.
    guard let bytes = try? files.read(path(role), byteCountMax: 32) else { return nil }
    return UInt64(String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self))
  }

  /// Takes the number after the last one. To be called once the last one's transaction is ended.
  func advance(_ role: String) throws(FileFailure) -> UInt64 {
    let number = (last(role) ?? 0) + 1
    let temporary = path(role) + ".tmp"
    try files.writeDurably(Array("\(number)\n".utf8), to: temporary)
    try files.rename(temporary, to: path(role))
    try files.syncDirectory(directory)
    return number
  }
}
