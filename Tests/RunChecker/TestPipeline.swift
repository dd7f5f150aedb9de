import Engine
import Features
import Foundation
import Pipeline
import Records

/// The tests' own pipeline under a name, loaded as the worker loads it.
struct TestPipeline {
  static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("IntegrationTests/Resources/pipeline.yaml").path
  static let partitions: Int32 = 3

  let variables: [String: String]
  let settings: PipelineSettings
  let plan: EnginePlan

  struct Faulty: Error, CustomStringConvertible { var description: String }

  init(
    name: String, bootstrap: String = "127.0.0.1:1", directory: String = "/nowhere", instance: String = "one",
    operatorKey: String = "/nowhere/operator.pub"
  ) throws {
    variables = [
      "PIPELINE": name, "KAFKA_BOOTSTRAP": bootstrap, "STATE_DIRECTORY": directory, "INSTANCE": instance,
      "OPERATOR_KEY": operatorKey,
    ]
    let files = Surroundings.process()
    // Without a directory there is no key file; a key there must be.
    let key = try Ed25519.PrivateKey(seed: [UInt8](repeating: 7, count: 32)).publicKey.pem()
    let surroundings = Surroundings(variables: variables) { path in
      path == "/nowhere/operator.pub" ? .success(Array(key.utf8)) : files.read(path)
    }
    let loaded = PipelineLoader.load(files: [Self.file], surroundings: surroundings)
    guard let settings = loaded.settings else {
      throw Faulty(description: loaded.faults.map { "\($0)" }.joined(separator: "\n"))
    }
    self.settings = settings
    let features = try FeaturePlan.compile(settings.features, zones: { _ in nil }).get()
    plan = EnginePlan(
      features: features, join: settings.join, threshold: Float(settings.decisionThreshold),
      contenderCount: settings.learning.contenders.count)
  }
}
