import Records

/// A small generator with a seed, so that a failure can be played again.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  /// True in `share` of the calls.
  mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &self) < share }
}

/// One record to be sent, with what is true of it in a header.
struct PlayedRecord: Sendable {
  var input: Int
  var partition: Int32
  var key: [UInt8]?
  var value: [UInt8]
  var headers: [UInt8]
  /// When it is sent, milliseconds; also its Kafka timestamp.
  var timestamp: Int64
}

/// Requests, signals and outcomes of some accounts, in the order in which they are sent: labels that come early, on
/// time, late, twice, corrected or for nobody; events sent twice; records of every kind that cannot be used.
///
/// Replay:   the same arguments give the same records.
struct Stream {
  static let requests = 0, signals = 1, outcomes = 2
  static let start: Int64 = 1_704_067_200_000
  static let second: Int64 = 1_000
  /// As the pipeline's `labels.wait` and `late_after`.
  static let horizon: Int64 = 300 * second

  private(set) var records: [PlayedRecord] = []
  private var random: SplitMix
  private let partitions: Int32
  private var serial = 0
  private let faultShare: Double
  private let tag: String

  /// Event time runs two seconds a request, from `firstSecond` on.
  init(
    seed: UInt64, requests count: Int, partitions: Int32, faultShare: Double = 0.06, firstSecond: Int64 = 0
  ) {
    random = SplitMix(seed)
    self.partitions = partitions
    self.faultShare = faultShare
    tag = "r\(seed)"
    for index in 0..<count {
      let time = Self.start + (firstSecond + 2 * Int64(index)) * Self.second
      signal(time)
      request(index, time + Int64.random(in: 0..<1_500, using: &random))
    }
    let sorted = records.enumerated().sorted {
      ($0.element.timestamp, $0.offset) < ($1.element.timestamp, $1.offset)
    }
    records = sorted.map(\.element)
  }

  private mutating func account() -> String { "account-\(Int.random(in: 0..<24, using: &random))" }

  private mutating func request(_ index: Int, _ time: Int64) {
    let account = account()
    let kind = "kind-\(Int.random(in: 0..<5, using: &random))"
    let amount = (Double.random(in: 1..<800, using: &random) * 100).rounded() / 100
    let id = "\(tag)-\(index)"
    let sent = time + Int64.random(in: 0..<10_000, using: &random)
    let text =
      #"{"request":"\#(id)","account":"\#(account)","kind":"\#(kind)","amount":\#(amount),"at":\#(time)}"#
    send(Self.requests, account, text, .valid, sent)
    if random.chance(0.03) { send(Self.requests, account, text, .repeated, sent + 5 * Self.second) }
    if random.chance(faultShare) { faultyRequest(id, account, time, sent) }
    label(id, account, time, isBad: random.chance(amount > 500 ? 0.7 : 0.15))
  }

  private mutating func label(_ id: String, _ account: String, _ time: Int64, isBad: Bool) {
    func outcome(_ id: String, _ bad: Int, _ at: Int64) -> String {
      #"{"request":"\#(id)","account":"\#(account)","bad":\#(bad),"at":\#(at)}"#
    }
    let bad = isBad ? 1 : 0
    var knownAt = time + Int64.random(in: 20...240, using: &random) * Self.second
    switch Double.random(in: 0..<1, using: &random) {
    case ..<0.08: return  // never known
    case ..<0.13: knownAt = time - 20 * Self.second  // before its event
    case ..<0.17: knownAt = time + Self.horizon + 30 * Self.second  // too late to count
    default: break
    }
    let sent = knownAt + Int64.random(in: 0..<20_000, using: &random)
    send(Self.outcomes, account, outcome(id, bad, knownAt), .valid, sent)
    if random.chance(0.04) {
      send(Self.outcomes, account, outcome(id, bad, knownAt + 2 * Self.second), .valid, sent + 9 * Self.second)
    }
    if random.chance(0.04) {
      send(Self.outcomes, account, outcome(id, 1 - bad, knownAt + 12 * Self.second), .valid, sent + 21 * Self.second)
    }
    if random.chance(0.03) {
      send(Self.outcomes, account, outcome(id + "-unknown", bad, knownAt), .valid, sent)
    }
    guard random.chance(faultShare / 2) else { return }
    let faults: [(String, [String])] = [
      (#"{"request":"\#(id)","account":"\#(account)","bad":1"#, ["malformed-json"]),
      (#"{"request":"\#(id)","account":"\#(account)","bad":"yes","at":\#(knownAt)}"#, ["wrong-type"]),
      (#"{"request":"\#(id)","account":"\#(account)","at":\#(knownAt)}"#, ["missing-field"]),
      (#"{"account":"\#(account)","bad":1,"at":\#(knownAt)}"#, ["missing-id", "missing-field"]),
      (outcome(id, bad, sent + 86_400 * Self.second), ["future-time"]),
    ]
    let (text, codes) = faults.randomElement(using: &random)!
    send(Self.outcomes, account, text, .refused(codes), sent + Self.second)
  }

  private mutating func signal(_ time: Int64) {
    let account = account()
    let level = (Double.random(in: -9..<9, using: &random) * 1_000).rounded() / 1_000
    send(
      Self.signals, account, #"{"account":"\#(account)","level":\#(level),"at":\#(time)}"#, .valid,
      time + Int64.random(in: 0..<40_000, using: &random))
    guard random.chance(faultShare / 2) else { return }
    let faults: [(String, [String])] = [
      (#"{"account":"\#(account)","level":1e999,"at":\#(time)}"#, ["out-of-range", "malformed-json"]),
      (#"{"account":"nobody","level":1,"at":\#(time)}"#, ["key-mismatch"]),
      (#"{"account":"\#(account)","level":1,"level":2,"at":\#(time)}"#, ["duplicate-field"]),
      (#"{"account":"\#(account)","level":1,"at":"noon"}"#, ["bad-time", "wrong-type"]),
    ]
    let (text, codes) = faults.randomElement(using: &random)!
    send(Self.signals, account, text, .refused(codes), time + 2 * Self.second)
  }

  private mutating func faultyRequest(_ id: String, _ account: String, _ time: Int64, _ sent: Int64) {
    func text(_ id: String, at: String, account: String, extra: String = "") -> String {
      #"{"request":"\#(id)","account":"\#(account)","kind":"k","amount":10,"at":\#(at)\#(extra)}"#
    }
    let other = id + "-x"
    let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
    var faults: [(String, Truth)] = [
      ("", .refused(["empty-payload"])),
      (#"{"request":"#, .refused(["malformed-json"])),
      ("[1,2]", .refused(["not-an-object"])),
      (text(other, at: "\(time)", account: account, extra: #","note":tru"#), .refused(["malformed-json"])),
      (text(other, at: "\(time)", account: account, extra: #","at":5"#), .refused(["duplicate-field"])),
      (text(other, at: "\(time)", account: account, extra: #","deep":\#(deep)"#), .refused(["nested-too-deep"])),
      (
        text(other, at: "\(time)", account: account, extra: #","note":"\#(String(repeating: "x", count: 3_000))""#),
        .refused(["oversized"])
      ),
      (text(other, at: "true", account: account), .refused(["bad-time", "wrong-type"])),
      (text(other, at: "9223372036854775807", account: account), .refused(["bad-time", "future-time", "out-of-range"])),
      (text(other, at: "\(sent + 3_153_600_000_000)", account: account), .refused(["future-time"])),
      (text(other, at: "\(time)", account: "nobody"), .refused(["key-mismatch"])),
      (#"{"account":"\#(account)","kind":"k","amount":1,"at":\#(time)}"#, .refused(["missing-id", "missing-field"])),
      (#"{"request":"","account":"\#(account)","kind":"k","amount":1,"at":\#(time)}"#, .refused(["missing-id", "wrong-type"])),
      (#"{"request":7,"account":"\#(account)","kind":"k","amount":1,"at":\#(time)}"#, .refused(["wrong-type"])),
      (#"{"request":"\#(other)","account":"\#(account)","kind":"k","amount":"much","at":\#(time)}"#, .refused(["wrong-type"])),
      (#"{"request":"\#(other)","account":"\#(account)","kind":"k","at":\#(time)}"#, .refused(["missing-field"])),
    ]
    // History may be replayed: there is no lower bound.
    faults.append((text(other, at: "0", account: account), .valid))
    faults.append((text(other, at: "-5000", account: account), .valid))
    let (payload, truth) = faults.randomElement(using: &random)!
    let at = sent + Self.second
    send(Self.requests, account, payload, truth, at)
    if truth == .valid {
      // Its label, as old as itself: whether it is met depends on the reading.
      send(
        Self.outcomes, account, #"{"request":"\#(other)","account":"\#(account)","bad":1,"at":1000}"#, .valid,
        at + 3 * Self.second)
    } else if random.chance(0.2) {
      var bytes = Array(text(other, at: "\(time)", account: account).utf8)
      bytes.insert(0xff, at: 14)
      send(Self.requests, account, bytes, .refused(["invalid-utf8"]), at)
    }
    // A record without a key has nothing that its key field could contradict.
    if random.chance(0.1) {
      send(Self.requests, nil, Array(text(other + "n", at: "\(time)", account: account).utf8), .valid, at)
    }
  }

  private mutating func send(_ input: Int, _ account: String, _ text: String, _ truth: Truth, _ sent: Int64) {
    send(input, account, Array(text.utf8), truth, sent)
  }
  private mutating func send(_ input: Int, _ account: String?, _ value: [UInt8], _ truth: Truth, _ sent: Int64) {
    let key = account.map { Array($0.utf8) }
    var headers = HeaderBlock()
    headers.append("serial", "\(serial)")
    headers.append(Truth.header, truth.text)
    serial += 1
    records.append(
      PlayedRecord(
        input: input, partition: key.map { Murmur2.partition(of: $0, partitions: partitions) } ?? 0,
        key: key, value: value, headers: headers.bytes, timestamp: sent))
  }

  /// As topics would hold them: `[input][partition]`, offsets from 0.
  static func stored(_ records: [PlayedRecord], inputs: Int = 3, partitions: Int32) -> [[[StoredRecord]]] {
    var topics = Array(
      repeating: Array(repeating: [StoredRecord](), count: Int(partitions)), count: inputs)
    for record in records {
      let offset = topics[record.input][Int(record.partition)].count
      topics[record.input][Int(record.partition)].append(
        StoredRecord(
          offset: Int64(offset), timestamp: record.timestamp, key: record.key, value: record.value,
          headers: record.headers))
    }
    return topics
  }
}
