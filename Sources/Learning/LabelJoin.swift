import Records

/// What came of a label that was offered to the join.
public enum LabelDisposition: UInt8, Sendable, CaseIterable {
  /// The event's first label: an example.
  case joined = 0
  /// Another value for a settled event: a further example.
  case correction = 1
  /// The value that is already known.
  case duplicate = 2
  /// The event is not here yet, or not scored yet: the label waits. Not a final state.
  case early = 3
  /// Known later than the horizon allows.
  case late = 4
  /// No such event, and none can come any more, or too many labels wait.
  case orphan = 5
}

/// Counts of everything that went in and what came of it; they rise only.
///
/// Invariant: labels = joined + corrections + duplicates + late + orphans + labels now waiting;
/// events = duplicate events + abandoned + expired + forgotten + waiting + settled.
public struct JoinCounters: Sendable, Equatable {
  /// Events offered.
  public var events: UInt64 = 0
  public var duplicateEvents: UInt64 = 0
  /// Admitted, then given up before they were scored.
  public var abandonedEvents: UInt64 = 0
  /// Waiting entries whose horizon passed without a label; `negatives` of them became examples.
  public var expired: UInt64 = 0
  public var negatives: UInt64 = 0
  /// Settled entries whose horizon passed.
  public var forgotten: UInt64 = 0
  /// Labels offered.
  public var labels: UInt64 = 0
  public var joined: UInt64 = 0
  public var corrections: UInt64 = 0
  public var duplicates: UInt64 = 0
  public var late: UInt64 = 0
  public var orphans: UInt64 = 0
  public init() {}
}

/// Meets labels with the events they are about, for one partition.
///
/// Life of an entry: admitted (id known, not scored) → waiting (row and scores kept) → settled (labelled;
/// kept for duplicates and corrections) → gone, once the labels' watermark passes event time + horizon.
/// Labels that come first wait under their id, in the order of their offsets.
///
/// Rules (functions of the two records, whichever came first):
///   late        label.knownAt > event time + horizon
///   joined      the event's first label that is not late
///   duplicate   the value that the event's last example has
///   correction  another value
/// A label whose event is not there is an orphan once an event no later than the label would have expired.
///
/// Memory:   about 56 bytes, the packed row, 32 for the id (28 bytes a chunk) and 40 of table and heap per entry.
/// Cost:     a few cache misses per call; no allocation in steady state (pages and tables only grow).
/// Replay:   the same calls give the same bits; where state was encoded and restored in between leaves no trace.
/// Threads:  owned by one thread at a time.
public final class LabelJoin {
  public enum Admission: Equatable, Sendable {
    /// The entry to `store` the row in, or to `abandon`.
    case new(slot: UInt32)
    case duplicate
  }
  enum State: UInt32 {
    case early = 0  // labels wait, no event → admitted, or gone with its last label
    case admitted = 1  // → waiting by `store`; → early or gone by `abandon`
    case waiting = 2  // → settled by a label; → gone at the horizon
    case settled = 3  // → gone at the horizon
  }
  /// Words of an entry; the packed row follows.
  enum Word {
    static let text = 0, textLength = 1, eventTime = 2, offset = 4, lineage = 6, sequence = 7
    static let state = 9, value = 10, firstLabel = 11, lastLabel = 12, hash = 13, row = 14
  }
  /// Words of a label that waits.
  enum LabelWord {
    static let entry = 0, next = 1, value = 2, knownAt = 3, offset = 5, count = 7
  }

  public let settings: JoinSettings
  public let partition: PartitionID
  public let layout: ExampleRowLayout
  public internal(set) var counters = JoinCounters()
  /// The labels' watermark, as far as `advance` was told.
  public internal(set) var labelWatermark = EventTime(milliseconds: .min)
  /// Scored entries without a label.
  public internal(set) var waitingCount = 0
  public internal(set) var settledCount = 0
  /// Entries between `admit` and `store`.
  public internal(set) var admittedCount = 0
  /// Labels that wait for their event.
  public var earlyLabelCount: Int { labels.usedCount }

  let entries: SlotPages
  let labels: SlotPages
  let texts = TextChunks()
  let expiry: TimeHeap
  let labelExpiry: TimeHeap
  var table: IDTable

  /// `contenderCount` served scores are kept per event, in the charter's order.
  public init(
    settings: JoinSettings, partition: PartitionID, schema: RowSchema, contenderCount: Int,
    capacityHint: Int = 4096
  ) {
    self.settings = settings
    self.partition = partition
    layout = ExampleRowLayout(schema: schema, contenderCount: contenderCount)
    entries = SlotPages(stride: Word.row + layout.wordCount, pageBits: 10)
    labels = SlotPages(stride: LabelWord.count, pageBits: 10)
    expiry = TimeHeap(capacity: capacityHint)
    labelExpiry = TimeHeap(capacity: 256, isIndexed: true)
    table = IDTable(capacity: capacityHint)
  }

  /// Memory held, in bytes.
  public var byteCount: Int {
    entries.byteCount + labels.byteCount + texts.byteCount + expiry.byteCount
      + labelExpiry.byteCount + table.byteCount
  }

  /// Makes an event known before it is scored. `idHash` is `Hash64.hash` of `id`.
  public func admit(
    idHash: UInt64, id: RawSpan, eventTime: EventTime, offset: Offset
  ) -> Admission {
    counters.events += 1
    let found = find(idHash, id)
    let slot: UInt32
    if found != SlotPages.none {
      let page = entries.page(found)
      let at = entries.start(found)
      guard page.words[at + Word.state] == State.early.rawValue else {
        counters.duplicateEvents += 1
        return .duplicate
      }
      slot = found
    } else {
      slot = makeEntry(idHash, id)
    }
    let page = entries.page(slot)
    let at = entries.start(slot)
    page.words[at + Word.state] = State.admitted.rawValue
    page.words.setWide(at + Word.eventTime, eventTime.milliseconds)
    page.words.setWide(at + Word.offset, offset.value)
    admittedCount += 1
    return .new(slot: slot)
  }

  /// Counts an event that a journal names as one that was there before: a replay that begins in the middle of the
  /// log may not have seen the first one.
  public func noteDuplicate() {
    counters.events += 1
    counters.duplicateEvents += 1
  }

  /// Keeps the row and the scores of an admitted event; labels that came before it are settled at once,
  /// in the order of their offsets, into `builder`.
  public func store(
    slot: UInt32, rows: RowGroup, rowSlot: Int, version: ModelVersion,
    scores: borrowing FixedBuffer<ServedScore>, scoreOffset: Int, into builder: ExampleBlockBuilder
  ) {
    let page = entries.page(slot)
    let at = entries.start(slot)
    precondition(page.words[at + Word.state] == State.admitted.rawValue, "entry is not admitted")
    layout.pack(
      rows, slot: rowSlot, scores: scores, scoreOffset: scoreOffset, into: page.words,
      at: at + Word.row)
    page.words[at + Word.lineage] = version.lineage.value
    page.words.setWide(at + Word.sequence, Int64(bitPattern: version.sequence.value))
    page.words[at + Word.state] = State.waiting.rawValue
    admittedCount -= 1
    waitingCount += 1
    expiry.add(
      time: page.words.wide(at + Word.eventTime), offset: page.words.wide(at + Word.offset),
      item: slot)
    var label = page.words[at + Word.firstLabel]
    page.words[at + Word.firstLabel] = SlotPages.none
    page.words[at + Word.lastLabel] = SlotPages.none
    while label != SlotPages.none {
      let labelPage = labels.page(label)
      let labelAt = labels.start(label)
      let next = labelPage.words[labelAt + LabelWord.next]
      _ = settle(
        slot, value: Float(bitPattern: labelPage.words[labelAt + LabelWord.value]),
        knownAt: labelPage.words.wide(labelAt + LabelWord.knownAt),
        labelOffset: labelPage.words.wide(labelAt + LabelWord.offset), into: builder)
      labelExpiry.remove(item: label)
      labels.release(label)
      label = next
    }
  }

  /// Gives up an admitted event that will not be scored. Its id is forgotten; labels that wait for it stay.
  public func abandon(slot: UInt32) {
    let page = entries.page(slot)
    let at = entries.start(slot)
    precondition(page.words[at + Word.state] == State.admitted.rawValue, "entry is not admitted")
    admittedCount -= 1
    counters.abandonedEvents += 1
    if page.words[at + Word.firstLabel] == SlotPages.none {
      removeEntry(slot)
    } else {
      page.words[at + Word.state] = State.early.rawValue
    }
  }

  /// Offers a label. An example that it makes goes to `builder`.
  public func label(
    idHash: UInt64, id: RawSpan, value: Float, knownAt: EventTime, offset: Offset,
    into builder: ExampleBlockBuilder
  ) -> LabelDisposition {
    counters.labels += 1
    let found = find(idHash, id)
    if found != SlotPages.none {
      let state = entries.page(found).words[entries.start(found) + Word.state]
      if state >= State.waiting.rawValue {
        return settle(
          found, value: value, knownAt: knownAt.milliseconds, labelOffset: offset.value,
          into: builder)
      }
    }
    if isHopeless(knownAt: knownAt.milliseconds) || settings.earlyLabelsMax <= 0 {
      counters.orphans += 1
      return .orphan
    }
    let entry = found != SlotPages.none ? found : makeEntry(idHash, id)
    let label = keep(entry, value: value, knownAt: knownAt.milliseconds, offset: offset.value)
    guard labels.usedCount > settings.earlyLabelsMax, let first = labelExpiry.first else {
      return .early
    }
    // Why the one known first goes and not the newcomer: it has waited longest, and a flood must not lock
    // the door behind it.
    dropLabel(first.item)
    return first.item == label ? .orphan : .early
  }

  /// Moves the labels' watermark; entries and labels whose time is over leave in order of time, then offset.
  ///
  /// Returns how many waiting entries expired. Where the settings say so each becomes a negative example.
  @discardableResult
  public func advance(labelWatermark: EventTime, into builder: ExampleBlockBuilder) -> Int {
    guard self.labelWatermark < labelWatermark else { return 0 }
    self.labelWatermark = labelWatermark
    var expired = 0
    while let first = expiry.first, deadline(first.time) < labelWatermark.milliseconds {
      expiry.removeFirst()
      let words = entries.page(first.item)
      let at = entries.start(first.item)
      if words.words[at + Word.state] == State.waiting.rawValue {
        expired += 1
        counters.expired += 1
        waitingCount -= 1
        if settings.atHorizon == .negative {
          counters.negatives += 1
          emit(
            first.item, kind: .negative, value: 0, knownAt: deadline(first.time), labelOffset: -1,
            into: builder)
        }
      } else {
        counters.forgotten += 1
        settledCount -= 1
      }
      removeEntry(first.item)
    }
    while let first = labelExpiry.first, deadline(first.time) < labelWatermark.milliseconds {
      dropLabel(first.item)
    }
    return expired
  }

  /// Whether labels wait for this admitted event: storing it will settle them.
  public func hasEarlyLabels(slot: UInt32) -> Bool {
    entries.page(slot).words[entries.start(slot) + Word.firstLabel] != SlotPages.none
  }

  /// Whether the next label, or the labels' watermark coming to `watermark`, could make a waiting label an orphan.
  public func dropsLabels(at watermark: EventTime) -> Bool {
    if labels.usedCount >= settings.earlyLabelsMax { return true }
    guard let first = labelExpiry.first else { return false }
    return deadline(first.time) < watermark.milliseconds
  }

  // MARK: Rules

  /// The last moment at which a label of an event of this time may be known; saturates.
  @inline(__always) func deadline(_ time: Int64) -> Int64 {
    let (sum, overflow) = time.addingReportingOverflow(settings.horizonMilliseconds)
    return overflow ? .max : sum
  }

  /// Whether every event that this label could be about would have expired by now.
  private func isHopeless(knownAt: Int64) -> Bool {
    deadline(knownAt) < labelWatermark.milliseconds
  }

  private func settle(
    _ slot: UInt32, value: Float, knownAt: Int64, labelOffset: Int64,
    into builder: ExampleBlockBuilder
  ) -> LabelDisposition {
    let page = entries.page(slot)
    let at = entries.start(slot)
    if knownAt > deadline(page.words.wide(at + Word.eventTime)) {
      counters.late += 1
      return .late
    }
    if page.words[at + Word.state] == State.waiting.rawValue {
      page.words[at + Word.state] = State.settled.rawValue
      waitingCount -= 1
      settledCount += 1
      counters.joined += 1
      page.words[at + Word.value] = value.bitPattern
      emit(
        slot, kind: .matured, value: value, knownAt: knownAt, labelOffset: labelOffset,
        into: builder)
      return .joined
    }
    if page.words[at + Word.value] == value.bitPattern {
      counters.duplicates += 1
      return .duplicate
    }
    counters.corrections += 1
    page.words[at + Word.value] = value.bitPattern
    emit(
      slot, kind: .correction, value: value, knownAt: knownAt, labelOffset: labelOffset,
      into: builder)
    return .correction
  }

  private func emit(
    _ slot: UInt32, kind: ExampleKind, value: Float, knownAt: Int64, labelOffset: Int64,
    into builder: ExampleBlockBuilder
  ) {
    let page = entries.page(slot)
    let at = entries.start(slot)
    builder.append(
      ExampleHeader(
        partition: partition, offset: Offset(page.words.wide(at + Word.offset)),
        labelOffset: Offset(labelOffset), kind: kind, value: value,
        knownAt: EventTime(milliseconds: knownAt), version: version(page, at)),
      words: page.words, at: at + Word.row)
  }

  func version(_ page: SlotPages.Page, _ at: Int) -> ModelVersion {
    ModelVersion(
      lineage: Lineage(page.words[at + Word.lineage]),
      sequence: Sequence(UInt64(bitPattern: page.words.wide(at + Word.sequence))))
  }
}
