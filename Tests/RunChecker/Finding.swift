/// One thing that is not as it must be.
struct Finding: CustomStringConvertible, Sendable {
  enum Kind: String, Sendable, CaseIterable {
    case unreadable
    // Outcomes of the scored input and of records that could not be used.
    case lostPrediction, doubledPrediction, strayPrediction, disorderedPredictions, wrongPrediction
    case lostDeadLetter, doubledDeadLetter, strayDeadLetter, wrongDeadLetter
    // Journal and offsets.
    case journalGap, journalDisorder, wrongDisposition, wrongTotals, offsetsDiffer, notConsumed
    // Labels and examples.
    case lostExample, doubledExample, strayExample, wrongExample
    // Recomputed.
    case notRecomputable, scoreDiffers, predictionDiffers, rowDiffers, stateDiffers, windowDiffers
    // Model.
    case unknownVersion, claimDiffers, modelDiffers, foldRefuses
  }
  var kind: Kind
  var text: String
  var description: String { "\(kind.rawValue): \(text)" }
}
