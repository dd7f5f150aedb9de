import Records

/// Entries by id, and the labels that wait under them: how a join's records are linked.
extension LabelJoin {
  @inline(__always) func find(_ hash: UInt64, _ id: RawSpan) -> UInt32 {
    var probe = table.probe(UInt32(truncatingIfNeeded: hash))
    while let slot = table.next(&probe) {
      let page = entries.page(slot)
      let at = entries.start(slot)
      if texts.equals(
        page.words[at + Word.text], length: Int(page.words[at + Word.textLength]), id)
      {
        return slot
      }
    }
    return SlotPages.none
  }

  /// A new entry in state early, without labels.
  func makeEntry(_ hash: UInt64, _ id: RawSpan) -> UInt32 {
    let slot = entries.allocate()
    let page = entries.page(slot)
    let at = entries.start(slot)
    page.words[at + Word.text] = texts.store(id)
    page.words[at + Word.textLength] = UInt32(id.byteCount)
    page.words[at + Word.state] = State.early.rawValue
    page.words[at + Word.hash] = UInt32(truncatingIfNeeded: hash)
    page.words[at + Word.firstLabel] = SlotPages.none
    page.words[at + Word.lastLabel] = SlotPages.none
    table.insert(UInt32(truncatingIfNeeded: hash), slot)
    return slot
  }

  func removeEntry(_ slot: UInt32) {
    let page = entries.page(slot)
    let at = entries.start(slot)
    table.remove(page.words[at + Word.hash], slot)
    texts.release(page.words[at + Word.text])
    entries.release(slot)
  }

  // MARK: Labels that came first

  /// Adds a label to those that wait under `entry`.
  func keep(_ entry: UInt32, value: Float, knownAt: Int64, offset: Int64) -> UInt32 {
    let label = labels.allocate()
    let page = labels.page(label)
    let at = labels.start(label)
    page.words[at + LabelWord.entry] = entry
    page.words[at + LabelWord.next] = SlotPages.none
    page.words[at + LabelWord.value] = value.bitPattern
    page.words.setWide(at + LabelWord.knownAt, knownAt)
    page.words.setWide(at + LabelWord.offset, offset)
    let entryPage = entries.page(entry)
    let entryAt = entries.start(entry)
    let last = entryPage.words[entryAt + Word.lastLabel]
    if last == SlotPages.none {
      entryPage.words[entryAt + Word.firstLabel] = label
    } else {
      labels.page(last).words[labels.start(last) + LabelWord.next] = label
    }
    entryPage.words[entryAt + Word.lastLabel] = label
    labelExpiry.add(time: knownAt, offset: offset, item: label)
    return label
  }

  /// A waiting label becomes an orphan; its entry goes with its last label if no event ever came.
  func dropLabel(_ label: UInt32) {
    counters.orphans += 1
    let entry = labels.page(label).words[labels.start(label) + LabelWord.entry]
    let page = entries.page(entry)
    let at = entries.start(entry)
    var previous = SlotPages.none
    var current = page.words[at + Word.firstLabel]
    while current != label {
      previous = current
      current = labels.page(current).words[labels.start(current) + LabelWord.next]
    }
    let next = labels.page(label).words[labels.start(label) + LabelWord.next]
    if previous == SlotPages.none {
      page.words[at + Word.firstLabel] = next
    } else {
      labels.page(previous).words[labels.start(previous) + LabelWord.next] = next
    }
    if next == SlotPages.none { page.words[at + Word.lastLabel] = previous }
    labelExpiry.remove(item: label)
    labels.release(label)
    if page.words[at + Word.firstLabel] == SlotPages.none,
      page.words[at + Word.state] == State.early.rawValue
    {
      removeEntry(entry)
    }
  }
}
