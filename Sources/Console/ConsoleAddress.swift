import Glibc

/// Why no listener could be opened.
public enum ConsoleError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Not `host:port` with an IP address (or `localhost`) and a port from 0 to 65535.
  case invalidAddress(String)
  /// The system refused the address: in use, not ours, not allowed.
  case bind(address: String, code: Int32)
  /// The HTTP library would not start.
  case start

  /// Whether the same address may serve later: the process before may still hold it.
  public var isTransient: Bool {
    if case .bind(_, EADDRINUSE) = self { return true }
    return false
  }

  public var description: String {
    switch self {
    case .invalidAddress(let text):
      "invalid console address: want ip:port, [ipv6]:port or localhost:port, got=\(text)"
    case .bind(let address, let code):
      // SAFETY: strerror returns a terminated string that is copied at once.
      "console cannot listen: \(unsafe String(cString: strerror(code))); admin.listen names another address errno=\(code) address=\(address)"
    case .start: "the HTTP library did not start"
    }
  }
}

/// Where the console listens: an IP address and a port. Names are not resolved, `localhost` apart: what is
/// reachable from outside must be written as such.
public struct ConsoleAddress: Hashable, Sendable, CustomStringConvertible {
  /// Numeric, without brackets.
  public let host: String
  /// 0: any free port.
  public let port: UInt16
  let isIPv6: Bool

  /// Reads `127.0.0.1:9090`, `[::1]:9090`, `localhost:0`; port 0 means any free one.
  public init(_ text: String) throws(ConsoleError) {
    guard let colon = text.lastIndex(of: ":") else { throw .invalidAddress(text) }
    let digits = text[text.index(after: colon)...]
    guard (1...5).contains(digits.utf8.count),
      digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(digits)
    else { throw .invalidAddress(text) }
    self.port = port
    let before = text[..<colon]
    if before.first == "[", before.last == "]" {
      host = String(before.dropFirst().dropLast())
      isIPv6 = true
    } else {
      host = before == "localhost" ? "127.0.0.1" : String(before)
      isIPv6 = false
    }
    var space = in6_addr()
    // SAFETY: an IPv6 address has room for either kind; the text is lent as a C string.
    let result = unsafe withUnsafeMutablePointer(to: &space) {
      unsafe inet_pton(isIPv6 ? AF_INET6 : AF_INET, host, $0)
    }
    guard result == 1, !host.utf8.contains(0) else { throw .invalidAddress(text) }
  }

  init(host: String, port: UInt16, isIPv6: Bool) {
    self.host = host
    self.port = port
    self.isIPv6 = isIPv6
  }

  public var isLoopback: Bool { isIPv6 ? host == "::1" : host.hasPrefix("127.") }
  public var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// A listening socket on this address, and the address with the port it got.
  ///
  /// Why not let the HTTP library bind: it tells neither the reason of a failure nor, through functions
  /// that Swift can call, the port.
  func listen() throws(ConsoleError) -> (socket: Int32, bound: ConsoleAddress) {
    let descriptor = socket(
      isIPv6 ? AF_INET6 : AF_INET,
      Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw .bind(address: description, code: errno) }
    var one: Int32 = 1
    // SAFETY: local values are lent to each call with their sizes.
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    var result: Int32
    var boundPort: UInt16 = 0
    if isIPv6 {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      unsafe inet_pton(AF_INET6, host, &address.sin6_addr)
      unsafe setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, 4)
      var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
      result = unsafe withUnsafeMutablePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe bindAndListen(descriptor, $0, &size)
        }
      }
      boundPort = UInt16(bigEndian: address.sin6_port)
    } else {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      unsafe inet_pton(AF_INET, host, &address.sin_addr)
      var size = socklen_t(MemoryLayout<sockaddr_in>.size)
      result = unsafe withUnsafeMutablePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe bindAndListen(descriptor, $0, &size)
        }
      }
      boundPort = UInt16(bigEndian: address.sin_port)
    }
    guard result == 0 else {
      _ = close(descriptor)
      throw .bind(address: description, code: result)
    }
    return (descriptor, ConsoleAddress(host: host, port: boundPort, isIPv6: isIPv6))
  }

  /// 0, or the error number. Leaves the bound address in `address`.
  private func bindAndListen(
    _ descriptor: Int32, _ address: UnsafeMutablePointer<sockaddr>, _ size: inout socklen_t
  ) -> Int32 {
    // SAFETY: the caller lends an address of `size` bytes.
    guard unsafe bind(descriptor, address, size) == 0, Glibc.listen(descriptor, 64) == 0,
      unsafe getsockname(descriptor, address, &size) == 0
    else { return errno }
    return 0
  }
}
