import Features
import Learning
import Records

/// A whole pipeline, as declared: typed, complete (every default filled in) and free of contradictions.
///
/// Made by `PipelineLoader.load`; whoever holds one need not check it again.
/// Units:    times are milliseconds, sizes are bytes, as the names say.
/// Secrets:  held as references only; `SecretReference.resolve` reads them where they are used.
public struct PipelineSettings: Sendable, Equatable {
  /// Label of metrics and logs, group id, target of commands.
  public var name: String
  public var kafka: Brokers
  public var features: FeatureSettings
  /// Without a label input nothing joins and the horizon is 0.
  public var join: JoinSettings
  /// What the charter says. The first contender is the champion.
  public var learning: LearningSettings
  public var topics: Topics
  /// A probability at or above this is a positive decision.
  public var decisionThreshold: Double
  public var delivery: Delivery
  public var checkpoints: Checkpoints
  public var worker: WorkerIdentity
  /// How long an input that is at its end is still waited for by the merge.
  public var alignWaitMilliseconds: Int64
  /// An event time further ahead of the record's Kafka timestamp is a dead letter. Also in each input's schema.
  public var futureMillisecondsMax: Int64
  /// PEM files with the Ed25519 public keys of operators; without any, every command is refused.
  public var trustedKeyPaths: [String]
  public var errors: ErrorTolerance
  /// Where the console listens; nil: nowhere.
  public var adminListen: ListenAddress?

  public struct Brokers: Sendable, Equatable {
    /// `host:port`, comma-separated.
    public var bootstrap: String
    public var security: Security
    /// Properties handed to the client as they are, in declared order; none of them is one the worker owns.
    public var passthrough: [Property]
    public init(bootstrap: String, security: Security = Security(), passthrough: [Property] = []) {
      self.bootstrap = bootstrap
      self.security = security
      self.passthrough = passthrough
    }
  }

  public struct Property: Sendable, Hashable {
    public var name: String
    public var value: String
    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// SHA-256 of what the charter says: equal exactly where two workers fold the log alike.
  public var learningDigest: Digest {
    var writer = ByteWriter()
    writer.write(raw: learning.canonicalBytes())
    for column in learning.rowSchema.columns {
      writer.write(column.id)
      writer.write(column.kind.rawValue)
    }
    return Digest.of(writer.bytes)
  }

  public enum Transport: String, Sendable, CaseIterable {
    case plaintext, ssl
    case saslPlaintext = "sasl_plaintext"
    case saslSSL = "sasl_ssl"
    public var usesSASL: Bool { self == .saslPlaintext || self == .saslSSL }
    public var usesTLS: Bool { self == .ssl || self == .saslSSL }
  }

  public struct Security: Sendable, Equatable {
    public var transport: Transport
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; nil without SASL.
    public var mechanism: String?
    public var username: String?
    public var password: SecretReference?
    /// PEM files; nil: the system's authorities, no client certificate.
    public var authoritiesPath: String?
    public var certificatePath: String?
    public var keyPath: String?
    public var keyPassword: SecretReference?
    public init(
      transport: Transport = .plaintext, mechanism: String? = nil, username: String? = nil,
      password: SecretReference? = nil, authoritiesPath: String? = nil,
      certificatePath: String? = nil, keyPath: String? = nil, keyPassword: SecretReference? = nil
    ) {
      self.transport = transport
      self.mechanism = mechanism
      self.username = username
      self.password = password
      self.authoritiesPath = authoritiesPath
      self.certificatePath = certificatePath
      self.keyPath = keyPath
      self.keyPassword = keyPassword
    }
  }

  /// Every topic the pipeline writes or is commanded by; all differ from each other and from the inputs' topics.
  public struct Topics: Sendable, Equatable {
    public var predictions: String
    public var learning: String
    public var journal: String
    public var checkpoints: String
    public var control: String
    public var acks: String
    public var deadLetters: String
    public var alerts: String
    public init(
      predictions: String, learning: String, journal: String, checkpoints: String, control: String,
      acks: String, deadLetters: String, alerts: String
    ) {
      self.predictions = predictions
      self.learning = learning
      self.journal = journal
      self.checkpoints = checkpoints
      self.control = control
      self.acks = acks
      self.deadLetters = deadLetters
      self.alerts = alerts
    }
  }

  public struct Delivery: Sendable, Equatable {
    public enum Mode: String, Sendable, CaseIterable {
      case exactlyOnce = "exactly-once"
      /// Predictions are published as they are scored, before their unit commits; everything else as above.
      case atLeastOnce = "at-least-once"
    }
    public var mode: Mode
    /// A commit unit ends at this many events, or
    public var transactionRecords: Int
    /// this long after its first.
    public var transactionIntervalMilliseconds: Int64
    /// The broker aborts a transaction that is open longer.
    public var transactionTimeoutMilliseconds: Int64
    public init(
      mode: Mode = .exactlyOnce, transactionRecords: Int = 5_000,
      transactionIntervalMilliseconds: Int64 = 100, transactionTimeoutMilliseconds: Int64 = 10_000
    ) {
      self.mode = mode
      self.transactionRecords = transactionRecords
      self.transactionIntervalMilliseconds = transactionIntervalMilliseconds
      self.transactionTimeoutMilliseconds = transactionTimeoutMilliseconds
    }
  }

  public struct Checkpoints: Sendable, Equatable {
    public var directory: String
    public var everyMilliseconds: Int64
    /// Checkpoints of one partition that stay on disk.
    public var keep: Int
    public init(directory: String, everyMilliseconds: Int64 = 30_000, keep: Int = 3) {
      self.directory = directory
      self.everyMilliseconds = everyMilliseconds
      self.keep = keep
    }
  }

  public struct WorkerIdentity: Sendable, Equatable {
    /// Static member of the group, part of the transactional id.
    public var instance: String
    public var lanes: Int
    public var sessionTimeoutMilliseconds: Int64
    public var heartbeatMilliseconds: Int64
    public init(
      instance: String, lanes: Int = 1, sessionTimeoutMilliseconds: Int64 = 12_000,
      heartbeatMilliseconds: Int64 = 3_000
    ) {
      self.instance = instance
      self.lanes = lanes
      self.sessionTimeoutMilliseconds = sessionTimeoutMilliseconds
      self.heartbeatMilliseconds = heartbeatMilliseconds
    }
  }

  /// More than `records` dead letters within `perMilliseconds` of processing time, and `then` happens.
  public struct ErrorTolerance: Sendable, Equatable {
    public enum Reaction: String, Sendable, CaseIterable {
      case stop
      case carryOn = "continue"
    }
    public var records: Int
    public var perMilliseconds: Int64
    public var then: Reaction
    public init(records: Int = 100, perMilliseconds: Int64 = 300_000, then: Reaction = .stop) {
      self.records = records
      self.perMilliseconds = perMilliseconds
      self.then = then
    }
  }

  public struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
    /// An address or host name, without brackets.
    public var host: String
    /// 0: any free port.
    public var port: UInt16
    public init(host: String, port: UInt16) {
      self.host = host
      self.port = port
    }
    /// Reads `127.0.0.1:8080` or `[::1]:8080`; nil for anything else.
    public init?(_ text: String) {
      guard let colon = text.lastIndex(of: ":"), colon > text.startIndex else { return nil }
      let digits = text[text.index(after: colon)...]
      guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }),
        let port = UInt16(digits)
      else { return nil }
      var host = text[..<colon]
      if host.hasPrefix("["), host.hasSuffix("]") {
        host = host.dropFirst().dropLast()
      } else if host.contains(":") {
        return nil
      }
      guard !host.isEmpty, !host.contains(where: { $0.isWhitespace || $0 == "[" || $0 == "]" })
      else { return nil }
      self.init(host: String(host), port: port)
    }
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
  }

  public init(
    name: String, kafka: Brokers, features: FeatureSettings, join: JoinSettings,
    learning: LearningSettings, topics: Topics, decisionThreshold: Double = 0.5,
    delivery: Delivery = Delivery(), checkpoints: Checkpoints, worker: WorkerIdentity,
    alignWaitMilliseconds: Int64 = 0, futureMillisecondsMax: Int64 = 600_000,
    trustedKeyPaths: [String] = [], errors: ErrorTolerance = ErrorTolerance(),
    adminListen: ListenAddress? = nil
  ) {
    self.name = name
    self.kafka = kafka
    self.features = features
    self.join = join
    self.learning = learning
    self.topics = topics
    self.decisionThreshold = decisionThreshold
    self.delivery = delivery
    self.checkpoints = checkpoints
    self.worker = worker
    self.alignWaitMilliseconds = alignWaitMilliseconds
    self.futureMillisecondsMax = futureMillisecondsMax
    self.trustedKeyPaths = trustedKeyPaths
    self.errors = errors
    self.adminListen = adminListen
  }
}
