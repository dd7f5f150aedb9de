/// What one worker says of a command, on topic `control-acks`.
public struct CommandAck: Hashable, Sendable {
  public enum Status: String, Hashable, Sendable, CaseIterable {
    /// Written to `learning`.
    case received
    /// The fold took it.
    case accepted
    /// It changes nothing; `detail` says why.
    case rejected
    /// In force in every lane of this worker.
    case applied
  }
  public var id: String
  public var instance: String
  public var status: Status
  /// The version that stands after the command; nil before there is one.
  public var version: ModelVersion?
  public var stateHash: Digest?
  public var detail: String

  public init(
    id: String, instance: String, status: Status, version: ModelVersion? = nil,
    stateHash: Digest? = nil, detail: String = ""
  ) {
    self.id = id
    self.instance = instance
    self.status = status
    self.version = version
    self.stateHash = stateHash
    self.detail = detail
  }

  public func json() -> [UInt8] {
    var writer = JSONWriter(capacity: 256)
    writer.beginObject()
    writer.key("id")
    writer.value(id)
    writer.key("instance")
    writer.value(instance)
    writer.key("status")
    writer.value(status.rawValue)
    writer.key("version")
    if let version { writer.value(version.description) } else { writer.null() }
    writer.key("state_hash")
    if let stateHash { writer.value(stateHash.description) } else { writer.null() }
    writer.key("detail")
    writer.value(detail)
    writer.endObject()
    return writer.bytes
  }

  /// nil for anything that is no ack; members it does not know are passed over.
  public init?(parsing bytes: [UInt8]) {
    guard let root = try? JSONValue(parsing: bytes) else { return nil }  // Not JSON: not an ack.
    guard let id = root["id"]?.string, let instance = root["instance"]?.string,
      let status = root["status"]?.string.flatMap(Status.init(rawValue:))
    else { return nil }
    var version: ModelVersion?
    if let value = root["version"], !value.isNull {
      guard let known = value.string.flatMap({ ModelVersion($0) }) else { return nil }
      version = known
    }
    var stateHash: Digest?
    if let value = root["state_hash"], !value.isNull {
      guard let known = value.string.flatMap({ Digest(hex: $0) }) else { return nil }
      stateHash = known
    }
    self.init(
      id: id, instance: instance, status: status, version: version, stateHash: stateHash,
      detail: root["detail"]?.string ?? "")
  }
}

/// Something people should hear of, on topic `alerts`.
public struct Alert: Hashable, Sendable {
  /// Kebab-case; also the record's key.
  public var kind: String
  public var pipeline: String
  public var instance: String
  public var text: String
  public var version: ModelVersion?
  /// The Kafka timestamp of the record that caused it.
  public var time: EventTime

  public init(
    kind: String, pipeline: String, instance: String, text: String, version: ModelVersion? = nil,
    time: EventTime
  ) {
    self.kind = kind
    self.pipeline = pipeline
    self.instance = instance
    self.text = text
    self.version = version
    self.time = time
  }

  public func json() -> [UInt8] {
    var writer = JSONWriter(capacity: 256)
    writer.beginObject()
    writer.key("kind")
    writer.value(kind)
    writer.key("pipeline")
    writer.value(pipeline)
    writer.key("instance")
    writer.value(instance)
    writer.key("text")
    writer.value(text)
    writer.key("version")
    if let version { writer.value(version.description) } else { writer.null() }
    writer.key("time")
    writer.value(time)
    writer.endObject()
    return writer.bytes
  }

  /// nil for anything that is no alert; members it does not know are passed over.
  public init?(parsing bytes: [UInt8]) {
    guard let root = try? JSONValue(parsing: bytes) else { return nil }  // Not JSON: not an alert.
    guard let kind = root["kind"]?.string, let pipeline = root["pipeline"]?.string,
      let instance = root["instance"]?.string, let text = root["text"]?.string,
      let time = root["time"]?.string.flatMap({ EventTime(rfc3339: $0) })
    else { return nil }
    var version: ModelVersion?
    if let value = root["version"], !value.isNull {
      guard let known = value.string.flatMap({ ModelVersion($0) }) else { return nil }
      version = known
    }
    self.init(
      kind: kind, pipeline: pipeline, instance: instance, text: text, version: version, time: time)
  }
}
