import Pipeline
import Records

/// Reads the operators' public keys; every fault is told at once.
func readTrustedKeys(
  _ paths: [String], _ surroundings: Surroundings
) throws(WorkerFailure) -> [Ed25519.PublicKey] {
  var keys: [Ed25519.PublicKey] = []
  var faults: [String] = []
  for path in paths {
    switch surroundings.read(path) {
    case .failure(let error): faults.append("trusted key cannot be read: \(error.reason) path=\(path)")
    case .success(let bytes):
      do throws(SignatureError) {
        keys.append(try Ed25519.PublicKey(pem: String(decoding: bytes, as: UTF8.self)))
      } catch {
        faults.append("trusted key is not an Ed25519 public key: \(error) path=\(path)")
      }
    }
  }
  guard faults.isEmpty else { throw .misconfigured(faults.joined(separator: "; ")) }
  return keys
}
