import Testing

@testable import Pipeline

/// The reader against arbitrary bytes: it may refuse, never trap; and what it accepts has true places.
struct YAMLTests {
  /// xorshift64*: the same bytes in every run.
  struct Noise: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state ^= state >> 12
      state ^= state << 25
      state ^= state >> 27
      return state &* 2_685_821_657_736_338_717
    }
  }

  static func load(_ bytes: [UInt8]) -> LoadedPipeline {
    let world = Surroundings(variables: ["HOSTNAME": "w"]) { path in
      path == "p.yaml" ? .success(bytes) : .failure(FileError(reason: "none"))
    }
    return PipelineLoader.load(files: ["p.yaml"], surroundings: world)
  }

  @Test func `random bytes never trap`() {
    var noise = Noise(state: 7)
    for _ in 0..<3_000 {
      let count = Int.random(in: 0...64, using: &noise)
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &noise) }
      let loaded = Self.load(bytes)
      #expect(loaded.settings == nil)
      #expect(!loaded.faults.isEmpty)
    }
  }

  @Test func `a damaged flagship never traps, and loads only without errors`() {
    let original = Array(Flagship.yaml.utf8)
    let alphabet = Array("{}[]:,-#&*!|>'\"%@`?$\n\t \\0aé".utf8)
    var noise = Noise(state: 11)
    for _ in 0..<300 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...6, using: &noise) {
        let at = Int.random(in: 0..<bytes.count, using: &noise)
        switch Int.random(in: 0..<3, using: &noise) {
        case 0: bytes[at] = alphabet.randomElement(using: &noise)!
        case 1: bytes.remove(at: at)
        default: bytes.insert(alphabet.randomElement(using: &noise)!, at: at)
        }
      }
      let loaded = Self.load(bytes)
      #expect((loaded.settings == nil) == !loaded.errors.isEmpty)
    }
  }

  @Test func `every prefix of the flagship is refused or read, never a trap`() {
    let original = Array(Flagship.yaml.utf8)
    for count in stride(from: 0, to: original.count, by: 7) {
      let loaded = Self.load(Array(original[..<count]))
      #expect((loaded.settings == nil) == !loaded.errors.isEmpty)
    }
  }

  @Test func `bytes that are not UTF-8 are refused at their place`() {
    let bytes = Array("version: 1\npipeline: \u{e9}".utf8) + [0xff] + Array("x\n".utf8)
    #expect(Self.load(bytes).faults.map(\.code) == [.invalidText])
    #expect(Self.load(bytes).faults.first?.place == Place(.file("p.yaml"), line: 2, column: 12))
    let control = Self.load(Array("version: 1\npipe\u{1}line: x\n".utf8)).faults
    #expect(control.map(\.code) == [.invalidText])
    #expect(control.first?.place == Place(.file("p.yaml"), line: 2, column: 5))
  }

  @Test func `depth and size are bounded`() {
    let deep = String(repeating: "[", count: 10_000)
    #expect(YAMLReader.read(Array(deep.utf8), source: .standard).faults.map(\.code) == [.tooLarge])
    let fits = String(repeating: "[", count: 32) + String(repeating: "]", count: 32)
    #expect(YAMLReader.read(Array(fits.utf8), source: .standard).faults == [])
    let long = [UInt8](repeating: 0x20, count: YAMLReader.byteCountMax + 1)
    #expect(YAMLReader.read(long, source: .standard).faults.map(\.code) == [.tooLarge])
  }

  @Test func `anchors, aliases, tags, merge keys and second documents are refused`() {
    for text in [
      "a: &x 1", "a: &x 1\nb: *x", "a: !!str 1", "a: !mine {}", "<<: {a: 1}", "a: 1\n---\nb: 2",
    ] {
      let faults = YAMLReader.read(Array(text.utf8), source: .standard).faults
      #expect(!faults.isEmpty && faults.allSatisfy { $0.code == .unsupportedYAML }, "\(text)")
    }
  }

  @Test func `columns within a value are known where they run side by side`() throws {
    func offset(_ text: String) throws -> Int? {
      let node = try #require(YAMLReader.read(Array(text.utf8), source: .standard).node)
      guard case .scalar(let scalar)? = node.value(of: "k")?.content else { return nil }
      return scalar.textOffset
    }
    #expect(try offset("k: plain") == 0)
    #expect(try offset("k: 'single'") == 1)
    #expect(try offset("k: \"double\"") == 1)
    #expect(try offset("k: 'it''s'") == nil)
    #expect(try offset("k: \"a\\tb\"") == nil)
    #expect(try offset("k: |\n  block\n") == nil)
  }

  @Test func `variables fill values, with defaults and an escape`() throws {
    let variables = ["A": "x", "EMPTY": ""]
    func fill(_ text: String) throws -> String { try Substitution.fill(text, from: variables) }
    #expect(try fill("${A}") == "x")
    #expect(try fill("<${A}${B:y:z}>") == "<xy:z>")
    #expect(try fill("${EMPTY:d}") == "d")
    #expect(try fill("${B:}") == "")
    #expect(try fill("$${A} $5 $") == "${A} $5 $")
    #expect(throws: Substitution.Failure.unset("B")) { try fill("${B}") }
    #expect(throws: Substitution.Failure.unset("EMPTY")) { try fill("${EMPTY}") }
    for text in ["${", "${}", "${1A}", "${A", "${A-B}"] {
      #expect(throws: Substitution.Failure.self, "\(text)") { try fill(text) }
    }
  }

  @Test func `durations are whole numbers with a unit, within 64 bits`() {
    for (text, expected) in [
      ("100ms", 100), ("30s", 30_000), ("10m", 600_000), ("36h", 129_600_000), ("5d", 432_000_000),
      ("0s", 0),
    ] as [(String, Int64)] {
      #expect(DurationText.milliseconds(text) == expected)
      #expect(DurationText.text(expected) == text)
    }
    for text in [
      "", "5", "s", "-5s", "1.5h", "5 s", "5S", "5µs", "99999999999999999999d",
      "9223372036854775807d", "٣s",
    ] { #expect(DurationText.milliseconds(text) == nil, "\(text)") }
  }
}
