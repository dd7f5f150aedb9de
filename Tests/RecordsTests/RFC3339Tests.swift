import Testing

@testable import Records

/// Method: the calendar against a walk through it day by day; then texts that must and must not read.
struct RFC3339Tests {
  @Test func `every day of eight centuries has the next number, and its date back`() {
    var year: Int64 = 1599
    var month: Int64 = 12
    var day: Int64 = 31
    var number = RFC3339.days(year: year, month: month, day: day)
    while year < 2401 {
      let next = RFC3339.civil(days: number + 1)
      if day < RFC3339.monthDays(year: year, month: month) {
        day += 1
      } else {
        (month, day) = month == 12 ? (1, 1) : (month + 1, 1)
        if month == 1 { year += 1 }
      }
      guard next == (year, month, day), RFC3339.days(year: year, month: month, day: day) == number + 1 else {
        Issue.record("\(year)-\(month)-\(day) \(next)")
        return
      }
      number += 1
    }
    #expect(RFC3339.days(year: 1970, month: 1, day: 1) == 0)
  }

  @Test func `times read as they should`() {
    for (text, milliseconds) in [
      ("1970-01-01T00:00:00Z", 0), ("2013-07-01T18:00:00Z", 1_372_701_600_000),
      ("2013-07-01T18:00:00.25-04:00", 1_372_716_000_250), ("2012-02-29T23:59:59.999999Z", 1_330_559_999_999),
      ("1969-12-31T23:59:59.999Z", -1), ("0000-01-01T00:00:00Z", -62_167_219_200_000),
      ("9999-12-31T23:59:59.999Z", 253_402_300_799_999), ("2000-02-29T00:00:00-00:00", 951_782_400_000),
      ("2016-12-31T23:59:60Z", 1_483_228_800_000), ("2017-01-01T05:29:60.5+05:30", 1_483_228_800_500),
      ("1970-01-01T00:00:00+23:59", -86_340_000),
    ] as [(String, Int64)] {
      #expect(EventTime(rfc3339: text)?.milliseconds == milliseconds, "\(text)")
    }
  }

  @Test func `nothing else reads`() {
    for text in [
      "", "2013-07-01", "2013-07-01T18:00:00", "2013-07-01T18:00Z", "2013-07-01 18:00:00Z", "2013-07-01t18:00:00Z",
      "2013-07-01T18:00:00z", "2013-07-01T18:00:00.Z", "2013-07-01T18:00:00.5", "2013-07-01T18:00:00,5Z",
      "2013-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2013-13-01T00:00:00Z", "2013-00-01T00:00:00Z",
      "2013-04-31T00:00:00Z", "2013-04-00T00:00:00Z", "2013-07-01T24:00:00Z", "2013-07-01T18:60:00Z",
      "2013-07-01T18:00:60Z", "2013-07-01T18:00:61Z", "2016-12-31T22:59:60Z", "2015-03-31T23:59:60Z",
      "2013-07-01T18:00:00+0400", "2013-07-01T18:00:00+24:00", "2013-07-01T18:00:00+04:60", "2013-07-01T18:00:00+4:00",
      "2013-07-01T18:00:00ZZ", " 2013-07-01T18:00:00Z", "+2013-07-01T18:00:00Z", "-013-07-01T18:00:00Z",
      "2O13-07-01T18:00:00Z", "2013-07-01T18:00:00+04:00 ", "2013-07-01T18:00:00.5+04", "２013-07-01T18:00:00Z",
    ] {
      #expect(EventTime(rfc3339: text) == nil, "\(text)")
    }
  }

  @Test func `what is written reads back to the millisecond`() {
    var generator = SplitMix(state: 5)
    for _ in 0..<20_000 {
      let time = EventTime(milliseconds: Int64.random(in: -62_167_219_200_000...253_402_300_799_999, using: &generator))
      let text = time.rfc3339
      #expect(text.utf8.count == 24)
      #expect(EventTime(rfc3339: text) == time, "\(text)")
    }
    #expect(EventTime(milliseconds: 8_640_000_000_000_000).rfc3339 == "+275760-09-13T00:00:00.000Z")
    #expect(EventTime(milliseconds: .min).rfc3339 == "-271821-04-20T00:00:00.000Z")
  }
}
