import Glibc
import Testing

@testable import Features
@testable import Records

// Zones, calendar and elementary functions against known instants, plain recounts and the host.

/// A version 2 zone file with one transition by table and a rule at its foot.
private func zoneFile(foot: String = "EST5EDT,M3.2.0,M11.1.0") -> [UInt8] {
  func big(_ value: Int64, _ width: Int) -> [UInt8] {
    (0..<width).reversed().map { UInt8(truncatingIfNeeded: value >> Int64(8 * $0)) }
  }
  func header(_ times: Int, _ types: Int, _ names: Int) -> [UInt8] {
    Array("TZif2".utf8) + Array(repeating: 0, count: 15)
      + [0, 0, 0, times, types, names].flatMap { big(Int64($0), 4) }
  }
  let names = Array("LMT\0EST\0EDT\0".utf8)
  func types() -> [UInt8] {
    big(-17_762, 4) + [0, 0] + big(-18_000, 4) + [0, 4] + big(-14_400, 4) + [1, 8]
  }
  let instants: [Int64] = [-2_717_650_800, 1_173_596_400]  // 1883, and 2007-03-11T07:00:00Z
  return header(0, 1, 4) + big(0, 4) + [0, 0] + Array("UTC\0".utf8)
    + header(2, 3, names.count) + instants.flatMap { big($0, 8) } + [1, 2] + types() + names
    + [10] + Array(foot.utf8) + [10]
}

@Test(
  arguments: [
    (-3_000_000_000, -17_762), (-2_717_650_800, -18_000), (1_173_596_399, -18_000),
    (1_173_596_400, -14_400), (1_362_898_799, -18_000), (1_362_898_800, -14_400),
    (1_383_458_399, -14_400), (1_383_458_400, -18_000), (4_110_000_000, -14_400),
    (4_100_000_000, -18_000), (4_086_000_000, -14_400),
  ] as [(Int64, Int)])
func `a zone file gives the offset at an instant`(_ second: Int64, _ offset: Int) throws {
  let rules = try TimeZoneRules(tzif: zoneFile())
  #expect(rules.offsetSeconds(at: EventTime(milliseconds: second * 1000)) == offset)
}

@Test func `the interval around an instant is the longest with its offset`() throws {
  let rules = try TimeZoneRules(tzif: zoneFile())
  var random = SplitMix(3)
  for _ in 0..<2000 {
    let instant = Int64.random(in: -4_000_000_000_000...7_000_000_000_000, using: &random)
    let found = rules.interval(at: instant)
    #expect(found.from <= instant && instant < found.until)
    for inside in [found.from, found.until &- 1] where inside != .min {
      #expect(rules.interval(at: inside).offset == found.offset)
    }
    if found.from != .min { #expect(rules.interval(at: found.from - 1).offset != found.offset) }
    #expect(rules.interval(at: found.until).offset != found.offset)
  }
}

@Test(
  arguments: [
    // Southern summer spans the new year; hours may be negative; daylight time all year.
    ("AEST-10AEDT,M10.1.0,M4.1.0/3", 1_388_534_400, 39_600),
    ("AEST-10AEDT,M10.1.0,M4.1.0/3", 1_404_172_800, 36_000),
    ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1_719_792_000, -3600),
    ("EST5EDT,0/0,J365/25", 1_388_534_400, -14_400), ("EST5EDT,0/0,J365/25", 1_404_172_800, -14_400),
    ("<+0530>-5:30", 1_404_172_800, 19_800), ("XXX3YYY,J60/0,J61/0", 1_709_262_000, -7200),
  ] as [(String, Int64, Int)])
func `a rule at the foot of a zone file holds for ever`(
  _ rule: String, _ second: Int64, _ offset: Int
) throws {
  let rules = try TimeZoneRules(tzif: zoneFile(foot: rule))
  #expect(rules.offsetSeconds(at: EventTime(milliseconds: second * 1000)) == offset)
}

@Test func `a damaged zone file throws or reads, and never traps`() {
  let whole = zoneFile()
  for count in 0..<whole.count {
    #expect(throws: FormatError.self) { try TimeZoneRules(tzif: Array(whole[..<count])) }
  }
  for at in whole.indices {
    for bit in 0..<8 {
      var bytes = whole
      bytes[at] ^= 1 << bit
      if let rules = try? TimeZoneRules(tzif: bytes) {
        _ = rules.interval(at: 1_000_000_000_000)
        _ = rules.interval(at: -1_000_000_000_000)
        _ = rules.interval(at: 1 << 53)
      }
    }
  }
  for foot in ["EST", "5EDT", "EST5EDT", "EST5EDT,M13.1.0,M1.1.0", "EST25", "EST5EDT,M3.2.0"] {
    #expect(throws: FormatError.self) { try TimeZoneRules(tzif: zoneFile(foot: foot)) }
  }
}

@Test func `days and dates are counted alike`() {
  var date: (year: Int64, month: Int64, day: Int64) = (1583, 1, 1)
  var day = Calendar.day(year: 1583, month: 1, day: 1)
  var wrong = 0
  #expect(Calendar.day(year: 1970, month: 1, day: 1) == 0)
  while date.year < 2405 {
    let found = Calendar.civil(day: day)
    let back = Calendar.day(year: date.year, month: date.month, day: date.day)
    if found != date || back != day { wrong += 1 }
    let leap = date.year % 400 == 0 || (date.year % 4 == 0 && date.year % 100 != 0)
    let lengths: [Int64] = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    day += 1
    date.day += 1
    if date.day > lengths[Int(date.month - 1)] { (date.day, date.month) = (1, date.month + 1) }
    if date.month > 12 { (date.month, date.year) = (1, date.year + 1) }
  }
  #expect(wrong == 0)
}

@Test func `exp and log are within two units in the last place of the host's`() {
  func close(_ a: Double, _ b: Double) -> Bool {
    a == b || abs(a - b) <= 2 * max(a.ulp, b.ulp) || (a.isNaN && b.isNaN)
  }
  var random = SplitMix(5)
  var wrong: [String] = []
  for _ in 0..<100_000 {
    let x = Double.random(in: -750...715, using: &random)
    if !close(Elementary.exp(x), exp(x)) { wrong.append("exp \(x)") }
    let y = Double(bitPattern: UInt64.random(in: 1...0x7fe0_0000_0000_0000, using: &random))
    if !close(Elementary.log(y), log(y)) { wrong.append("log \(y)") }
    let near = Double.random(in: 0.5...2, using: &random)
    if !close(Elementary.log(near), log(near)) { wrong.append("log \(near)") }
  }
  #expect(wrong == [])
  #expect(Elementary.log(1) == 0 && Elementary.exp(0) == 1)
  #expect(Elementary.log(0).isNaN && Elementary.log(-1).isNaN && Elementary.log(.infinity).isNaN)
  #expect(Elementary.exp(-1000) == 0 && Elementary.exp(1000) == .infinity)
}
