import Glibc
@testable import RunChecker
import Storage

/// The disk under one worker's name: what its files hold, and what of it a crash would leave.
///
/// A crash keeps every synced content and every synced name. Of what was not synced, any subset may have reached the
/// device, contents torn included: the seed draws which.
final class SimulatedDisk {
  private final class Node {
    var content: [UInt8] = []
    /// nil: never synced.
    var durable: [UInt8]?
  }
  private enum Change {
    case link(String, Node)
    case unlink(String)
    case move(String, String)
  }
  /// In the order of their names: an order that a hash drew would not come again.
  private var names: [(path: String, node: Node)] = []
  private var durableNames: [(path: String, node: Node)] = []
  private var unsynced: [Change] = []
  private var open: [Int32: Node] = [:]
  private var descriptorNext: Int32 = 100

  private static func set(_ path: String, _ node: Node?, _ names: inout [(path: String, node: Node)]) {
    names.removeAll { $0.path == path }
    guard let node else { return }
    names.insert((path, node), at: names.firstIndex { $0.path > path } ?? names.count)
  }
  private func node(_ path: String) -> Node? { names.first { $0.path == path }?.node }

  func create(_ path: String) throws(FileFailure) -> FileHandle {
    guard node(path) == nil else { throw FileFailure(.create, path: path, code: EEXIST) }
    let node = Node()
    Self.set(path, node, &names)
    unsynced.append(.link(path, node))
    descriptorNext += 1
    open[descriptorNext] = node
    return FileHandle(descriptor: descriptorNext)
  }
  func write(_ file: FileHandle, _ bytes: ArraySlice<UInt8>) { open[file.descriptor]?.content += bytes }
  func sync(_ file: FileHandle) {
    if let node = open[file.descriptor] { node.durable = node.content }
  }
  func close(_ file: FileHandle) { open[file.descriptor] = nil }

  func rename(_ from: String, to: String) throws(FileFailure) {
    guard let node = node(from) else { throw FileFailure(.rename, path: to, code: ENOENT) }
    Self.set(from, nil, &names)
    Self.set(to, node, &names)
    unsynced.append(.move(from, to))
  }
  func remove(_ path: String) throws(FileFailure) {
    guard node(path) != nil else { throw FileFailure(.remove, path: path, code: ENOENT) }
    Self.set(path, nil, &names)
    unsynced.append(.unlink(path))
  }
  func syncNames() {
    durableNames = names
    unsynced = []
  }
  func list(_ directory: String) -> [String] {
    names.filter { $0.path.hasPrefix(directory + "/") }.map { String($0.path.dropFirst(directory.count + 1)) }
      .filter { !$0.utf8.contains(UInt8(ascii: "/")) }
  }
  func read(_ path: String) throws(FileFailure) -> [UInt8] {
    guard let node = node(path) else { throw FileFailure(.read, path: path, code: ENOENT) }
    return node.content
  }

  var paths: [String] { names.map(\.path) }

  /// Flips a bit of a file, as failing hardware would.
  func damage(_ path: String, at place: UInt64) {
    guard let node = node(path), !node.content.isEmpty else { return }
    node.content[Int(place % UInt64(node.content.count))] ^= 1 << UInt8(place >> 60 & 7)
    node.durable = node.content
  }

  func wipe() {
    names = []
    durableNames = []
    unsynced = []
  }

  /// The process is gone, the machine too: what was not synced is there or not, whole or torn. Files that bear their
  /// last name although they are torn: there must not be any.
  func crash(_ random: inout SplitMix) -> [String] {
    var torn: [String] = []
    var after = durableNames
    for change in unsynced where random.chance(0.5) {
      switch change {
      case .link(let path, let node): Self.set(path, node, &after)
      case .unlink(let path): Self.set(path, nil, &after)
      case .move(let from, let to):
        if let node = after.first(where: { $0.path == from })?.node {
          Self.set(from, nil, &after)
          Self.set(to, node, &after)
        }
      }
    }
    for (path, node) in after where node.durable != node.content {
      if !path.hasSuffix(".tmp"), !path.hasSuffix("/attempts") { torn.append(path) }
      switch random.next() % 4 {
      case 0: node.content = node.durable ?? []
      case 1: node.content = Array(node.content.prefix(node.content.count / 2))
      case 2: node.content = [UInt8](repeating: 0, count: node.content.count)
      default: break
      }
      node.durable = node.content
    }
    names = after
    durableNames = after
    unsynced = []
    open = [:]
    return torn
  }

  /// The process is gone, the machine stays: what was written is there, synced or not.
  func processEnded() { open = [:] }
}

/// The disk as one process sees it: takes time, fails at times, and has no effect once the process is dead.
final class SimulatedFiles: FileOperations, @unchecked Sendable {
  struct Trouble {
    /// Share of syncs and writes that fail.
    var failures = 0.0
    var isFull = false
  }
  private static let crashNote = World.directory + "/attempts"
  private let disk: SimulatedDisk
  private let process: SimulatedProcess
  private let trouble: () -> Trouble

  init(_ disk: SimulatedDisk, _ process: SimulatedProcess, trouble: @escaping () -> Trouble) {
    self.disk = disk
    self.process = process
    self.trouble = trouble
  }

  private func enter(_ operation: FileOperation, _ path: String) throws(FileFailure) {
    let scheduler = process.scheduler
    // Why not the crash fuse's note: it is written under a lock, which nobody may wait for.
    if scheduler.current != nil, !path.hasPrefix(Self.crashNote) {
      scheduler.sleep(1_000 + scheduler.random.next() % 300_000)
    }
    guard process.isAlive else { throw FileFailure(operation, path: path, code: EIO) }
    guard operation == .write || operation == .sync || operation == .syncDirectory || operation == .create else { return }
    let trouble = trouble()
    if trouble.isFull, operation == .write || operation == .create {
      throw FileFailure(operation, path: path, code: ENOSPC)
    }
    if trouble.failures > 0, scheduler.random.chance(trouble.failures) {
      throw FileFailure(operation, path: path, code: EIO)
    }
  }

  func createDirectory(_ path: String) throws(FileFailure) { try enter(.createDirectory, path) }
  func create(_ path: String) throws(FileFailure) -> FileHandle {
    try enter(.create, path)
    return try disk.create(path)
  }
  func write(_ file: FileHandle, _ bytes: [UInt8], from: Int, path: String) throws(FileFailure) -> Int {
    try enter(.write, path)
    // In two pieces, so that a crash can come between.
    let count = from == 0 && bytes.count > 1 ? bytes.count / 2 : bytes.count - from
    disk.write(file, bytes[from..<(from + count)])
    return count
  }
  func sync(_ file: FileHandle, path: String) throws(FileFailure) {
    try enter(.sync, path)
    disk.sync(file)
  }
  func close(_ file: FileHandle, path: String) throws(FileFailure) {
    try enter(.close, path)
    disk.close(file)
  }
  func rename(_ from: String, to: String) throws(FileFailure) {
    try enter(.rename, to)
    try disk.rename(from, to: to)
  }
  func remove(_ path: String) throws(FileFailure) {
    try enter(.remove, path)
    try disk.remove(path)
  }
  func syncDirectory(_ path: String) throws(FileFailure) {
    try enter(.syncDirectory, path)
    disk.syncNames()
  }
  func list(_ path: String) throws(FileFailure) -> [String] {
    try enter(.list, path)
    return disk.list(path)
  }
  func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]? {
    try enter(.read, path)
    let content = try disk.read(path)
    return content.count <= byteCountMax ? content : nil
  }
}
