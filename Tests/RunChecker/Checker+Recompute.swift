import Checkpoints
import Engine
import Records

extension Checker {
  /// Does again what the journal says was done, with the versions it names: scores, predictions, examples and the
  /// state at the end must come out as they lie in the topics and on disk.
  mutating func recompute(_ partition: Int) {
    let records = plan.inputs.indices.map { evidence.inputs[$0][partition] }
    let engine = PartitionEngine(
      plan: plan, partition: PartitionID(Int32(partition)), start: records.map { $0.first?.offset ?? 0 })
    let unit = CommitUnit(
      examples: ExampleBlockBuilder(
        schema: plan.features.rowSchema, contenderCount: plan.contenderCount,
        planDigest: plan.features.digest), inputCount: plan.inputs.count)
    guard let scorers = history.scorers.values.first else { return }
    var feed = EngineFeed(engine, records)
    let versions = history.scorers
    engine.follow(journal[partition]) { versions[$0] }
    var predictions: [StoredRecord] = []
    var computed: [ExampleFacts.Key: ExampleFacts] = [:]
    do {
      while engine.followedRemaining > 0 {
        feed.fill()
        let before = (engine.followedRemaining, engine.consumedOffsets)
        _ = try engine.step(into: unit, scorers: scorers, budget: .max)
        unit.sealExamples()
        predictions += unit.stored(.predictions)
        for record in unit.stored(.learning) {
          guard case .examples(let block) = try LearningRecord.decode(record.value) else { continue }
          for facts in block.facts { computed[facts.key] = facts }
        }
        unit.clear()
        if before.0 == engine.followedRemaining, before.1 == engine.consumedOffsets {
          find(.notRecomputable, "partition=\(partition) stands still at \(before.1)")
          return
        }
      }
    } catch let fault as EngineFault {
      if case .scoreMismatch(let offset, let contender) = fault {
        find(.scoreDiffers, "partition=\(partition) offset=\(offset) contender=\(contender)")
      } else {
        find(.notRecomputable, "partition=\(partition) \(fault)")
      }
      return
    } catch {
      find(.notRecomputable, "partition=\(partition) \(error)")
      return
    }
    compare(predictions, partition)
    compare(computed, partition)
    compareState(engine, partition)
  }

  private mutating func compare(_ computed: [StoredRecord], _ partition: Int) {
    let published = evidence.predictions[partition]
    for (ours, theirs) in zip(computed, published) where ours.value != theirs.value {
      find(
        .predictionDiffers,
        "partition=\(partition) offset=\(theirs.offset) published=\(String(decoding: theirs.value, as: UTF8.self)) computed=\(String(decoding: ours.value, as: UTF8.self))"
      )
      return
    }
    if computed.count != published.count {
      find(.predictionDiffers, "partition=\(partition) published=\(published.count) computed=\(computed.count)")
    }
  }

  private mutating func compare(_ computed: [ExampleFacts.Key: ExampleFacts], _ partition: Int) {
    let logged = examples.filter { Int($0.header.partition.value) == partition }
    for example in logged {
      guard let ours = computed[example.key] else {
        let key = example.key
        find(
          .rowDiffers,
          "\(key) is not computed \(text(plan.labelInput!, partition, key.labelOffset)) \(text(scoredInput, partition, key.eventOffset))"
        )
        continue
      }
      if ours != example { find(.rowDiffers, "\(example.key) logged=\(example) computed=\(ours)") }
    }
    let keys = Set(logged.map(\.key))
    for key in computed.keys where !keys.contains(key) { find(.rowDiffers, "\(key) is not logged") }
  }

  private mutating func compareState(_ engine: PartitionEngine, _ partition: Int) {
    guard let theirs = evidence.partitionStates[partition] else { return }
    let ours = engine.sections(plan: plan)
    for name in PartitionEngine.stateSections where ours[name] != theirs[name] {
      let (a, b) = (ours[name] ?? [], theirs[name] ?? [])
      let first = zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(a.count, b.count)
      find(
        .stateDiffers,
        "partition=\(partition) section=\(name) bytes=\(b.count) computed=\(a.count) first=\(first)")
    }
  }
}

extension PartitionEngine {
  /// The sections of a checkpoint taken now, by name.
  func sections(plan: EnginePlan) -> [String: [UInt8]] {
    var writer = CheckpointWriter(
      CheckpointIdentity(
        kind: .partition,
        fingerprint: CheckpointFingerprint(
          clusterID: "", topic: "", partition: partition, pipeline: "", settings: plan.features.digest),
        inputs: [], logNext: Offset(0), generation: 1, parent: nil))
    encode(into: &writer)
    return writer.sections.byName
  }
}

extension [CheckpointSection] {
  var byName: [String: [UInt8]] { reduce(into: [:]) { $0[$1.name] = $1.bytes } }
}
