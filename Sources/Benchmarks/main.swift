import CAllocationCount
import Engine
import Glibc
import Pipeline

// millrace-bench --config FILE --play FILE [--rounds N] [--only pipeline|learner|recovery]
// millrace-bench --config FILE --play FILE --write FILE --repetitions N
//
// Measures what needs no broker, on a recorded stream, and prints the figures as JSON. With --write it measures
// nothing, and writes the stream so many times over, each repetition later in time and under new ids.

func note(_ line: String) {
  let bytes = Array((line + "\n").utf8)
  // SAFETY: the array lives across the call. What cannot be said is lost; the exit code tells the outcome.
  _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

func ended(_ message: String, _ code: Int32) -> Never {
  note("millrace-bench: \(message)")
  exit(code)
}

var values: [String: String] = [:]
var words = CommandLine.arguments.dropFirst()
while let word = words.popFirst() {
  switch word {
  case "--config", "--play", "--rounds", "--only", "--write", "--repetitions":
    guard let value = words.popFirst() else { ended("\(word) needs a value", 64) }
    values[word] = value
  default: ended("unknown word \(word)", 64)
  }
}
guard let config = values["--config"], let play = values["--play"] else {
  ended("--config FILE --play FILE [--rounds N] [--only pipeline|learner|recovery]", 64)
}
guard let rounds = Int(values["--rounds"] ?? "7"), rounds >= 1 else { ended("--rounds needs a number", 64) }

do {
  let loaded = PipelineLoader.load(files: [config])
  let settings = try loaded.get()
  guard let features = loaded.plan else { ended("a valid pipeline without a plan", 70) }
  let plan = EnginePlan(
    features: features, join: settings.join, threshold: Float(settings.decisionThreshold),
    contenderCount: settings.learning.contenders.count)
  let stream = try RecordedStream(playing: play, inputs: plan.inputs)
  if let path = values["--write"] {
    guard let count = Int(values["--repetitions"] ?? ""), count >= 1 else { ended("--repetitions needs a number", 64) }
    try stream.write(repetitions: count, to: path)
    exit(0)
  }
  var figures: [Figure] = []
  let bench = PipelineBench(plan: plan, settings: settings, stream: stream, rounds: rounds)
  if values["--only"] != "recovery" {
    let pipeline = try bench.run()
    figures += pipeline.figures
    if values["--only"] != "pipeline" {
      figures += try LearnerBench(settings: settings, blocks: pipeline.blocks, rounds: rounds).run().figures
    }
  }
  if values["--only"] == nil || values["--only"] == "recovery" {
    figures += try RecoveryBench(plan: plan, settings: settings, stream: stream, rounds: rounds).run().figures
  }
  if values["--only"] == nil {
    let windows = try bench.windowBytes(keys: 20_000)
    figures.append(
      Figure(
        "window state", Double(windows.bytes) / Double(max(windows.keys, 1)), "bytes/key",
        "\(windows.keys) live keys of all windows; by the plan \(features.bytesPerKey) for one key of every window"))
    let waiting = try bench.waitingBytes()
    figures.append(
      Figure("prediction that waits for its label", Double(waiting.bytes) / Double(max(waiting.waiting, 1)), "bytes", "\(waiting.waiting) of them"))
  }
  print(
    JSONText.object([
      ("allocations_counted", .bool(mr_allocations_are_counted() == 1)),
      ("figures", .array(figures.map(\.json))),
    ]).encoded(pretty: true))
} catch let faults as ConfigurationFaults {
  for fault in faults.faults { note(fault.text) }
  ended("the configuration is invalid", 78)
} catch {
  ended("\(error)", 1)
}
