/// An answer to a probe.
public struct Health: Hashable, Sendable {
  public var isOK: Bool
  /// One line for people: what is waited for, or what is wrong.
  public var reason: String
  public init(isOK: Bool, reason: String) {
    self.isOK = isOK
    self.reason = reason
  }
  public static let ok = Health(isOK: true, reason: "ok")
  public static func failing(_ reason: String) -> Health { Health(isOK: false, reason: reason) }
}

/// Where the console takes what it shows. It knows of the worker only through these closures; they are
/// called on the console's thread, one at a time, must return promptly, and read snapshots or atomics, never
/// a lane's state.
public struct ConsoleSources: Sendable {
  /// Text exposition 0.0.4.
  public var metrics: @Sendable () -> [UInt8]
  /// The process can make progress; failing means: restart me.
  public var live: @Sendable () -> Health
  /// Scoring; failing means: do not count on me now.
  public var ready: @Sendable () -> Health
  /// Start and restore are over.
  public var started: @Sendable () -> Health
  /// One JSON object.
  public var status: @Sendable () -> [UInt8]
  /// Rows of the page at `/`, name and value; a name without value begins a section.
  public var summary: @Sendable () -> [(name: String, value: String)]

  public init(
    metrics: @escaping @Sendable () -> [UInt8], live: @escaping @Sendable () -> Health,
    ready: @escaping @Sendable () -> Health, started: @escaping @Sendable () -> Health,
    status: @escaping @Sendable () -> [UInt8],
    summary: @escaping @Sendable () -> [(name: String, value: String)] = { [] }
  ) {
    self.metrics = metrics
    self.live = live
    self.ready = ready
    self.started = started
    self.status = status
    self.summary = summary
  }
}

struct ConsoleRequest: Hashable, Sendable {
  var method: String
  /// Without query, as sent; nil where it is not UTF-8.
  var path: String?
  /// The `Host` header; nil where there is none.
  var host: String?
  var hasBody = false
}

struct ConsoleResponse: Hashable, Sendable {
  var status: UInt32
  var contentType: String
  var body: [UInt8]
  var allow: String?

  static func text(_ status: UInt32, _ text: String, allow: String? = nil) -> Self {
    Self(
      status: status, contentType: "text/plain; charset=utf-8", body: Array((text + "\n").utf8),
      allow: allow)
  }
}

/// Which answer a request gets. Nothing here changes anything: the console only shows.
struct ConsoleRouter: Sendable {
  let sources: ConsoleSources
  /// On loopback only local names are answered.
  ///
  /// Why: a page from elsewhere can point its own name at 127.0.0.1 and read what the browser then
  /// fetches; the `Host` header tells that name.
  let localOnly: Bool

  func respond(to request: ConsoleRequest) -> ConsoleResponse {
    guard request.method == "GET" || request.method == "HEAD" else {
      let known = request.path.map(Self.paths.contains) ?? false
      return known
        ? .text(405, "method not allowed", allow: "GET, HEAD") : .text(404, "not found")
    }
    if request.hasBody { return .text(413, "a body is not taken") }
    if localOnly, let host = request.host, !Self.isLocal(host) {
      return .text(403, "this console answers to local names only")
    }
    switch request.path {
    case "/metrics":
      return ConsoleResponse(
        status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8",
        body: sources.metrics())
    case "/livez": return Self.probe(sources.live())
    case "/readyz": return Self.probe(sources.ready())
    case "/startupz": return Self.probe(sources.started())
    case "/api/v1/status":
      return ConsoleResponse(
        status: 200, contentType: "application/json; charset=utf-8", body: sources.status())
    case "/":
      return ConsoleResponse(
        status: 200, contentType: "text/html; charset=utf-8", body: page(sources.summary()))
    default: return .text(404, "not found")
    }
  }

  static let paths = ["/", "/metrics", "/livez", "/readyz", "/startupz", "/api/v1/status"]

  private static func probe(_ health: Health) -> ConsoleResponse {
    .text(health.isOK ? 200 : 503, health.reason)
  }

  /// `localhost`, `127.…` or `[::1]`, with or without a port.
  static func isLocal(_ header: String) -> Bool {
    var name = Substring(header.lowercased())
    if name.hasPrefix("[") {
      guard let end = name.firstIndex(of: "]") else { return false }
      name = name[...end]
    } else if let colon = name.firstIndex(of: ":") {
      name = name[..<colon]
    }
    if name == "localhost" || name == "[::1]" { return true }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  private func page(_ rows: [(name: String, value: String)]) -> [UInt8] {
    let table = rows.map { name, value in
      value.isEmpty
        ? "<tr><th scope=\"rowgroup\" colspan=\"2\" class=\"section\">\(Self.escaped(name))</th></tr>\n"
        : "<tr><th scope=\"row\">\(Self.escaped(name))</th><td>\(Self.escaped(value))</td></tr>\n"
    }.joined()
    let links = Self.paths.dropFirst().map { "<a href=\"\($0)\">\($0)</a>" }.joined(separator: " · ")
    let html = """
      <!doctype html>
      <html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
      <meta name="viewport" content="width=device-width"><title>Millrace</title>
      <style>:root{color-scheme:light dark}
      body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;padding:0 1rem;max-width:46rem}
      h1{font-size:1.4rem;margin:0 0 1rem}table{border-collapse:collapse;width:100%}
      th,td{padding:.25rem 0;border-bottom:1px solid color-mix(in srgb,currentColor 15%,transparent)}
      th{text-align:left;font-weight:400;padding-right:2rem;white-space:nowrap;opacity:.75}
      th.section{font-weight:600;opacity:1;padding-top:1.25rem}
      td{text-align:right;font-variant-numeric:tabular-nums}p{margin-top:1.5rem;font-size:.9rem}</style>
      </head><body><h1>Millrace</h1>
      <table>
      \(table)</table>
      <p>\(links)</p></body></html>

      """
    return Array(html.utf8)
  }

  static func escaped(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }
}
