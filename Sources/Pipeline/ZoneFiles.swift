import Features
import Records

/// The system's time zone data, `$TZDIR` or `/usr/share/zoneinfo`, read at start only.
///
/// What a zone says is part of a plan's digest, so two hosts with different data cannot pass for equal.
public struct ZoneFiles: Sendable {
  let surroundings: Surroundings
  public init(_ surroundings: Surroundings) { self.surroundings = surroundings }

  /// The rules of a named zone; nil where the name leads to no zone.
  public func rules(_ name: String) -> TimeZoneRules? {
    guard Self.isName(name) else { return nil }
    let directory = surroundings.variables["TZDIR"] ?? "/usr/share/zoneinfo"
    switch surroundings.read(Path.join(directory, name)) {
    case .failure: return nil  // The plan reports it at the expression that names the zone.
    case .success(let bytes):
      do throws(FormatError) {
        return try TimeZoneRules(tzif: bytes)
      } catch {
        return nil
      }
    }
  }

  /// `America/New_York`: no name can leave the directory.
  static func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 64
      && name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
        !part.isEmpty
          && part.utf8.allSatisfy {
            switch $0 {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f, 0x2b, 0x2d: true
            default: false
            }
          }
      }
  }
}
