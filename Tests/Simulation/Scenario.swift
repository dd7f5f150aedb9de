@testable import RunChecker

/// What one seed plays: how large the world is, what it is fed, and what befalls it.
struct Scenario {
  var seed: UInt64
  var partitions: Int32 = 2
  /// Names of the processes that run.
  var instances = ["a"]
  var lanes = 1
  var requests = 60
  /// How long records are fed, nanoseconds; faults end with it.
  var feedNanoseconds: UInt64 = 20_000_000_000
  var transactionRecords = 20
  var transactionMilliseconds: Int64 = 30
  var checkpointMilliseconds: Int64 = 1_000
  var keepEvery = 25
  var hasCommands = false
  /// Predictions are delivered at least once, all else exactly once.
  var isAtLeastOnce = false
  var faults: [Fault] = []
  var weather = Network.Weather()
  var markerNanoseconds: UInt64 = 5_000_000
  /// Waits end late by up to so many times their length.
  var laziness: UInt64 = 3
  var diskFailures = 0.0

  /// Something that befalls the world at a moment of the feed.
  struct Fault {
    enum Kind {
      /// kill -9 of the process; the machine stays, or goes with all that was not synced.
      case kill(machine: Bool)
      case stop
      /// SIGSTOP for so long.
      case stall(UInt64)
      /// One of its threads does not run for so long.
      case stallThread(UInt64)
      case cutOff(UInt64)
      case loseHeartbeats(UInt64)
      case brokersDown(UInt64)
      case rebalance
      case diskFull(UInt64)
      case damageCheckpoint
      case wipeDisk
      case wallClock(Int64)
      /// A producer of somebody else's hangs in a transaction on a topic that all read.
      case foreignTransaction(UInt64)
      case retention
      case desynchronise
      /// The producers of a process ask in vain from now on, and others made after them do not; or they fail, and the
      /// next one asks in vain.
      case wedge(next: Bool)
      /// The broker compacts the topic of published states.
      case compaction
      /// A second process under the same name, on a disk of its own.
      case twin(UInt64)
      /// Brokers lose so many of the last records of a partition, which is drawn.
      case dataLoss(Int64, UInt64)
      /// The group's coordinator knows the members of one process by ids of before.
      case joiningForgotten
      /// Everybody is killed, and the group's offsets are forgotten before anybody is back.
      case offsetsForgotten
    }
    var at: UInt64
    var kind: Kind
    var instance: Int
  }

  static let second: UInt64 = 1_000_000_000

  /// A quiet world.
  init(seed: UInt64) { self.seed = seed }

  /// The world that this seed draws, with everything that may befall it; `faults` of them where that is given.
  static func drawn(_ seed: UInt64, faults: UInt64? = nil) -> Scenario {
    var random = SplitMix(seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x5eed)
    var scenario = Scenario(seed: seed)
    func upTo(_ limit: UInt64) -> UInt64 { random.next() % limit }
    scenario.partitions = Int32(1 + upTo(3))
    scenario.instances = Array(["a", "b", "c"].prefix(1 + Int(upTo(4) == 0 ? 2 : upTo(2))))
    scenario.lanes = upTo(4) == 0 ? 2 : 1
    scenario.requests = 24 + Int(upTo(50))
    scenario.feedNanoseconds = (8 + upTo(14)) * second
    scenario.transactionRecords = [4, 12, 40][Int(upTo(3))]
    scenario.transactionMilliseconds = [10, 30, 100][Int(upTo(3))]
    scenario.checkpointMilliseconds = [200, 700, 3_000][Int(upTo(3))]
    scenario.keepEvery = [5, 15, 40][Int(upTo(3))]
    scenario.hasCommands = upTo(2) == 0
    scenario.isAtLeastOnce = upTo(8) == 0
    scenario.laziness = [0, 2, 6][Int(upTo(3))]
    scenario.markerNanoseconds = [1, 20, 400][Int(upTo(3))] * 1_000_000
    if upTo(3) > 0 {
      scenario.weather.lostRequests = [0, 0.005, 0.03][Int(upTo(3))]
      scenario.weather.lostAnswers = [0, 0.005, 0.03][Int(upTo(3))]
      scenario.weather.lateRequests = 0.5
      scenario.weather.slow = [0, 0.02, 0.1][Int(upTo(3))]
    }
    scenario.weather.latencyNanoseconds = [500_000, 2_000_000, 20_000_000][Int(upTo(3))]
    if upTo(4) == 0 { scenario.diskFailures = 0.05 }
    let drawn = upTo(7)
    for _ in 0..<(faults ?? drawn) { scenario.faults.append(scenario.drawFault(&random)) }
    scenario.faults.sort { $0.at < $1.at }
    return scenario
  }

  private func drawFault(_ random: inout SplitMix) -> Fault {
    func upTo(_ limit: UInt64) -> UInt64 { random.next() % limit }
    let kind: Fault.Kind
    switch upTo(37) {
    case 0..<7: kind = .kill(machine: upTo(2) == 0)
    case 7..<9: kind = .stop
    case 9..<12: kind = .stall(upTo(8 * Self.second))
    case 12..<15: kind = .cutOff(upTo(6 * Self.second))
    case 15..<17: kind = .loseHeartbeats(upTo(7 * Self.second))
    case 17..<19: kind = .brokersDown(upTo(5 * Self.second))
    case 19..<21: kind = .rebalance
    case 21: kind = .diskFull(upTo(5 * Self.second))
    case 22: kind = .damageCheckpoint
    case 23: kind = .wipeDisk
    case 24: kind = .wallClock(Int64(upTo(7_200_000)) - 3_600_000)
    case 25: kind = .foreignTransaction(upTo(4 * Self.second))
    case 26: kind = .retention
    case 27: kind = .compaction
    case 28..<30: kind = .twin(upTo(6 * Self.second))
    case 30: kind = .offsetsForgotten
    case 31..<34: kind = .stallThread(upTo(5 * Self.second))
    case 35: kind = .wedge(next: upTo(2) == 0)
    case 36: kind = .joiningForgotten
    default: kind = .desynchronise
    }
    return Fault(at: upTo(feedNanoseconds), kind: kind, instance: Int(upTo(UInt64(instances.count))))
  }
}
