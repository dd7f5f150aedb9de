extension FeaturePlan {
  /// The category that a number becomes where an expression of numbers makes a category.
  public static func category(ofNumber number: Double) -> UInt64 {
    Features.category(ofNumber: number)
  }
}
