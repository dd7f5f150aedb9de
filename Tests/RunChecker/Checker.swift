import Engine
import Features
import Learning
import Pipeline
import Records

/// Judges a run by what it left in its topics, and by nothing that the worker says of itself.
///
/// Method: what must be there is told from the inputs by rules of its own (`Truth`, `LabelOracle`); what the rows and
/// scores must be is computed again by fresh folds of the inputs, in the journal's order, and of `learning`.
struct Checker {
  let plan: EnginePlan
  let evidence: Evidence
  var findings: [Finding] = []
  /// Decoded logs.
  var journal: [[JournalRecord]] = []
  var examples: [ExampleFacts] = []
  var claims: [HashClaim] = []
  var kept: [KeptVersion] = []
  /// What the fresh fold of `learning` reached.
  var history = ModelHistory()

  init(plan: EnginePlan, evidence: Evidence) {
    self.plan = plan
    self.evidence = evidence
  }

  var partitions: Range<Int> { 0..<evidence.predictions.count }
  var scoredInput: Int { plan.scoredInput }

  /// Everything that is wrong; empty is good.
  static func check(_ evidence: Evidence, plan: EnginePlan) -> [Finding] {
    var checker = Checker(plan: plan, evidence: evidence)
    checker.run()
    return checker.findings
  }

  mutating func run() {
    decodeLogs()
    checkPredictions()
    checkDeadLetters()
    for partition in partitions { checkJournal(partition) }
    checkLabels()
    for partition in partitions { checkWindows(partition) }
    checkModel()
    for partition in partitions { recompute(partition) }
  }

  mutating func find(_ kind: Finding.Kind, _ text: String) {
    findings.append(Finding(kind: kind, text: text))
  }

  private mutating func decodeLogs() {
    for (partition, records) in evidence.journal.enumerated() {
      var decoded: [JournalRecord] = []
      for record in records {
        do { decoded.append(try JournalRecord.decode(record.value)) } catch {
          find(.unreadable, "journal partition=\(partition) offset=\(record.offset) \(error)")
        }
      }
      journal.append(decoded)
    }
    for record in evidence.learning {
      do {
        switch try LearningRecord.decode(record.value) {
        case .examples(let block): examples += block.facts
        case .claim(let claim): claims.append(claim)
        case .kept(let version): kept.append(version)
        case .charter, .command: break
        }
      } catch {
        find(.unreadable, "learning offset=\(record.offset) \(error)")
      }
    }
  }
}
