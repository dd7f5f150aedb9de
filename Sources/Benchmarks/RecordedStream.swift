import Glibc
import Records

/// Records of one input, back to back in memory, as a consumer would hand them out.
struct RecordedInput {
  struct Place {
    var payload: Range<Int>
    var key: Range<Int>?
    var timestamp: Int64
  }
  var bytes: [UInt8] = []
  var places: [Place] = []

  mutating func append(payload: [UInt8], key: [UInt8]?, timestamp: Int64) {
    let start = bytes.count
    bytes += payload
    let end = bytes.count
    if let key { bytes += key }
    places.append(
      Place(payload: start..<end, key: key.map { _ in end..<bytes.count }, timestamp: timestamp))
  }
}

/// A play file in memory, from which streams of any length are made: each repetition lies later in time and names
/// its events anew, so that windows go on and nothing is a duplicate.
struct RecordedStream {
  private var records: [(input: Int, record: PlayRecord, key: [UInt8]?)] = []
  private let schemas: [InputSchema]
  /// How far a repetition lies behind the one before: whole days, so that hours of the day keep their meaning.
  let spanMilliseconds: Int64

  var count: Int { records.count }

  init(playing path: String, inputs schemas: [InputSchema]) throws {
    self.schemas = schemas
    let text = try readFile(path)
    for (number, line) in text.split(separator: 0x0a).enumerated() {
      let record: PlayRecord
      do { record = try PlayRecord(parsing: Array(line)) } catch {
        throw BenchFailure("\(path):\(number + 1): \(error)")
      }
      guard let input = schemas.firstIndex(where: { $0.name == record.input }) else {
        throw BenchFailure("\(path):\(number + 1): no input is called '\(record.input)'")
      }
      let field = schemas[input].keyField.map { schemas[input].fields[$0].name }
      records.append((input, record, record.key(field: field)))
    }
    guard let first = records.map(\.record.time).min(), let last = records.map(\.record.time).max() else {
      throw BenchFailure("\(path) has no records")
    }
    let day: Int64 = 86_400_000
    spanMilliseconds = (last - first) / day * day + day
  }

  /// The stream's `repetition`-th month, year, or whatever the file holds. `only`: other inputs stay empty.
  ///
  /// With `keys`, the text of every field but the id gets one of so many endings: a world of as many keys.
  func inputs(repetition: Int, only: Int? = nil, keys: Int = 1) throws -> [RecordedInput] {
    var inputs = schemas.map { _ in RecordedInput() }
    let shift = Int64(repetition) * spanMilliseconds
    for (number, (input, record, key)) in records.enumerated() where only == nil || only == input {
      let ending = keys > 1 ? "~\(number % keys)" : ""
      inputs[input].append(
        payload: try moved(record.payload, schemas[input], by: shift, repetition: repetition, ending),
        key: key.map { $0 + Array(ending.utf8) }, timestamp: record.time + shift)
    }
    return inputs
  }

  /// Writes so many repetitions as one play file.
  func write(repetitions: Int, to path: String) throws {
    guard let file = unsafe fopen(path, "w") else { throw BenchFailure("cannot be written: \(path)") }
    defer { unsafe fclose(file) }
    var line = JSONWriter()
    for repetition in 0..<repetitions {
      for (input, record, _) in records {
        let schema = schemas[input]
        let payload = try moved(
          record.payload, schema, by: Int64(repetition) * spanMilliseconds, repetition: repetition, "")
        line.clear()
        line.beginObject()
        line.key("input")
        line.value(schema.name)
        line.key("time")
        line.value(record.time + Int64(repetition) * spanMilliseconds)
        if (try? JSONMembers(scanning: payload)) != nil {
          line.key("value")
          line.value(json: payload)
        } else {
          line.key("raw")
          line.value(String(decoding: payload, as: UTF8.self))
        }
        if let key = record.statedKey {
          line.key("key")
          line.value(String(decoding: key, as: UTF8.self))
        }
        line.endObject()
        line.newline()
        let written = unsafe line.withBytes { unsafe fwrite($0.baseAddress, 1, $0.count, file) }
        guard written == line.count else { throw BenchFailure("cannot be written: \(path)") }
      }
    }
    guard unsafe fflush(file) == 0 else { throw BenchFailure("cannot be written: \(path)") }
  }

  /// The payload with its times moved and its id told apart; bytes that are no object stay as they are.
  private func moved(
    _ payload: [UInt8], _ schema: InputSchema, by shift: Int64, repetition: Int, _ ending: String
  ) throws -> [UInt8] {
    guard repetition > 0 || !ending.isEmpty, let scanned = try? JSONMembers(scanning: payload) else {
      return payload
    }
    var out: [UInt8] = []
    var copied = 0
    func replace(_ range: Range<Int>, by text: String) {
      out += payload[copied..<range.lowerBound]
      out += Array(text.utf8)
      copied = range.upperBound
    }
    for member in scanned.members {
      guard let field = schema.fields.firstIndex(where: { member.name.elementsEqual($0.name.utf8) }) else { continue }
      let declared = schema.fields[field]
      switch (declared.type, member.kind) {
      case (.time, .string):
        guard let time = EventTime(rfc3339: String(decoding: member.text, as: UTF8.self)) else { continue }
        let later = EventTime(milliseconds: time.milliseconds + shift)
        replace(member.range, by: "\"\(later.rfc3339.replacing(".000Z", with: "Z"))\"")
      case (.time, .integer(let value)):
        let perSecond: [TimeUnit: Int64] = [.seconds: 1, .milliseconds: 1_000, .microseconds: 1_000_000]
        replace(member.range, by: "\(value + shift / 1_000 * (perSecond[declared.timeUnit] ?? 1_000))")
      case (.string, .string):
        let suffix = field == schema.idField ? "#\(repetition)" : ending
        let end = member.range.upperBound - 1
        replace(end..<end, by: suffix)
      default: continue
      }
    }
    out += payload[copied...]
    return out
  }
}

/// Why a benchmark cannot run.
struct BenchFailure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

func readFile(_ path: String) throws -> [UInt8] {
  guard let file = unsafe fopen(path, "r") else { throw BenchFailure("cannot be read: \(path)") }
  defer { unsafe fclose(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 20)
  while true {
    // SAFETY: at most the chunk's count is written.
    let count = unsafe fread(&chunk, 1, chunk.count, file)
    if count == 0 { return bytes }
    bytes += chunk[..<count]
  }
}
