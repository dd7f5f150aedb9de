// swift-tools-version: 6.2
import PackageDescription

/// Swift 6 mode, every use of unsafe memory marked, no warning tolerated.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableExperimentalFeature("Lifetimes"),
]
/// The folds run on one thread that owns their state. Debug builds, and with them all tests, check that no access to it
/// overlaps another; in release builds those checks are a quarter of the instructions that a record takes.
let folds: [SwiftSetting] =
  strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]
let tests: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

func module(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [],
  settings: [SwiftSetting] = strict
) -> Target {
  .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}
func suite(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: tests)
}

let package = Package(
  name: "millrace",
  products: [
    .executable(name: "millrace", targets: ["millrace"]),
    .executable(name: "millrace-bench", targets: ["Benchmarks"]),
    // Loaded into a worker by tests about clocks.
    .library(name: "FakeClock", type: .dynamic, targets: ["FakeClock"]),
  ],
  targets: [
    // The C doors: each imported by one module alone.
    .systemLibrary(name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(
      name: "CMicroHTTPD", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
    // The C library's allocator, which the module of the C library leaves out.
    .systemLibrary(name: "CMalloc"),
    .target(
      name: "CSimdJSON", cxxSettings: [.unsafeFlags(["-std=c++17", "-O2", "-ffp-contract=off"])],
      linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("stdc++")]),

    // The ladder: a module imports only modules above it. Pure down to Engine.
    module("Records", ["CSimdJSON", "COpenSSL"], settings: folds),
    module("Features", ["Records"], exclude: ["Expressions.md"], settings: folds),
    module("Models", ["Records"], settings: folds),
    module("Learning", ["Records", "Models"], settings: folds),
    module("Checkpoints", ["Records"]),
    module("Engine", ["Records", "Features", "Models", "Learning", "Checkpoints"], settings: folds),
    module("Pipeline", ["Records", "Features", "Models", "Learning", "Engine", "CYAML"]),
    module("Kafka", ["CRdKafka", "Records"]),
    module("Storage", ["Records", "Checkpoints"]),
    module("Worker", ["Engine", "Pipeline", "Kafka", "Storage", "CMalloc"]),
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
    // What a run has to leave in its topics, told from its inputs: judges real brokers and simulated ones.
    .target(
      name: "RunChecker",
      dependencies: ["Records", "Features", "Learning", "Checkpoints", "Engine", "Pipeline"], path: "Tests/RunChecker",
      swiftSettings: tests),
    // The whole worker on a real broker.
    .testTarget(
      name: "IntegrationTests",
      dependencies: [
        "Records", "Features", "Learning", "Checkpoints", "Engine", "Pipeline", "Kafka", "Storage", "Worker",
        "TestSupport", "RunChecker",
      ], exclude: ["Resources"], swiftSettings: tests),
    // The whole worker on a simulated cluster, disk and clock.
    .target(name: "CStacks", path: "Tests/CStacks"),
    .target(name: "FakeClock", path: "Tests/FakeClock"),
    .testTarget(
      name: "SimulationTests",
      dependencies: [
        "Records", "Learning", "Checkpoints", "Engine", "Pipeline", "Kafka", "CRdKafka", "Storage", "Worker", "RunChecker", "CStacks",
      ], path: "Tests/Simulation", swiftSettings: tests),
  ],
  cxxLanguageStandard: .cxx17
)

// With MILLRACE_TESTS=<suite> the package is that suite and what it stands on: a build of its own, such as the optimised
// one that simulates thousands of worlds, then costs nothing else.
if let suite = Context.environment["MILLRACE_TESTS"] {
  package.targets.removeAll { $0.type == .executable || $0.type == .test && $0.name != suite }
  package.products = []
}
