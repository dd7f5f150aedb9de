import Foundation
import Synchronization

/// Stands between clients and brokers and can hold up, lose or cut what passes.
///
/// One listening port a broker. Requests and replies are cut into frames, so that a rule sees each request's kind,
/// client and body, and its reply; bytes go on as they came. Only in the replies that name brokers (Metadata,
/// FindCoordinator, DescribeCluster) is a broker's port replaced by ours, which is of the same length, so that clients
/// come back here.
///
/// Threads: one of its own carries everything and calls the rules; the other calls from anywhere.
public final class KafkaProxy: @unchecked Sendable {
  public struct Failure: Error, CustomStringConvertible { public var description: String }

  /// Kinds of requests, as the protocol numbers them.
  public enum Kind: Int16, Sendable {
    case produce = 0, fetch, listOffsets, metadata
    case offsetCommit = 8, offsetFetch, findCoordinator, joinGroup, heartbeat, leaveGroup, syncGroup
    case apiVersions = 18
    case initProducerID = 22
    case addPartitions = 24, addOffsets, endTransaction
    case transactionalOffsets = 28
    case describeCluster = 60
    case other = -1
  }

  public struct Request: Sendable {
    public var kind: Kind
    public var api: Int16
    public var version: Int16
    public var correlation: Int32
    public var client: String
    /// Which broker of the list it goes to.
    public var broker: Int
    public var connection: Int
    /// How many of this kind have come from this client, this one included.
    public var count: Int
    /// The request behind its length.
    public var bytes: [UInt8]

    /// Whether the text stands anywhere in it: a topic, a transactional id.
    public func mentions(_ text: String) -> Bool { bytes.contains(Array(text.utf8)[...]) }
  }

  public enum Verdict: Sendable {
    case pass
    /// It goes on after this time; later ones of the connection may overtake it.
    case delay(milliseconds: Int)
    /// It vanishes; the connection stays.
    case swallow
    /// It vanishes, and so does the connection of the client.
    case cut
    /// It goes on, and then the connection of the client is gone: no reply can come.
    case passAndCut
    /// It stays here until `release`, although the connection of the client is gone.
    case holdAndCut
  }
  public typealias Rule = @Sendable (Request) -> Verdict

  private struct Rules {
    var request: Rule?
    var reply: Rule?
    var isDown = false
    /// Bytes a second and direction for each connection; nil: as they come.
    var bytesPerSecond: Int?
    var releases = false
    var cutsAll = false
    var stops = false
  }
  private let rules = Mutex(Rules())
  private let carried = Mutex<[Int16: Int]>([:])
  private let refusals = Mutex(0)
  private let brokers: [Listener]
  private let wake: (read: Int32, write: Int32)
  private var thread: Thread?
  private let ended = DispatchSemaphore(value: 0)

  struct Listener {
    var descriptor: Int32
    var port: UInt16
    var upstreamHost: String
    var upstreamPort: UInt16
  }

  /// For the brokers of this list (`host:port,…`), all on loopback.
  public init(to bootstrap: String) throws {
    signal(SIGPIPE, SIG_IGN)
    brokers = try bootstrap.split(separator: ",").map { address in
      let parts = address.split(separator: ":")
      guard parts.count == 2, let port = UInt16(parts[1]) else { throw Failure(description: "no address: \(address)") }
      let (descriptor, own) = try Socket.listen()
      return Listener(descriptor: descriptor, port: own, upstreamHost: String(parts[0]), upstreamPort: port)
    }
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Failure(description: "no pipe") }
    wake = (ends[0], ends[1])
    Socket.unblock(wake.read)
    Socket.unblock(wake.write)
    // Invariant: the loop is touched by its thread alone; what is shared with it stands behind locks.
    nonisolated(unsafe) let loop = makeLoop()
    let thread = Thread {
      loop.run()
      loop.done.signal()
    }
    thread.name = "kafka-proxy"
    thread.stackSize = 1 << 20
    self.thread = thread
    thread.start()
  }

  deinit { stop() }

  /// Where clients connect.
  public var bootstrap: String { brokers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",") }

  /// Asked for every request before it goes on.
  public func onRequest(_ rule: Rule?) { change { $0.request = rule } }
  /// Asked for every reply before it goes back, with the request that it answers.
  public func onReply(_ rule: Rule?) { change { $0.reply = rule } }
  /// Lets what was held go to its broker.
  public func release() { change { $0.releases = true } }
  /// Cuts every connection once.
  public func cut() { change { $0.cutsAll = true } }
  /// Whether the network is gone: no connection lives, none is accepted.
  public func setDown(_ isDown: Bool) { change { $0.isDown = isDown } }
  public func throttle(bytesPerSecond: Int?) { change { $0.bytesPerSecond = bytesPerSecond } }
  /// Requests that went on so far.
  public func count(_ kind: Kind) -> Int { carried.withLock { $0[kind.rawValue] ?? 0 } }

  /// Connections that were turned away so far.
  public var refused: Int { refusals.withLock { $0 } }

  public func stop() {
    guard thread != nil else { return }
    thread = nil
    change { $0.stops = true }
    ended.wait()
    for broker in brokers { close(broker.descriptor) }
    close(wake.read)
    close(wake.write)
  }

  private func change(_ body: (inout Rules) -> Void) {
    rules.withLock { body(&$0) }
    var byte: UInt8 = 1
    // A full pipe wakes the loop as well.
    _ = write(wake.write, &byte, 1)
  }

  private func makeLoop() -> ProxyLoop {
    ProxyLoop(brokers: brokers, wake: wake.read, done: ended) { [weak self] in
      guard let self else { return ProxyLoop.Orders(stops: true) }
      return rules.withLock { rules in
        defer { rules.releases = false; rules.cutsAll = false }
        return ProxyLoop.Orders(
          request: rules.request, reply: rules.reply, isDown: rules.isDown, bytesPerSecond: rules.bytesPerSecond,
          releases: rules.releases, cutsAll: rules.cutsAll, stops: rules.stops)
      }
    } carried: { [weak self] api in
      self?.carried.withLock { $0[api, default: 0] += 1 }
    } refused: { [weak self] in
      self?.refusals.withLock { $0 += 1 }
    }
  }
}

/// Sockets on loopback, none of which blocks.
enum Socket {
  static func address(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    address.sin_port = port.bigEndian
    return address
  }

  static func unblock(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  static func listen() throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = address(0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && Glibc.listen(descriptor, 64) == 0
          && getsockname(descriptor, address, &length) == 0
      }
    }
    guard descriptor >= 0, bound else { throw KafkaProxy.Failure(description: "no free port") }
    unblock(descriptor)
    return (descriptor, UInt16(bigEndian: address.sin_port))
  }

  /// nil where the port refuses.
  static func connect(_ port: UInt16) -> Int32? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    var address = address(port)
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard connected else {
      close(descriptor)
      return nil
    }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    unblock(descriptor)
    return descriptor
  }
}
