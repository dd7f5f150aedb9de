import Records

// One file format for partition state and model state.
//
// Constraints: little-endian; at most 2^63 - 1 bytes; at most 1024 sections; section names are
// UTF-8 and unique; the parts follow each other without gaps, so that every byte is covered by a
// checksum and the same content has one encoding. The footer comes last: a file that lacks its end is
// torn. Version 1.
//
//   header    magic 8 | format version u32 | identity bytes u32 | file bytes u64
//   identity  see CheckpointIdentity
//   sections  the bytes of each, in the order of the table
//   table     count varint | per section: name | flags u8 (bit 0: required) | bytes u64 | CRC32C u32
//   footer    identity CRC32C u32 | table CRC32C u32 | table bytes u32 | section bytes u64
//             | SHA-256 of all that precedes it, 32 | end magic 8

/// Why bytes are not a checkpoint that may be believed.
public enum CheckpointError: Error, Hashable, Sendable {
  /// Shorter than any checkpoint, or it begins otherwise.
  case notACheckpoint
  case unsupportedVersion(UInt32)
  /// The file says another length than it has, or its end is missing: torn.
  case torn(bytesExpected: UInt64, bytesFound: UInt64)
  /// A checksum differs. `section` is set where the damage lies in one section.
  case badChecksum(CheckpointPart, section: String?)
  /// Checksums hold, yet the content breaks the format: written by a faulty writer.
  case malformed(FormatError)
  /// The writer says that a reader without this section must not use the file.
  case unknownRequiredSection(String)
  /// The reader asked for a section which is not there.
  case missingSection(String)
}

public enum CheckpointPart: String, Hashable, Sendable {
  case identity, table, section, file
}

/// A named part of the state.
public struct CheckpointSection: Hashable, Sendable {
  public var name: String
  public var bytes: [UInt8]
  /// A reader that does not know this section must refuse the file.
  public var required: Bool
  public init(_ name: String, _ bytes: [UInt8], required: Bool = true) {
    self.name = name
    self.bytes = bytes
    self.required = required
  }
}

/// A verified checkpoint, or one about to be written.
///
/// Cost:     encode and decode are O(bytes): one CRC32C and one SHA-256 pass, one copy.
/// Errors:   `CheckpointError`; total on any bytes.
/// Replay:   the same content gives the same bytes on every host.
public struct Checkpoint: Hashable, Sendable {
  public static let formatVersion: UInt32 = 1
  public static let sectionCountMax = 1024

  /// SHA-256 of the file's content: what claims, parents and blob names refer to.
  public let id: Digest
  public let identity: CheckpointIdentity
  /// In the order they were written; unknown optional sections are left out.
  public let sections: [CheckpointSection]

  public func section(_ name: String) throws(CheckpointError) -> [UInt8] {
    for section in sections where section.name == name { return section.bytes }
    throw .missingSection(name)
  }
  public func reader(_ name: String) throws(CheckpointError) -> ByteReader {
    ByteReader(try section(name))
  }
}

enum CheckpointLayout {
  /// The first byte has its high bit set, and a line end of each kind follows: a transfer that
  /// changed text or cut to seven bits is seen at once.
  static let magic: [UInt8] = [0x8D] + Array("MRCK\r\n".utf8) + [0x1A]
  static let endMagic: [UInt8] = Array("KCRM.end".utf8)
  static let headerBytes = 8 + 4 + 4 + 8
  static let digestBytes = 32
  static let footerBytes = 4 + 4 + 4 + 8 + digestBytes + 8
  static let requiredFlag: UInt8 = 1
}

/// Gathers identity and sections and encodes them as one file.
///
/// Errors:   more than `Checkpoint.sectionCountMax` sections or a name used twice are programmer errors.
public struct CheckpointWriter: Sendable {
  public var identity: CheckpointIdentity
  public private(set) var sections: [CheckpointSection] = []

  public init(_ identity: CheckpointIdentity) { self.identity = identity }

  public mutating func add(_ name: String, _ bytes: [UInt8], required: Bool = true) {
    precondition(sections.count < Checkpoint.sectionCountMax, "too many sections")
    precondition(!sections.contains { $0.name == name }, "section name used twice")
    sections.append(CheckpointSection(name, bytes, required: required))
  }

  /// The file's bytes and its id.
  public func encode() -> (bytes: [UInt8], id: Digest) {
    var head = ByteWriter()
    identity.encode(into: &head)
    var table = ByteWriter()
    table.writeVarint(UInt64(sections.count))
    var sectionBytes = 0
    for section in sections {
      table.write(section.name)
      table.write(section.required ? CheckpointLayout.requiredFlag : 0)
      table.write(UInt64(section.bytes.count))
      table.write(CRC32C.of(section.bytes))
      sectionBytes += section.bytes.count
    }
    let total =
      CheckpointLayout.headerBytes + head.count + sectionBytes + table.count
      + CheckpointLayout.footerBytes

    var file = ByteWriter(capacity: total)
    file.write(raw: CheckpointLayout.magic)
    file.write(Checkpoint.formatVersion)
    file.write(UInt32(head.count))
    file.write(UInt64(total))
    file.write(raw: head.bytes)
    for section in sections { file.write(raw: section.bytes) }
    file.write(raw: table.bytes)
    file.write(CRC32C.of(head.bytes))
    file.write(CRC32C.of(table.bytes))
    file.write(UInt32(table.count))
    file.write(UInt64(sectionBytes))
    let id = Digest.of(file.bytes)
    file.write(raw: id.bytes)
    file.write(raw: CheckpointLayout.endMagic)
    assert(file.count == total, "the layout's sum is its length")
    return (file.bytes, id)
  }
}
