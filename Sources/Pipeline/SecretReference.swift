/// Where a secret is, never what it is: safe to print, compare and log.
///
/// A relative file name is looked for in `$CREDENTIALS_DIRECTORY` (systemd) first, then beside the configuration file.
public enum SecretReference: Sendable, Hashable, CustomStringConvertible {
  /// `directory` is that of the configuration file that names the secret.
  case file(name: String, directory: String)
  case environment(name: String)

  /// Why a secret cannot be had; the value itself is never part of it.
  public enum Failure: Error, Sendable, Hashable, CustomStringConvertible {
    case unreadable(path: String, reason: String)
    case unset(variable: String)
    case empty(reference: String)
    case notText(reference: String)
    public var description: String {
      switch self {
      case .unreadable(let path, let reason): "secret file cannot be read: \(reason) path=\(path)"
      case .unset(let variable): "secret variable is not set variable=\(variable)"
      case .empty(let reference): "secret is empty reference=\(reference)"
      case .notText(let reference): "secret is not UTF-8 text reference=\(reference)"
      }
    }
  }

  public var description: String {
    switch self {
    case .file(let name, _): "{file: \(name)}"
    case .environment(let name): "{env: \(name)}"
    }
  }

  /// Reads the secret now, so that rotation is seen by asking again. One trailing line end is dropped.
  public func resolve(_ surroundings: Surroundings) throws(Failure) -> String {
    switch self {
    case .environment(let name):
      guard let value = surroundings.variables[name] else { throw .unset(variable: name) }
      guard !value.isEmpty else { throw .empty(reference: description) }
      return value
    case .file(let name, let directory):
      let beside = Path.join(directory, name)
      var bytes: [UInt8]?
      if !Path.isAbsolute(name), let credentials = surroundings.variables["CREDENTIALS_DIRECTORY"] {
        switch surroundings.read(Path.join(credentials, name)) {
        case .success(let found): bytes = found
        case .failure: break  // Not a credential: the file beside the configuration is the other place.
        }
      }
      if bytes == nil {
        switch surroundings.read(beside) {
        case .success(let found): bytes = found
        case .failure(let error): throw .unreadable(path: beside, reason: error.reason)
        }
      }
      guard var text = String(validating: bytes ?? [], as: UTF8.self) else {
        throw .notText(reference: description)
      }
      if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
      guard !text.isEmpty else { throw .empty(reference: description) }
      return text
    }
  }
}
