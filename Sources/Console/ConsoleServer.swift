internal import CMicroHTTPD
import Glibc

/// Bounds on what clients may take of the process.
public struct ConsoleLimits: Hashable, Sendable {
  /// Connections at once; further ones wait in the system's backlog.
  public var connections: UInt32
  /// Memory of one connection: request line, headers and the library's own.
  public var connectionBytes: Int
  /// A connection without progress is closed after so long.
  public var timeoutSeconds: UInt32
  public init(connections: UInt32 = 64, connectionBytes: Int = 16 << 10, timeoutSeconds: UInt32 = 10) {
    self.connections = connections
    self.connectionBytes = connectionBytes
    self.timeoutSeconds = timeoutSeconds
  }
}

/// The HTTP server of a worker: metrics, health, status. Reads only; on loopback by default.
///
/// Threads:  one of libmicrohttpd's own answers all requests, one after the other. `stop` may be called by
///           any thread but that one, once or more.
/// Limits:   no request body is taken; the time-out is of silence, so a client that sends a byte now and then
///           keeps its connection: the number of connections is what bounds it.
@safe public final class ConsoleServer: @unchecked Sendable {
  public static let defaultAddress = "127.0.0.1:9464"

  // Invariant: `daemon` and `handler` are touched by `init` and, under `lock`, by `stop`; the library's
  // thread uses `handler` only between the two.
  /// With the port that was really bound.
  public let address: ConsoleAddress
  private let lock = ConsoleLock()
  private var daemon: OpaquePointer?
  private var handler: Unmanaged<Handler>?

  /// What the library's thread calls.
  final class Handler: Sendable {
    let router: ConsoleRouter
    init(_ router: ConsoleRouter) { self.router = router }
  }

  /// Listens from here on.
  public init(
    _ address: ConsoleAddress, sources: ConsoleSources, limits: ConsoleLimits = ConsoleLimits()
  ) throws(ConsoleError) {
    let (socket, bound) = try address.listen()
    self.address = bound
    // SAFETY: released in `stop`, after the library's thread has ended, or below if there is none.
    let handler = unsafe Unmanaged.passRetained(
      Handler(ConsoleRouter(sources: sources, localOnly: bound.isLoopback)))
    let flags =
      MHD_USE_AUTO.rawValue | MHD_USE_INTERNAL_POLLING_THREAD.rawValue
      | MHD_USE_ITC.rawValue | (bound.isIPv6 ? MHD_USE_IPv6.rawValue : 0)
    // SAFETY: a C function's pointer is an integer of the same width, which is how the library takes it.
    let unescape: @convention(c) (
      UnsafeMutableRawPointer?, OpaquePointer?, UnsafeMutablePointer<CChar>?
    ) -> Int = unsafe consoleUnescape
    func option(_ option: MHD_OPTION, _ value: Int) -> MHD_OptionItem {
      unsafe MHD_OptionItem(option: option, value: value, ptr_value: nil)
    }
    let options = unsafe [
      option(MHD_OPTION.LISTEN_SOCKET, Int(socket)),
      option(MHD_OPTION.CONNECTION_LIMIT, Int(limits.connections)),
      option(MHD_OPTION.CONNECTION_MEMORY_LIMIT, limits.connectionBytes),
      option(MHD_OPTION.CONNECTION_TIMEOUT, Int(limits.timeoutSeconds)),
      option(MHD_OPTION.STRICT_FOR_CLIENT, 1),
      option(MHD_OPTION.UNESCAPE_CALLBACK, unsafeBitCast(unescape, to: Int.self)),
      option(MHD_OPTION.END, 0),
    ]
    // SAFETY: the options are copied by the library during the call; the handler outlives the daemon.
    let daemon = unsafe options.withUnsafeBufferPointer { items in
      unsafe withVaList([
        Int32(bitPattern: MHD_OPTION.ARRAY.rawValue), OpaquePointer(items.baseAddress!),
        Int32(bitPattern: MHD_OPTION.END.rawValue),
      ]) {
        unsafe MHD_start_daemon_va(flags, 0, nil, nil, consoleRequest, handler.toOpaque(), $0)
      }
    }
    guard let daemon = unsafe daemon else {
      unsafe handler.release()
      // Not started: the library has not taken the socket.
      _ = close(socket)
      throw .start
    }
    unsafe self.daemon = daemon
    unsafe self.handler = handler
  }

  deinit { stop() }

  /// Takes no new connection, closes those there are, and returns once the library's thread has ended. A
  /// closure that is running returns first, its answer may be cut off; none is called afterwards.
  public func stop() {
    lock.lock()
    defer { lock.unlock() }
    guard let running = unsafe daemon else { return }
    // SAFETY: the daemon is live; it is stopped once, and its thread has ended when the call returns.
    unsafe MHD_stop_daemon(running)
    unsafe daemon = nil
    if let handler = unsafe handler { unsafe handler.release() }
    unsafe handler = nil
  }
}

/// Leaves `%xx` as it is: our paths need none, and a decoded `%00` would end the path for the router.
@c private func consoleUnescape(
  _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
  _ text: UnsafeMutablePointer<CChar>?
) -> Int {
  // SAFETY: the library lends a terminated string.
  guard let text = unsafe text else { return 0 }
  return unsafe Int(strlen(text))
}

/// The library's access handler: gathers the facts, asks the router, queues the answer.
///
/// A first call comes when the headers are in, a second when a body would have followed. Requests with a
/// body are answered at the first, which makes the library close the connection.
@c private func consoleRequest(
  _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ url: UnsafePointer<CChar>?,
  _ method: UnsafePointer<CChar>?, _ version: UnsafePointer<CChar>?,
  _ upload: UnsafePointer<CChar>?, _ uploadSize: UnsafeMutablePointer<Int>?,
  _ state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
  guard let context = unsafe context, let connection = unsafe connection, let url = unsafe url,
    let method = unsafe method, let state = unsafe state
  else { return .NO }
  // SAFETY: the library lends all pointers for this call; `context` is the handler that the server retains
  // until the library's thread has ended.
  let handler = unsafe Unmanaged<ConsoleServer.Handler>.fromOpaque(context).takeUnretainedValue()
  func header(_ name: String) -> String? {
    // SAFETY: the value is lent by the connection and copied at once.
    guard let value = unsafe MHD_lookup_connection_value(connection, MHD_ValueKind.HEADER_KIND, name) else {
      return nil
    }
    // What is not UTF-8 is kept as something no comparison accepts.
    return unsafe String(validatingCString: value) ?? "\u{FFFD}"
  }
  let length = header("Content-Length")
  let hasBody = (length != nil && length != "0") || header("Transfer-Encoding") != nil
  let isFirst = unsafe state.pointee == nil
  if isFirst && !hasBody {
    unsafe state.pointee = UnsafeMutableRawPointer(bitPattern: 1)
    return .YES
  }
  let request = unsafe ConsoleRequest(
    method: String(validatingCString: method) ?? "", path: String(validatingCString: url),
    host: header("Host"), hasBody: hasBody)
  return unsafe send(handler.router.respond(to: request), on: connection)
}

private func send(_ answer: ConsoleResponse, on connection: OpaquePointer) -> MHD_Result {
  // SAFETY: the library copies the body (MUST_COPY) and every header; the response is counted, and our
  // count is given up at the end.
  let made = unsafe answer.body.withUnsafeBytes { body in
    unsafe MHD_create_response_from_buffer(
      body.count, UnsafeMutableRawPointer(mutating: body.baseAddress), MHD_ResponseMemoryMode.RESPMEM_MUST_COPY)
  }
  guard let response = unsafe made else { return .NO }
  defer { unsafe MHD_destroy_response(response) }
  var headers = [
    ("Content-Type", answer.contentType), ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    (
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    ),
  ]
  if let allow = answer.allow { headers.append(("Allow", allow)) }
  for (name, value) in headers { unsafe _ = MHD_add_response_header(response, name, value) }
  return unsafe MHD_queue_response(connection, answer.status, response)
}

/// Guards `stop` against itself.
@safe private final class ConsoleLock {
  private let pointer: UnsafeMutablePointer<pthread_mutex_t>
  init() {
    unsafe pointer = .allocate(capacity: 1)
    // SAFETY: freshly allocated; null attributes are the defaults.
    unsafe pthread_mutex_init(pointer, nil)
  }
  deinit {
    unsafe pthread_mutex_destroy(pointer)
    unsafe pointer.deallocate()
  }
  func lock() { unsafe pthread_mutex_lock(pointer) }
  func unlock() { unsafe pthread_mutex_unlock(pointer) }
}
