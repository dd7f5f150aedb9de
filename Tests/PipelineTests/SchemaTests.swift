import Testing

@testable import Pipeline

/// Schema, reference and variables come from the table that parses; what one knows, all know.
struct SchemaTests {
  @Test func `every key is in the reference, with a meaning`() {
    let fields = ConfigurationField.all()
    #expect(fields.count > 80)
    #expect(Set(fields.map(\.path)).count == fields.count)
    #expect(fields.allSatisfy { !$0.doc.isEmpty })
    #expect(
      fields.first { $0.path == "delivery.transaction.interval" }
        == ConfigurationField(
          path: "delivery.transaction.interval", type: "duration 1ms…1m", presence: "100ms",
          doc: "this long after its first.", variable: "MILLRACE_DELIVERY_TRANSACTION_INTERVAL"))
  }

  @Test func `the schema names every key, type and default`() {
    let schema = ConfigurationSchema.document().encoded()
    for field in ConfigurationField.all() {
      let name = field.path.split(separator: ".").last!.replacing("[]", with: "")
      if name != "<name>" { #expect(schema.contains("\"\(name)\":"), "\(field.path)") }
    }
    #expect(schema.contains(#""default":0.5"#))
    #expect(schema.contains(#""additionalProperties":false"#))
  }

  @Test func `no two settings share a variable, and no secret has one`() {
    let names = Overrides.variables.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(names.contains("MILLRACE_KAFKA_BOOTSTRAP"))
    #expect(Overrides.variables.allSatisfy { item in
      !["password", "key_password"].contains(item.path.split(separator: ".").last.map(String.init) ?? "")
    })
  }

  @Test func `every default is a value of its own type`() {
    // A configuration of required keys alone takes every default through the reader.
    let least = """
      version: 1
      pipeline: p
      inputs: {events: {topic: events, id: id, fields: {id: string, x: number}}}
      features: [{name: x, type: number}]
      model: {kind: ftrl}
      predict: {on: events}
      """
    let loaded = Flagship.load(least)
    #expect(loaded.faults.map(\.code) == [.noTrustedKeys])
    #expect(loaded.settings?.topics.learning == "p.learning")
    #expect(loaded.plan != nil)
  }

  @Test func `a plain name finds its nearest, a strange one none`() {
    #expect(closestName(to: "lanse", among: ["lanes", "late"]) == "lanes")
    #expect(closestName(to: "zzz", among: ["lanes", "late"]) == nil)
  }

  @Test func `JSON texts are escaped and ordered`() {
    let value = JSONText.object([
      ("b", .array([.integer(1), .null, .number(.nan)])), ("a\"", .string("x\n\u{1}\\é")),
    ])
    #expect(value.encoded() == #"{"b":[1,null,null],"a\"":"x\n\u0001\\é"}"#)
  }

  @Test func `zone names cannot leave their directory`() {
    for name in ["", "/etc/passwd", "../etc/passwd", "a/../b", "a//b", "a\0b", "Europe/Berlin/"] {
      #expect(!ZoneFiles.isName(name))
    }
    for name in ["UTC", "America/New_York", "Etc/GMT+5", "America/Argentina/Buenos_Aires"] {
      #expect(ZoneFiles.isName(name))
    }
  }
}
