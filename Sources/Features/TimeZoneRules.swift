import Records

/// The offsets of one time zone from UTC over all time: a table of transitions, then a yearly rule.
///
/// Plain data, compiled into a plan when the declaration is read, so that the core asks no system
/// for the zone and two hosts with the same data agree for ever.
///
/// Units:    milliseconds since 1970 for instants, seconds east of UTC for offsets.
/// Cost:     `interval(at:)` is one binary search, or a few additions where the yearly rule holds.
public struct TimeZoneRules: Sendable, Hashable {
  /// Ascending instants at which the offset changes.
  public let transitions: [Int64]
  /// The offset from the transition of the same index on.
  public let offsets: [Int32]
  /// The offset before the first transition.
  public let initialOffset: Int32
  /// What holds from the last transition on; nil: the last offset.
  let rule: YearlyRule?

  public static let utc = TimeZoneRules(transitions: [], offsets: [], initialOffset: 0)!

  /// Nil unless the instants ascend strictly and there is one offset for each, within ±26 hours.
  public init?(transitions: [Int64], offsets: [Int32], initialOffset: Int32) {
    self.init(transitions: transitions, offsets: offsets, initialOffset: initialOffset, rule: nil)
  }

  init?(transitions: [Int64], offsets: [Int32], initialOffset: Int32, rule: YearlyRule?) {
    let bound: ClosedRange<Int32> = -93_600...93_600
    guard transitions.count == offsets.count, bound.contains(initialOffset),
      offsets.allSatisfy({ bound.contains($0) }),
      zip(transitions, transitions.dropFirst()).allSatisfy({ $0 < $1 })
    else { return nil }
    self.transitions = transitions
    self.offsets = offsets
    self.initialOffset = initialOffset
    self.rule = rule
  }

  public func offsetSeconds(at time: EventTime) -> Int {
    Int(interval(at: time.milliseconds).offset)
  }

  /// The half-open stretch of time around `instant` over which one offset holds.
  func interval(at instant: Int64) -> (from: Int64, until: Int64, offset: Int32) {
    var low = 0
    var high = transitions.count
    while low < high {
      let middle = (low + high) / 2
      if transitions[middle] <= instant { low = middle + 1 } else { high = middle }
    }
    let from = low == 0 ? Int64.min : transitions[low - 1]
    if low < transitions.count {
      return (from, transitions[low], low == 0 ? initialOffset : offsets[low - 1])
    }
    guard let rule else { return (from, .max, low == 0 ? initialOffset : offsets[low - 1]) }
    let yearly = rule.interval(at: instant)
    return (max(from, yearly.from), yearly.until, yearly.offset)
  }

  /// The bytes that decide what this zone means, for a fingerprint.
  func encode(into writer: inout ByteWriter) {
    writer.write(initialOffset)
    writer.writeVarint(UInt64(transitions.count))
    for index in transitions.indices {
      writer.write(transitions[index])
      writer.write(offsets[index])
    }
    rule.encode(into: &writer)
  }
}

/// Standard and daylight saving time after the POSIX rule at the foot of a TZif file.
struct YearlyRule: Sendable, Hashable {
  /// A day of the year and a time of that day in seconds (which may lie in another day).
  struct Change: Sendable, Hashable {
    enum Day: Sendable, Hashable {
      /// Week 1–5 (5 = last) of month 1–12, weekday 0–6 from Sunday.
      case monthWeekDay(Int64, Int64, Int64)
      /// 1–365; February 29 is never counted.
      case julian(Int64)
      /// 0–365; February 29 is counted.
      case ordinal(Int64)
    }
    var day: Day
    var seconds: Int64

    /// The instant of the change, in milliseconds, given the offset that holds just before.
    func instant(year: Int64, offset: Int32) -> Int64 {
      let newYear = Calendar.day(year: year, month: 1, day: 1)
      let date: Int64
      switch day {
      case .julian(let n): date = newYear + n - 1 + (Calendar.isLeap(year) && n >= 60 ? 1 : 0)
      case .ordinal(let n): date = newYear + n
      case .monthWeekDay(let month, let week, let weekday):
        let first = Calendar.day(year: year, month: month, day: 1)
        // 1970-01-01 was a Thursday: 4 from Sunday.
        let firstWeekday = first + 4 - Calendar.floorDivide(first + 4, 7) * 7
        var candidate = first + (weekday - firstWeekday + 7) % 7 + (week - 1) * 7
        let next =
          month == 12
          ? Calendar.day(year: year + 1, month: 1, day: 1)
          : Calendar.day(year: year, month: month + 1, day: 1)
        while candidate >= next { candidate -= 7 }
        date = candidate
      }
      return (date * 86_400 + seconds - Int64(offset)) * 1000
    }
  }

  var standard: Int32
  var daylight: Int32
  /// Nil: standard time all year.
  var starts: Change?
  var ends: Change?

  func interval(at instant: Int64) -> (from: Int64, until: Int64, offset: Int32) {
    guard let starts, let ends else { return (.min, .max, standard) }
    let days = Calendar.floorDivide(instant, 86_400_000)
    let year = Calendar.civil(day: days).year
    var found = (from: Int64.min, until: Int64.max, offset: standard)
    for candidate in (year - 2)...(year + 2) {
      let start = starts.instant(year: candidate, offset: standard)
      let end = ends.instant(year: candidate, offset: daylight)
      if start > instant {
        found.until = min(found.until, start)
      } else if start >= found.from {
        // At the same instant daylight time wins: all-year daylight time is written so.
        (found.from, found.offset) = (start, daylight)
      }
      if end > instant {
        found.until = min(found.until, end)
      } else if end > found.from {
        (found.from, found.offset) = (end, standard)
      }
    }
    return found
  }
}

extension Optional where Wrapped == YearlyRule {
  func encode(into writer: inout ByteWriter) {
    writer.write(self != nil)
    guard let rule = self else { return }
    writer.write(rule.standard)
    writer.write(rule.daylight)
    for change in [rule.starts, rule.ends] {
      writer.write(change != nil)
      guard let change else { continue }
      switch change.day {
      case .monthWeekDay(let month, let week, let weekday):
        for part in [0, month, week, weekday] { writer.writeSignedVarint(part) }
      case .julian(let n): for part in [1, n] { writer.writeSignedVarint(part) }
      case .ordinal(let n): for part in [2, n] { writer.writeSignedVarint(part) }
      }
      writer.writeSignedVarint(change.seconds)
    }
  }
}
