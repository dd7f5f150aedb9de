import Glibc
import Records

/// Where each record of raw taps stands, by topic and partition, in order of offset.
///
/// Memory:   24 bytes a record; the records themselves stay in the files and are read one by one.
/// Errors:   `OfflineFault`; a record that stands in the files twice is refused.
public final class TapIndex {
  struct Entry: BitwiseCopyable {
    var offset: Int64
    var position: Int64
    var length: Int32
    var file: Int32
  }
  struct Source: Hashable {
    var topic: String
    var partition: Int32
  }

  private var files: [(name: String, descriptor: Int32)] = []
  private var entries: [Source: [Entry]] = [:]

  public init(_ paths: [String]) throws(OfflineFault) {
    for path in paths { try add(path) }
    for source in entries.keys {
      var list = entries[source]!
      list.sort { $0.offset < $1.offset }
      for index in list.indices.dropFirst() where list[index].offset == list[index - 1].offset {
        throw .unfit(
          "the taps hold this record twice topic=\(source.topic) partition=\(source.partition) offset=\(list[index].offset)")
      }
      entries[source] = list
    }
  }

  deinit { for file in files { close(file.descriptor) } }

  private func add(_ path: String) throws(OfflineFault) {
    guard path != "-" else { throw .unfit("taps are read more than once: they must be files, not stdin") }
    let lines = try LineReader(path)
    // SAFETY: the path is lent as a terminated string for the call.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LineReader.systemFault(path) }
    let file = Int32(files.count)
    files.append((path, descriptor))
    while let line = try lines.next() {
      do throws(TapRecord.Fault) {
        let at = try TapRecord.position(parsing: line)
        entries[Source(topic: at.topic, partition: at.partition), default: []].append(
          Entry(
            offset: at.offset, position: Int64(lines.lineStart), length: Int32(line.count), file: file))
      } catch {
        throw .badLine(file: path, line: lines.line, reason: error.description)
      }
    }
  }

  /// Partitions of a topic, up to the last that holds a record.
  func partitionCount(of topic: String) -> Int32 {
    (entries.keys.filter { $0.topic == topic }.map(\.partition).max() ?? -1) + 1
  }

  /// Behind the last record of a partition.
  func end(_ topic: String, _ partition: Int32) -> Int64 {
    (entries[Source(topic: topic, partition: partition)]?.last?.offset ?? -1) + 1
  }

  func cursor(_ topic: String, _ partition: Int32, from offset: Int64) -> Cursor {
    let cursor = Cursor(index: self, entries: entries[Source(topic: topic, partition: partition)] ?? [])
    cursor.skip(before: offset)
    return cursor
  }

  /// Reads the records of one partition in order.
  final class Cursor {
    private let index: TapIndex
    private let entries: [Entry]
    private var next = 0
    init(index: TapIndex, entries: [Entry]) {
      self.index = index
      self.entries = entries
    }

    /// Passes over records before `offset`.
    fileprivate func skip(before offset: Int64) {
      while next < entries.count && entries[next].offset < offset { next += 1 }
    }

    func take(before end: Int64) throws(OfflineFault) -> TapRecord? {
      guard next < entries.count, entries[next].offset < end else { return nil }
      defer { next += 1 }
      return try index.read(entries[next])
    }
  }

  private func read(_ entry: Entry) throws(OfflineFault) -> TapRecord {
    let (name, descriptor) = files[Int(entry.file)]
    var bytes = [UInt8](repeating: 0, count: Int(entry.length))
    var done = 0
    while done < bytes.count {
      // SAFETY: what is read lies within the buffer.
      let got = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe pread(
          descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(entry.position) + off_t(done))
      }
      if got < 0 && errno == EINTR { continue }
      guard got >= 0 else { throw LineReader.systemFault(name) }
      guard got > 0 else { throw .unreadable(file: name, reason: "the file became shorter while it was read") }
      done += got
    }
    do throws(TapRecord.Fault) {
      return try TapRecord(parsing: bytes)
    } catch {
      throw .badLine(file: name, line: 0, reason: "\(error) byte=\(entry.position)")
    }
  }
}

/// Whether a file holds records as `tap --raw` writes them: told by its first line. Stdin holds none.
public func isRawTap(_ path: String) throws(OfflineFault) -> Bool {
  guard path != "-", let line = try LineReader(path).next() else { return false }
  return (try? TapRecord.position(parsing: line)) != nil
}
