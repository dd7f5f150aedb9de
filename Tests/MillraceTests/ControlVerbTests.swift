import Glibc
import Records
import Testing
import Worker

@testable import millrace

/// What a command's outcome says, and which keys are believed. Sending itself is tested against a broker.
struct ControlVerbTests {
  static func report(_ action: Command.Action, _ acks: [CommandAck], expected: Set<String>) -> ControlReport {
    let now = EventTime(milliseconds: 1_700_000_000_000)
    let command = ControlRequest(action: action, issuer: "ada", reason: "r")
      .command(id: "c", pipeline: "p", clusterID: "k", keyID: "", now: now)
    var gathered = ControlAcks(commandID: "c", isDryRun: false, expected: expected)
    for ack in acks { _ = gathered.take(ack) }
    return ControlReport(command: command, offset: 4, timestamp: now, acks: gathered)
  }
  static func ack(_ instance: String, _ status: CommandAck.Status, _ detail: String = "") -> CommandAck {
    CommandAck(
      id: "c", instance: instance, status: status,
      version: ModelVersion(lineage: Lineage(2), sequence: Sequence(50)), detail: detail)
  }

  @Test func `a rollback that everybody applied says from where to where, and how to undo it`() {
    let said = "returned from 1.50 to 1.20, served as 2.50 then=freeze; windows fed by labels stay as they are"
    let outcome = ControlOutcome(
      Self.report(
        .rollback(to: .tag("good"), then: .freeze),
        [Self.ack("a", .accepted, said), Self.ack("a", .applied)], expected: ["a"]),
      undo: ["rollback", "--reason", "it's over"])
    #expect(outcome.exitCode == .done)
    #expect(outcome.summary == [
      "version 1.50 → 2.50, the state of 1.20 (good); learning frozen: 1/1 applied",
      "undo: millrace control rollback --reason 'it'\\''s over'",
      "      (to the newest version kept before this command; what was learnt after that one is not held)",
    ])
    #expect(outcome.json.encoded().contains("\"old_version\":\"1.50\",\"new_version\":\"2.50\""))
  }

  @Test func `missing answers name the workers and end with 75, a refusal says why and ends with 77`() {
    let missing = ControlOutcome(
      Self.report(.freeze, [Self.ack("a", .applied)], expected: ["a", "b"]), undo: nil)
    #expect(missing.exitCode == .timedOut)
    #expect(missing.summary == ["no answer in time from b: 1/2 applied"])
    let refused = ControlOutcome(
      Self.report(.freeze, [Self.ack("a", .applied), Self.ack("b", .rejected, "lineage is 4")], expected: []),
      undo: nil)
    #expect(refused.exitCode == .refused)
    #expect(refused.summary == ["rejected by b: lineage is 4"])
  }

  @Test func `a key that others may read is refused, the same key kept private is taken`() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/operator"
    let key = try Ed25519.PrivateKey.generate()
    folder.write("operator", Array(try key.pem().utf8))
    for mode in [0o640, 0o604, 0o660, 0o602, 0o644] as [mode_t] {
      #expect(chmod(path, mode) == 0)
      #expect(throws: Failure.self) { try readOperatorKey(path) }
    }
    #expect(chmod(path, 0o600) == 0)
    #expect(try readOperatorKey(path).seed == key.seed)
    folder.write("public", Array(try key.publicKey.pem().utf8))
    #expect(chmod(folder.path + "/public", 0o600) == 0)
    do {
      _ = try readOperatorKey(folder.path + "/public")
      Issue.record("a public key signs nothing")
    } catch let failure as Failure {
      #expect(failure.code == .refused)
    }
    #expect(throws: Failure.self) { try readOperatorKey(folder.path) }
    #expect(throws: Failure.self) { try readOperatorKey(folder.path + "/none") }
  }
}

/// A directory that goes with its owner.
final class TemporaryFolder {
  let path: String

  init() {
    var template = Array("/tmp/millrace-tests-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { fatalError("no temporary directory errno=\(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  deinit {
    remove(path)
  }

  func write(_ name: String, _ bytes: [UInt8]) {
    guard let file = fopen("\(path)/\(name)", "w") else { fatalError("cannot write errno=\(errno)") }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }
  func makeDirectory(_ name: String) { mkdir("\(path)/\(name)", 0o700) }

  private func remove(_ path: String) {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != "." && name != ".." { remove("\(path)/\(name)") }
      }
      closedir(directory)
    }
    Glibc.remove(path)
  }
}
