import Glibc

/// The standard `process_*` series, read from `/proc/self` at each scrape.
///
/// Errors:   where the system has no `/proc`, the series stay at zero.
enum ProcessMetrics {
  struct Sample: Equatable {
    var cpuTicks: UInt64
    var startTicks: UInt64
    var virtualBytes: UInt64
    var residentPages: UInt64
  }

  static func declare(in registry: MetricRegistry) {
    let cpu = registry.fraction("process_cpu_seconds_total", "User and system CPU time spent.")
    let resident = registry.gauge("process_resident_memory_bytes", "Resident memory.")
    let virtual = registry.gauge("process_virtual_memory_bytes", "Virtual memory.")
    let files = registry.gauge("process_open_fds", "Open file descriptors.")
    let filesMax = registry.gauge("process_max_fds", "Limit of open file descriptors.")
    let start = registry.gauge(
      "process_start_time_seconds", "Start of the process, in seconds since 1970.")
    let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
    let page = Double(max(1, sysconf(Int32(_SC_PAGESIZE))))
    let boot = bootTime()
    registry.onScrape {
      if let text = read("/proc/self/stat"), let sample = parse(text) {
        cpu.cell([]).set(Double(sample.cpuTicks) / ticks)
        resident.set(Double(sample.residentPages) * page)
        virtual.set(Double(sample.virtualBytes))
        start.set(boot + Double(sample.startTicks) / ticks)
      }
      files.set(Double(countOpenFiles()))
      var limit = rlimit()
      // SAFETY: a local structure is lent.
      if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
        filesMax.set(Double(limit.rlim_cur))
      }
    }
  }

  /// Fields 14, 15, 22, 23 and 24 of `proc(5)`. The name in field 2 may hold blanks and brackets, so counting
  /// begins behind its last bracket.
  static func parse(_ text: String) -> Sample? {
    guard let bracket = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: bracket)...].split { $0 == " " || $0 == "\n" }
    // fields[0] is field 3 of the manual.
    guard fields.count > 21, let user = UInt64(fields[11]), let system = UInt64(fields[12]),
      let start = UInt64(fields[19]), let virtual = UInt64(fields[20]),
      let resident = UInt64(fields[21])
    else { return nil }
    return Sample(
      cpuTicks: user &+ system, startTicks: start, virtualBytes: virtual, residentPages: resident)
  }

  private static func bootTime() -> Double {
    for line in (read("/proc/stat") ?? "").split(separator: "\n") where line.hasPrefix("btime ") {
      return Double(line.dropFirst(6)) ?? 0
    }
    return 0
  }

  private static func countOpenFiles() -> Int {
    // SAFETY: the stream is open from here to `closedir`.
    guard let stream = unsafe opendir("/proc/self/fd") else { return 0 }
    defer { unsafe _ = closedir(stream) }
    var count = 0
    while unsafe readdir(stream) != nil { count += 1 }
    // Not counted: the two dots and the stream's own descriptor.
    return max(0, count - 3)
  }

  private static func read(_ path: String) -> String? {
    // SAFETY: path and buffer are lent to the calls.
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { _ = close(file) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while text.count < 1 << 20 {
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe Glibc.read(file, $0.baseAddress, $0.count)
      }
      if count <= 0 { break }
      text += buffer[..<count]
    }
    return String(decoding: text, as: UTF8.self)
  }
}
