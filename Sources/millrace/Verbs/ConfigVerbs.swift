import Pipeline

/// `millrace config show`: prints also what is faulty, so that its origin can be seen; then says so.
func configShow(_ invocation: Invocation) throws -> ExitCode {
  let loaded = try invocation.pipeline()
  if let effective = loaded.effective {
    if invocation.wantsJSON {
      guard invocation.has("origin") else {
        invocation.output.result(effective.json().encoded(pretty: true))
        return try ended(loaded)
      }
      let values = effective.leaves().map { leaf in
        JSONText.object([
          ("path", .string(leaf.path)), ("value", leaf.json()), ("origin", .string(leaf.place.description)),
        ])
      }
      invocation.output.result(JSONText.array(values).encoded(pretty: true))
    } else {
      invocation.output.write(effective.yaml(origin: invocation.has("origin")))
    }
  }
  return try ended(loaded)
}

private func ended(_ loaded: LoadedPipeline) throws -> ExitCode {
  guard loaded.errors.isEmpty else { throw ConfigurationFaults(loaded.errors) }
  return .done
}

func configSchema(_ invocation: Invocation) throws -> ExitCode {
  invocation.output.result(ConfigurationSchema.document().encoded(pretty: true))
  return .done
}

/// `millrace config fields`: a Markdown table, or one JSON object a key.
func configFields(_ invocation: Invocation) throws -> ExitCode {
  let fields = ConfigurationField.all()
  if invocation.wantsJSON {
    let values = fields.map { field in
      JSONText.object([
        ("path", .string(field.path)), ("type", .string(field.type)),
        ("default", .string(field.presence)), ("variable", .string(field.variable)),
        ("doc", .string(field.doc)),
      ])
    }
    invocation.output.result(JSONText.array(values).encoded(pretty: true))
    return .done
  }
  invocation.output.result("| key | type | default | variable | meaning |\n| --- | --- | --- | --- | --- |")
  func cell(_ text: String) -> String {
    text.replacing("|", with: "\\|").replacing("<", with: "&lt;").replacing("\n", with: " ")
  }
  for field in fields {
    let variable = field.variable.isEmpty ? "" : "`\(field.variable)`"
    invocation.output.result(
      "| `\(field.path)` | \(cell(field.type)) | \(cell(field.presence)) | \(variable) | \(cell(field.doc)) |")
  }
  return .done
}
