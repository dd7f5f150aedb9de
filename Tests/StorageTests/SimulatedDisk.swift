// A disk that can fail any call and forget what was not yet on the device.
import Glibc
import Storage
import Synchronization

/// Content and names as the system shows them, and as they would be after a crash.
///
/// A crash keeps every synced content and every synced directory entry. Of what was not synced, any
/// subset may have reached the device: `crashStates` enumerates them, contents torn included.
final class SimulatedDisk: FileOperations {
  struct Node {
    var content: [UInt8] = []
    /// nil: never synced.
    var durable: [UInt8]?
  }
  enum DirectoryChange {
    case link(String, Int)
    case unlink(String)
    case move(String, String)
  }
  struct State {
    var nodes: [Node] = []
    var names: [String: Int] = [:]
    var durableNames: [String: Int] = [:]
    /// Changes of names since the directory was last synced, in order.
    var unsynced: [DirectoryChange] = []
    var descriptors: [Int32: Int] = [:]
    var descriptorNext: Int32 = 100
    var calls = 0
    /// The call with this number fails, with this code.
    var failingCall: Int?
    var failureCode: Int32 = EIO
    var log: [FileOperation] = []
    /// At most so many bytes are taken by one write.
    var writeBytesMax = 64
    var crashes: [State] = []
    var recordsCrashes = false
  }
  let state: Mutex<State>
  init(_ state: State = State()) { self.state = Mutex(state) }

  var log: [FileOperation] { state.withLock { $0.log } }

  private func call<T>(
    _ operation: FileOperation, _ path: String, _ body: (inout State) -> Result<T, FileFailure>
  ) throws(FileFailure) -> T {
    let result: Result<T, FileFailure> = state.withLock { state in
      if state.recordsCrashes {
        var copy = state
        copy.crashes = []
        state.crashes.append(copy)
      }
      state.log.append(operation)
      defer { state.calls += 1 }
      if state.calls == state.failingCall {
        // A write that fails may have taken some bytes before.
        return .failure(FileFailure(operation, path: path, code: state.failureCode))
      }
      return body(&state)
    }
    return try result.get()
  }

  func createDirectory(_ path: String) throws(FileFailure) {}
  func create(_ path: String) throws(FileFailure) -> FileHandle {
    try call(.create, path) { state -> Result<FileHandle, FileFailure> in
      guard state.names[path] == nil else {
        return .failure(FileFailure(.create, path: path, code: EEXIST))
      }
      state.nodes.append(Node())
      state.names[path] = state.nodes.count - 1
      state.unsynced.append(.link(path, state.nodes.count - 1))
      state.descriptorNext += 1
      state.descriptors[state.descriptorNext] = state.nodes.count - 1
      return .success(FileHandle(descriptor: state.descriptorNext))
    }
  }
  func write(
    _ file: FileHandle, _ bytes: [UInt8], from: Int, path: String
  ) throws(FileFailure) -> Int {
    try call(.write, path) { state -> Result<Int, FileFailure> in
      let count = min(state.writeBytesMax, bytes.count - from)
      state.nodes[state.descriptors[file.descriptor]!].content += bytes[from..<(from + count)]
      return .success(count)
    }
  }
  func sync(_ file: FileHandle, path: String) throws(FileFailure) {
    try call(.sync, path) { state -> Result<Void, FileFailure> in
      let node = state.descriptors[file.descriptor]!
      state.nodes[node].durable = state.nodes[node].content
      return .success(())
    }
  }
  func close(_ file: FileHandle, path: String) throws(FileFailure) {
    try call(.close, path) { state -> Result<Void, FileFailure> in
      state.descriptors[file.descriptor] = nil
      return .success(())
    }
  }
  func rename(_ from: String, to: String) throws(FileFailure) {
    try call(.rename, to) { state -> Result<Void, FileFailure> in
      guard let node = state.names.removeValue(forKey: from) else {
        return .failure(FileFailure(.rename, path: to, code: ENOENT))
      }
      state.names[to] = node
      state.unsynced.append(.move(from, to))
      return .success(())
    }
  }
  func remove(_ path: String) throws(FileFailure) {
    try call(.remove, path) { state -> Result<Void, FileFailure> in
      guard state.names.removeValue(forKey: path) != nil else {
        return .failure(FileFailure(.remove, path: path, code: ENOENT))
      }
      state.unsynced.append(.unlink(path))
      return .success(())
    }
  }
  func syncDirectory(_ path: String) throws(FileFailure) {
    try call(.syncDirectory, path) { state -> Result<Void, FileFailure> in
      state.durableNames = state.names
      state.unsynced = []
      return .success(())
    }
  }
  func list(_ path: String) throws(FileFailure) -> [String] {
    try call(.list, path) { state -> Result<[String], FileFailure> in
      .success(
        state.names.keys.filter { $0.hasPrefix(path + "/") }.map {
          String($0.dropFirst(path.count + 1))
        })
    }
  }
  func read(_ path: String, byteCountMax: Int) throws(FileFailure) -> [UInt8]? {
    try call(.read, path) { state -> Result<[UInt8]?, FileFailure> in
      guard let node = state.names[path] else {
        return .failure(FileFailure(.read, path: path, code: ENOENT))
      }
      let content = state.nodes[node].content
      return .success(content.count <= byteCountMax ? content : nil)
    }
  }

  /// Every disk that a crash in `state` may leave: each subset of the unsynced changes of names, and for
  /// unsynced contents nothing, a half, zeros, or all.
  static func crashStates(_ state: State) -> [SimulatedDisk] {
    var disks: [SimulatedDisk] = []
    for subset in 0..<(1 << state.unsynced.count) {
      var names = state.durableNames
      for (index, change) in state.unsynced.enumerated() where subset & (1 << index) != 0 {
        switch change {
        case .link(let path, let node): names[path] = node
        case .unlink(let path): names[path] = nil
        case .move(let from, let to):
          if let node = names.removeValue(forKey: from) { names[to] = node }
        }
      }
      for tear in 0..<4 {
        var after = State()
        after.names = names
        after.durableNames = names
        after.nodes = state.nodes.map { node in
          if let durable = node.durable, durable == node.content { return node }
          let content = node.content
          let kept: [UInt8] =
            switch tear {
            case 0: node.durable ?? []
            case 1: Array(content.prefix(content.count / 2))
            case 2: [UInt8](repeating: 0, count: content.count)
            default: content
            }
          return Node(content: kept, durable: kept)
        }
        disks.append(SimulatedDisk(after))
      }
    }
    return disks
  }
}
