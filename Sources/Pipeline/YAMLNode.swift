/// A piece of YAML with the place it was written at.
public struct YAMLNode: Sendable, Equatable {
  public enum Content: Sendable, Equatable {
    case scalar(YAMLScalar)
    case sequence([YAMLNode])
    case mapping([YAMLEntry])
  }
  public var content: Content
  public var place: Place

  public init(_ content: Content, at place: Place) {
    self.content = content
    self.place = place
  }

  /// What people call it.
  var kindName: String {
    switch content {
    case .scalar(let scalar): scalar.isNull ? "nothing" : "a single value"
    case .sequence: "a list"
    case .mapping: "a mapping"
    }
  }

  var isNull: Bool {
    if case .scalar(let scalar) = content { return scalar.isNull }
    return false
  }

  public func value(of key: String) -> YAMLNode? {
    guard case .mapping(let entries) = content else { return nil }
    return entries.first { $0.key == key }?.value
  }

  /// Lays `over` upon this node: mappings merge key by key, anything else is replaced.
  mutating func merge(_ over: YAMLNode) {
    guard case .mapping(var entries) = content, case .mapping(let others) = over.content else {
      self = over
      return
    }
    for other in others {
      if let index = entries.firstIndex(where: { $0.key == other.key }) {
        entries[index].keyPlace = other.keyPlace
        entries[index].value.merge(other.value)
      } else {
        entries.append(other)
      }
    }
    content = .mapping(entries)
  }
}

public struct YAMLEntry: Sendable, Equatable {
  public var key: String
  public var keyPlace: Place
  public var value: YAMLNode
  public init(key: String, keyPlace: Place, value: YAMLNode) {
    self.key = key
    self.keyPlace = keyPlace
    self.value = value
  }
}

public struct YAMLScalar: Sendable, Equatable {
  public var text: String
  /// Written without quotes, or filled from a variable: may stand for a number, a boolean or nothing.
  public var isPlain: Bool
  /// Columns from the node's place to the first character of `text`; nil where characters of the
  /// text and columns of the file do not run side by side (escapes, several lines, variables).
  public var textOffset: Int?
  /// A fault was reported for it; whoever reads it must not report another.
  public var isUnusable = false
  public init(text: String, isPlain: Bool, textOffset: Int? = nil) {
    self.text = text
    self.isPlain = isPlain
    self.textOffset = textOffset
  }
  /// The null of YAML's core schema: nothing at all, `~` or `null`.
  public var isNull: Bool { isPlain && ["", "~", "null", "Null", "NULL"].contains(text) }
}
