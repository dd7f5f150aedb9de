// Method: a server on a free port of loopback, and clients that write raw bytes to it.
import Console
import Glibc
import Synchronization
import Testing

private final class World: Sendable {
  let calls = Atomic<Int>(0)
  let healthy = Atomic<Bool>(true)
  func sources() -> ConsoleSources {
    @Sendable func health(_ name: String) -> Health {
      calls.add(1, ordering: .relaxed)
      return healthy.load(ordering: .relaxed) ? .ok : .failing("\(name) waits")
    }
    return ConsoleSources(
      metrics: { [self] in
        calls.add(1, ordering: .relaxed)
        return Array("# HELP x y\n# TYPE x gauge\nx 1\n".utf8)
      },
      live: { health("live") }, ready: { health("ready") }, started: { health("started") },
      status: { Array("{\"state\":\"running\"}".utf8) },
      summary: { [("state", "<b>running</b> & \"well\"")] })
  }
  func start(_ limits: ConsoleLimits = ConsoleLimits()) throws -> ConsoleServer {
    try ConsoleServer(try ConsoleAddress("127.0.0.1:0"), sources: sources(), limits: limits)
  }
}

@Test func `every path answers with its type`() throws {
  let server = try World().start()
  defer { server.stop() }
  #expect(server.address.port != 0)
  let metrics = try #require(ask(server, "GET", "/metrics"))
  #expect(metrics.status == 200)
  #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
  #expect(metrics.body == "# HELP x y\n# TYPE x gauge\nx 1\n")
  #expect(metrics.headers["cache-control"] == "no-store")
  let status = try #require(ask(server, "GET", "/api/v1/status"))
  #expect(status.headers["content-type"] == "application/json; charset=utf-8")
  #expect(status.body == "{\"state\":\"running\"}")
  for path in ["/livez", "/readyz", "/startupz", "/metrics?x=1"] {
    #expect(ask(server, "GET", path)?.status == 200)
  }
  let page = try #require(ask(server, "GET", "/"))
  #expect(page.status == 200)
  #expect(page.body.contains("&lt;b&gt;running&lt;/b&gt; &amp; &quot;well&quot;"))
  #expect(!page.body.contains("<b>") && !page.body.contains("<script"))
}

@Test func `HEAD answers as GET does, without the body`() throws {
  let server = try World().start()
  defer { server.stop() }
  for path in ["/", "/metrics", "/livez", "/api/v1/status"] {
    let get = try #require(ask(server, "GET", path))
    let head = try #require(ask(server, "HEAD", path))
    #expect(head.status == get.status && head.body.isEmpty)
    #expect(head.headers["content-length"] == get.headers["content-length"])
    #expect(head.headers["content-length"] == "\(get.body.utf8.count)")
  }
}

@Test func `unknown paths are 404 and other methods on known paths 405 with what is allowed`() throws {
  let server = try World().start()
  defer { server.stop() }
  for path in ["/nothing", "/metrics/", "/api/v1", "//", "/%00metrics", "/%ff%fe", "/%6detrics", "/../metrics"] {
    #expect(ask(server, "GET", path)?.status == 404, "\(path)")
  }
  for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
    let answer = try #require(ask(server, method, "/metrics", headers: "Content-Length: 0\r\n"))
    #expect(answer.status == 405 && answer.headers["allow"] == "GET, HEAD", "\(method)")
    #expect(ask(server, method, "/none", headers: "Content-Length: 0\r\n")?.status == 404)
  }
}

@Test func `a body is refused before it is read`() throws {
  let server = try World().start()
  defer { server.stop() }
  #expect(ask(server, "GET", "/metrics", headers: "Content-Length: 5\r\n", body: "hello")?.status == 413)
  #expect(ask(server, "POST", "/metrics", headers: "Content-Length: 9000000000\r\n")?.status == 405)
  #expect(
    ask(server, "GET", "/metrics", headers: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n")?.status == 413)
  #expect(ask(server, "GET", "/livez")?.status == 200)
}

@Test func `a failing probe is 503 and says why`() throws {
  let world = World()
  let server = try world.start()
  defer { server.stop() }
  world.healthy.store(false, ordering: .relaxed)
  for (path, reason) in [("/livez", "live"), ("/readyz", "ready"), ("/startupz", "started")] {
    let answer = try #require(ask(server, "GET", path))
    #expect(answer.status == 503 && answer.body == "\(reason) waits\n")
  }
}

@Test func `a console on loopback answers to local names only`() throws {
  let server = try World().start()
  defer { server.stop() }
  for host in ["localhost:\(server.address.port)", "127.0.0.1", "[::1]:80", "LOCALHOST"] {
    #expect(ask(server, "GET", "/livez", host: host)?.status == 200, "\(host)")
  }
  for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::2]", "127.1.2", "[", ""] {
    #expect(ask(server, "GET", "/livez", host: host)?.status == 403, "\(host)")
  }
}

@Test func `garbage never stops the server`() throws {
  let server = try World().start(ConsoleLimits(connections: 200, timeoutSeconds: 1))
  defer { server.stop() }
  var state: UInt64 = 9
  func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 33
  }
  let good = Array("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
  // All at once: an unfinished request holds its connection until the time-out.
  var clients: [RawClient] = []
  for round in 0..<150 {
    var bytes: [UInt8]
    switch round % 3 {
    case 0: bytes = (0..<Int(next() % 3000)).map { _ in UInt8(next() & 0xff) }
    case 1:
      bytes = good
      for _ in 0...(next() % 4) { bytes[Int(next() % UInt64(bytes.count))] = UInt8(next() & 0xff) }
    default: bytes = Array(good.prefix(Int(next() % UInt64(good.count))))
    }
    let client = RawClient(port: server.address.port)
    client.send(bytes)
    client.endSending()
    clients.append(client)
  }
  for client in clients { _ = client.readToEnd() }
  #expect(ask(server, "GET", "/metrics")?.status == 200)
}

@Test func `headers beyond the limit are refused and cost no more than the limit`() throws {
  let server = try World().start(ConsoleLimits(connectionBytes: 4096, timeoutSeconds: 1))
  defer { server.stop() }
  for request in [
    "GET /" + String(repeating: "a", count: 100_000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + String(repeating: "a", count: 100_000) + "\r\n\r\n",
  ] {
    let client = RawClient(port: server.address.port)
    client.send(request)
    client.endSending()
    let answer = Answer(client.readToEnd())
    #expect(answer == nil || [400, 413, 414, 431].contains(answer!.status))
  }
  #expect(ask(server, "GET", "/metrics")?.status == 200)
}

@Test func `connections beyond the limit wait until a place is free`() throws {
  let world = World()
  let server = try world.start(ConsoleLimits(connections: 4))
  defer { server.stop() }
  let probe = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
  var held = (0..<4).map { _ in RawClient(port: server.address.port) }
  for client in held {
    client.send(probe)
    #expect(client.read(until: "ok\n"))
  }
  let further = RawClient(port: server.address.port)
  further.send("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  // The server turns many times meanwhile, and never to the fifth.
  for _ in 0..<50 {
    for client in held {
      client.send(probe)
      #expect(client.read(until: "ok\n"))
    }
  }
  #expect(world.calls.load(ordering: .relaxed) == 4 + 4 * 50)
  held.removeLast()
  #expect(Answer(further.readToEnd())?.status == 200)
}

@Test func `a silent connection is closed after the time-out`() throws {
  let server = try World().start(ConsoleLimits(timeoutSeconds: 1))
  defer { server.stop() }
  let client = RawClient(port: server.address.port)
  client.send("GET /metrics HTTP/1.1\r\nHost: local")
  let answer = client.readToEnd()
  #expect(Answer(answer) == nil || Answer(answer)!.status == 408)
}

@Test func `several requests on one connection are answered in order`() throws {
  let server = try World().start()
  defer { server.stop() }
  let client = RawClient(port: server.address.port)
  client.send(
    "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  let text = String(decoding: client.readToEnd(), as: UTF8.self)
  let first = try #require(text.range(of: "ok\n"))
  let second = try #require(text.range(of: "{\"state\":\"running\"}"))
  #expect(first.lowerBound < second.lowerBound)
}

@Test func `after stop nothing answers, no closure is called, and the port is free`() throws {
  let world = World()
  let server = try world.start()
  let port = server.address.port
  let open = RawClient(port: port)
  #expect(ask(server, "GET", "/livez")?.status == 200)
  server.stop()
  server.stop()
  let calls = world.calls.load(ordering: .relaxed)
  open.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
  #expect(open.readToEnd().isEmpty)
  #expect(!RawClient(port: port).isConnected)
  #expect(world.calls.load(ordering: .relaxed) == calls)
  let again = try ConsoleServer(try ConsoleAddress("127.0.0.1:\(port)"), sources: world.sources())
  #expect(ask(again, "GET", "/livez")?.status == 200)
  again.stop()
}

@Test func `an address in use is an error that names it`() throws {
  let world = World()
  let server = try world.start()
  defer { server.stop() }
  let address = try ConsoleAddress("127.0.0.1:\(server.address.port)")
  #expect(throws: ConsoleError.bind(address: address.description, code: EADDRINUSE)) {
    try ConsoleServer(address, sources: world.sources())
  }
}

@Test func `addresses are read strictly`() throws {
  for (text, host, port, loopback) in [
    ("127.0.0.1:0", "127.0.0.1", 0, true), ("localhost:9464", "127.0.0.1", 9464, true),
    ("0.0.0.0:65535", "0.0.0.0", 65535, false), ("[::1]:80", "::1", 80, true), ("[::]:80", "::", 80, false),
  ] {
    let address = try ConsoleAddress(text)
    #expect(address.host == host && Int(address.port) == port && address.isLoopback == loopback)
    #expect(try ConsoleAddress(address.description) == address)
  }
  for text in [
    "", ":", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
    "127.0.0.1:000080", "example.org:80", "::1:80", "[127.0.0.1]:80", "[::1:80", "127.0.0.1 :80",
    "127.0.0.1\u{0}:80", "[::1\u{0}]:80", "256.0.0.1:80", "127.0.0.1:8é",
  ] {
    #expect(throws: ConsoleError.invalidAddress(text), "\(text)") { try ConsoleAddress(text) }
  }
}

@Test func `it listens on IPv6 where the system has it`() throws {
  do {
    let server = try ConsoleServer(try ConsoleAddress("[::1]:0"), sources: World().sources())
    #expect(server.address.port != 0 && server.address.description.hasPrefix("[::1]:"))
    server.stop()
  } catch ConsoleError.bind(_, let code) {
    // No IPv6 here: said as such, not as a crash.
    #expect(code == EADDRNOTAVAIL || code == EAFNOSUPPORT)
  }
}
