// swift-tools-version: 6.2
import PackageDescription

/// Swift 6 mode, every use of unsafe memory marked, no warning tolerated.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableExperimentalFeature("Lifetimes"),
]
let tests: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

func module(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
  .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}
func suite(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: tests)
}

let package = Package(
  name: "millrace",
  products: [
    .executable(name: "millrace", targets: ["millrace"]),
    .executable(name: "millrace-bench", targets: ["Benchmarks"]),
  ],
  targets: [
    // The C doors: each imported by one module alone.
    .systemLibrary(name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(
      name: "CMicroHTTPD", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
    .target(
      name: "CSimdJSON", cxxSettings: [.unsafeFlags(["-std=c++17", "-O2", "-ffp-contract=off"])],
      linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("stdc++")]),

    // The ladder: a module imports only modules above it. Pure down to Engine.
    module("Records", ["CSimdJSON", "COpenSSL"]),
    module("Features", ["Records"], exclude: ["Expressions.md"]),
    module("Models", ["Records"]),
    module("Learning", ["Records", "Models"]),
    module("Checkpoints", ["Records"]),
    module("Engine", ["Records", "Features", "Models", "Learning", "Checkpoints"]),
    module("Pipeline", ["Records", "Features", "Models", "Learning", "Engine", "CYAML"]),
    module("Kafka", ["CRdKafka", "Records"]),
    module("Storage", ["Records", "Checkpoints"]),
    module("Worker", ["Engine", "Pipeline", "Kafka", "Storage"]),
    module("Console", ["Records", "CMicroHTTPD"]),
    .executableTarget(
      name: "millrace", dependencies: ["Pipeline", "Kafka", "Worker", "Console"], swiftSettings: strict),

    // Replaces the process's allocator by one that counts: for benchmarks and their tests, never for the worker.
    .target(name: "CAllocationCount"),
    .executableTarget(
      name: "Benchmarks", dependencies: ["Pipeline", "CAllocationCount"], swiftSettings: strict),

    suite("RecordsTests", ["Records"]),
    suite("FeaturesTests", ["Features"]),
    suite("ModelsTests", ["Models"]),
    suite("LearningTests", ["Learning"]),
    suite("CheckpointsTests", ["Checkpoints"]),
    suite("EngineTests", ["Engine", "CAllocationCount"]),
    suite("PipelineTests", ["Pipeline"]),
    // A broker for tests that need a real one.
    .target(
      name: "TestSupport", dependencies: ["Kafka"], path: "Tests/Support",
      swiftSettings: [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]),
    suite("KafkaTests", ["Kafka", "CRdKafka", "TestSupport"]),
    suite("StorageTests", ["Storage"]),
    suite("WorkerTests", ["Worker", "TestSupport"]),
    suite("ConsoleTests", ["Console"]),
    suite("MillraceTests", ["millrace"]),
    // The whole worker on a real broker, and the checker that judges what it left behind.
    .testTarget(
      name: "IntegrationTests",
      dependencies: [
        "Records", "Features", "Learning", "Checkpoints", "Engine", "Pipeline", "Kafka", "Storage", "Worker",
        "TestSupport",
      ], exclude: ["Resources"], swiftSettings: tests),
  ],
  cxxLanguageStandard: .cxx17
)
