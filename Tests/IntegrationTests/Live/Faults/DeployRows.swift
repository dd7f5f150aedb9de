import Foundation
@testable import RunChecker
import TestSupport
import Testing

extension LiveTests.Faults {
  /// Workers of another build, or of other features, beside those that run.
  @Suite(.serialized) struct Deploys {
    /// A copy of the program that is true to itself under another engine's name: every place that says `fold=2` says
    /// `fold=9`.
    private static func otherBuild(in scene: Scene) throws -> String {
      let path = try #require(WorkerProcess.program)
      var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
      let name = Array(" fold=2\0".utf8)
      var count = 0
      var from = 0
      while let place = bytes[from...].firstIndex(of: name[0]) {
        if bytes[place...].starts(with: name) {
          bytes[place + name.count - 2] = UInt8(ascii: "9")
          count += 1
        }
        from = place + 1
      }
      try #require(count > 0, "the program does not hold its engine's name")
      let copy = scene.directory.appendingPathComponent("millrace-other").path
      try Data(bytes).write(to: URL(fileURLWithPath: copy))
      try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: copy)
      return copy
    }

    private func refuse(_ member: Scene.Member, _ reasons: [String], _ location: SourceLocation = #_sourceLocation) throws {
      #expect(try member.worker.waitForExit(seconds: 60) == 78, sourceLocation: location)
      for reason in reasons {
        #expect(member.worker.log.contains(reason), "\(reason) in \(member.worker.tail())", sourceLocation: location)
      }
      #expect(!member.worker.log.contains("\"code\":\"assigned\""), sourceLocation: location)
    }

    @Test func `row 50: a build of another engine refuses the log, whoever began it, and the others go on`() throws {
      let scene = try Scene("engine", settings: ["learning.keep_every=50"])
      let feed = Feed(scene, requests: 400)
      let other = try Self.otherBuild(in: scene)
      try scene.worker.start()
      try feed.advance(200)
      let deployed = try scene.addMember("two", program: other)
      try deployed.worker.start()
      try refuse(deployed, ["fold=9", "fold=2", "give the pipeline a new learning topic"])
      try feed.advance(100)
      // The deployment is taken back.
      let again = try scene.addMember("three")
      try again.worker.start()
      try feed.flow("the third to take part") {
        try scene.checkRunning()
        return again.partitions ?? 0 > 0
      }
      try scene.send("agree", .tag(name: "agree"))
      try wait(seconds: 30, "both to answer") {
        Set(try scene.acks().filter { $0.id == "agree" && $0.status == .accepted }.map(\.instance)) == ["one", "three"]
      }
      #expect(Set(try scene.acks().filter { $0.id == "agree" && $0.status == .accepted }.map(\.stateHash)).count == 1)
      try feed.finish(comparesPartitionStates: false)
    }

    @Test func `row 50: a pipeline that another engine began is left alone by this one`() throws {
      let scene = try Scene("engine-new", settings: ["learning.keep_every=50"])
      let feed = Feed(scene, requests: 200)
      let newer = try scene.addMember("two", program: try Self.otherBuild(in: scene))
      try newer.worker.start()
      try feed.advance(150)
      let ours = scene.members[0]
      try ours.worker.start()
      try refuse(ours, ["fold=9", "fold=2"])
      try feed.advance(20)
      while !feed.isEmpty { try feed.send(1) }
      try wait(seconds: 60, "the other one to go on") {
        try scene.checkRunning()
        return zip(try scene.committed(), try scene.inputEnds()).allSatisfy { zip($0, $1).allSatisfy { ($0 ?? 0) == $1 } }
      }
      #expect(try newer.worker.terminate() == 0)
    }

    @Test func `row 50: a worker with other features takes no part, and the others go on`() throws {
      let scene = try Scene("features")
      let feed = Feed(scene, requests: 200)
      try scene.worker.start()
      try feed.advance(100)
      let text = try String(contentsOfFile: TestPipeline.file, encoding: .utf8)
      let line = "  - {name: level_std_5m, expr: level.std_5m, type: number}\n"
      try #require(text.contains(line))
      let file = scene.directory.appendingPathComponent("other.yaml").path
      try text.replacing(line, with: line + "  - {name: amount_twice, expr: amount * 2, type: number}\n")
        .write(toFile: file, atomically: true, encoding: .utf8)
      let deployed = try scene.addMember("two", file: file)
      try deployed.worker.start()
      try refuse(deployed, ["the declared features make other columns"])
      try feed.finish(comparesPartitionStates: false)
    }
  }
}
