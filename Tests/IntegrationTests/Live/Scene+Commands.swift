import Foundation
import Learning
import Records
@testable import RunChecker

/// Commands as an operator signs them.
extension Scene {
  func order(_ id: String, _ action: Command.Action) -> Command {
    let now = Int64(Date().timeIntervalSince1970 * 1_000)
    return Command(
      id: id, pipeline: pipeline.settings.name, clusterID: clusterID, action: action, issuer: "test",
      keyID: operatorKey.publicKey.keyID, reason: "test", issuedAt: EventTime(milliseconds: now - 1_000),
      expiresAt: EventTime(milliseconds: now + 600_000))
  }

  @discardableResult
  func send(_ command: Command) throws -> (value: [UInt8], signature: String) {
    let signed = try command.signed(with: operatorKey)
    try self.command(signed.value, signature: signed.signature)
    return signed
  }

  @discardableResult
  func send(
    _ id: String, _ action: Command.Action, expectLineage: Lineage? = nil
  ) throws -> (value: [UInt8], signature: String) {
    var made = order(id, action)
    made.expectLineage = expectLineage
    return try send(made)
  }

  func sendSigned(_ text: String) throws {
    let value = Array(text.utf8)
    try command(value, signature: Base64.encode(try operatorKey.sign(value)))
  }
}
