import Glibc
import Records

/// Why a run over files cannot go on.
public enum OfflineFault: Error, Sendable, Equatable, CustomStringConvertible {
  /// The system refused; its own words.
  case unreadable(file: String, reason: String)
  /// Lines count from 1.
  case badLine(file: String, line: Int, reason: String)
  /// The files do not fit the pipeline or each other.
  case unfit(String)
  /// Every record must have come to exactly one end.
  case unbalanced(String)

  public var description: String {
    switch self {
    case .unreadable(let file, let reason): "cannot be read: \(reason) file=\(file)"
    case .badLine(let file, let line, let reason): "\(file):\(line): \(reason)"
    case .unfit(let why), .unbalanced(let why): why
    }
  }
}

/// Lines of a file or of stdin (`-`), one after the other.
///
/// Memory:   one chunk, and the longest line, which is at most `lineBytesMax`.
/// Errors:   `OfflineFault`; a line that is too long is a bad line.
public final class LineReader {
  public static let lineBytesMax = 16 << 20

  public let name: String
  /// Number of the line returned last.
  public private(set) var line = 0
  /// Where the line returned last begins, in bytes from where reading began.
  public private(set) var lineStart = 0
  /// Bytes handed out as lines, ends included.
  public private(set) var consumed = 0
  /// Bytes of a regular file; nil for pipes.
  public let byteCount: Int?
  private let descriptor: Int32
  private var chunk = [UInt8](repeating: 0, count: 1 << 18)
  private var used = 0
  private var at = 0
  private var isAtEnd = false

  public init(_ path: String) throws(OfflineFault) {
    name = path == "-" ? "stdin" : path
    if path == "-" {
      descriptor = STDIN_FILENO
    } else {
      // SAFETY: the path is lent as a terminated string for the call.
      descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw Self.systemFault(path) }
    }
    var facts = stat()
    // SAFETY: `facts` lives across the call.
    guard unsafe fstat(descriptor, &facts) == 0 else { throw Self.systemFault(name) }
    byteCount = facts.st_mode & S_IFMT == S_IFREG ? Int(facts.st_size) : nil
  }

  deinit { if descriptor != STDIN_FILENO { close(descriptor) } }

  static func systemFault(_ file: String) -> OfflineFault {
    // SAFETY: strerror returns a terminated string that is copied at once.
    .unreadable(file: file, reason: unsafe String(cString: strerror(errno)))
  }

  /// The next line without its end; nil at the end of the file. The last line may lack its end.
  public func next() throws(OfflineFault) -> [UInt8]? {
    var whole: [UInt8] = []
    lineStart = consumed
    while true {
      if at == used {
        guard try fill() else {
          if consumed == lineStart { return nil }
          line += 1
          return whole
        }
      }
      let rest = chunk[at..<used]
      let end = rest.firstIndex(of: 0x0a)
      let piece = rest[..<(end ?? used)]
      guard whole.count + piece.count <= Self.lineBytesMax else {
        throw .badLine(
          file: name, line: line + 1, reason: "the line has more than \(Self.lineBytesMax) bytes")
      }
      whole.append(contentsOf: piece)
      consumed += piece.count + (end == nil ? 0 : 1)
      at = end.map { $0 + 1 } ?? used
      if end != nil {
        line += 1
        return whole
      }
    }
  }

  private func fill() throws(OfflineFault) -> Bool {
    guard !isAtEnd else { return false }
    while true {
      // SAFETY: the buffer holds `chunk.count` bytes.
      let got = unsafe read(descriptor, &chunk, chunk.count)
      if got < 0 {
        if errno == EINTR { continue }
        throw Self.systemFault(name)
      }
      used = got
      at = 0
      isAtEnd = got == 0
      return got > 0
    }
  }
}

/// Records of a play file: the form that `produce` plays and `replay` runs.
///
/// Errors: `OfflineFault.badLine` with file and line number; only blank lines are passed over.
public final class PlayFile {
  public let lines: LineReader

  public init(_ path: String) throws(OfflineFault) { lines = try LineReader(path) }

  public func next() throws(OfflineFault) -> PlayRecord? {
    var line: [UInt8] = []
    repeat {
      guard let next = try lines.next() else { return nil }
      line = next
    } while line.allSatisfy { $0 == 0x20 || $0 == 0x09 }
    do throws(PlayRecord.Fault) {
      return try PlayRecord(parsing: line)
    } catch {
      throw fault(error.description)
    }
  }

  /// A fault of the record returned last.
  public func fault(_ reason: String) -> OfflineFault {
    .badLine(file: lines.name, line: lines.line, reason: reason)
  }
}
