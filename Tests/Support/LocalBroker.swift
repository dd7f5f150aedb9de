import Foundation
import Kafka
import Synchronization

/// A real broker of this process's own, on a free loopback port, for tests that need one.
///
/// Normally `noida-db`, found by `MILLRACE_NOIDA_DB`, else in `.venv/bin` under the package; `make test` installs it.
/// `MILLRACE_KAFKA` names a script that starts Apache Kafka instead: `start --dir DIR` prints the bootstrap address
/// alone, `stop [--kill]`, `restart --broker N`, `pause`, `resume` and `clean` do what they say. `MILLRACE_TEST_BROKERS`
/// (1 or 3) and `MILLRACE_TEST_KAFKA` are passed on to it. `KAFKA_BOOTSTRAP` is a cluster that runs already, used
/// where a test does not stop its broker. With none of them, suites marked
/// `.enabled(if: LocalBroker.isAvailable)` are reported as skipped.
///
/// Life:     stopped by `stop`, by `deinit`, and at the latest when the process exits.
public final class LocalBroker: @unchecked Sendable {
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  private enum Kind {
    case noida(program: String, port: UInt16)
    case script(String)
    case given
  }
  public private(set) var bootstrap: String
  private let kind: Kind
  private let directory: URL
  private let ownsDirectory: Bool
  private let options: [String]
  // Invariant: only touched by the thread that owns the broker.
  private var process: pid_t?

  /// The program that was found, if any.
  public static let program: String? = {
    let named = ProcessInfo.processInfo.environment["MILLRACE_NOIDA_DB"]
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let path = named ?? package.appendingPathComponent(".venv/bin/noida-db").path
    return FileManager.default.isExecutableFile(atPath: path) ? path : nil
  }()
  /// Starts Apache Kafka; nil without `MILLRACE_KAFKA`.
  public static let script: String? = {
    let path = ProcessInfo.processInfo.environment["MILLRACE_KAFKA"]
    return path.flatMap { FileManager.default.isExecutableFile(atPath: $0) ? $0 : nil }
  }()
  /// What the tests meet, for conditions on them.
  public static let isApacheKafka = given != nil || script != nil
  /// How many brokers the script starts.
  public static let brokerCount = Int32(ProcessInfo.processInfo.environment["MILLRACE_TEST_BROKERS"] ?? "") ?? 1
  public static let version = ProcessInfo.processInfo.environment["MILLRACE_TEST_KAFKA"] ?? ""
  /// A cluster that runs already.
  public static let given: String? = {
    let bootstrap = ProcessInfo.processInfo.environment["KAFKA_BOOTSTRAP"]
    return bootstrap == "" ? nil : bootstrap
  }()
  public static var isAvailable: Bool { given != nil || canBeOwned }
  /// Whether a test may have a broker that it stops.
  public static var canBeOwned: Bool { program != nil || script != nil }

  /// One broker for all tests of the process.
  public static func shared() throws -> LocalBroker { try sharedBroker.get() }
  /// How many copies of a topic a test asks for.
  public var replication: Int32 {
    if case .script = kind { return Self.brokerCount }
    return 1
  }
  private static let sharedBroker = Result {
    if let given { return LocalBroker(given: given) }
    return try LocalBroker()
  }

  private init(given: String) {
    bootstrap = given
    kind = .given
    directory = FileManager.default.temporaryDirectory
    ownsDirectory = false
    options = []
  }

  /// Starts a broker and waits until it answers. Data goes to `directory`, or to a temporary one that is removed.
  /// `options` are the script's: `--tls`, `--sasl` and `--acl`, each for what it says.
  public init(directory: URL? = nil, options: [String] = []) throws {
    self.options = options
    self.directory =
      directory
      ?? FileManager.default.temporaryDirectory.appendingPathComponent("broker-\(UUID().uuidString)")
    ownsDirectory = directory == nil
    try FileManager.default.createDirectory(at: self.directory, withIntermediateDirectories: true)
    if let script = Self.script {
      kind = .script(script)
      bootstrap = ""
    } else {
      guard let program = Self.program else { throw Failure(description: "no noida-db was found") }
      let port = try Self.freePort()
      kind = .noida(program: try Self.resolve(program), port: port)
      bootstrap = "127.0.0.1:\(port)"
    }
    try start()
  }

  deinit { stop() }

  /// Starts the stopped or killed broker again, on the same port and data. `number` is of one among several, from 1.
  public func start(_ number: Int = 1) throws {
    switch kind {
    case .given: return
    case .noida(let program, let port): try startNoida(program, port)
    case .script(let script):
      if bootstrap.isEmpty {
        Self.directories.withLock { $0.append(directory.path) }
        Self.stopAllAtExit
        bootstrap = try Self.run(
          script,
          ["start", "--dir", directory.path, "--brokers", "\(Self.brokerCount)"]
            + (Self.version.isEmpty ? [] : ["--version", Self.version]) + options)
      } else {
        _ = try Self.run(script, ["restart", "--dir", directory.path, "--broker", "\(number)"])
      }
    }
  }

  /// Starts all of them again, after all were halted: they only answer once most of them are there.
  public func startAll() throws {
    guard case .script(let script) = kind else { return try start() }
    let starts = try (1...Int(replication)).map {
      try Self.spawn(script, ["restart", "--dir", directory.path, "--broker", "\($0)"])
    }
    for id in starts {
      var status: Int32 = 0
      waitpid(id, &status, 0)
      guard status == 0 else { throw Failure(description: "a broker did not start again status=\(status)") }
    }
  }

  private func startNoida(_ program: String, _ port: UInt16) throws {
    let process = try Self.spawn(
      program, ["start", "--only", "kafka", "--kafka-port", "\(port)", "--data-dir", directory.path])
    self.process = process
    let temporary: URL? = ownsDirectory ? directory : nil
    Self.running.withLock { _ = $0.updateValue(temporary, forKey: process) }
    Self.stopAllAtExit
    let admin = try Admin(ClientSettings(bootstrap: bootstrap, clientID: "test-support"))
    for _ in 0..<20 {
      // A broker that does not listen yet is asked again; the call itself waits.
      if (try? admin.topics(timeoutMilliseconds: 1_000)) != nil { return }
      if waitpid(process, nil, WNOHANG) != 0 { break }
    }
    stop()
    throw Failure(description: "the broker did not answer program=\(program) port=\(port)")
  }

  /// Where another listener answers: `tls` or `sasl`, if the script was asked for it.
  public func bootstrap(_ listener: String) throws -> String {
    try String(contentsOf: directory.appendingPathComponent("bootstrap.\(listener)"), encoding: .utf8)
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// The script's test authority and certificates: `ca.pem`, `ca.key`, `client.pem`, `client.key`, and the broker's.
  public var certificates: URL { directory.appendingPathComponent("tls") }

  /// One of Kafka's own tools.
  public func tool(_ name: String, _ arguments: [String]) throws {
    guard case .script(let script) = kind else { throw Failure(description: "tools come with a script name=\(name)") }
    _ = try Self.run(script, ["tool", name, "--bootstrap-server", bootstrap] + arguments)
  }

  /// Ends the broker by SIGTERM, or by SIGKILL when it must not say good-bye, and waits for it.
  public func halt(_ number: Int = 1, kill forced: Bool = false) {
    if case .script(let script) = kind {
      // A broker that does not end is met by the test that goes on.
      _ = try? Self.run(script, ["stop", "--dir", directory.path, "--broker", "\(number)"] + (forced ? ["--kill"] : []))
    }
    guard let process else { return }
    self.process = nil
    Self.running.withLock { _ = $0.removeValue(forKey: process) }
    kill(process, forced ? SIGKILL : SIGTERM)
    waitpid(process, nil, 0)
  }

  /// Ends the broker and removes its data if they were temporary.
  public func stop() {
    if case .script(let script) = kind {
      _ = try? Self.run(script, ["clean", "--dir", directory.path])
      Self.directories.withLock { $0.removeAll { $0 == directory.path } }
    }
    halt()
    // Left-overs in the temporary directory harm nobody.
    if ownsDirectory { try? FileManager.default.removeItem(at: directory) }
  }

  /// Process id to the temporary directory that goes with it, if it has one.
  private static let running = Mutex<[Int32: URL?]>([:])
  /// Of brokers that the script started.
  private static let directories = Mutex<[String]>([])
  private static let stopAllAtExit: Void = {
    atexit {
      LocalBroker.running.withLock { running in
        for id in running.keys { kill(id, SIGTERM) }
        for (id, directory) in running {
          waitpid(id, nil, 0)
          // Left-overs in the temporary directory harm nobody.
          if let directory { try? FileManager.default.removeItem(at: directory) }
        }
      }
      guard let script = LocalBroker.script else { return }
      for directory in LocalBroker.directories.withLock({ $0 }) {
        _ = try? LocalBroker.run(script, ["clean", "--dir", directory])
      }
    }
  }()

  /// Runs a program to its end; what it printed, without white space around it.
  @discardableResult
  public static func run(_ program: String, _ arguments: [String]) throws -> String {
    let answer = FileManager.default.temporaryDirectory.appendingPathComponent("answer-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: answer) }
    var status: Int32 = 0
    waitpid(try spawn(program, arguments, output: answer.path), &status, 0)
    guard status == 0 else {
      throw Failure(description: "failed program=\(program) arguments=\(arguments) status=\(status)")
    }
    return try String(contentsOf: answer, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// pip's wrapper starts the program as a child that would outlive it, so the program itself is looked up.
  private static func resolve(_ program: String) throws -> String {
    guard let head = try? String(contentsOfFile: program, encoding: .utf8).split(separator: "\n").first,
      head.hasPrefix("#!")
    else { return program }
    let interpreter = head.dropFirst(2).trimmingCharacters(in: .whitespaces)
    let path = try run(
      interpreter, ["-c", "from importlib.resources import files; print(files('noida_db').joinpath('noida-db'))"])
    guard !path.isEmpty else {
      throw Failure(description: "the wrapper does not lead to its program wrapper=\(program)")
    }
    // The wheel may be unpacked without the execute bit; its own wrapper sets it too.
    try? FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    return path
  }

  /// Why not Foundation's `Process`: its children keep the signals blocked that its thread has blocked.
  private static func spawn(
    _ program: String, _ arguments: [String], output: String = "/dev/null"
  ) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var texts = ([program] + arguments).map { strdup($0) } + [nil]
    var environment =
      ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in texts + environment { free(text) } }
    // A test's thread may block the signals that are to end the broker, and a child inherits that.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var id: pid_t = 0
    let code = posix_spawn(&id, program, &actions, &attributes, &texts, &environment)
    guard code == 0 else {
      throw Failure(description: "cannot start program=\(program) error=\(String(cString: strerror(code)))")
    }
    return id
  }

  private static func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
      }
    }
    guard descriptor >= 0, bound else { throw Failure(description: "no free port") }
    return UInt16(bigEndian: address.sin_port)
  }
}

extension LocalBroker {
  /// Settings of a client of this broker.
  public func settings(_ clientID: String = "test") -> ClientSettings {
    ClientSettings(bootstrap: bootstrap, clientID: clientID)
  }

  /// Creates a topic under a name that no other test uses, and gives it back. Records of any age stay: tests write
  /// times of long ago, which a pass of the broker's retention would take away from under them.
  public func createTopic(_ name: String, partitions: Int32 = 1) throws -> String {
    let unique = "\(name)-\(UUID().uuidString.prefix(8).lowercased())"
    try Admin(settings()).create([
      NewTopic(
        name: unique, partitions: partitions, replication: replication,
        config: [NewTopic.Setting("retention.ms", "-1")])
    ])
    return unique
  }
}
