import Records
import Storage
import Synchronization

/// Finds the record that kills the process, so that it can be passed over.
///
/// Before a unit is filled, a note on disk says where each of its partitions stands. A note that is still there at the
/// next start, with nothing committed beyond it, means a death on that range: the partition is then taken with care,
/// one record at a time, each named on disk before it is looked at and struck out after. A record that two deaths
/// name is quarantined: its dead letter tells its place, the journal tells every replay to pass it over.
///
/// Why no fsync: the note has to outlive the process, not the machine. Why not the offsets alone: operators kill
/// processes, too, but hardly twice within the same record.
///
/// Layout:  `attempts`, one line a partition: partition, deaths, suspect of this life, suspect of earlier ones with
///          its deaths, the offsets. A suspect is `input:offset` or `-`. Replaced by rename.
/// Cost:    one small file a unit; one a record while there is need of care.
/// Threads: any.
final class CrashFuse: Sendable {
  /// Deaths at one record that make it the culprit.
  static let deathsMax = 2

  struct Place: Equatable, Sendable {
    var input: Int
    var offset: Int64
  }
  struct Attempt: Equatable, Sendable {
    /// Per input, where the open unit began.
    var offsets: [Int64] = []
    /// Deaths on this range so far.
    var deaths = 0
    /// What was being looked at.
    var suspect: Place?
    /// What was being looked at when an earlier life ended, and how many did.
    var former: Place?
    var formerDeaths = 0
  }
  /// How a partition is to be taken after a death.
  struct Care: Equatable, Sendable {
    var deaths: Int
    /// To be passed over.
    var culprit: Place?
  }

  private struct State {
    /// As the file has them.
    var written: [Int32: Attempt] = [:]
    /// What an earlier life left, until its partition is restored.
    var left: [Int32: Attempt]
  }
  private let path: String
  private let files: any FileOperations
  private let state: Mutex<State>

  init(in directory: String, files: any FileOperations) {
    path = "\(directory)/attempts"
    self.files = files
    // A missing file is a clean end; one that cannot be read costs one more death before the record is found.
    let bytes = (try? files.read(path, byteCountMax: 1 << 20)) ?? nil
    state = Mutex(State(left: Self.parse(bytes ?? [])))
  }

  /// A partition goes live for the first time in this life, with these offsets committed; nil: nothing happened.
  func restored(_ partition: Int32, at committed: [Int64]) -> Care? {
    state.withLock { state in
      guard var attempt = state.left.removeValue(forKey: partition) else { return nil }
      guard attempt.offsets.count == committed.count,
        zip(committed, attempt.offsets).allSatisfy({ $0 <= $1 })
      else { return nil }
      attempt.deaths += 1
      if let suspect = attempt.suspect {
        attempt.formerDeaths = suspect == attempt.former ? attempt.formerDeaths + 1 : 1
        attempt.former = suspect
      }
      attempt.suspect = nil
      attempt.offsets = committed
      state.written[partition] = attempt
      return Care(
        deaths: attempt.deaths, culprit: attempt.formerDeaths >= Self.deathsMax ? attempt.former : nil)
    }
  }

  /// A unit is about to be filled from here. Writes only where something changed.
  func begin(_ places: [(partition: Int32, offsets: [Int64])]) {
    state.withLock { state in
      var changed = false
      for (partition, offsets) in places where state.written[partition]?.offsets != offsets {
        state.written[partition, default: Attempt()].offsets = offsets
        changed = true
      }
      if changed { write(state.written) }
    }
  }

  /// Names what is about to be looked at; nil: it was survived.
  func suspect(_ partition: Int32, _ place: Place?) {
    state.withLock { state in
      state.written[partition, default: Attempt()].suspect = place
      write(state.written)
    }
  }

  /// The dangerous range lies behind.
  func survived(_ partition: Int32) {
    state.withLock { state in
      state.written[partition] = Attempt(offsets: state.written[partition]?.offsets ?? [])
      write(state.written)
    }
  }

  /// The process ends in an orderly way: what comes next is no death.
  func clear() { do { try files.remove(path) } catch {} }

  private func write(_ attempts: [Int32: Attempt]) {
    let temporary = path + ".tmp"
    // A note that cannot be written makes the fuse slower, nothing else.
    do throws(FileFailure) {
      do throws(FileFailure) { try files.remove(temporary) } catch where error.kind == .missing {}
      let file = try files.create(temporary)
      let bytes = Self.text(attempts)
      var written = 0
      do throws(FileFailure) {
        while written < bytes.count { written += try files.write(file, bytes, from: written, path: temporary) }
      } catch {
        try files.close(file, path: temporary)
        throw error
      }
      try files.close(file, path: temporary)
      try files.rename(temporary, to: path)
    } catch {}
  }

  // MARK: Text

  static func text(_ attempts: [Int32: Attempt]) -> [UInt8] {
    var lines = ""
    func place(_ place: Place?) -> String { place.map { "\($0.input):\($0.offset)" } ?? "-" }
    for (partition, attempt) in attempts.sorted(by: { $0.key < $1.key }) {
      lines += "\(partition) \(attempt.deaths) \(place(attempt.suspect)) \(place(attempt.former)) \(attempt.formerDeaths)"
      for offset in attempt.offsets { lines += " \(offset)" }
      lines += "\n"
    }
    return Array(lines.utf8)
  }

  /// Lines that are not of this form are passed over: a torn note is none.
  static func parse(_ bytes: [UInt8]) -> [Int32: Attempt] {
    var attempts: [Int32: Attempt] = [:]
    let text = String(decoding: bytes, as: UTF8.self)
    guard text.hasSuffix("\n") else { return [:] }
    func place(_ text: Substring) -> Place?? {
      if text == "-" { return .some(nil) }
      let parts = text.split(separator: ":")
      guard parts.count == 2, let input = Int(parts[0]), let offset = Int64(parts[1]) else { return nil }
      return Place(input: input, offset: offset)
    }
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count > 5, let partition = Int32(words[0]), let deaths = Int(words[1]), let suspect = place(words[2]),
        let former = place(words[3]), let formerDeaths = Int(words[4]), deaths >= 0, deaths < 1 << 30,
        formerDeaths >= 0, formerDeaths < 1 << 30
      else { continue }
      let offsets = words[5...].compactMap { Int64($0) }
      guard offsets.count == words.count - 5 else { continue }
      attempts[partition] = Attempt(
        offsets: offsets, deaths: deaths, suspect: suspect, former: former, formerDeaths: formerDeaths)
    }
    return attempts
  }
}
