import Features
import Learning
import Models
import Pipeline
import Records
import Testing

/// The flagship's declaration against what it must come to mean.
struct FlagshipTests {
  @Test func `the flagship loads without a single fault`() {
    #expect(Flagship.load().faults.map(\.text) == [])
  }

  @Test func `every declared value arrives where it belongs`() throws {
    let settings = try Flagship.load().get()
    #expect(settings.name == "flight-delay")
    #expect(settings.kafka.bootstrap == "localhost:9092")
    #expect(settings.kafka.security.transport == .saslSSL)
    #expect(settings.kafka.security.password == .file(name: "kafka-password", directory: ""))
    #expect(settings.kafka.passthrough == [.init(name: "socket.keepalive.enable", value: "true")])
    #expect(settings.decisionThreshold == 0.35)
    #expect(settings.join.horizonMilliseconds == 36 * 3_600_000)
    #expect(settings.join.atHorizon == .drop)
    #expect(settings.topics.predictions == "flights.delay-predictions.v1")
    #expect(settings.topics.acks == "ml.control-acks.v1")
    #expect(settings.worker.instance == "worker-1")
    #expect(settings.checkpoints.directory == "state")
    #expect(settings.checkpoints.keep == 3)
    #expect(settings.delivery.transactionIntervalMilliseconds == 100)
    #expect(settings.trustedKeyPaths == ["keys/operators.pub"])
    #expect(settings.adminListen == .init(host: "127.0.0.1", port: 8080))

    let features = settings.features
    #expect(features.inputs.map(\.name) == ["schedules", "departures", "arrivals"])
    #expect(features.scoredInput == 0)
    #expect(features.labelInput == 2)
    #expect(features.target == "arr_delay > 15")
    let departures = features.inputs[1]
    #expect(departures.latenessMilliseconds == 900_000)
    #expect(departures.idField == 0)
    #expect(departures.keyField == 1)
    #expect(departures.eventTimeField == 4)
    #expect(departures.fields.map(\.required) == [true, true, false, true, true])
    #expect(departures.fields[4] == FieldDeclaration(name: "departed_at", type: .time, required: true))
    #expect(
      features.windows[0]
        == WindowDeclaration(
          name: "origin_dep", from: 1, by: ["origin"], value: "clamp(dep_delay, -30, 180)",
          sizesMilliseconds: [1_800_000, 7_200_000, 21_600_000], paneMilliseconds: 300_000,
          aggregates: [.count, .mean]))
    #expect(
      features.features.map(\.kind) == [.category, .category, .category, .number, .number, .number])

    #expect(settings.learning.contenders.map(\.name) == ["champion", "no-windows", "base-rate"])
    #expect(settings.learning.contenders[2].kind == .baseRate)
    guard case .ftrl(let champion, let encoder) = settings.learning.contenders[0].kind,
      case .ftrl(let challenger, let narrower) = settings.learning.contenders[1].kind
    else {
      Issue.record("two contenders must be ftrl")
      return
    }
    #expect(champion == challenger)
    #expect(champion.alpha == 0.05)
    #expect(encoder.columns == settings.learning.rowSchema.columns)
    #expect(narrower.columns == Array(encoder.columns.prefix(4)))
    #expect(narrower.hashBits == encoder.hashBits)
  }

  @Test func `the learning digest moves with what the fold does, and with nothing else`() throws {
    let digest = try Flagship.load().get().learningDigest
    func other(_ assignment: String) throws -> Digest {
      try Flagship.load(set: [assignment]).get().learningDigest
    }
    #expect(try other("worker.lanes=2") == digest)
    #expect(try other("predict.decision.threshold=0.5") == digest)
    #expect(try other("learning.rate=0.06") != digest)
    #expect(try other("features[3].missing=zero") != digest)
    #expect(try other("model.hash_bits=17") != digest)
  }

  @Test func `topics left out take the pipeline's name`() throws {
    let text = Flagship.with("{topic: ml.dead-letters.v1, ", "{")
    #expect(try Flagship.load(text).get().topics.deadLetters == "flight-delay.dead-letters")
  }

  @Test func `the effective configuration reads back to the same settings`() throws {
    let first = Flagship.load()
    let shown = try #require(first.effective).yaml(origin: true)
    let second = Flagship.load(shown)
    #expect(second.faults.map(\.text) == [])
    #expect(try second.get() == first.get())
  }

  @Test func `later files win, key by key, and null takes a value back`() throws {
    let over = """
      worker: {lanes: 4}
      predict: {decision: {threshold: null}}
      inputs: {schedules: {fields: {extra: boolean}}}
      """
    let loaded = PipelineLoader.load(
      files: ["p.yaml", "over.yaml"],
      surroundings: Flagship.world(["p.yaml": Flagship.yaml, "over.yaml": over]))
    let settings = try loaded.get()
    #expect(settings.worker.lanes == 4)
    #expect(settings.worker.instance == "worker-1")
    #expect(settings.decisionThreshold == 0.5)
    #expect(settings.features.inputs[0].fields.map(\.name).contains("extra"))
    #expect(settings.features.inputs[0].fields.count == 8)
  }

  @Test func `files, then variables, then overrides, and each value knows where it is from`() throws {
    let loaded = Flagship.load(
      set: ["worker.lanes=3", "kafka.librdkafka.socket.keepalive.enable=false"],
      variables: [
        "HOSTNAME": "worker-1", "MILLRACE_WORKER_LANES": "2",
        "MILLRACE_PREDICT_DECISION_THRESHOLD": "0.4",
      ])
    let settings = try loaded.get()
    #expect(settings.worker.lanes == 3)
    #expect(settings.decisionThreshold == 0.4)
    #expect(settings.kafka.passthrough == [.init(name: "socket.keepalive.enable", value: "false")])
    let root = try #require(loaded.effective)
    func origin(_ path: String) -> String { root.nearest(to: path).place.description }
    #expect(origin("worker.lanes") == "--set worker.lanes")
    #expect(origin("predict.decision.threshold") == "environment MILLRACE_PREDICT_DECISION_THRESHOLD")
    #expect(origin("checkpoints.keep") == "built-in default")
    #expect(origin("predict.on") == "p.yaml:36:7")
    #expect(root.yaml(origin: true).contains("  lanes: 3  # --set worker.lanes\n"))
  }

  @Test func `a secret is a reference, and its value appears nowhere`() throws {
    let world = Flagship.world(["p.yaml": Flagship.yaml, "kafka-password": "hunter2\n"])
    let loaded = PipelineLoader.load(files: ["p.yaml"], surroundings: world)
    let settings = try loaded.get()
    let password = try #require(settings.kafka.security.password)
    #expect(try password.resolve(world) == "hunter2")
    #expect(!"\(settings)".contains("hunter2"))
    #expect(throws: SecretReference.Failure.unset(variable: "NOPE")) {
      try SecretReference.environment(name: "NOPE").resolve(world)
    }
    let inline = Flagship.load(Flagship.with("password: {file: kafka-password}", "password: hunter2"))
    #expect(inline.errors.map(\.code) == [.inlineSecret])
    #expect(!inline.errors.contains { $0.text.contains("hunter2") })
  }

  @Test func `a credential of systemd comes before the file beside the configuration`() throws {
    let world = Flagship.world(
      ["/run/c/pw": "first", "conf/pw": "second"], variables: ["CREDENTIALS_DIRECTORY": "/run/c"])
    let reference = SecretReference.file(name: "pw", directory: "conf")
    #expect(try reference.resolve(world) == "first")
    #expect(try reference.resolve(Flagship.world(["conf/pw": "second"])) == "second")
  }
}
