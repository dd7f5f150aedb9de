import Glibc
import Records
import Synchronization

public enum LogLevel: UInt8, Comparable, Sendable, CaseIterable {
  case debug, info, notice, warning, error
  public static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }

  /// Reads `debug` … `error`; nil for any other text.
  public init?(_ text: String) {
    guard let level = Self.allCases.first(where: { $0.name == text }) else { return nil }
    self = level
  }
  public var name: String {
    switch self {
    case .debug: "debug"
    case .info: "info"
    case .notice: "notice"
    case .warning: "warning"
    case .error: "error"
    }
  }
}

public enum LogFormat: String, Sendable, CaseIterable {
  /// Text on a terminal, JSON elsewhere.
  case auto
  case text, json
}

public enum LogValue: Hashable, Sendable {
  case text(String)
  case integer(Int64)
  case number(Double)
  case boolean(Bool)
}

/// What a line says beside its message. All optional; `extra` in the order given.
public struct LogFields: Sendable {
  public var partition: PartitionID?
  public var offset: Offset?
  public var modelVersion: ModelVersion?
  public var extra: [(String, LogValue)]
  public init(
    partition: PartitionID? = nil, offset: Offset? = nil, modelVersion: ModelVersion? = nil,
    _ extra: [(String, LogValue)] = []
  ) {
    self.partition = partition
    self.offset = offset
    self.modelVersion = modelVersion
    self.extra = extra
  }
}

/// Structured log of the worker: one line an event, JSON off a terminal, readable text on one.
///
/// Arguments are built only if the level is on. Each line is one `write(2)`, so lines of several threads and
/// processes do not mix (pipes promise that up to 4096 bytes; values are cut, so only a line full of control
/// characters, which escapes lengthen, can be longer).
/// Repetitions of one `code` beyond `burst` in `intervalMilliseconds` are counted instead of written, and
/// the count goes out with the next line of that code, or by `flush`.
///
/// Secrets: values given as `secrets` and values of keys that sound like one are written as `***`, wherever
/// they stand. Nothing else guards them: do not log what may hold one under another name.
///
/// Threads:  any. The lock covers the repetition counts alone, never the write.
/// Errors:   none; a line that cannot be written is lost, and the worker goes on.
public final class LogWriter: Sendable {
  public struct Limit: Sendable {
    public var burst: Int
    public var intervalMilliseconds: Int64
    public init(burst: Int = 5, intervalMilliseconds: Int64 = 10_000) {
      self.burst = burst
      self.intervalMilliseconds = intervalMilliseconds
    }
  }

  public let pipeline: String
  public let instance: String
  private let isJSON: Bool
  private let secrets: [[UInt8]]
  private let limit: Limit
  private let levelCell: Atomic<UInt8>
  private let clock: @Sendable () -> Int64
  private let sink: @Sendable ([UInt8]) -> Void
  private let repetitions: Mutex<[String: Repetition]>

  private struct Repetition {
    var since: Int64
    var written: Int
    var suppressed: Int
    var level: LogLevel
  }
  /// Codes told apart at once; further ones are not limited.
  private static let repetitionCodesMax = 512

  /// Writes to `descriptor`, which stays the caller's. `clock` gives milliseconds since 1970.
  public convenience init(
    pipeline: String, instance: String, level: LogLevel = .info, format: LogFormat = .auto,
    descriptor: Int32 = 2, secrets: [String] = [], limit: Limit = Limit()
  ) {
    let json = format == .json || (format == .auto && isatty(descriptor) == 0)
    self.init(
      pipeline: pipeline, instance: instance, level: level, json: json, secrets: secrets,
      limit: limit, clock: Self.wallClock, sink: { Self.write($0, to: descriptor) })
  }

  /// With its own clock and destination: for tests and for tools that capture the log.
  public init(
    pipeline: String, instance: String, level: LogLevel, json: Bool, secrets: [String],
    limit: Limit, clock: @escaping @Sendable () -> Int64,
    sink: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.pipeline = pipeline
    self.instance = instance
    isJSON = json
    // The longest first, so that a secret within another does not leave the rest of it. Why not the
    // empty one: it stands everywhere.
    self.secrets = secrets.filter { !$0.isEmpty }.map { Array($0.utf8) }.sorted { $0.count > $1.count }
    self.limit = limit
    levelCell = Atomic(level.rawValue)
    self.clock = clock
    self.sink = sink
    repetitions = Mutex([:])
  }

  public var level: LogLevel {
    get { LogLevel(rawValue: levelCell.load(ordering: .relaxed)) ?? .info }
    set { levelCell.store(newValue.rawValue, ordering: .relaxed) }
  }
  public func isOn(_ level: LogLevel) -> Bool {
    level.rawValue >= levelCell.load(ordering: .relaxed)
  }

  /// One line. `code` names the kind of event (`checkpoint-failed`): what alarms match on, and by what
  /// repetitions are told.
  public func log(
    _ level: LogLevel, _ code: String, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> LogFields = LogFields()
  ) {
    guard isOn(level) else { return }
    let now = clock()
    guard let repeated = admit(code, level, now) else { return }
    sink(line(level, code, message(), fields(), now, repeated))
  }
  public func debug(
    _ code: String, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> LogFields = LogFields()
  ) { log(.debug, code, message(), fields()) }
  public func info(
    _ code: String, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> LogFields = LogFields()
  ) { log(.info, code, message(), fields()) }
  public func notice(
    _ code: String, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> LogFields = LogFields()
  ) { log(.notice, code, message(), fields()) }
  public func warning(
    _ code: String, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> LogFields = LogFields()
  ) { log(.warning, code, message(), fields()) }
  public func error(
    _ code: String, _ message: @autoclosure () -> String,
    _ fields: @autoclosure () -> LogFields = LogFields()
  ) { log(.error, code, message(), fields()) }

  /// Tells what was suppressed and not told yet. To be called at intervals and at the end.
  public func flush() {
    let now = clock()
    let open = repetitions.withLock { table in
      let open = table.filter { $0.value.suppressed > 0 }.sorted { $0.key < $1.key }
      for (code, _) in open { table[code] = nil }
      return open
    }
    for (code, repetition) in open {
      sink(line(repetition.level, code, "repeated", LogFields(), now, repetition.suppressed))
    }
  }

  /// nil: not now. Else how many lines of this code were left out before this one.
  private func admit(_ code: String, _ level: LogLevel, _ now: Int64) -> Int? {
    repetitions.withLock { table in
      guard var entry = table[code] else {
        if table.count >= Self.repetitionCodesMax {
          table = table.filter {
            $0.value.suppressed > 0 || now - $0.value.since < limit.intervalMilliseconds
          }
        }
        if table.count < Self.repetitionCodesMax {
          table[code] = Repetition(since: now, written: 1, suppressed: 0, level: level)
        }
        return 0
      }
      entry.level = max(entry.level, level)
      // A clock that steps back opens a new interval, rather than keeping a code silent.
      if now - entry.since >= limit.intervalMilliseconds || now < entry.since {
        let suppressed = entry.suppressed
        table[code] = Repetition(since: now, written: 1, suppressed: 0, level: level)
        return suppressed
      }
      if entry.written < limit.burst {
        entry.written += 1
        table[code] = entry
        return 0
      }
      entry.suppressed += 1
      table[code] = entry
      return nil
    }
  }

  private func line(
    _ level: LogLevel, _ code: String, _ message: String, _ fields: LogFields, _ now: Int64,
    _ repeated: Int
  ) -> [UInt8] {
    var line = LogLine(json: isJSON, secrets: secrets)
    line.begin(time: now, level: level, message: message)
    if isJSON {
      line.add("pipeline", .text(pipeline))
      line.add("instance", .text(instance))
    }
    line.add("code", .text(code))
    if let partition = fields.partition { line.add("partition", .integer(Int64(partition.value))) }
    if let offset = fields.offset { line.add("offset", .integer(offset.value)) }
    if let version = fields.modelVersion { line.add("model_version", .text(version.description)) }
    if repeated > 0 { line.add("repeated", .integer(Int64(repeated))) }
    for (key, value) in fields.extra { line.add(key, value) }
    return line.end()
  }

  private static func wallClock() -> Int64 {
    var now = timespec()
    // SAFETY: a local structure is lent.
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) {
    var at = 0
    while at < bytes.count {
      // SAFETY: the buffer is lent for the call and `at` lies within it.
      let (count, code) = unsafe bytes.withUnsafeBytes { buffer in
        let count = unsafe Glibc.write(descriptor, buffer.baseAddress! + at, buffer.count - at)
        return (count, errno)
      }
      // Only what a signal or a full pipe cut off is written by a second call.
      if count > 0 { at += count } else if count == 0 || code != EINTR { return }
    }
  }
}
