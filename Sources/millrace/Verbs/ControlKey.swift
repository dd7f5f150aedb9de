import Glibc
import Records

/// Reads an operator's private key. One that others on this machine may read is refused: it has to count as known.
func readOperatorKey(_ path: String) throws -> Ed25519.PrivateKey {
  func failure(_ code: ExitCode) -> Failure {
    // SAFETY: strerror returns a terminated string that is copied at once.
    Failure(code, "the key cannot be read: \(unsafe String(cString: strerror(errno))) path=\(path)")
  }
  // SAFETY: the path is lent as a terminated string for the call.
  let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { throw failure(.refused) }
  defer { close(descriptor) }
  var facts = stat()
  // SAFETY: `facts` lives across the call. Asked of the open file, so that it is the one that is read.
  guard unsafe fstat(descriptor, &facts) == 0 else { throw failure(.refused) }
  guard facts.st_mode & S_IFMT == S_IFREG else {
    throw Failure(.refused, "the key is not a file path=\(path)")
  }
  guard facts.st_mode & 0o077 == 0 else {
    let mode = String(facts.st_mode & 0o777, radix: 8)
    throw Failure(
      .refused, "others may read or change this key mode=0\(mode) path=\(path): chmod 600, or better a new key")
  }
  var bytes = [UInt8](repeating: 0, count: 16_384)
  // SAFETY: at most the array's count is written; a PEM key is a hundred bytes.
  let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
  guard count >= 0 else { throw failure(.refused) }
  do throws(SignatureError) {
    return try Ed25519.PrivateKey(pem: String(decoding: bytes.prefix(count), as: UTF8.self))
  } catch {
    throw Failure(.refused, "not an operator's private key: \(error) path=\(path)")
  }
}

/// Who sits here, for the audit log: what the system calls the user, else the number.
func operatorName() -> String {
  // SAFETY: the entry is static memory, read and copied at once; this program looks users up on one thread.
  guard let entry = unsafe getpwuid(geteuid()), let name = unsafe entry.pointee.pw_name else {
    return "uid-\(geteuid())"
  }
  return unsafe String(cString: name)
}
