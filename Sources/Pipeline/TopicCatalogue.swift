/// One topic as `topics/<name>/topic.yaml` declares it: what the cluster has to hold.
public struct TopicDeclaration: Sendable, Equatable {
  public var name: String
  public var partitions: Int32
  /// -1: the cluster's default.
  public var replication: Int32
  /// Topic settings in declared order.
  public var config: [PipelineSettings.Property]
  public var coPartitionedWith: [String]
}

/// The topics of a directory: `catalog.yaml` lists them, `<name>/topic.yaml` declares each.
public struct TopicCatalogue: Sendable {
  public var topics: [TopicDeclaration] = []
  public var faults: [ConfigurationFault] = []

  private static let topicKeys = [
    "topic", "description", "owner", "internal", "partitions", "replication", "key",
    "co_partitioned_with", "compatibility", "headers", "max_record_bytes", "written_by", "read_by", "value",
    "config",
  ]

  /// Reads everything; all faults at once, with file, line and column.
  public init(directory: String, _ surroundings: Surroundings) {
    let path = "\(directory)/catalog.yaml"
    guard let root = read(path, surroundings) else { return }
    var replication: Int32 = -1
    if let value = root.value(of: "defaults")?.value(of: "replication") {
      replication = integer(value, 1...32_767) ?? -1
    }
    guard let listed = root.value(of: "topics"), case .sequence(let names) = listed.content else {
      fault(.missingKey, root.place, "the catalogue lists no topics", "topics: [name, …]")
      return
    }
    for node in names {
      guard let name = text(node) else { continue }
      topic(name, "\(directory)/\(name)/topic.yaml", replication, listedAt: node.place, surroundings)
    }
    for topic in topics {
      for other in topic.coPartitionedWith {
        guard let partner = topics.first(where: { $0.name == other }) else {
          fault(.contradiction, Place(.file("\(directory)/\(topic.name)/topic.yaml")),
            "co_partitioned_with names a topic that the catalogue does not list topic=\(other)")
          continue
        }
        if partner.partitions != topic.partitions {
          fault(.contradiction, Place(.file("\(directory)/\(topic.name)/topic.yaml")),
            "co-partitioned topics need equal partition counts \(topic.name)=\(topic.partitions) \(other)=\(partner.partitions)")
        }
      }
    }
  }

  private mutating func topic(
    _ name: String, _ path: String, _ replication: Int32, listedAt: Place, _ surroundings: Surroundings
  ) {
    guard let root = read(path, surroundings) else { return }
    guard case .mapping(let entries) = root.content else {
      fault(.wrongType, root.place, "a topic is a mapping, not \(root.kindName)")
      return
    }
    for entry in entries where !Self.topicKeys.contains(entry.key) {
      fault(.unknownKey, entry.keyPlace, "unknown key '\(entry.key)'",
        closestName(to: entry.key, among: Self.topicKeys).map { "did you mean '\($0)'?" } ?? "")
    }
    guard let declared = root.value(of: "topic").flatMap({ text($0) }) else {
      fault(.missingKey, root.place, "the key 'topic' is missing")
      return
    }
    if declared != name {
      fault(.contradiction, root.place, "the folder is named otherwise topic=\(declared) folder=\(name)")
    }
    guard let count = root.value(of: "partitions").flatMap({ integer($0, 1...100_000) }) else {
      if root.value(of: "partitions") == nil {
        fault(.missingKey, root.place, "the key 'partitions' is missing")
      }
      return
    }
    var config: [PipelineSettings.Property] = []
    if let settings = root.value(of: "config"), case .mapping(let entries) = settings.content {
      for entry in entries {
        if let value = text(entry.value) { config.append(.init(name: entry.key, value: value)) }
      }
    }
    var partners: [String] = []
    if let list = root.value(of: "co_partitioned_with"), case .sequence(let nodes) = list.content {
      partners = nodes.compactMap { text($0) }
    }
    topics.append(
      TopicDeclaration(
        name: declared, partitions: count,
        replication: root.value(of: "replication").flatMap { integer($0, 1...32_767) } ?? replication,
        config: config, coPartitionedWith: partners))
  }

  private mutating func read(_ path: String, _ surroundings: Surroundings) -> YAMLNode? {
    let source = Place.Source.file(path)
    switch surroundings.read(path) {
    case .failure(let error):
      fault(.unreadableFile, Place(source), "the file cannot be read: \(error.reason)")
      return nil
    case .success(let bytes):
      let (node, found) = YAMLReader.read(bytes, source: source)
      faults += found
      if node == nil && found.isEmpty { fault(.missingKey, Place(source), "the file is empty") }
      return node
    }
  }

  private mutating func text(_ node: YAMLNode) -> String? {
    guard case .scalar(let scalar) = node.content, !scalar.isNull else {
      fault(.wrongType, node.place, "expected text, not \(node.kindName)")
      return nil
    }
    return scalar.text
  }

  private mutating func integer(_ node: YAMLNode, _ range: ClosedRange<Int32>) -> Int32? {
    guard let text = text(node) else { return nil }
    guard let value = Int32(text), range.contains(value) else {
      fault(.outOfRange, node.place, "expected a whole number from \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return value
  }

  private mutating func fault(
    _ code: FaultCode, _ place: Place, _ message: String, _ hint: String = ""
  ) {
    faults.append(ConfigurationFault(code, at: place, message, hint: hint))
  }
}
