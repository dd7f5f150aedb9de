import Glibc

/// Why a file could not be read.
public struct FileError: Error, Sendable, Hashable {
  /// In the system's words.
  public var reason: String
  public init(reason: String) { self.reason = reason }
}

/// What the configuration may look at outside itself: variables and files. Passed in, so that tests need neither.
public struct Surroundings: Sendable {
  public var variables: [String: String]
  public var read: @Sendable (_ path: String) -> Result<[UInt8], FileError>

  public init(
    variables: [String: String] = [:],
    read: @escaping @Sendable (_ path: String) -> Result<[UInt8], FileError>
  ) {
    self.variables = variables
    self.read = read
  }

  /// The process's own environment and file system. `HOSTNAME` is there even where no shell exported it.
  public static func process() -> Surroundings {
    var variables: [String: String] = [:]
    // SAFETY: `environ` is a null-terminated array of null-terminated strings; nothing in this program changes it.
    var entry = unsafe environ
    while let text = unsafe entry.pointee {
      let pair = unsafe String(cString: text)
      if let equals = pair.firstIndex(of: "=") {
        variables[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
      }
      unsafe entry = entry.successor()
    }
    if variables["HOSTNAME"] == nil {
      var name = [CChar](repeating: 0, count: 256)
      // SAFETY: the buffer is longer than HOST_NAME_MAX and stays terminated.
      if unsafe gethostname(&name, name.count - 1) == 0 {
        variables["HOSTNAME"] = String(
          decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      }
    }
    return Surroundings(variables: variables, read: { readFile($0) })
  }

  /// The whole of a regular file of at most 16 MiB.
  public static func readFile(_ path: String) -> Result<[UInt8], FileError> {
    func failure() -> Result<[UInt8], FileError> {
      // SAFETY: strerror returns a terminated string that is copied at once.
      .failure(FileError(reason: unsafe String(cString: strerror(errno))))
    }
    // SAFETY: the path is lent as a terminated string for the call.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return failure() }
    defer { close(descriptor) }
    var facts = stat()
    // SAFETY: `facts` lives across the call.
    guard unsafe fstat(descriptor, &facts) == 0 else { return failure() }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      return .failure(FileError(reason: "Not a regular file"))
    }
    let limit = 1 << 24
    guard facts.st_size <= limit else {
      return .failure(FileError(reason: "File larger than \(limit) bytes"))
    }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      // SAFETY: the buffer holds `chunk.count` bytes.
      let got = unsafe Glibc.read(descriptor, &chunk, chunk.count)
      if got < 0 {
        if errno == EINTR { continue }
        return failure()
      }
      if got == 0 { return .success(bytes) }
      bytes.append(contentsOf: chunk[..<got])
      guard bytes.count <= limit else {
        return .failure(FileError(reason: "File larger than \(limit) bytes"))
      }
    }
  }
}

/// The little that is needed of path names.
enum Path {
  static func isAbsolute(_ path: String) -> Bool { path.hasPrefix("/") }
  static func join(_ directory: String, _ path: String) -> String {
    if isAbsolute(path) || directory.isEmpty || directory == "." { return path }
    return directory.hasSuffix("/") ? directory + path : directory + "/" + path
  }
  static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "" }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
