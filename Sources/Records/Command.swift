/// What an operator asks of every worker, signed.
///
/// On the topic: a JSON object with exactly the members `id, pipeline, cluster_id, kind, args, issuer, key_id, reason,
/// issued_at, expires_at, expect_lineage, dry_run`; the last two may be left out (any lineage, false). The detached
/// signature over the exact bytes of the value stands in a header.
public struct Command: Hashable, Sendable {
  public static let signatureHeader = "millrace-signature"
  public static let byteCountMax = 16_384

  public enum Action: Hashable, Sendable {
    case rollback(to: RollbackTarget, then: AfterRollback)
    case freeze
    case unfreeze
    case tag(name: String)
    /// Members of `args`, not looked into yet.
    case promote(args: JSONValue)
    case charter(args: JSONValue)

    public var kind: String {
      switch self {
      case .rollback: "rollback"
      case .freeze: "freeze"
      case .unfreeze: "unfreeze"
      case .tag: "tag"
      case .promote: "promote"
      case .charter: "charter"
      }
    }
  }

  /// Names the command for ever: the same id twice has one effect.
  public var id: String
  public var pipeline: String
  public var clusterID: String
  public var action: Action
  /// Who asks.
  public var issuer: String
  /// Which key signed.
  public var keyID: String
  /// Why, for people.
  public var reason: String
  public var issuedAt: EventTime
  /// Judged against the broker's timestamp of the record.
  public var expiresAt: EventTime
  /// The lineage that must be the present one; nil: any.
  public var expectLineage: Lineage?
  /// Say what would happen, and do nothing.
  public var isDryRun: Bool

  public init(
    id: String, pipeline: String, clusterID: String, action: Action, issuer: String, keyID: String,
    reason: String, issuedAt: EventTime, expiresAt: EventTime, expectLineage: Lineage? = nil,
    isDryRun: Bool = false
  ) {
    self.id = id
    self.pipeline = pipeline
    self.clusterID = clusterID
    self.action = action
    self.issuer = issuer
    self.keyID = keyID
    self.reason = reason
    self.issuedAt = issuedAt
    self.expiresAt = expiresAt
    self.expectLineage = expectLineage
    self.isDryRun = isDryRun
  }

  /// The value and the header's value (base64), ready to be sent.
  public func signed(
    with key: Ed25519.PrivateKey
  ) throws(SignatureError) -> (value: [UInt8], signature: String) {
    let value = json()
    return (value, Base64.encode(try key.sign(value)))
  }
}

/// Where a rollback goes.
public enum RollbackTarget: Hashable, Sendable, CustomStringConvertible {
  /// The newest kept ancestor that differs from what is served.
  case previous
  case version(ModelVersion)
  case tag(String)
  /// The newest kept version whose last block has an earlier Kafka timestamp.
  case before(EventTime)

  /// nil for text that is none of `previous`, a version, an RFC 3339 time or a tag's name.
  public init?(_ text: String) {
    if text == "previous" {
      self = .previous
    } else if let version = ModelVersion(text) {
      self = .version(version)
    } else if let time = EventTime(rfc3339: text) {
      self = .before(time)
    } else if Self.isTag(text) {
      self = .tag(text)
    } else {
      return nil
    }
  }

  /// 1 to 64 of letters, digits, `.`, `_`, `-`, beginning with a letter; no word that means something else.
  public static func isTag(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard let first = bytes.first, bytes.count <= 64, name != "previous" else { return false }
    func isLetter(_ byte: UInt8) -> Bool { (65...90).contains(byte) || (97...122).contains(byte) }
    return isLetter(first)
      && bytes.allSatisfy {
        isLetter($0) || (48...57).contains($0) || $0 == 45 || $0 == 46 || $0 == 95
      }
  }

  public var description: String {
    switch self {
    case .previous: "previous"
    case .version(let version): version.description
    case .tag(let name): name
    case .before(let time): time.rfc3339
    }
  }
}

/// Whether learning goes on after a rollback.
public enum AfterRollback: String, Hashable, Sendable, CaseIterable {
  case freeze
  /// Learns on, also if learning was frozen before.
  case `continue`
}

extension LoggedCommand {
  /// What the lane that owns `control` writes: the signature is tried under every trusted key.
  ///
  /// `header` is the value of `Command.signatureHeader`, nil if the record has none.
  public init(
    verifying value: [UInt8], header: [UInt8]?, trusted keys: [Ed25519.PublicKey],
    controlOffset: Offset, controlTimestamp: EventTime
  ) {
    let text = header.flatMap { String(validating: $0, as: UTF8.self) }
    let signature = text.flatMap { Base64.decode($0) } ?? []
    let key =
      value.count <= Command.byteCountMax
      ? keys.first { $0.isValid(signature: signature, of: value) } : nil
    self.init(
      value: value, signature: signature, keyID: key?.keyID ?? "", controlOffset: controlOffset,
      controlTimestamp: controlTimestamp, isVerified: key != nil)
  }
}
