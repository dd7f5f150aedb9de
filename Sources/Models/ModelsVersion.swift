/// Which arithmetic the learners follow: it rises whenever the same examples would give other bits.
///
/// It stands in every charter, so that workers of different builds never fold one log differently.
public enum ModelsVersion {
  public static let current: UInt32 = 1
}
