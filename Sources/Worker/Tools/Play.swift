import Glibc
import Kafka
import Records

/// How a play file is played.
public struct PlayOptions: Sendable {
  /// Event time runs this many times as fast as the clock; nil: as fast as it goes.
  public var speed: Double? = 1
  /// Records a second at most.
  public var rate: Double?
  /// Stop before the first record at or after this time, milliseconds since 1970.
  public var until: Int64?
  /// Every line is the payload of a record of this input; nil: every line is a `PlayRecord`.
  public var input: String?
  public init() {}
}

/// How far a play has come.
public struct PlayProgress: Hashable, Sendable {
  /// Records handed to the client, and their payload bytes.
  public var records = 0
  public var bytes = 0
  /// Event time of the last record, milliseconds since 1970.
  public var time: Int64?
  public var elapsedMilliseconds: Int64 = 0
  /// How far the play is behind its pace.
  public var behindMilliseconds: Int64 = 0
}

/// Why a play ended early, with the line.
public struct PlayFailure: Error, Sendable, CustomStringConvertible {
  public enum Reason: Sendable {
    case line(String)
    case kafka(KafkaError)
    case file(OfflineFault)
  }
  public var reason: Reason
  /// From 1; 0 before the first line.
  public var line: Int

  public var description: String {
    switch reason {
    case .line(let words): "line \(line): \(words)"
    case .kafka(let error): "\(error) line=\(line)"
    case .file(let failure): "\(failure)"
    }
  }
}

/// Plays a file of records into the topics of their inputs, each at its time.
///
/// A record's key is the text of the input's declared key field, its partition murmur2 of the key as Java clients
/// place it, its Kafka timestamp its event time. A record without a key goes to the partition of its line number.
///
/// Pace:     the first record is sent at once, one `t` later in event time after `t / speed`; a record that is
///           earlier than the one before it is sent at once. With `rate` as well, the later of the two counts.
/// Errors:   the first line that is no record, the first record that cannot be delivered. What was sent before stays.
/// Threads:  the caller's; `progress` is called on it, about twice a second and at the end.
public func playFile(
  _ path: String, into inputs: [InputSchema], _ client: ClientSettings, _ options: PlayOptions,
  shouldStop: () -> Bool, progress: (PlayProgress) -> Void = { _ in }
) throws(PlayFailure) -> PlayProgress {
  let lines = try LineReader.opened(path)
  let player: Player
  do throws(KafkaError) {
    player = try Player(inputs, client, options)
  } catch { throw PlayFailure(reason: .kafka(error), line: 0) }
  if let name = options.input, !inputs.contains(where: { $0.name == name }) {
    throw PlayFailure(reason: .line("no input is called '\(name)'"), line: 0)
  }
  while !shouldStop() {
    let line: [UInt8]?
    do throws(OfflineFault) { line = try lines.next() } catch {
      throw PlayFailure(reason: .file(error), line: lines.line)
    }
    guard let line else { break }
    if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { continue }
    guard try player.play(line, number: lines.line, shouldStop, progress) else { break }
  }
  return try player.finish(line: lines.line, progress)
}

extension LineReader {
  fileprivate static func opened(_ path: String) throws(PlayFailure) -> LineReader {
    do throws(OfflineFault) { return try LineReader(path) } catch {
      throw PlayFailure(reason: .file(error), line: 0)
    }
  }
}

/// State of one play.
private final class Player {
  private let inputs: [InputSchema]
  private let topics: [ProducerTopic]
  private let producer: Producer
  private let options: PlayOptions
  private var done = PlayProgress()
  private let started = milliseconds()
  private var firstTime: Int64?
  private var reported: Int64 = 0

  init(_ inputs: [InputSchema], _ client: ClientSettings, _ options: PlayOptions) throws(KafkaError) {
    self.inputs = inputs
    self.options = options
    producer = try Producer(client, ProducerSettings(messageBytesMax: 64 << 20))
    var topics: [ProducerTopic] = []
    for input in inputs { topics.append(try producer.open(input.topic)) }
    self.topics = topics
  }

  /// False when the play is over before its file is.
  func play(
    _ line: [UInt8], number: Int, _ shouldStop: () -> Bool, _ progress: (PlayProgress) -> Void
  ) throws(PlayFailure) -> Bool {
    let (place, time, key, payload) = try read(line, number)
    if let until = options.until, time >= until { return false }
    let due = due(time)
    while true {
      let now = milliseconds()
      done.elapsedMilliseconds = now - started
      done.behindMilliseconds = max(0, done.elapsedMilliseconds - due)
      if now - reported >= 500 {
        reported = now
        try check(number)
        progress(done)
      }
      if done.elapsedMilliseconds >= due { break }
      if shouldStop() { return false }
      producer.poll(milliseconds: Int32(min(due - done.elapsedMilliseconds, 50)))
    }
    let topic = topics[place]
    let partition =
      key.map { Murmur2.partition(of: $0, partitions: topic.partitionCount) }
      ?? Int32(number % Int(topic.partitionCount))
    while true {
      do throws(KafkaError) {
        try producer.produce(topic, partition: partition, key: key, value: payload, timestamp: time)
        break
      } catch {
        // A full queue has pushed back for its time; the clock goes on, and the play falls behind.
        guard error.action == .retrySameCall else { throw PlayFailure(reason: .kafka(error), line: number) }
        try check(number)
        if shouldStop() { return false }
      }
    }
    done.records += 1
    done.bytes += payload.count
    done.time = time
    return true
  }

  /// Waits until everything is acknowledged.
  func finish(line: Int, _ progress: (PlayProgress) -> Void) throws(PlayFailure) -> PlayProgress {
    do throws(KafkaError) { try producer.flush(timeoutMilliseconds: 60_000) } catch {
      throw PlayFailure(reason: .kafka(error), line: line)
    }
    done.elapsedMilliseconds = milliseconds() - started
    progress(done)
    return done
  }

  private func check(_ line: Int) throws(PlayFailure) {
    producer.poll()
    if let failure = producer.takeFailures().first { throw PlayFailure(reason: .kafka(failure), line: line) }
  }

  /// Milliseconds after the start at which a record of event time `time` is to be sent.
  private func due(_ time: Int64) -> Int64 {
    let first = firstTime ?? time
    firstTime = first
    var due: Double = 0
    if let speed = options.speed { due = Double(time - first) / speed }
    if let rate = options.rate { due = max(due, Double(done.records) * 1000 / rate) }
    return Int64(min(max(due, 0), 1e15))
  }

  private func read(
    _ line: [UInt8], _ number: Int
  ) throws(PlayFailure) -> (place: Int, time: Int64, key: [UInt8]?, payload: [UInt8]) {
    if let name = options.input, let place = inputs.firstIndex(where: { $0.name == name }) {
      return try readPayload(line, number, place)
    }
    let record: PlayRecord
    do throws(PlayRecord.Fault) { record = try PlayRecord(parsing: line) } catch {
      throw PlayFailure(reason: .line(error.description), line: number)
    }
    guard let place = inputs.firstIndex(where: { $0.name == record.input }) else {
      throw PlayFailure(reason: .line("no input is called '\(record.input)'"), line: number)
    }
    let field = inputs[place].keyField.map { inputs[place].fields[$0].name }
    return (place, record.time, record.key(field: field), record.payload)
  }

  /// A line that is the payload itself: its time is that of its event-time field.
  private func readPayload(
    _ line: [UInt8], _ number: Int, _ place: Int
  ) throws(PlayFailure) -> (place: Int, time: Int64, key: [UInt8]?, payload: [UInt8]) {
    let input = inputs[place]
    let members: JSONMembers
    do throws(JSONError) { members = try JSONMembers(scanning: line) } catch {
      throw PlayFailure(reason: .line("not a JSON object: \(error)"), line: number)
    }
    var key: [UInt8]?
    if let field = input.keyField, let member = members[input.fields[field].name] {
      switch member.kind {
      case .string: key = member.text
      case .integer, .number, .bool: key = Array(line[member.range])
      case .null, .array, .object: break
      }
    }
    guard let field = input.eventTimeField else {
      // The Kafka timestamp is the event time: now.
      return (place, wallMilliseconds(), key, line)
    }
    guard let member = members[input.fields[field].name], let time = eventTime(member, input.fields[field].timeUnit)
    else {
      throw PlayFailure(reason: .line("no time in '\(input.fields[field].name)'"), line: number)
    }
    return (place, time, key, line)
  }
}

private func eventTime(_ member: JSONMembers.Member, _ unit: TimeUnit) -> Int64? {
  switch (unit, member.kind) {
  case (.rfc3339, .string):
    return EventTime(rfc3339: String(decoding: member.text, as: UTF8.self))?.milliseconds
  case (.seconds, .integer(let value)):
    let (product, overflow) = value.multipliedReportingOverflow(by: 1000)
    return overflow ? nil : product
  case (.milliseconds, .integer(let value)): return value
  case (.microseconds, .integer(let value)): return value / 1000 - (value % 1000 < 0 ? 1 : 0)
  default: return nil
  }
}

/// The monotonic clock.
private func milliseconds() -> Int64 { read(CLOCK_MONOTONIC) }
private func wallMilliseconds() -> Int64 { read(CLOCK_REALTIME) }
private func read(_ clock: clockid_t) -> Int64 {
  var time = timespec()
  // SAFETY: fills in the value it is given.
  _ = unsafe clock_gettime(clock, &time)
  return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
