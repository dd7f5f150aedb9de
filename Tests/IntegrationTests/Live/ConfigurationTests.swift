import Foundation
@testable import RunChecker
import Testing

extension LiveTests {
  /// Contradictions end with 78 and every fault named, before the group is joined.
  @Suite(.serialized) struct Configuration {
    @Test func `a faulty configuration lists all faults with their places`() throws {
      let scene = try Scene("faulty")
      let worker = WorkerProcess(
        arguments: [
          "run", "--config", TestPipeline.file, "--set", "worker.lane=2", "--set", "labels.from=nowhere",
          "--set", "delivery.mode=at-most-once", "--set", "checkpoints.every=soon",
        ], variables: scene.pipeline.variables, logFile: scene.directory.appendingPathComponent("faulty").path)
      try worker.start()
      #expect(try worker.waitForExit(seconds: 20) == 78)
      for told in ["worker.lane", "nowhere", "at-most-once", "soon"] {
        #expect(worker.log.contains(told), "\(told) in \(worker.log)")
      }
      #expect(try !scene.admin.groups().contains(scene.pipeline.settings.name))
    }

    @Test func `wrong partition counts are all told before anything is joined`() throws {
      let scene = try Scene("counts", partitions: ["signals": 2, "journal": 5, "learning": 2])
      try scene.worker.start()
      #expect(try scene.worker.waitForExit(seconds: 20) == 78)
      for told in ["signals=2", "journal", "count=5", "learning", "exactly one"] {
        #expect(scene.worker.log.contains(told), "\(told) in \(scene.worker.log)")
      }
      #expect(try !scene.admin.groups().contains(scene.pipeline.settings.name))
    }
  }
}
