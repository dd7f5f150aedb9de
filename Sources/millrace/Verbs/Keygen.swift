import Glibc
import Pipeline
import Records

/// `millrace control keygen`: an operator's key pair. Never overwrites: a lost key cannot be made again.
func controlKeygen(_ invocation: Invocation) throws -> ExitCode {
  guard let path = invocation.text("out") else { preconditionFailure("--out is required") }
  let key: Ed25519.PrivateKey
  let secret: String
  let open: String
  do throws(SignatureError) {
    key = try Ed25519.PrivateKey.generate()
    secret = try key.pem()
    open = try key.publicKey.pem()
  } catch {
    throw Failure(.bug, "no key pair could be made: \(error)")
  }
  try writeNew(path, secret, mode: 0o600)
  do {
    try writeNew(path + ".pub", open, mode: 0o644)
  } catch {
    // Half a pair is of no use to anybody; what cannot be removed stays, and is told by the error.
    // SAFETY: the path is lent as a terminated string for the call.
    unsafe unlink(path)
    throw error
  }
  if invocation.wantsJSON {
    let report = JSONText.object([
      ("private", .string(path)), ("public", .string(path + ".pub")),
      ("key_id", .string(key.publicKey.keyID)),
    ])
    invocation.output.result(report.encoded())
  } else {
    invocation.output.result("\(path) \(path).pub key_id=\(key.publicKey.keyID)")
    invocation.note("keep \(path) to yourself; workers obey it once their control.trusted_keys names \(path).pub")
  }
  return .done
}

/// Writes a file that must not exist yet, through to the disk.
private func writeNew(_ path: String, _ text: String, mode: mode_t) throws {
  func failure() -> Failure {
    // SAFETY: strerror returns a terminated string that is copied at once.
    Failure(.storage, "the key cannot be written: \(unsafe String(cString: strerror(errno))) path=\(path)\(errno == EEXIST ? "; keys are never overwritten, choose another --out" : "")")
  }
  // SAFETY: the path is lent as a terminated string for the call.
  let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
  guard descriptor >= 0 else { throw failure() }
  defer { close(descriptor) }
  let bytes = Array(text.utf8)
  // SAFETY: the array lives across the call.
  let written = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
  guard written == bytes.count, fsync(descriptor) == 0 else {
    let failed = failure()
    // SAFETY: as above.
    unsafe unlink(path)
    throw failed
  }
}
