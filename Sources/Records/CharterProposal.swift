/// What a `charter` command proposes: its `args`.
///
/// On the topic: `{"settings": base64 of the canonical learning settings, "columns": hex digest of the row's columns}`.
/// The columns are those of the charter in force: they cannot change with it, and the digest says so early.
public struct CharterProposal: Sendable, Hashable {
  /// Leaves room for the rest of a command, its reason at its longest included.
  public static let settingsByteCountMax = 9_000
  public var settings: [UInt8]
  public var columns: Digest

  public init(settings: [UInt8], rowSchema: RowSchema) {
    self.settings = settings
    columns = Self.digest(of: rowSchema)
  }

  public static func digest(of rowSchema: RowSchema) -> Digest {
    var writer = ByteWriter(capacity: 256)
    writer.write(rowSchema)
    return Digest.of(writer.bytes)
  }

  /// nil for anything else.
  public init?(args: JSONValue) {
    guard let members = args.members, members.count == 2,
      let settings = args["settings"]?.string.flatMap({ Base64.decode($0) }),
      let columns = args["columns"]?.string.flatMap({ Digest(hex: $0) })
    else { return nil }
    self.settings = settings
    self.columns = columns
  }

  public var args: JSONValue {
    .object([
      JSONValue.Member("settings", .string(Base64.encode(settings))),
      JSONValue.Member("columns", .string(columns.description)),
    ])
  }
}
