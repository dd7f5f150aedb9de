import Checkpoints
import Learning
import Pipeline
import Records
import Storage
import Worker

/// One file that is, or should be, a checkpoint: read whole, every checksum verified, and a model folded out of it.
/// Nothing on disk is changed.
struct SurveyedFile {
  var name: String
  var byteCount: Int
  var checkpoint: Checkpoint?
  var model: ModelState?
  /// Why it may not be believed; nil for a good one.
  var fault: String?

  /// Errors: a file that the system does not give.
  init(path: String, files: any FileOperations = POSIXFiles()) throws {
    let base = path.split(separator: "/").last.map(String.init) ?? path
    name = base
    let bytes: [UInt8]
    do {
      guard let read = try files.read(path, byteCountMax: 8 << 30) else {
        throw Failure(.storage, "too large to be read path=\(path)")
      }
      bytes = read
    } catch let error as FileFailure {
      throw Failure(.storage, "\(error)")
    }
    byteCount = bytes.count
    do {
      let decoded = try Checkpoint.decode(bytes)
      checkpoint = decoded
      if let own = CheckpointName(base), own != CheckpointName(decoded.identity) {
        fault = "the content belongs under another name: \(CheckpointName(decoded.identity))"
      } else if decoded.identity.kind == .model {
        model = try restoredModel(decoded)
      }
    } catch let error as CheckpointError {
      fault = Self.words(error)
    } catch {
      fault = "checksums hold, but the model cannot be restored: \(error)"
    }
  }

  static func words(_ error: CheckpointError) -> String {
    switch error {
    case .notACheckpoint: "not a checkpoint"
    case .unsupportedVersion(let version): "written in format version \(version), which this build does not read"
    case .torn(let expected, let found): "torn: \(found) of \(expected) bytes"
    case .badChecksum(let part, let section):
      "damaged: checksum of the \(part.rawValue)\(section.map { " '\($0)'" } ?? "") differs"
    case .malformed(let error): "malformed: \(error)"
    case .unknownRequiredSection(let name): "needs section '\(name)', which this build does not know"
    case .missingSection(let name): "section '\(name)' is missing"
    }
  }

  var json: JSONText {
    var members: [(String, JSONText)] = [
      ("file", .string(name)), ("bytes", .integer(Int64(byteCount))),
      ("fault", fault.map { .string($0) } ?? .null),
    ]
    guard let checkpoint else { return .object(members) }
    let identity = checkpoint.identity
    members += [
      ("kind", .string("\(identity.kind)")), ("id", .string(checkpoint.id.description)),
      ("parent", identity.parent.map { .string($0.description) } ?? .null),
      ("pipeline", .string(identity.fingerprint.pipeline)),
      ("cluster_id", .string(identity.fingerprint.clusterID)),
      ("topic", .string(identity.fingerprint.topic)),
      ("partition", .integer(Int64(identity.fingerprint.partition.value))),
      ("settings", .string(identity.fingerprint.settings.description)),
      ("log_next", .integer(identity.logNext.value)),
      ("generation", .integer(Int64(clamping: identity.generation))),
      ("inputs", .array(identity.inputs.map { .object([("topic", .string($0.topic)), ("next", .integer($0.next.value))]) })),
      ("sections", .array(checkpoint.sections.map {
        .object([("name", .string($0.name)), ("bytes", .integer(Int64($0.bytes.count))), ("required", .bool($0.required))])
      })),
    ]
    if let model { members.append(("model", ModelReport(model).json)) }
    return .object(members)
  }
}

/// All checkpoints of a state directory, by name.
struct CheckpointSurvey {
  let directory: String
  let files: [SurveyedFile]

  init(_ directory: String) throws {
    self.directory = directory
    do {
      files = try CheckpointStore(directory).list().map { try SurveyedFile(path: "\(directory)/\($0)") }
    } catch let error as StorageError {
      throw Failure(.storage, "\(error)")
    }
  }
}

/// The kept states of a state directory: files named by their content's digest.
struct BlobSurvey {
  struct Blob {
    var name: String
    var byteCount: Int
    var fault: String?
  }
  let blobs: [Blob]

  /// Reads every file, so that what it says holds. A directory without any has none.
  init(_ directory: String, files: any FileOperations = POSIXFiles()) {
    let folder = directory + "/blobs"
    // Before the first version is kept there is no such directory.
    let names = (try? files.list(folder)) ?? []
    blobs = names.filter { Digest(hex: $0) != nil }.sorted().map { name in
      do throws(FileFailure) {
        guard let bytes = try files.read("\(folder)/\(name)", byteCountMax: 4 << 30) else {
          return Blob(name: name, byteCount: 0, fault: "too large to be read")
        }
        let isGood = Digest.of(bytes).description == name
        return Blob(name: name, byteCount: bytes.count, fault: isGood ? nil : "the content differs from its digest")
      } catch {
        return Blob(name: name, byteCount: 0, fault: "\(error)")
      }
    }
  }

  /// Whether a state lies here as a file: `good`, `bad` or `-`.
  func word(_ digest: Digest) -> String {
    guard let blob = blobs.first(where: { $0.name == digest.description }) else { return "-" }
    return blob.fault == nil ? "good" : "bad"
  }
}
