import Kafka
import Records
import Testing

/// What is refused before any client is made, and that secrets stay out of words.
struct SettingsTests {
  private func settings(_ passthrough: [(key: String, value: String)] = []) -> ClientSettings {
    var settings = ClientSettings(bootstrap: "127.0.0.1:1", clientID: "test")
    settings.passthrough = passthrough
    return settings
  }

  @Test(arguments: [
    "isolation.level", "enable.auto.commit", "auto.commit.enable", "metadata.broker.list",
    "bootstrap.servers", "request.required.acks", "acks", "message.timeout.ms", "max.in.flight",
    "transactional.id", "group.id", "sasl.mechanism", "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification", "plugin.library.paths", "test.mock.num.brokers",
    "Isolation.Level",
  ])
  func `a setting the guarantees rest on is refused by name, under any of its names`(key: String) {
    let faults = settings([(key, "1")]).faults
    #expect(faults.count == 1 && faults[0].contains("\"\(key)\""), "\(faults)")
    expectError(.create, .misconfigured) { try Admin(settings([(key, "1")])) }
  }

  @Test func `tuning passes through, an unknown key does not`() throws {
    _ = try Reader(settings([("socket.send.buffer.bytes", "65536")]), topic: "t")
    do {
      _ = try Reader(settings([("socket.sned.buffer.bytes", "65536")]), topic: "t")
      Issue.record("an unknown key was taken")
    } catch { #expect(error.message.contains("socket.sned.buffer.bytes"), "\(error)") }
  }

  @Test func `a bad secret value is not repeated in the error`() {
    var settings = settings([("ssl.keystore.password", "hunter2hunter2"), ("ssl.key.pem", "hunter2hunter2")])
    settings.transport = .ssl
    do {
      _ = try Admin(settings)
      Issue.record("a key that is none was taken")
    } catch { #expect(!error.description.contains("hunter2"), "\(error)") }
    #expect("\(Secret("hunter2"))" == "***")
    #expect(!String(reflecting: [Secret("hunter2")]).contains("hunter2"))
  }

  @Test func `every contradiction is told at once`() {
    var settings = ClientSettings(bootstrap: "kafka.example:9092,", clientID: "")
    settings.username = "me"
    settings.certificateFile = "client.pem"
    #expect(settings.faults.count >= 5, "\(settings.faults)")
  }

  @Test func `an unencrypted transport leaves the machine only when it may`() {
    var settings = ClientSettings(bootstrap: "localhost:9092,127.0.0.1:1,[::1]:9092", clientID: "c")
    #expect(settings.faults == [])
    settings.bootstrap = "localhost:9092,kafka.example:9092"
    #expect(settings.faults.count == 1)
    settings.allowsInsecure = true
    #expect(settings.faults == [])
  }

  @Test func `group times keep their order`() {
    #expect(GroupSettings(groupID: "g").faults == [])
    #expect(GroupSettings(groupID: "", sessionMilliseconds: 6_000).faults.count == 2)
    #expect(GroupSettings(groupID: "g", pollIntervalMillisecondsMax: 5_000).faults.count == 1)
  }

  @Test func `library versions that lose or corrupt are refused`() {
    for version in [LibraryVersion(2, 0, 2), LibraryVersion(2, 10, 1), LibraryVersion(2, 14, 2)] {
      #expect(version.refusal == nil, "\(version)")
    }
    for version in [
      LibraryVersion(1, 9, 2), LibraryVersion(2, 2, 0), LibraryVersion(2, 5, 2), LibraryVersion(2, 10, 0),
    ] { #expect(version.refusal != nil, "\(version)") }
    #expect(LibraryVersion(hexadecimal: 0x0200_02ff) == LibraryVersion(2, 0, 2))
    #expect(LibraryVersion(2, 0, 2).hasBrokenSCRAM && !LibraryVersion(2, 6, 1).hasBrokenSCRAM)
  }

  @Test func `log lines are bounded, the oldest kept and the rest counted`() {
    let queue = LogQueue(capacity: 2)
    for index in 0..<5 { queue.sink(6, "F", "\(index)") }
    let (lines, dropped) = queue.drain()
    #expect(lines.map(\.message) == ["0", "1"])
    #expect(dropped == 3)
    #expect(queue.drain().lines == [])
  }


  @Test func `a header block gives back what was put in, and no other bytes pass for one unread`() {
    var block = HeaderBlock()
    block.append("traceparent", "00-ab")
    block.append("", [])
    block.append("null", nil)
    block.append("bytes", [0, 255, 10])
    let list = block.list
    #expect(list?.map(\.name) == ["traceparent", "", "null", "bytes"])
    #expect(list?.map(\.value) == [Array("00-ab".utf8), [], nil, [0, 255, 10]])
    var state: UInt64 = 7
    for length in 0..<2_000 {
      // Whatever the bytes: an answer, and no trap.
      let bytes = (0..<(length % 24)).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56) & (length % 2 == 0 ? 0xff : 0x07)
      }
      _ = HeaderBlock(bytes: bytes).list
    }
    for end in 0..<block.bytes.count {
      let cut = HeaderBlock(bytes: Array(block.bytes[..<end])).list
      #expect(cut == nil || cut!.count < 4)
    }
  }
}
