import Records

extension Checkpoint {
  /// Reads what `CheckpointWriter` wrote. Every checksum is verified before any field of the state is
  /// believed; until then lengths only bound where the next checksum is looked for.
  ///
  /// `knownSections`: names the reader understands; nil (inspection) accepts all. A required section
  /// that is not among them refuses the file, an optional one is left out.
  public static func decode(
    _ bytes: [UInt8], knownSections: [String]? = nil
  ) throws(CheckpointError) -> Checkpoint {
    let frame = try Frame(bytes)
    // SAFETY: bytes have no padding; the span does not outlive this function.
    let whole = unsafe bytes.span.bytes
    guard CRC32C.of(whole.extracting(frame.head)) == frame.headChecksum else {
      throw .badChecksum(.identity, section: nil)
    }
    guard CRC32C.of(whole.extracting(frame.table)) == frame.tableChecksum else {
      throw .badChecksum(.table, section: nil)
    }
    let entries: [TableEntry]
    do {
      entries = try TableEntry.decode(
        Array(bytes[frame.table]), sectionBytes: frame.sections.count)
    } catch { throw .malformed(error) }

    var sections: [CheckpointSection] = []
    sections.reserveCapacity(entries.count)
    var at = frame.sections.lowerBound
    for entry in entries {
      let place = at..<(at + entry.byteCount)
      at = place.upperBound
      guard CRC32C.of(whole.extracting(place)) == entry.checksum else {
        throw .badChecksum(.section, section: entry.name)
      }
      sections.append(
        CheckpointSection(entry.name, Array(bytes[place]), required: entry.required))
    }
    let id = Digest.of(whole.extracting(0..<frame.digest.lowerBound))
    guard id.bytes == Array(bytes[frame.digest]) else { throw .badChecksum(.file, section: nil) }

    let identity: CheckpointIdentity
    do { identity = try CheckpointIdentity(decoding: Array(bytes[frame.head])) } catch { throw .malformed(error) }
    if let knownSections {
      for section in sections where section.required && !knownSections.contains(section.name) {
        throw .unknownRequiredSection(section.name)
      }
      sections.removeAll { !knownSections.contains($0.name) }
    }
    return Checkpoint(id: id, identity: identity, sections: sections)
  }
}

/// Where the parts of a file lie: header and footer only, every length checked against the others.
private struct Frame {
  let head: Range<Int>
  let sections: Range<Int>
  let table: Range<Int>
  let digest: Range<Int>
  let headChecksum: UInt32
  let tableChecksum: UInt32

  init(_ bytes: [UInt8]) throws(CheckpointError) {
    typealias Layout = CheckpointLayout
    guard bytes.count >= Layout.headerBytes,
      Array(bytes[..<Layout.magic.count]) == Layout.magic
    else { throw .notACheckpoint }
    do {
      var header = ByteReader(bytes[Layout.magic.count..<Layout.headerBytes])
      let version = try header.read(UInt32.self, "format version")
      guard version == Checkpoint.formatVersion else {
        throw CheckpointError.unsupportedVersion(version)
      }
      let headBytes = Int(try header.read(UInt32.self, "identity bytes"))
      let total = try header.read(UInt64.self, "file bytes")
      guard total == UInt64(bytes.count),
        bytes.count >= Layout.headerBytes + Layout.footerBytes,
        Array(bytes[(bytes.count - Layout.endMagic.count)...]) == Layout.endMagic
      else {
        throw CheckpointError.torn(bytesExpected: total, bytesFound: UInt64(bytes.count))
      }
      let footerStart = bytes.count - Layout.footerBytes
      var footer = ByteReader(bytes[footerStart...])
      headChecksum = try footer.read(UInt32.self, "identity CRC32C")
      tableChecksum = try footer.read(UInt32.self, "table CRC32C")
      let tableBytes = UInt64(try footer.read(UInt32.self, "table bytes"))
      let sectionBytes = try footer.read(UInt64.self, "section bytes")
      // Each term is bounded by the file before the sum is taken, so that it cannot overflow.
      let available = UInt64(footerStart - Layout.headerBytes)
      guard UInt64(headBytes) <= available, tableBytes <= available, sectionBytes <= available,
        UInt64(headBytes) + tableBytes + sectionBytes == available
      else {
        throw CheckpointError.malformed(
          FormatError(.invalidValue, at: footerStart, field: "lengths"))
      }
      head = Layout.headerBytes..<(Layout.headerBytes + headBytes)
      sections = head.upperBound..<(head.upperBound + Int(sectionBytes))
      table = sections.upperBound..<footerStart
      let digestStart = bytes.count - Layout.endMagic.count - Layout.digestBytes
      digest = digestStart..<(digestStart + Layout.digestBytes)
    } catch let error as CheckpointError {
      throw error
    } catch let error as FormatError {
      throw .malformed(error)
    } catch {
      preconditionFailure("only the two errors above are thrown")
    }
  }
}

private struct TableEntry {
  let name: String
  let required: Bool
  let byteCount: Int
  let checksum: UInt32

  static func decode(_ bytes: [UInt8], sectionBytes: Int) throws(FormatError) -> [TableEntry] {
    var reader = ByteReader(bytes)
    // The shortest entry: an empty name's length, flags, byte count, checksum.
    let count = try reader.readCount(itemBytes: 14, "section count")
    guard count <= Checkpoint.sectionCountMax else {
      throw FormatError(.invalidValue, at: 0, field: "section count")
    }
    var entries: [TableEntry] = []
    entries.reserveCapacity(count)
    var left = UInt64(sectionBytes)
    for _ in 0..<count {
      let at = reader.position
      let name = try reader.readString("section name")
      guard !entries.contains(where: { $0.name == name }) else {
        throw FormatError(.invalidValue, at: at, field: "section name used twice")
      }
      let flags = try reader.read(UInt8.self, "section flags")
      guard flags & ~CheckpointLayout.requiredFlag == 0 else {
        throw FormatError(.invalidValue, at: at, field: "section flags")
      }
      let byteCount = try reader.read(UInt64.self, "section bytes")
      guard byteCount <= left else { throw FormatError(.truncated, at: at, field: "section bytes") }
      left -= byteCount
      let checksum = try reader.read(UInt32.self, "section CRC32C")
      entries.append(
        TableEntry(
          name: name, required: flags & CheckpointLayout.requiredFlag != 0,
          byteCount: Int(byteCount), checksum: checksum))
    }
    try reader.expectEnd()
    guard left == 0 else {
      throw FormatError(.trailingBytes, at: reader.position, field: "section bytes")
    }
    return entries
  }
}
