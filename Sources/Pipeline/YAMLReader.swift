import CYAML

/// Reads one YAML document into a tree.
///
/// Limits:   `byteCountMax` bytes, `depthMax` levels; no anchors, aliases, tags, merge keys or further
///           documents, so that a text means what it says and its tree is never larger than itself.
/// Errors:   every fault has its place. Syntax stops at the first; the others are all reported.
/// Replay:   the same bytes give the same tree.
public enum YAMLReader {
  public static let byteCountMax = 1 << 20
  public static let depthMax = 32

  /// The tree, or nil where there is none to speak of; with it what is wrong.
  public static func read(
    _ bytes: [UInt8], source: Place.Source
  ) -> (node: YAMLNode?, faults: [ConfigurationFault]) {
    guard bytes.count <= byteCountMax else {
      return (
        nil,
        [
          ConfigurationFault(
            .tooLarge, at: Place(source),
            "the text has \(bytes.count) bytes; at most \(byteCountMax) are read")
        ]
      )
    }
    if let place = firstInvalidByte(bytes, source) {
      return (
        nil,
        [
          ConfigurationFault(
            .invalidText, at: place, "the bytes here are not UTF-8", hint: "save the file as UTF-8")
        ]
      )
    }
    var stream = EventStream(source: source)
    stream.read(bytes)
    if !stream.faults.isEmpty { return (nil, stream.faults) }
    var builder = TreeBuilder(events: stream.events, source: source)
    let node = builder.document()
    return (node, builder.faults)
  }

  /// Why: libyaml names a byte offset at best; people want a line and a column.
  private static func firstInvalidByte(_ bytes: [UInt8], _ source: Place.Source) -> Place? {
    if String(validating: bytes, as: UTF8.self) != nil { return nil }
    var parser = Unicode.UTF8.ForwardParser()
    var iterator = bytes.makeIterator()
    var line = 1
    var column = 1
    while true {
      switch parser.parseScalar(from: &iterator) {
      case .valid(let scalar):
        if scalar.elementsEqual(CollectionOfOne(0x0a)) {
          line += 1
          column = 1
        } else {
          column += 1
        }
      case .error: return Place(source, line: line, column: column)
      case .emptyInput: return nil
      }
    }
  }
}

/// libyaml's events as values of ours. Only what a tree needs is kept.
private enum YAMLEvent {
  case scalar(YAMLScalar, Place)
  case sequenceStart(Place)
  case mappingStart(Place)
  case end
}

private struct EventStream {
  let source: Place.Source
  var events: [YAMLEvent] = []
  var faults: [ConfigurationFault] = []
  private var depth = 0
  private var documents = 0

  init(source: Place.Source) { self.source = source }

  private func place(_ mark: yaml_mark_t) -> Place {
    Place(source, line: mark.line + 1, column: mark.column + 1)
  }
  private mutating func refuse(_ code: FaultCode, _ mark: yaml_mark_t, _ what: String, _ hint: String) {
    faults.append(ConfigurationFault(code, at: place(mark), what, hint: hint))
  }

  mutating func read(_ bytes: [UInt8]) {
    // Why: libyaml keeps the parser's own address, so it needs a place that does not move.
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    defer { unsafe parser.deallocate() }
    // SAFETY: the parser is initialised here, before any other use, and deleted exactly once.
    guard unsafe yaml_parser_initialize(parser) == 1 else { preconditionFailure("out of memory") }
    defer { unsafe yaml_parser_delete(parser) }
    unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    unsafe bytes.withUnsafeBufferPointer { input in
      // SAFETY: the input outlives the loop below, the only place that parses.
      unsafe yaml_parser_set_input_string(parser, input.baseAddress, input.count)
      while true {
        var event = unsafe yaml_event_t()
        // SAFETY: parser and event live across the call; a filled event is deleted at the end of the turn.
        guard unsafe yaml_parser_parse(parser, &event) == 1 else {
          unsafe explain(parser.pointee, bytes)
          return
        }
        defer { unsafe yaml_event_delete(&event) }
        guard unsafe accept(event) else { return }
      }
    }
  }

  /// Takes one event; false at the end of the stream and where going on makes no sense.
  @unsafe private mutating func accept(_ event: yaml_event_t) -> Bool {
    // SAFETY: the union member read is the one that the event's type says was written; the strings are copied.
    let mark = unsafe event.start_mark
    switch unsafe event.type {
    case YAML_STREAM_END_EVENT: return false
    case YAML_DOCUMENT_START_EVENT:
      documents += 1
      if documents > 1 {
        refuse(.unsupportedYAML, mark, "a second document begins here", "give each document a file and several --config")
        return false
      }
    case YAML_ALIAS_EVENT:
      refuse(.unsupportedYAML, mark, "aliases are not supported", "write the value out, or share it by a ${VARIABLE}")
    case YAML_SCALAR_EVENT:
      let data = unsafe event.data.scalar
      unsafe refuseProperties(anchor: data.anchor, tag: data.tag, mark)
      let text = unsafe String(
        decoding: UnsafeBufferPointer(start: data.value, count: data.length), as: UTF8.self)
      let style = unsafe data.style
      let plain = style == YAML_PLAIN_SCALAR_STYLE
      let quoted =
        style == YAML_SINGLE_QUOTED_SCALAR_STYLE || style == YAML_DOUBLE_QUOTED_SCALAR_STYLE
      let end = unsafe event.end_mark
      let width = text.unicodeScalars.count + (plain ? 0 : 2)
      let sideBySide =
        (plain || quoted) && end.line == mark.line && end.column == mark.column + width
      let scalar = YAMLScalar(
        text: text, isPlain: plain, textOffset: sideBySide ? (plain ? 0 : 1) : nil)
      events.append(.scalar(scalar, place(mark)))
    case YAML_SEQUENCE_START_EVENT:
      let data = unsafe event.data.sequence_start
      unsafe refuseProperties(anchor: data.anchor, tag: data.tag, mark)
      events.append(.sequenceStart(place(mark)))
      return descend(mark)
    case YAML_MAPPING_START_EVENT:
      let data = unsafe event.data.mapping_start
      unsafe refuseProperties(anchor: data.anchor, tag: data.tag, mark)
      events.append(.mappingStart(place(mark)))
      return descend(mark)
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
      events.append(.end)
      depth -= 1
    default: break
    }
    return true
  }

  private mutating func descend(_ mark: yaml_mark_t) -> Bool {
    depth += 1
    if depth <= YAMLReader.depthMax { return true }
    refuse(.tooLarge, mark, "nested deeper than \(YAMLReader.depthMax) levels", "")
    return false
  }

  @unsafe private mutating func refuseProperties(
    anchor: UnsafeMutablePointer<yaml_char_t>?, tag: UnsafeMutablePointer<yaml_char_t>?,
    _ mark: yaml_mark_t
  ) {
    // SAFETY: the pointers are only compared with null.
    if unsafe anchor != nil {
      refuse(.unsupportedYAML, mark, "anchors are not supported", "write the value out, or share it by a ${VARIABLE}")
    }
    if unsafe tag != nil {
      refuse(.unsupportedYAML, mark, "tags are not supported", "every key knows its type; drop the tag")
    }
  }

  @unsafe private mutating func explain(_ parser: yaml_parser_t, _ bytes: [UInt8]) {
    // SAFETY: `problem` and `context` are null or static strings of the library.
    let problem = unsafe parser.problem.map { unsafe String(cString: $0) } ?? "unreadable"
    switch unsafe parser.error {
    case YAML_READER_ERROR:
      let offset = unsafe min(parser.problem_offset, bytes.count)
      let before = String(decoding: bytes[..<offset], as: UTF8.self).unicodeScalars
      let line = before.count { $0 == "\n" }
      let column = before.reversed().prefix { $0 != "\n" }.count
      faults.append(
        ConfigurationFault(
          .invalidText, at: Place(source, line: line + 1, column: column + 1), problem))
    case YAML_MEMORY_ERROR: preconditionFailure("out of memory")
    default:
      let context = unsafe parser.context.map { unsafe String(cString: $0) } ?? ""
      let mark = unsafe parser.problem_mark
      refuse(
        .syntax, mark, context.isEmpty ? problem : "\(problem) \(context)",
        problem.contains("tab") || problem.contains("cannot start any token")
          ? "indent with blanks, and quote texts with special characters" : "")
    }
  }
}

/// Builds the tree from the events. Depth is bounded by the stream that made them.
private struct TreeBuilder {
  let events: [YAMLEvent]
  let source: Place.Source
  var at = 0
  var faults: [ConfigurationFault] = []

  init(events: [YAMLEvent], source: Place.Source) {
    self.events = events
    self.source = source
  }

  mutating func document() -> YAMLNode? { events.isEmpty ? nil : node() }

  private mutating func node() -> YAMLNode {
    let event = events[at]
    at += 1
    switch event {
    case .scalar(let scalar, let place): return YAMLNode(.scalar(scalar), at: place)
    case .sequenceStart(let place):
      var items: [YAMLNode] = []
      while !atEnd() { items.append(node()) }
      return YAMLNode(.sequence(items), at: place)
    case .mappingStart(let place):
      var entries: [YAMLEntry] = []
      var seen: [String: Place] = [:]
      while !atEnd() {
        let key = node()
        let value = node()
        guard case .scalar(let scalar) = key.content else {
          faults.append(
            ConfigurationFault(.wrongType, at: key.place, "a key must be a single value, not \(key.kindName)"))
          continue
        }
        if scalar.isPlain, scalar.text == "<<" {
          faults.append(
            ConfigurationFault(
              .unsupportedYAML, at: key.place, "merge keys are not supported",
              hint: "several --config files are merged, the later wins"))
          continue
        }
        if let first = seen[scalar.text] {
          faults.append(
            ConfigurationFault(
              .duplicateKey, at: key.place, "the key '\(scalar.text)' is given twice",
              hint: "first at line \(first.line), column \(first.column)"))
          continue
        }
        seen[scalar.text] = key.place
        entries.append(YAMLEntry(key: scalar.text, keyPlace: key.place, value: value))
      }
      return YAMLNode(.mapping(entries), at: place)
    case .end: preconditionFailure("libyaml's events are balanced")
    }
  }

  private mutating func atEnd() -> Bool {
    if case .end = events[at] {
      at += 1
      return true
    }
    return false
  }
}
