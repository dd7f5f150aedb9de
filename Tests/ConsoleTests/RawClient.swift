// A client that says exactly the bytes it is told, over a real socket.
import Console
import Glibc

final class RawClient {
  private let descriptor: Int32
  private(set) var isConnected: Bool

  init(port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.descriptor = descriptor
    // A server that never answers must fail the test, not hang it.
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
    isConnected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
  deinit { close(descriptor) }

  /// False once the server has closed.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    var at = 0
    while at < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress! + at, bytes.count - at, Int32(MSG_NOSIGNAL))
      }
      if count <= 0 { return false }
      at += count
    }
    return true
  }
  func send(_ text: String) { send(Array(text.utf8)) }
  func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Reads up to the first `text`; false if the connection ends before. For answers that end in it.
  func read(until text: String) -> Bool {
    var all: [UInt8] = []
    var byte: UInt8 = 0
    while recv(descriptor, &byte, 1, 0) == 1 {
      all.append(byte)
      if all.suffix(text.utf8.count).elementsEqual(text.utf8) { return true }
    }
    return false
  }

  /// All that comes until the server closes.
  func readToEnd() -> [UInt8] {
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count <= 0 { return all }
      all += buffer[..<count]
    }
  }
}

struct Answer {
  var status = 0
  var headers: [String: String] = [:]
  var body = ""

  init?(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let end = text.range(of: "\r\n\r\n") else { return nil }
    let lines = text[..<end.lowerBound].split(separator: "\r\n")
    let first = lines[0].split(separator: " ")
    guard first.count >= 2, first[0].hasPrefix("HTTP/1."), let status = Int(first[1]) else { return nil }
    self.status = status
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { return nil }
      headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    body = String(text[end.upperBound...])
  }
}

func ask(
  _ server: ConsoleServer, _ method: String, _ path: String, host: String? = "localhost",
  headers: String = "", body: String = ""
) -> Answer? {
  let client = RawClient(port: server.address.port)
  let hostLine = host.map { "Host: \($0)\r\n" } ?? ""
  client.send("\(method) \(path) HTTP/1.1\r\n\(hostLine)\(headers)Connection: close\r\n\r\n\(body)")
  return Answer(client.readToEnd())
}

extension String {
  /// First occurrence of `text`.
  func range(of text: String) -> Range<String.Index>? {
    var index = startIndex
    while index < endIndex {
      if self[index...].unicodeScalars.starts(with: text.unicodeScalars) {
        return index..<self.unicodeScalars.index(index, offsetBy: text.unicodeScalars.count)
      }
      index = unicodeScalars.index(after: index)
    }
    return nil
  }
}
