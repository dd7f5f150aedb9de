import Foundation

/// What carries the bytes: one thread that waits for all sockets at once.
final class ProxyLoop {
  struct Orders {
    var request: KafkaProxy.Rule?
    var reply: KafkaProxy.Rule?
    var isDown = false
    var bytesPerSecond: Int?
    var releases = false
    var cutsAll = false
    var stops = false
  }

  /// A frame on its way, and when it may go.
  private struct Frame {
    var bytes: [UInt8]
    var due: UInt64
  }

  /// One client's connection and ours to its broker.
  private final class Pair {
    let number: Int
    let broker: Int
    /// -1 once closed.
    var client: Int32
    var upstream: Int32
    var fromClient: [UInt8] = []
    var fromBroker: [UInt8] = []
    var toClient: [UInt8] = []
    var toBroker: [UInt8] = []
    var waitingForBroker: [Frame] = []
    var waitingForClient: [Frame] = []
    /// Requests that must not go before `release`.
    var held: [[UInt8]] = []
    /// By correlation id, until the reply is here.
    var asked: [Int32: KafkaProxy.Request] = [:]
    /// A request is on its way whose reply nobody waits for.
    var isOrphaned = false
    /// When the next byte may pass, for a throttle.
    var nextToClient: UInt64 = 0
    var nextToBroker: UInt64 = 0

    init(_ number: Int, broker: Int, client: Int32, upstream: Int32) {
      self.number = number
      self.broker = broker
      self.client = client
      self.upstream = upstream
    }
    var isGone: Bool { client < 0 && upstream < 0 }
    func closeClient() {
      if client >= 0 { close(client) }
      client = -1
      toClient = []
      waitingForClient = []
      // What was held keeps its way to the broker.
      if held.isEmpty && !isOrphaned { closeUpstream() }
    }
    func closeUpstream() {
      if upstream >= 0 { close(upstream) }
      upstream = -1
    }
    func closeAll() {
      held = []
      isOrphaned = false
      toBroker = []
      waitingForBroker = []
      closeClient()
      closeUpstream()
    }
  }

  let done: DispatchSemaphore
  private let brokers: [KafkaProxy.Listener]
  private let wake: Int32
  private let takeOrders: () -> Orders
  private let carried: (Int16) -> Void
  private let refused: () -> Void
  private var orders = Orders()
  private var pairs: [Pair] = []
  private var connections = 0
  private var counts: [String: Int] = [:]
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  init(
    brokers: [KafkaProxy.Listener], wake: Int32, done: DispatchSemaphore, orders: @escaping () -> Orders,
    carried: @escaping (Int16) -> Void, refused: @escaping () -> Void
  ) {
    self.brokers = brokers
    self.wake = wake
    self.done = done
    takeOrders = orders
    self.carried = carried
    self.refused = refused
  }

  private func now() -> UInt64 { DispatchTime.now().uptimeNanoseconds }

  func run() {
    while true {
      orders = takeOrders()
      if orders.stops { break }
      if orders.cutsAll || orders.isDown { for pair in pairs { pair.closeAll() } }
      if orders.releases { releaseHeld() }
      pairs.removeAll { $0.isGone }
      let (due, wait) = moveDue()
      if due { continue }
      waitAndCarry(milliseconds: wait)
    }
    for pair in pairs { pair.closeAll() }
  }

  private func releaseHeld() {
    for pair in pairs {
      guard !pair.held.isEmpty else { continue }
      for frame in pair.held { pair.toBroker += frame }
      pair.held = []
      pair.isOrphaned = true
      flushToBroker(pair)
    }
  }

  /// Passes on what has waited long enough; whether anything moved, and how long nothing will.
  private func moveDue() -> (moved: Bool, milliseconds: Int32) {
    let now = now()
    var next = UInt64.max
    var moved = false
    for pair in pairs {
      func ripe(_ frames: inout [Frame]) -> [UInt8] {
        var bytes: [UInt8] = []
        frames.removeAll { frame in
          guard frame.due <= now else {
            next = min(next, frame.due)
            return false
          }
          bytes += frame.bytes
          return true
        }
        return bytes
      }
      let (up, down) = (ripe(&pair.waitingForBroker), ripe(&pair.waitingForClient))
      if !up.isEmpty {
        pair.toBroker += up
        moved = true
      }
      if !down.isEmpty {
        pair.toClient += down
        moved = true
      }
      if orders.bytesPerSecond != nil {
        if !pair.toClient.isEmpty, pair.nextToClient > now { next = min(next, pair.nextToClient) }
        if !pair.toBroker.isEmpty, pair.nextToBroker > now { next = min(next, pair.nextToBroker) }
      }
    }
    return (moved, next == .max ? 1_000 : Int32(min((next - now) / 1_000_000 + 1, 1_000)))
  }

  private func waitAndCarry(milliseconds: Int32) {
    var polled = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
    for broker in brokers { polled.append(pollfd(fd: broker.descriptor, events: Int16(POLLIN), revents: 0)) }
    let carriers = pairs
    let now = now()
    for pair in carriers {
      // A closed descriptor (-1) is passed over by poll.
      let mayWriteDown = !pair.toClient.isEmpty && (orders.bytesPerSecond == nil || pair.nextToClient <= now)
      let mayWriteUp = !pair.toBroker.isEmpty && (orders.bytesPerSecond == nil || pair.nextToBroker <= now)
      polled.append(pollfd(fd: pair.client, events: Int16(POLLIN | (mayWriteDown ? POLLOUT : 0)), revents: 0))
      polled.append(pollfd(fd: pair.upstream, events: Int16(POLLIN | (mayWriteUp ? POLLOUT : 0)), revents: 0))
    }
    guard poll(&polled, nfds_t(polled.count), milliseconds) > 0 else { return }
    if polled[0].revents != 0 { while Glibc.read(wake, &buffer, buffer.count) > 0 {} }
    for (index, broker) in brokers.enumerated() where polled[1 + index].revents != 0 { accept(index, broker) }
    for (index, pair) in carriers.enumerated() {
      let (client, upstream) = (polled[1 + brokers.count + 2 * index], polled[2 + brokers.count + 2 * index])
      if client.revents & Int16(POLLOUT) != 0 { flushToClient(pair) }
      if upstream.revents & Int16(POLLOUT) != 0 { flushToBroker(pair) }
      if client.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { readClient(pair) }
      if upstream.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { readBroker(pair) }
    }
  }

  private func accept(_ index: Int, _ broker: KafkaProxy.Listener) {
    while true {
      let client = Glibc.accept(broker.descriptor, nil, nil)
      guard client >= 0 else { return }
      guard !orders.isDown, let upstream = Socket.connect(broker.upstreamPort) else {
        close(client)
        refused()
        continue
      }
      Socket.unblock(client)
      var on: Int32 = 1
      setsockopt(client, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
      connections += 1
      pairs.append(Pair(connections, broker: index, client: client, upstream: upstream))
    }
  }

  // MARK: Requests

  private func readClient(_ pair: Pair) {
    guard pair.client >= 0 else { return }
    guard let bytes = receive(pair.client) else {
      pair.closeClient()
      return
    }
    pair.fromClient += bytes
    while let frame = takeFrame(&pair.fromClient) { pass(request: frame, pair) }
    flushToBroker(pair)
  }

  private func pass(request frame: [UInt8], _ pair: Pair) {
    guard pair.client >= 0 else { return }
    guard let request = read(request: frame, pair) else {
      pair.toBroker += frame
      return
    }
    let verdict = orders.request?(request) ?? .pass
    switch verdict {
    case .pass: send()
    case .delay(let milliseconds):
      pair.asked[request.correlation] = request
      carried(request.api)
      pair.waitingForBroker.append(Frame(bytes: frame, due: now() + UInt64(milliseconds) * 1_000_000))
    case .swallow: break
    case .cut: pair.closeClient()
    case .passAndCut:
      send()
      pair.isOrphaned = true
      flushToBroker(pair)
      pair.closeClient()
    case .holdAndCut:
      pair.held.append(frame)
      pair.closeClient()
    }
    func send() {
      pair.asked[request.correlation] = request
      carried(request.api)
      pair.toBroker += frame
    }
  }

  /// The header every request has: kind, version, correlation id, client.
  private func read(request frame: [UInt8], _ pair: Pair) -> KafkaProxy.Request? {
    guard frame.count >= 14 else { return nil }
    func short(_ at: Int) -> Int16 { Int16(bitPattern: UInt16(frame[at]) << 8 | UInt16(frame[at + 1])) }
    func long(_ at: Int) -> Int32 {
      Int32(bitPattern: (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(frame[at + $1]) })
    }
    let api = short(4)
    let length = max(0, Int(short(12)))
    let client = frame.count >= 14 + length ? String(decoding: frame[14..<(14 + length)], as: UTF8.self) : ""
    counts["\(api) \(client)", default: 0] += 1
    return KafkaProxy.Request(
      kind: KafkaProxy.Kind(rawValue: api) ?? .other, api: api, version: short(6), correlation: long(8), client: client,
      broker: pair.broker, connection: pair.number, count: counts["\(api) \(client)"]!, bytes: Array(frame[4...]))
  }

  // MARK: Replies

  private func readBroker(_ pair: Pair) {
    guard pair.upstream >= 0 else { return }
    guard let bytes = receive(pair.upstream) else {
      pair.closeAll()
      return
    }
    guard pair.client >= 0 else {
      // The answer that nobody waits for: the request was served.
      if pair.held.isEmpty { pair.closeUpstream() }
      return
    }
    pair.fromBroker += bytes
    while let frame = takeFrame(&pair.fromBroker) { pass(reply: frame, pair) }
    flushToClient(pair)
  }

  private func pass(reply frame: [UInt8], _ pair: Pair) {
    guard pair.client >= 0 else { return }
    let correlation = Int32(
      bitPattern: frame.count < 8 ? 0 : (4..<8).reduce(UInt32(0)) { $0 << 8 | UInt32(frame[$1]) })
    guard let request = pair.asked.removeValue(forKey: correlation) else {
      pair.toClient += frame
      return
    }
    var frame = frame
    switch request.kind {
    case .metadata, .findCoordinator, .describeCluster: replacePorts(&frame)
    default: break
    }
    switch orders.reply?(request) ?? .pass {
    case .pass: pair.toClient += frame
    case .delay(let milliseconds):
      pair.waitingForClient.append(Frame(bytes: frame, due: now() + UInt64(milliseconds) * 1_000_000))
    case .swallow: break
    case .cut, .holdAndCut: pair.closeClient()
    case .passAndCut:
      pair.toClient += frame
      flushToClient(pair)
      pair.closeClient()
    }
  }

  /// A broker is named by host and then port, four bytes: the port is replaced wherever it follows the host's name.
  private func replacePorts(_ frame: inout [UInt8]) {
    for broker in brokers {
      for host in Set([broker.upstreamHost, "127.0.0.1", "localhost"]) {
        let theirs = Array(host.utf8) + [0, 0, UInt8(broker.upstreamPort >> 8), UInt8(broker.upstreamPort & 0xff)]
        var from = 8
        while from + theirs.count <= frame.count {
          if frame[from..<(from + theirs.count)].elementsEqual(theirs) {
            let at = from + theirs.count - 2
            frame[at] = UInt8(broker.port >> 8)
            frame[at + 1] = UInt8(broker.port & 0xff)
            from += theirs.count
          } else {
            from += 1
          }
        }
      }
    }
  }

  // MARK: Bytes

  /// A whole frame with its length before it, if one has come.
  private func takeFrame(_ bytes: inout [UInt8]) -> [UInt8]? {
    guard bytes.count >= 4 else { return nil }
    let length = (0..<4).reduce(0) { $0 << 8 | Int(bytes[$1]) }
    guard bytes.count >= 4 + length else { return nil }
    let frame = Array(bytes[..<(4 + length)])
    bytes.removeFirst(4 + length)
    return frame
  }

  /// nil at the end of the connection.
  private func receive(_ descriptor: Int32) -> [UInt8]? {
    var bytes: [UInt8] = []
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count > 0 {
        bytes += buffer[..<count]
        if bytes.count < 1 << 20 { continue }
        return bytes
      }
      if count < 0, errno == EAGAIN || errno == EINTR { return bytes }
      return bytes.isEmpty ? nil : bytes
    }
  }

  private func flushToClient(_ pair: Pair) {
    guard pair.client >= 0 else { return }
    if !send(&pair.toClient, pair.client, &pair.nextToClient) { pair.closeClient() }
  }

  private func flushToBroker(_ pair: Pair) {
    guard pair.upstream >= 0 else { return }
    if !send(&pair.toBroker, pair.upstream, &pair.nextToBroker) { pair.closeAll() }
  }

  /// Writes what goes; false where the other side is gone.
  private func send(_ bytes: inout [UInt8], _ descriptor: Int32, _ next: inout UInt64) -> Bool {
    while !bytes.isEmpty {
      var limit = bytes.count
      if let rate = orders.bytesPerSecond {
        guard now() >= next else { return true }
        limit = min(limit, max(1, rate / 50))
      }
      let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, limit, Int32(MSG_NOSIGNAL)) }
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      bytes.removeFirst(count)
      if orders.bytesPerSecond != nil { next = now() + 20_000_000 }
    }
    return true
  }
}
