import Storage
@testable import Worker

/// Puts misbehaving clients, files or workers into a world, to see whether the judgement notices.
struct Plant {
  var cluster: (SimulatedCluster) -> any Cluster = { $0 }
  var files: (SimulatedFiles) -> any FileOperations = { $0 }
  var context: (WorkerContext) -> Void = { _ in }
}
