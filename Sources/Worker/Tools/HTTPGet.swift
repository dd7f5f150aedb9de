import Glibc

/// Why a page could not be had.
public struct HTTPFailure: Error, Sendable, Equatable, CustomStringConvertible {
  public var description: String
}

/// Fetches one page of a worker's console: plain HTTP/1.1, answers of at most `bytesMax`.
///
/// - Parameter address: `http://host:port`, the port 80 where none is named.
/// Errors: `HTTPFailure` for anything but an answer 200 in time.
public func httpGet(
  _ address: String, path: String, timeoutSeconds: Int = 5, bytesMax: Int = 16 << 20
) throws(HTTPFailure) -> [UInt8] {
  guard let (host, port) = hostAndPort(address) else {
    throw HTTPFailure(description: "no address such as http://127.0.0.1:8080: '\(address)'")
  }
  let descriptor = try connected(host, port, timeoutSeconds, address)
  defer { close(descriptor) }
  let request = Array("GET \(path) HTTP/1.1\r\nHost: \(host):\(port)\r\nConnection: close\r\n\r\n".utf8)
  // SAFETY: the array lives across the call. A signal for a closed connection is turned off by the flag.
  let sent = unsafe send(descriptor, request, request.count, Int32(MSG_NOSIGNAL))
  guard sent == request.count else { throw HTTPFailure(description: "the request could not be sent to \(address)") }
  var answer: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    // SAFETY: at most the chunk's count is written.
    let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw HTTPFailure(description: "\(address) did not answer in time") }
    if count == 0 { break }
    answer += chunk[..<count]
    guard answer.count <= bytesMax else { throw HTTPFailure(description: "\(address) answers without end") }
  }
  let text = String(decoding: answer.prefix(64), as: UTF8.self)
  guard text.hasPrefix("HTTP/1."), text.split(separator: " ").dropFirst().first == "200" else {
    throw HTTPFailure(description: "\(address)\(path) answers '\(text.prefix { $0 != "\r\n" && $0 != "\n" })'")
  }
  let border = Array("\r\n\r\n".utf8)
  guard let head = answer.indices.first(where: { answer[$0...].starts(with: border) }) else {
    throw HTTPFailure(description: "\(address)\(path) gives no page")
  }
  return Array(answer[(head + border.count)...])
}

/// The parts of `http://host:port`, `http://[::1]:8080` and the like; nil for anything else.
func hostAndPort(_ address: String) -> (host: String, port: String)? {
  guard address.hasPrefix("http://") else { return nil }
  var rest = address.dropFirst("http://".count)
  if rest.hasSuffix("/") { rest = rest.dropLast() }
  guard !rest.isEmpty, !rest.contains("/"), !rest.contains("@"), !rest.contains(" ") else { return nil }
  var host = rest
  var port: Substring = "80"
  if rest.hasPrefix("[") {
    guard let end = rest.firstIndex(of: "]") else { return nil }
    host = rest[rest.index(after: rest.startIndex)..<end]
    let after = rest[rest.index(after: end)...]
    if !after.isEmpty {
      guard after.hasPrefix(":") else { return nil }
      port = after.dropFirst()
    }
  } else if let colon = rest.lastIndex(of: ":") {
    host = rest[..<colon]
    port = rest[rest.index(after: colon)...]
  }
  guard !host.isEmpty, let number = UInt16(port), number > 0 else { return nil }
  return (String(host), String(number))
}

private func connected(
  _ host: String, _ port: String, _ timeoutSeconds: Int, _ address: String
) throws(HTTPFailure) -> Int32 {
  var hints = unsafe addrinfo()
  unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
  var found: UnsafeMutablePointer<addrinfo>?
  // SAFETY: both texts are lent for the call; the list is freed below.
  guard unsafe getaddrinfo(host, port, &hints, &found) == 0 else {
    throw HTTPFailure(description: "no such host: \(address)")
  }
  defer { unsafe freeaddrinfo(found) }
  var next = unsafe found
  while let entry = unsafe next {
    // SAFETY: the list's entries live until it is freed.
    unsafe next = entry.pointee.ai_next
    let descriptor = unsafe socket(entry.pointee.ai_family, entry.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { continue }
    var patience = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    if unsafe connect(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 { return descriptor }
    close(descriptor)
  }
  throw HTTPFailure(description: "nobody answers at \(address)")
}
