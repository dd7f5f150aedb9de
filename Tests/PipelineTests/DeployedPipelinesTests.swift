import Features
import Pipeline
import Testing

/// The pipelines that ship are read as they stand in `deploy/pipelines`, time zones of the system included.
@Suite struct DeployedPipelinesTests {
  static func path(_ name: String) -> String {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    return "/\(root)/deploy/pipelines/\(name)/pipeline.yaml"
  }

  static func load(_ name: String, over: String? = nil) -> LoadedPipeline {
    let surroundings = Surroundings(variables: ["HOSTNAME": "worker-1"]) { path in
      path == "over.yaml" ? .success(Array((over ?? "").utf8)) : Surroundings.readFile(path)
    }
    return PipelineLoader.load(
      files: [path(name)] + (over == nil ? [] : ["over.yaml"]), surroundings: surroundings)
  }

  /// Rules of the system's own time zone files.
  static func zone(_ name: String) -> TimeZoneRules? {
    guard case .success(let bytes) = Surroundings.readFile("/usr/share/zoneinfo/\(name)") else { return nil }
    return try? TimeZoneRules(tzif: bytes)
  }

  @Test(arguments: ["flight-delay", "card-fraud"])
  func `a pipeline that ships has no error`(_ name: String) throws {
    let loaded = Self.load(name)
    #expect(loaded.errors.isEmpty, "\(loaded.errors)")
    let settings = try loaded.get()
    #expect(settings.name == name)
    #expect(settings.learning.contenders.count == 3)
    #expect(settings.features.labelInput == 2)
    switch FeaturePlan.compile(settings.features, zones: Self.zone) {
    case .success(let plan): #expect(plan.rowSchema.columns.count == settings.features.features.count)
    case .failure(let faults): Issue.record("\(faults)")
    }
  }

  @Test func `what belongs to one run is laid over in JSON`() throws {
    let over = """
      {"kafka": {"bootstrap": "127.0.0.1:19092"}, "worker": {"instance": "demo"}, "errors": {"then": "continue"},
       "pipeline": "demo-1.flight-delay", "inputs": {"arrivals": {"topic": "demo-1.flights.arrivals.v1"}}}
      """
    let settings = try Self.load("flight-delay", over: over).get()
    #expect(settings.kafka.bootstrap == "127.0.0.1:19092")
    #expect(settings.worker.instance == "demo")
    #expect(settings.errors.then == .carryOn)
    #expect(settings.features.inputs[2].topic == "demo-1.flights.arrivals.v1")
    #expect(settings.features.inputs[2].idField != nil)
  }
}
