import Kafka
import Records

/// Something that the watch tells: when it begins, and when it is over.
enum WatchEvent: Equatable, Sendable {
  case began(AlertKind, String)
  case ended(AlertKind, String)
  /// Going on would lose or mix up records.
  case fail(WorkerFailure)
}

/// Where a log ends: for readers of committed records, and in truth.
struct LogEnds: Equatable, Sendable {
  var partition: TopicPartition
  var stable: Int64
  var end: Int64
}

/// Tells when the last stable offset of a log stands still for longer than any transaction may last.
///
/// It always lags behind the end for as long as a transaction is open; what matters is that it does not move.
struct StallWatch {
  private struct Known {
    var stable: Int64
    var since: UInt64
    var isTold = false
  }
  private let limitNanoseconds: UInt64
  private var known: [TopicPartition: Known] = [:]

  /// Twice the time that the brokers give a transaction, and what they take to notice.
  init(transactionTimeoutMilliseconds: Int64) {
    limitNanoseconds = (2 * UInt64(max(transactionTimeoutMilliseconds, 0)) + 10_000) * 1_000_000
  }

  mutating func look(_ ends: [LogEnds], now: UInt64) -> [WatchEvent] {
    var events: [WatchEvent] = []
    var seen: Set<TopicPartition> = []
    for entry in ends {
      seen.insert(entry.partition)
      var state = known[entry.partition] ?? Known(stable: entry.stable, since: now)
      if entry.stable >= entry.end || entry.stable != state.stable {
        if state.isTold {
          events.append(
            .ended(
              .stableOffsetStalled,
              "the last stable offset moves again topic=\(entry.partition.topic) partition=\(entry.partition.partition) offset=\(entry.stable)"))
        }
        state = Known(stable: entry.stable, since: now)
      } else if !state.isTold, now - state.since > limitNanoseconds {
        state.isTold = true
        events.append(
          .began(
            .stableOffsetStalled,
            "an open transaction holds back the last stable offset topic=\(entry.partition.topic) partition=\(entry.partition.partition) offset=\(entry.stable) end=\(entry.end) seconds=\((now - state.since) / 1_000_000_000); kafka-transactions.sh find-hanging and abort end it"))
      }
      known[entry.partition] = state
    }
    known = known.filter { seen.contains($0.key) }
    return events
  }

  /// For how long each offset has stood still behind its end, seconds; 0 where it does not.
  func ages(_ ends: [LogEnds], now: UInt64) -> [(partition: TopicPartition, seconds: Double)] {
    ends.map { entry in
      guard entry.stable < entry.end, let state = known[entry.partition] else { return (entry.partition, 0) }
      return (entry.partition, Double(now - state.since) / 1e9)
    }
  }
}

/// Tells when a log ends before what is known of it: it was made anew, or cut, under the worker.
///
/// Why seen twice: a new leader may lag for a moment.
struct RegressionWatch {
  private var highest: [TopicPartition: Int64] = [:]
  private var suspicious: Set<TopicPartition> = []

  /// `positions`: what the worker had taken before the ends were asked.
  mutating func look(_ ends: [LogEnds], positions: [TopicPartition: Int64]) -> [WatchEvent] {
    var events: [WatchEvent] = []
    for entry in ends {
      let known = max(highest[entry.partition] ?? 0, positions[entry.partition] ?? 0)
      if entry.end < known {
        if suspicious.contains(entry.partition) {
          let text =
            "the topic was made anew or cut under the worker topic=\(entry.partition.topic) partition=\(entry.partition.partition) end=\(entry.end) known=\(known); its records are not those that the state was made from"
          events.append(.fail(.topicRecreated(text)))
        }
        suspicious.insert(entry.partition)
      } else {
        suspicious.remove(entry.partition)
        highest[entry.partition] = entry.end
      }
    }
    return events
  }
}

/// Tells when topics lose or gain partitions, or go, under the worker.
///
/// Why seen three times: metadata may lack a topic for a moment while leaders change.
struct TopicWatch {
  static let looks = 3
  private let expected: [(topic: String, count: Int32)]
  private var oddities: [String: Int] = [:]

  /// The topics whose partitions must stay: inputs, predictions and journal, as they were at the start.
  init(_ expected: [(topic: String, count: Int32)]) { self.expected = expected }

  /// Something was not as expected when last looked at.
  var isSuspicious: Bool { oddities.values.contains { $0 > 0 } }

  mutating func look(_ topics: [TopicDescription]) -> [WatchEvent] {
    var changes: [(topic: String, was: Int32, now: Int32?)] = []
    for (topic, count) in expected {
      let found = topics.first { $0.name == topic }?.partitionCount
      guard found != count else {
        oddities[topic] = 0
        continue
      }
      oddities[topic, default: 0] += 1
      if oddities[topic]! >= Self.looks { changes.append((topic, count, found)) }
    }
    guard !changes.isEmpty else { return [] }
    let gone = changes.filter { $0.now == nil }
    guard gone.isEmpty else {
      let text =
        "topic is missing, or there is no right to see it any more topic=\(gone.map(\.topic).joined(separator: ","))"
      return [.fail(.topicsChanged(text))]
    }
    let told = changes.map { "\($0.topic): \($0.was) to \($0.now ?? 0)" }.joined(separator: ", ")
    let widened = changes.count == expected.count && Set(changes.map(\.now)).count == 1
      && changes.allSatisfy { ($0.now ?? 0) > $0.was }
    let text =
      widened
      ? "partition counts changed under the worker (\(told)): keys have moved to other partitions, away from their windows and waiting predictions; begin new topics for inputs, predictions and journal, or start again knowing that what was kept by key begins anew"
      : "partition counts changed under the worker (\(told)): inputs, predictions and journal need equal counts; `millrace topics plan` shows what differs"
    return [.fail(.topicsChanged(text))]
  }
}

/// Finds out by which partitioner the producers of each input place keys, and whether they agree.
struct PartitionerWatch {
  enum Kind: String, Sendable, CaseIterable {
    /// Java's clients, and librdkafka's `murmur2` ones.
    case murmur2
    /// librdkafka's default for keyed records, `consistent_random`.
    case crc32
    /// So few keys that both would place them alike.
    case either
    case other
  }
  static let samplesMin = 64
  /// Of the samples that must agree: a few records may have been placed by hand.
  static let shareMin = 0.98

  private struct Input {
    var samples = 0, murmur2 = 0, crc32 = 0
  }
  private var inputs: [Input]
  private let names: [String]
  private var told: String?

  init(_ names: [String]) {
    self.names = names
    inputs = names.map { _ in Input() }
  }

  mutating func sample(input: Int, key: [UInt8], partition: Int32, of partitions: Int32) {
    guard partitions > 1 else { return }
    inputs[input].samples += 1
    if Murmur2.partition(of: key, partitions: partitions) == partition { inputs[input].murmur2 += 1 }
    if CRC32.partition(of: key, partitions: partitions) == partition { inputs[input].crc32 += 1 }
  }

  func needsSamples(input: Int) -> Bool { inputs[input].samples < Self.samplesMin }

  /// What is known of an input; nil before there are samples enough.
  func kind(_ input: Int) -> Kind? {
    let seen = inputs[input]
    guard seen.samples >= Self.samplesMin else { return nil }
    let needed = Int((Double(seen.samples) * Self.shareMin).rounded(.up))
    switch (seen.murmur2 >= needed, seen.crc32 >= needed) {
    case (true, true): return .either
    case (true, false): return .murmur2
    case (false, true): return .crc32
    case (false, false): return .other
    }
  }

  /// Told once for each different finding.
  mutating func look() -> [WatchEvent] {
    var first: (name: String, kind: Kind)?
    for input in inputs.indices {
      guard let kind = kind(input), kind != .either else { continue }
      guard let known = first else {
        first = (names[input], kind)
        continue
      }
      if known.kind == kind { continue }
      let text =
        "the producers of the inputs place keys by different partitioners \(known.name)=\(known.kind.rawValue) \(names[input])=\(kind.rawValue): records of one key lie in different partitions and never meet; set partitioner=murmur2_random in librdkafka clients"
      guard text != told else { return [] }
      told = text
      return [.began(.partitionerMismatch, text)]
    }
    return []
  }
}

/// Tells when most labels of a partition are about events that it has never seen.
struct OrphanWatch {
  static let labelsMin: UInt64 = 1_000
  private struct Seen {
    var labels: UInt64
    var orphans: UInt64
    var isTold = false
  }
  private var partitions: [Int32: Seen] = [:]

  /// Totals of one partition; counted from the first look on, and anew after every `labelsMin` labels.
  mutating func look(partition: Int32, labels: UInt64, orphans: UInt64) -> [WatchEvent] {
    guard var seen = partitions[partition], seen.labels <= labels, seen.orphans <= orphans else {
      partitions[partition] = Seen(labels: labels, orphans: orphans)
      return []
    }
    let (newLabels, newOrphans) = (labels - seen.labels, orphans - seen.orphans)
    guard newLabels >= Self.labelsMin else { return [] }
    let isBad = newOrphans * 2 > newLabels
    var events: [WatchEvent] = []
    if isBad != seen.isTold {
      let numbers = "partition=\(partition) labels=\(newLabels) orphans=\(newOrphans)"
      events.append(
        isBad
          ? .began(
            .labelsOrphaned,
            "most labels are about events that were never seen here \(numbers): another partitioner, another id, or events that come later than the labels")
          : .ended(.labelsOrphaned, "labels find their events again \(numbers)"))
    }
    seen = Seen(labels: labels, orphans: orphans, isTold: isBad)
    partitions[partition] = seen
    return events
  }
}
