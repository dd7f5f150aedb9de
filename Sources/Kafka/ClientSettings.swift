/// How to reach a cluster and who we are. What every kind of client shares.
///
/// Errors: `faults` lists everything wrong at once, before any client is made.
public struct ClientSettings: Sendable {
  public enum Transport: String, Sendable, CaseIterable {
    case plaintext, ssl
    case saslPlaintext = "sasl_plaintext"
    case saslSSL = "sasl_ssl"
    var isEncrypted: Bool { self == .ssl || self == .saslSSL }
    var authenticates: Bool { self == .saslPlaintext || self == .saslSSL }
  }
  public enum Mechanism: String, Sendable, CaseIterable {
    case plain = "PLAIN"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA512 = "SCRAM-SHA-512"
  }

  /// `host:port`, separated by commas.
  public var bootstrap: String
  /// At most 64 bytes: longer ones crash old libraries.
  public var clientID: String
  public var transport = Transport.plaintext
  /// Allows an unencrypted transport to hosts that are not loopback.
  public var allowsInsecure = false
  public var mechanism: Mechanism?
  public var username: String?
  public var password: Secret?
  /// PEM file with the authorities to trust; nil: the system's.
  public var authorityFile: String?
  public var certificateFile: String?
  public var keyFile: String?
  public var keyPassword: Secret?
  /// Further librdkafka settings, applied last. Those that the worker's guarantees rest on are refused.
  public var passthrough: [(key: String, value: String)] = []
  /// Receives what the library logs, on the library's threads: it must return at once.
  public var log: LogSink?

  public init(bootstrap: String, clientID: String) {
    self.bootstrap = bootstrap
    self.clientID = clientID
  }

  /// Every contradiction and refusal, in words; empty when a client may be made.
  public var faults: [String] {
    var faults: [String] = []
    if let refusal = LibraryVersion.current.refusal { faults.append(refusal) }
    let hosts = bootstrap.split(separator: ",", omittingEmptySubsequences: false)
    if bootstrap.isEmpty || hosts.contains(where: { $0.allSatisfy(\.isWhitespace) }) {
      faults.append("bootstrap needs host:port, or several separated by commas bootstrap=\"\(bootstrap)\"")
    }
    if clientID.isEmpty || clientID.utf8.count > 64 {
      faults.append("client id needs 1 to 64 bytes count=\(clientID.utf8.count)")
    }
    if !transport.isEncrypted && !allowsInsecure && !hosts.allSatisfy(Self.isLoopback) {
      faults.append(
        "an unencrypted transport to a host that is not loopback must be allowed explicitly"
          + " transport=\(transport.rawValue) bootstrap=\(bootstrap)")
    }
    if transport.authenticates {
      if mechanism == nil { faults.append("transport \(transport.rawValue) needs a mechanism") }
      if username == nil || password == nil {
        faults.append("transport \(transport.rawValue) needs a user name and a password")
      }
    } else if mechanism != nil || username != nil || password != nil {
      faults.append("credentials are given, but transport \(transport.rawValue) sends none")
    }
    if !transport.isEncrypted
      && (authorityFile != nil || certificateFile != nil || keyFile != nil || keyPassword != nil)
    {
      faults.append("certificates are given, but transport \(transport.rawValue) does not encrypt")
    }
    if (certificateFile == nil) != (keyFile == nil) {
      faults.append("a client certificate needs both its file and its key")
    }
    for (key, _) in passthrough {
      if let owner = OwnedKeys.owner(of: key) {
        faults.append("setting \"\(key)\" is refused: \(owner)")
      }
    }
    return faults
  }

  /// What works, but should be known before it surprises.
  public var warnings: [String] {
    let version = LibraryVersion.current
    guard version.hasBrokenSCRAM, mechanism == .scramSHA256 || mechanism == .scramSHA512 else { return [] }
    return [
      "librdkafka \(version) cannot sign in by SCRAM to brokers from 3.7.2 and 3.8.1 on"
        + "; use 2.6.1 or later, PLAIN over TLS, or client certificates"
    ]
  }

  static func isLoopback(_ address: Substring) -> Bool {
    let trimmed = address.drop(while: \.isWhitespace)
    guard let colon = trimmed.lastIndex(of: ":") else { return false }
    let host = trimmed[..<colon]
    return host == "localhost" || host.hasPrefix("127.") || host == "[::1]"
  }
}

/// Text that is never printed.
public struct Secret: Sendable, CustomStringConvertible, CustomReflectable {
  public let text: String
  public init(_ text: String) { self.text = text }
  public var description: String { "***" }
  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// How records are fetched. Isolation and prefetch differ by use; the rest seldom.
public struct FetchSettings: Sendable {
  public enum Isolation: String, Sendable {
    case readCommitted = "read_committed"
    case readUncommitted = "read_uncommitted"
  }
  public var isolation: Isolation
  /// Bytes held ready for each partition queue. Fetching pauses for up to a second once a queue is full, so
  /// this should hold a second of the peak rate.
  public var prefetchKilobytes: Int
  public var fetchWaitMilliseconds: Int
  public var partitionFetchBytes: Int

  public init(
    isolation: Isolation = .readCommitted, prefetchKilobytes: Int = 16_384,
    fetchWaitMilliseconds: Int = 10, partitionFetchBytes: Int = 1 << 20
  ) {
    self.isolation = isolation
    self.prefetchKilobytes = prefetchKilobytes
    self.fetchWaitMilliseconds = fetchWaitMilliseconds
    self.partitionFetchBytes = partitionFetchBytes
  }
}

/// Membership of a consumer group.
public struct GroupSettings: Sendable {
  public var groupID: String
  /// Static membership: a member that returns under this id within the session keeps its partitions.
  public var instanceID: String?
  public var sessionMilliseconds: Int
  public var heartbeatMilliseconds: Int
  public var pollIntervalMillisecondsMax: Int
  public var fetch: FetchSettings

  public init(
    groupID: String, instanceID: String? = nil, sessionMilliseconds: Int = 12_000,
    heartbeatMilliseconds: Int = 3_000, pollIntervalMillisecondsMax: Int = 60_000,
    fetch: FetchSettings = FetchSettings()
  ) {
    self.groupID = groupID
    self.instanceID = instanceID
    self.sessionMilliseconds = sessionMilliseconds
    self.heartbeatMilliseconds = heartbeatMilliseconds
    self.pollIntervalMillisecondsMax = pollIntervalMillisecondsMax
    self.fetch = fetch
  }

  public var faults: [String] {
    var faults: [String] = []
    if groupID.isEmpty { faults.append("the group id is empty") }
    if 3 * heartbeatMilliseconds > sessionMilliseconds {
      faults.append(
        "three heartbeats must fit into a session heartbeat=\(heartbeatMilliseconds) session=\(sessionMilliseconds)")
    }
    if pollIntervalMillisecondsMax < sessionMilliseconds {
      faults.append(
        "the poll interval must not be shorter than the session interval=\(pollIntervalMillisecondsMax) session=\(sessionMilliseconds)")
    }
    return faults
  }
}

/// How records are sent.
public struct ProducerSettings: Sendable {
  /// Not longer than the group's session, so that a dead member's transaction ends with its membership.
  public var transactionMilliseconds: Int
  public var lingerMilliseconds: Int
  public var compression: String
  public var queueKilobytes: Int
  /// The topics' own limit: larger records are refused before they are sent.
  public var messageBytesMax: Int
  /// How long one `produce` waits for room in a full queue before it throws a retriable error.
  public var queueFullMilliseconds: Int32

  public init(
    transactionMilliseconds: Int = 10_000, lingerMilliseconds: Int = 5, compression: String = "lz4",
    queueKilobytes: Int = 65_536, messageBytesMax: Int = 1_000_000,
    queueFullMilliseconds: Int32 = 100
  ) {
    self.transactionMilliseconds = transactionMilliseconds
    self.lingerMilliseconds = lingerMilliseconds
    self.compression = compression
    self.queueKilobytes = queueKilobytes
    self.messageBytesMax = messageBytesMax
    self.queueFullMilliseconds = queueFullMilliseconds
  }
}
