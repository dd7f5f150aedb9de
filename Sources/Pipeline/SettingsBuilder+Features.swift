import Features
import Learning
import Models
import Records

extension SettingsBuilder {
  mutating func featureSettings() -> FeatureSettings {
    let inputs = root["inputs"]?.members.map { input($0) } ?? []
    let names = inputs.map(\.name)

    let scored = index(of: item("predict.on"), among: names) ?? 0
    let labels = item("labels.from")
    let label = index(of: labels, among: names)
    if inputs.indices.contains(scored), let on = item("predict.on"), on.text == names[scored] {
      if inputs[scored].idField == nil, !isUnread("inputs.\(names[scored]).id") {
        fault(.contradiction, on, "the scored input '\(names[scored])' has no id, so its predictions could not be told apart",
          hint: "inputs.\(names[scored]).id: the field that names an event")
      }
      if let key = item("predict.output.key"), let text = key.text, inputs[scored].keyField != inputs[scored].index(of: text) || inputs[scored].keyField == nil {
        fault(.contradiction, key, "predictions keep the key of the scored input, which is not '\(text)'",
          hint: inputs[scored].keyField.map { inputs[scored].fields[$0].name } ?? "declare inputs.\(names[scored]).key")
      }
    }
    if let labels, let label, inputs[label].idField == nil, !isUnread("inputs.\(names[label]).id") {
      fault(.contradiction, labels, "the label input '\(names[label])' has no id, so labels could not find their events",
        hint: "inputs.\(names[label]).id: the field that names the event a label is about")
    }

    var windows: [WindowDeclaration] = []
    for entry in root["windows"]?.items ?? [] { windows.append(window(entry, inputs, scored)) }
    checkNames(root["windows"]?.items ?? [], "window")
    var features: [FeatureDeclaration] = []
    for entry in root["features"]?.items ?? [] {
      features.append(
        FeatureDeclaration(
          name: entry["name"]?.text ?? "", expression: entry["expr"]?.text ?? "",
          kind: entry["type"]?.text == "category" ? .category : .number,
          missing: FeatureDeclaration.Missing(rawValue: entry["missing"]?.text ?? "") ?? .indicator))
    }
    checkNames(root["features"]?.items ?? [], "feature")
    return FeatureSettings(
      inputs: inputs, scoredInput: scored, labelInput: label,
      target: item("labels.target")?.text ?? "", windows: windows, features: features,
      windowKeysMax: item("window_keys_max")?.integer ?? 1)
  }

  /// A value that a fault was already reported for, so that its absence proves nothing.
  private func isUnread(_ path: String) -> Bool { item(path) != nil }

  private mutating func checkNames(_ entries: [ConfigurationItem], _ what: String) {
    var seen: [String: ConfigurationItem] = [:]
    for entry in entries {
      guard let name = entry["name"], let text = name.text else { continue }
      if let first = seen[text] {
        fault(.duplicateName, name, "there are two \(what)s named '\(text)'", hint: "the other is at \(first.place)")
      } else {
        seen[text] = name
      }
    }
  }

  private mutating func index(of item: ConfigurationItem?, among names: [String]) -> Int? {
    guard let item, let name = item.text else { return nil }
    if let index = names.firstIndex(of: name) { return index }
    let close = didYouMean(name, among: names)
    fault(.unknownInput, item, "'\(item.path)': no input is named '\(name)'",
      hint: close.isEmpty ? "declared: \(names.joined(separator: ", "))" : close)
    return nil
  }

  private mutating func input(_ member: ConfigurationItem.Member) -> InputSchema {
    let entry = member.item
    var fields = entry["fields"]?.members.compactMap { FieldForm.declaration($0) } ?? []
    // A field whose type could not be read is still declared: only its own fault is told.
    let unread = Set(
      (entry["fields"]?.members ?? []).filter { FieldForm.declaration($0) == nil }.map(\.name))
    func role(
      _ key: String, _ types: [FieldType], _ what: String, _ builder: inout SettingsBuilder
    ) -> Int? {
      guard let item = entry[key], let name = item.text, !unread.contains(name) else { return nil }
      guard let index = fields.firstIndex(where: { $0.name == name }) else {
        if entry["fields"]?.isInvalid ?? true { return nil }
        let close = didYouMean(name, among: fields.map(\.name))
        builder.fault(.unknownField, item, "'\(item.path)': the input declares no field '\(name)'",
          hint: close.isEmpty ? "declare it in \(entry.path).fields" : close)
        return nil
      }
      guard types.contains(fields[index].type) else {
        builder.fault(.unusableField, item, "'\(item.path)': the field '\(name)' is a \(fields[index].type), but \(what)")
        return nil
      }
      // A record without its id, key or time can be used for nothing.
      fields[index].required = true
      return index
    }
    let id = role("id", [.string], "an id must be a string", &self)
    let key = role("key", [.string], "a key must be a string", &self)
    let time = role("event_time", [.time], "an event time must be a time", &self)
    return InputSchema(
      name: member.name, topic: entry["topic"]?.text ?? "", fields: fields, idField: id,
      keyField: key, eventTimeField: time,
      latenessMilliseconds: entry["late_after"]?.milliseconds ?? 0,
      futureMillisecondsMax: root["max_future"]?.milliseconds ?? 0,
      recordBytesMax: entry["record_bytes"]?.integer ?? 64)
  }

  private mutating func window(
    _ entry: ConfigurationItem, _ inputs: [InputSchema], _ scored: Int
  ) -> WindowDeclaration {
    let from = index(of: entry["from"], among: inputs.map(\.name))
    let by = entry["by"]?.items ?? []
    if let from, let list = entry["by"], !list.isInvalid, entry["scope"] == nil {
      // With the message key among them, all records of a key share a partition.
      let key = inputs[from].keyField.map { inputs[from].fields[$0].name }
      if !by.contains(where: { $0.text == key && key != nil }), !isUnread("inputs.\(inputs[from].name).key") || key != nil {
        fault(.scopeUnstated, list,
          "the window is not by the message key\(key.map { " '\($0)'" } ?? "") of '\(inputs[from].name)', so each partition would see only its own records",
          hint: "say scope: partition if that is meant")
      }
    }
    var range: ClosedRange<Double>?
    if let bounds = entry["range"]?.items, bounds.count == 2, let low = bounds[0].number,
      let high = bounds[1].number, low < high
    {
      range = low...high
    }
    return WindowDeclaration(
      name: entry["name"]?.text ?? "", from: from ?? 0, by: by.map { $0.text ?? "" },
      value: entry["value"]?.text ?? "", filter: entry["filter"]?.text ?? "",
      sizesMilliseconds: entry["sizes"]?.items.compactMap(\.milliseconds) ?? [],
      paneMilliseconds: entry["pane"]?.milliseconds,
      aggregates: entry["aggregates"]?.items.compactMap { Aggregate(rawValue: $0.text ?? "") } ?? [],
      resolution: entry["resolution"]?.number, range: range)
  }

  // MARK: contenders

  mutating func learning(_ features: [FeatureDeclaration]) -> LearningSettings {
    let columns = features.map { RowColumn(name: $0.name, kind: $0.kind) }
    let model = root["model"]
    let entries = [model].compactMap { $0 } + (root["challengers"]?.items ?? [])
    checkNames(entries, "contender")
    // The fold bounds what a log can make it hold; a charter beyond these is refused by every worker.
    if entries.count > LearningSettings.contendersMax, let list = root["challengers"] {
      fault(.outOfRange, list, "there are \(entries.count) contenders; at most \(LearningSettings.contendersMax) fold one log")
    }
    if columns.count > LearningSettings.columnsMax, let list = root["features"] {
      fault(.outOfRange, list, "there are \(columns.count) features; a row has at most \(LearningSettings.columnsMax)")
    }
    var contenders: [ContenderSettings] = []
    for entry in entries { contenders.append(contender(entry, model, columns, features)) }
    return LearningSettings(
      pipeline: item("pipeline")?.text ?? "", rowSchema: RowSchema(columns), contenders: contenders,
      keepEvery: UInt64(item("learning.keep_every")?.integer ?? 1),
      keep: item("learning.keep")?.integer ?? 1)
  }

  private mutating func contender(
    _ entry: ConfigurationItem, _ model: ConfigurationItem?, _ columns: [RowColumn],
    _ features: [FeatureDeclaration]
  ) -> ContenderSettings {
    let name = entry["name"]?.text ?? ""
    var without: [String] = []
    for absent in entry["without"]?.items ?? [] {
      guard let text = absent.text else { continue }
      if !columns.contains(where: { $0.name == text }) {
        let close = didYouMean(text, among: columns.map(\.name))
        fault(.unknownFeature, absent, "'\(absent.path)': no feature is named '\(text)'",
          hint: close.isEmpty ? "declared: \(columns.map(\.name).joined(separator: ", "))" : close)
      }
      without.append(text)
    }
    if entry["kind"]?.text == "base_rate" {
      for key in ["hash_bits", "rate", "beta", "l1", "l2", "crosses", "compress", "calibrate", "calibrate_rate"] {
        if let extra = entry[key] {
          fault(.contradiction, extra, "'\(extra.path)' has no use with the kind base_rate")
        }
      }
      if let extra = entry["without"], !extra.items.isEmpty {
        fault(.contradiction, extra, "the kind base_rate sees no features anyway")
      }
      return ContenderSettings(name: name, kind: .baseRate)
    }
    func value(_ key: String) -> ConfigurationItem? { entry[key] ?? model?[key] }
    func number(_ key: String, _ standard: Double) -> Float {
      Float(value(key)?.number ?? standard)
    }
    let used = columns.filter { !without.contains($0.name) }
    if used.isEmpty, !columns.isEmpty, let list = entry["without"] {
      fault(.contradiction, list, "the contender '\(name)' is left without any feature", hint: "kind: base_rate needs none")
    }
    if value("crosses")?.boolean ?? true, used.count > LearningSettings.crossedColumnsMax {
      fault(.contradiction, entry, "the contender '\(name)' crosses all pairs of \(used.count) features; at most \(LearningSettings.crossedColumnsMax) can be crossed",
        hint: "crosses: false, or name columns in 'without'")
    }
    if let rate = entry["calibrate_rate"], value("calibrate")?.text != "platt" {
      fault(.contradiction, rate, "'\(rate.path)' has no use without calibration", hint: "calibrate: platt")
    }
    return ContenderSettings(
      name: name,
      kind: .ftrl(
        FTRLSettings(
          alpha: number("rate", item("learning.rate")?.number ?? 0.05), beta: number("beta", 1),
          l1: number("l1", 0), l2: number("l2", 1e-6)),
        EncoderSettings(
          hashBits: value("hash_bits")?.integer ?? 18, columns: used,
          missingIndicators: features.filter { feature in
            feature.missing == .indicator && used.contains { $0.name == feature.name }
          }.map(\.name),
          crosses: value("crosses")?.boolean ?? true)),
      calibration: value("calibrate")?.text == "platt"
        ? .platt(rate: number("calibrate_rate", 0.01)) : .none)
  }
}
