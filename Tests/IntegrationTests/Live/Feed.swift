import Foundation
import Records
@testable import RunChecker
import TestSupport
import Testing

/// The records of a scene on their way, a few at a time, and the end of every run: all of it consumed and judged.
///
/// Where something is waited for that only records bring about, more of them come than were asked for: how many a worker
/// needs for so many transactions is up to the machine.
final class Feed {
  let scene: Scene
  private var pieces: ArraySlice<ArraySlice<PlayedRecord>> = []
  private var next = ContinuousClock.now
  private let seed: UInt64
  private let faultShare: Double
  private let piece: Int
  private var streams: UInt64 = 0
  /// Of event time, where the next stream begins.
  private var firstSecond: Int64 = 0

  private static let moreRequests = 300
  /// Of event time: the labels of one stream are through before the next one begins.
  private static let pauseSeconds: Int64 = 400

  init(_ scene: Scene, seed: UInt64 = 11, requests: Int, faultShare: Double = 0.03, piece: Int = 10) {
    self.scene = scene
    self.seed = seed
    self.faultShare = faultShare
    self.piece = piece
    extend(requests: requests)
  }

  private func extend(requests: Int) {
    let stream = Stream(
      seed: seed &+ streams &* 1_000_003, requests: requests, partitions: TestPipeline.partitions,
      faultShare: faultShare, firstSecond: firstSecond)
    pieces = stream.records.pieces(of: piece)[...]
    streams += 1
    firstSecond += 2 * Int64(requests) + Self.pauseSeconds
  }

  var isEmpty: Bool { pieces.isEmpty }
  var left: Int { pieces.count }

  func send(_ count: Int) throws {
    for piece in pieces.prefix(count) { try scene.produce(piece) }
    pieces = pieces.dropFirst(count)
  }

  /// Sends pieces at a pace until the condition holds; with none left more are made.
  func flow(
    _ what: @autoclosure () -> String, seconds: Double = 60, every pace: Duration = .milliseconds(30),
    until condition: () throws -> Bool
  ) throws {
    try wait(seconds: seconds, "\(what()), pieces left: \(left) of stream \(streams)") {
      if ContinuousClock.now >= next {
        if isEmpty { extend(requests: Self.moreRequests) }
        try send(1)
        next = .now + pace
      }
      return try condition()
    }
  }

  /// Lets the first member run until a failpoint ends it.
  func runUntilKilled(_ fail: String, _ location: SourceLocation = #_sourceLocation) throws {
    let worker = scene.worker
    let size = worker.logSize
    try worker.start(fail: fail)
    var code: Int32?
    try flow("the end at \(fail)") {
      code = worker.pollExit()
      return code != nil
    }
    #expect(code == 128 + SIGKILL, "\(fail)\n\(worker.log(since: size).suffix(2_000))", sourceLocation: location)
  }

  /// Sends and waits until this many more records are committed.
  func advance(_ count: Int64, seconds: Double = 60) throws {
    let goal = try scene.committedCount() + count
    try flow("\(count) more records to be committed", seconds: seconds) {
      try scene.checkRunning()
      return try scene.committedCount() >= goal
    }
  }

  /// Sends the rest, lets everyone end in good order, and has the checker look at what they left.
  func finish(
    comparesPartitionStates: Bool = true, seconds: Double = 60, of change: (inout Evidence) -> Void = { _ in },
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    while !isEmpty { try send(1) }
    try scene.drain(seconds: seconds)
    for member in scene.members where member.worker.id != nil {
      #expect(try member.worker.terminate() == 0, "\(member.instance)", sourceLocation: location)
    }
    let findings = try scene.findings(comparesPartitionStates: comparesPartitionStates, of: change)
    #expect(findings.isEmpty, "\(findings.count): \(findings.prefix(10))", sourceLocation: location)
  }
}

/// Which tests of faults run: a quick selection everywhere, the long ones where they are asked for.
enum FaultSelection {
  static let isWhole = ProcessInfo.processInfo.environment["MILLRACE_FAULTS"] == "all"
}

extension Trait where Self == ConditionTrait {
  /// A row that takes its time: part of `make test-kafka`, and of any run with `MILLRACE_FAULTS=all`.
  static var long: Self {
    .enabled(if: FaultSelection.isWhole, "a long row, part of make test-kafka and of MILLRACE_FAULTS=all")
  }
  /// A row that the small broker cannot judge, and why.
  static func needsKafka(_ because: Comment) -> Self { .enabled(if: LocalBroker.isApacheKafka, because) }
  /// A row about several brokers.
  static var needsThreeBrokers: Self {
    .enabled(if: LocalBroker.script != nil && LocalBroker.brokerCount >= 3, "needs three brokers of the tests' own")
  }
  /// A row that stops a broker.
  static var needsOwnBroker: Self { .enabled(if: LocalBroker.canBeOwned, "needs a broker that may be stopped") }
}

extension LiveTests {
  /// The fault matrix on real brokers. A test's name begins with its row.
  @Suite(.serialized) enum Faults {}
}
