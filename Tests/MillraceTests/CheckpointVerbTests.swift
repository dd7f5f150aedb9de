import Checkpoints
import Glibc
import Learning
import Models
import Pipeline
import Records
import Storage
import Synchronization
import Testing

@testable import millrace

/// The verbs that look into a state directory, on directories with good files and with each kind of damage.
struct CheckpointVerbTests {
  static func run(_ words: [String]) -> (code: ExitCode, out: String, notes: String) {
    let out = Mutex(""), notes = Mutex("")
    let program = Program(
      table: .millrace,
      output: Output(
        write: { text in out.withLock { $0 += text } }, writeNote: { text in notes.withLock { $0 += text } }),
      surroundings: .process())
    let code = program.run(words)
    return (code, out.withLock { $0 }, notes.withLock { $0 })
  }

  /// A model with a kept start, as a worker would write it.
  static func model(generation: UInt64 = 1) -> (name: CheckpointName, bytes: [UInt8], start: Digest) {
    let schema = RowSchema([RowColumn(name: "x", kind: .number)])
    let settings = LearningSettings(
      pipeline: "p", rowSchema: schema, contenders: [ContenderSettings(name: "only", kind: .baseRate)],
      keepEvery: 10, keep: 3)
    let state = ModelState()
    _ = state.fold(
      ModelState.charter(settings, clusterID: "k").record(), offset: Offset(0), timestamp: EventTime(milliseconds: 1_000))
    var section = ByteWriter()
    state.encode(into: &section)
    return checkpoint(.model, generation, sections: [("model", section.bytes)], start: state.ledger.kept[0].digest)
  }

  static func checkpoint(
    _ kind: CheckpointKind, _ generation: UInt64, sections: [(String, [UInt8])], start: Digest = Digest.of([])
  ) -> (name: CheckpointName, bytes: [UInt8], start: Digest) {
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: kind,
        fingerprint: CheckpointFingerprint(
          clusterID: "k", topic: "t", partition: PartitionID(0), pipeline: "p", settings: Digest.of([])),
        inputs: kind == .partition ? [InputPosition(topic: "events", next: Offset(7))] : [],
        logNext: Offset(1), generation: generation))
    for (name, bytes) in sections { writer.add(name, bytes) }
    return (CheckpointName(writer.identity), writer.encode().bytes, start)
  }

  @Test func `good files are listed, inspected and verified`() {
    let folder = TemporaryFolder()
    let model = Self.model()
    let partition = Self.checkpoint(.partition, 1, sections: [("engine", [1, 2, 3])])
    for file in [model, partition] { folder.write("\(file.name)", file.bytes) }
    let listed = Self.run(["checkpoint", "ls", "--directory", folder.path])
    #expect(listed.code == .done)
    #expect(listed.out.contains("\(model.name)") && listed.out.contains("\(partition.name)"))
    let verified = Self.run(["checkpoint", "verify", "--directory", folder.path])
    #expect(verified.code == .done)
    #expect(verified.out.split(separator: "\n").allSatisfy { $0.hasPrefix("good") })
    let inspected = Self.run(["checkpoint", "inspect", "\(folder.path)/\(model.name)"])
    #expect(inspected.code == .done)
    #expect(inspected.out.contains("section") && inspected.out.contains("version 1.0"))
    let versions = Self.run(["model", "ls", "--directory", folder.path, "--json"])
    #expect(versions.code == .done)
    #expect(try! JSONValue(parsing: versions.out)["kept"]?.array?.count == 1)
    let one = Self.run(["model", "inspect", "1.0", "--directory", folder.path])
    #expect(one.code == .done)
    #expect(one.out.contains("\(model.start)") && one.out.contains("base rate"))
    #expect(Self.run(["model", "inspect", "1.1", "--directory", folder.path]).code == .failed)
  }

  @Test func `every damaged byte and every cut is found, named, and ends with 1`() {
    let folder = TemporaryFolder()
    let model = Self.model()
    let good = Self.model(generation: 2)
    folder.write("\(good.name)", good.bytes)
    var damaged: [[UInt8]] = stride(from: 0, to: model.bytes.count, by: 37).map { at in
      var bytes = model.bytes
      bytes[at] ^= 0x40
      return bytes
    }
    damaged += [[], Array(model.bytes.prefix(20)), Array(model.bytes.dropLast()), model.bytes + [0]]
    for bytes in damaged {
      folder.write("\(model.name)", bytes)
      let verified = Self.run(["checkpoint", "verify", "--directory", folder.path])
      #expect(verified.code == .failed)
      #expect(verified.out.contains("BAD   \(model.name)  "))
      #expect(verified.out.contains("good  \(good.name)"))
      #expect(Self.run(["checkpoint", "ls", "--directory", folder.path]).code == .failed)
      let inspected = Self.run(["checkpoint", "inspect", "\(folder.path)/\(model.name)"])
      #expect(inspected.code == .failed)
      #expect(inspected.notes.contains("\(model.name)"))
      // The good one still answers, and the damage is told all the same.
      let listed = Self.run(["model", "ls", "--directory", folder.path])
      #expect(listed.code == .failed)
      #expect(listed.out.contains("1.0") && listed.notes.contains("\(model.name)"))
    }
  }

  @Test func `a file under another's name, a model that does not restore and a changed blob are bad`() {
    let folder = TemporaryFolder()
    let model = Self.model()
    folder.write("\(Self.model(generation: 9).name)", model.bytes)
    let hollow = Self.checkpoint(.model, 3, sections: [("model", [1, 2, 3])])
    folder.write("\(hollow.name)", hollow.bytes)
    folder.makeDirectory("blobs")
    folder.write("blobs/\(Digest.of([1]))", [1])
    folder.write("blobs/\(Digest.of([2]))", [3])
    let verified = Self.run(["checkpoint", "verify", "--directory", folder.path, "--json"])
    #expect(verified.code == .failed)
    #expect(try! JSONValue(parsing: verified.out)["bad"] == .integer(3))
    #expect(Self.run(["model", "ls", "--directory", folder.path]).code == .failed)
  }

  @Test func `looking changes nothing, and a directory that is not there ends with 74`() {
    let folder = TemporaryFolder()
    folder.write("\(Self.model().name)", [1, 2, 3])
    folder.write("x.tmp", [1])
    for words in [["checkpoint", "ls"], ["checkpoint", "verify"], ["model", "ls"], ["model", "inspect", "1.0"]] {
      _ = Self.run(words + ["--directory", folder.path])
    }
    let left = try! POSIXFiles().list(folder.path).sorted()
    #expect(left == ["\(Self.model().name)", "x.tmp"].sorted())
    #expect(Self.run(["checkpoint", "ls", "--directory", folder.path + "/none"]).code == .storage)
    #expect(Self.run(["model", "ls", "--directory", folder.path + "/none"]).code == .storage)
  }
}
