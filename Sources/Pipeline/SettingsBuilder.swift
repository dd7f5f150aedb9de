import Features
import Learning
import Models
import Records

/// Turns a read configuration into settings and finds the contradictions between its parts.
///
/// Where reading already reported a fault, a neutral value stands in and nothing further is said of it;
/// the settings are handed out only if there was no fault at all.
struct SettingsBuilder {
  let root: ConfigurationItem
  let surroundings: Surroundings
  var faults: [ConfigurationFault] = []

  init(root: ConfigurationItem, surroundings: Surroundings) {
    self.root = root
    self.surroundings = surroundings
  }

  mutating func fault(
    _ code: FaultCode, _ item: ConfigurationItem, _ message: String, hint: String = ""
  ) {
    faults.append(
      ConfigurationFault(code, at: item.place, path: item.path, message, hint: hint))
  }

  func item(_ path: String) -> ConfigurationItem? {
    let found = root.nearest(to: path)
    return found.path == path ? found : nil
  }
  private func text(_ path: String) -> String { item(path)?.text ?? "" }
  private func integer(_ path: String) -> Int { item(path)?.integer ?? 1 }
  private func time(_ path: String) -> Int64 { item(path)?.milliseconds ?? 0 }

  mutating func build() -> PipelineSettings {
    let features = featureSettings()
    checkDelivery()
    checkTopics()
    return PipelineSettings(
      name: text("pipeline"), kafka: brokers(), features: features,
      join: JoinSettings(
        horizonMilliseconds: time("labels.wait"),
        atHorizon: text("labels.at_horizon") == "negative" ? .negative : .drop,
        earlyLabelsMax: item("labels.early_max")?.integer ?? 0),
      learning: learning(features.features),
      topics: .init(
        predictions: text("predict.output.topic"), learning: text("learning.topic"),
        journal: text("learning.journal"), checkpoints: text("checkpoints.topic"),
        control: text("control.topic"), acks: text("control.acks"),
        deadLetters: text("errors.topic"), alerts: text("alerts.topic")),
      decisionThreshold: item("predict.decision.threshold")?.number ?? 0.5,
      delivery: .init(
        mode: .init(rawValue: text("delivery.mode")) ?? .exactlyOnce,
        transactionRecords: integer("delivery.transaction.records"),
        transactionIntervalMilliseconds: time("delivery.transaction.interval"),
        transactionTimeoutMilliseconds: time("delivery.transaction.timeout")),
      checkpoints: .init(
        directory: text("checkpoints.directory"), everyMilliseconds: time("checkpoints.every"),
        keep: integer("checkpoints.keep")),
      worker: .init(
        instance: text("worker.instance"), lanes: integer("worker.lanes"),
        sessionTimeoutMilliseconds: time("worker.session_timeout"),
        heartbeatMilliseconds: time("worker.heartbeat")),
      alignWaitMilliseconds: time("align.wait"), futureMillisecondsMax: time("max_future"),
      trustedKeyPaths: trustedKeys(),
      errors: .init(
        records: integer("errors.tolerate.records"), perMilliseconds: time("errors.tolerate.per"),
        then: .init(rawValue: text("errors.then")) ?? .stop),
      adminListen: item("admin.listen")?.text.flatMap { .init($0) })
  }

  // MARK: brokers

  private mutating func brokers() -> PipelineSettings.Brokers {
    let bootstrap = text("kafka.bootstrap")
    var properties: [PipelineSettings.Property] = []
    for member in item("kafka.librdkafka")?.members ?? [] {
      if let reason = OwnedProperties.reason(member.name) {
        faults.append(
          ConfigurationFault(
            .ownedProperty, at: member.namePlace, path: member.item.path,
            "the worker sets the client property '\(member.name)' itself", hint: reason))
      } else if let value = member.item.text {
        let words = value.split(separator: ",").map(String.init)
        if member.name == "debug", words.contains("security") || words.contains("all") {
          fault(.ownedProperty, member.item, "the debug context '\(value)' prints secrets", hint: "name the contexts you need, without security")
        }
        properties.append(.init(name: member.name, value: value))
      }
    }
    let transport = PipelineSettings.Transport(rawValue: text("kafka.security.protocol"))
    let security = item("kafka.security")
    func path(_ key: String) -> String? { security?[key].flatMap(resolved) }
    if let transport, let security {
      func given(_ key: String) -> ConfigurationItem? { security[key] }
      if transport.usesSASL {
        for key in ["mechanism", "username", "password"] where given(key) == nil {
          fault(.contradiction, security["protocol"] ?? security,
            "the protocol \(transport.rawValue) needs '\(security.path).\(key)'")
        }
      } else {
        for key in ["mechanism", "username", "password"] {
          if let extra = given(key) {
            fault(.contradiction, extra, "'\(extra.path)' has no use with the protocol \(transport.rawValue)", hint: "protocol: sasl_ssl")
          }
        }
      }
      if !transport.usesTLS {
        for key in ["ca", "certificate", "key", "key_password"] {
          if let extra = given(key) {
            fault(.contradiction, extra, "'\(extra.path)' has no use with the protocol \(transport.rawValue)", hint: "protocol: \(transport.usesSASL ? "sasl_ssl" : "ssl")")
          }
        }
        if !Self.isLocal(bootstrap), let place = item("kafka.bootstrap"), !place.isInvalid {
          fault(.openTransport, place, "the connection to \(bootstrap) is not encrypted", hint: "kafka.security.protocol: ssl or sasl_ssl")
        }
      }
      if (given("certificate") == nil) != (given("key") == nil),
        let alone = given("certificate") ?? given("key")
      {
        fault(.contradiction, alone, "a client certificate needs both 'certificate' and 'key'")
      }
    }
    return .init(
      bootstrap: bootstrap,
      security: .init(
        transport: transport ?? .plaintext, mechanism: security?["mechanism"]?.text,
        username: security?["username"]?.text, password: security?["password"]?.secret,
        authoritiesPath: path("ca"), certificatePath: path("certificate"), keyPath: path("key"),
        keyPassword: security?["key_password"]?.secret),
      passthrough: properties)
  }

  private static func isLocal(_ bootstrap: String) -> Bool {
    bootstrap.split(separator: ",").allSatisfy {
      let host = PipelineSettings.ListenAddress(String($0))?.host ?? ""
      return host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
  }

  /// A path as the process can open it: relative ones are meant from the file that names them.
  private func resolved(_ item: ConfigurationItem) -> String? {
    item.text.map { Path.join(ConfigurationReader.directory(item.place), $0) }
  }

  private mutating func trustedKeys() -> [String] {
    guard let list = item("control.trusted_keys"), !list.isInvalid else { return [] }
    if list.items.isEmpty {
      fault(.noTrustedKeys, list, "no operator's key is trusted, so every command will be refused",
        hint: "control.trusted_keys: [keys/operators.pub]")
    }
    var paths: [String] = []
    for entry in list.items {
      guard let path = resolved(entry) else { continue }
      paths.append(path)
      switch surroundings.read(path) {
      case .failure(let error):
        fault(.unusableKey, entry, "the trusted key \(path) cannot be read: \(error.reason)")
      case .success(let bytes):
        do {
          _ = try Ed25519.PublicKey(pem: String(decoding: bytes, as: UTF8.self))
        } catch {
          fault(.unusableKey, entry, "\(path) is not an Ed25519 public key in PEM form",
            hint: "the public half, beginning with -----BEGIN PUBLIC KEY-----")
        }
      }
    }
    return paths
  }

  // MARK: contradictions in time and in topics

  private mutating func checkDelivery() {
    if let interval = item("delivery.transaction.interval"), let a = interval.milliseconds,
      let timeout = item("delivery.transaction.timeout"), let b = timeout.milliseconds
    {
      if a * 4 > b {
        fault(.contradiction, explicit(interval, timeout),
          "a unit of \(DurationText.text(a)) leaves too little of the transaction timeout of \(DurationText.text(b)) to commit",
          hint: "interval at most a quarter of timeout")
      }
      if let session = item("worker.session_timeout"), let c = session.milliseconds, b > c {
        fault(.contradiction, explicit(timeout, session),
          "the transaction timeout of \(DurationText.text(b)) outlives the session timeout of \(DurationText.text(c))",
          hint: "transaction.timeout at most worker.session_timeout")
      }
    }
    if let heartbeat = item("worker.heartbeat"), let a = heartbeat.milliseconds,
      let session = item("worker.session_timeout"), let b = session.milliseconds, a * 3 > b
    {
      fault(.contradiction, explicit(heartbeat, session),
        "three heartbeats of \(DurationText.text(a)) do not fit into the session timeout of \(DurationText.text(b))",
        hint: "worker.heartbeat at most a third of worker.session_timeout")
    }
  }

  /// Of two that contradict each other, the one that somebody wrote.
  private func explicit(_ first: ConfigurationItem, _ second: ConfigurationItem) -> ConfigurationItem {
    first.place.source == .standard ? second : first
  }

  private mutating func checkTopics() {
    var used: [String: ConfigurationItem] = [:]
    var all: [ConfigurationItem?] = (item("inputs")?.members ?? []).map { $0.item["topic"] }
    for path in [
      "predict.output.topic", "learning.topic", "learning.journal", "checkpoints.topic",
      "control.topic", "control.acks", "errors.topic", "alerts.topic",
    ] { all.append(item(path)) }
    for entry in all {
      guard let entry, let topic = entry.text else { continue }
      if let first = used[topic] {
        let written = explicit(entry, first)
        let other = written.path == entry.path ? first : entry
        fault(.topicTwice, written, "the topic '\(topic)' is already that of '\(other.path)'",
          hint: "every purpose needs a topic of its own")
      } else {
        used[topic] = entry
      }
    }
  }
}
