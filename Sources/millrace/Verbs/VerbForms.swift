// The words and flags of each verb, apart from what it does: forms are data, bodies are code. A verb joins the
// table by `.name(body: function)` in Verbs.swift.

typealias VerbBody = @Sendable (Invocation) throws -> ExitCode

extension Verb {
  static func run(body: @escaping VerbBody) -> Verb {
    Verb(
      "run", "Run the worker.",
      discussion:
        "Consumes the inputs, scores, publishes and learns until SIGTERM or SIGINT; then drains and ends with 0. A second signal stops at once.",
      flags: [
        Flag("until-end", "End when every input has been read to its end."),
      ],
      examples: ["run --config deploy/pipelines/flight-delay/pipeline.yaml --set worker.lanes=2"], body: body)
  }

  static func check(body: @escaping VerbBody) -> Verb {
    Verb(
      "check", "Check configurations: keys, types, expressions, contradictions.",
      discussion:
        "Reads each pipeline given, or the one that --config names, without touching a broker, and lists every fault with file, line and column; of a valid pipeline also what was derived: panes, ranges and memory of each window. Ends with 78 if there is an error.",
      arguments: [
        Argument(value: .path("PATH"), required: false, repeats: true, doc: "Configuration file, or directory with a pipeline.yaml; one pipeline each.")
      ],
      flags: [
        Flag("format", .choice(["text", "json", "sarif"]), "Form of the findings; text by default, --json is --format json."),
        Flag("deny-warnings", "Let warnings count as errors."),
      ],
      examples: ["check deploy/pipelines/*/pipeline.yaml", "check --format sarif pipeline.yaml"], body: body)
  }

  static func produce(body: @escaping VerbBody) -> Verb {
    Verb(
      "produce", "Play a file into topics at the pace of event time.",
      discussion: "Each line of NDJSON goes to the topic and with the key that its input declares.",
      arguments: [Argument(value: .path("FILE"), doc: "NDJSON; - is stdin.")],
      flags: [
        Flag("speed", .either(["max"], .number("FACTOR", above: 0)), "Event time runs this many times as fast as the clock; max: as fast as it goes. 1 by default."),
        Flag("rate", .number("N", above: 0), "At most N records a second."),
        Flag("until", .text("TIME"), "Stop before the first event at or after this time (RFC 3339)."),
        Flag("input", .text("NAME"), "Input that all records belong to; without it each record names its own."),
      ],
      examples: ["produce flights.ndjson --speed 3600", "produce - --input schedules --speed max"], body: body)
  }

  static func replay(body: @escaping VerbBody) -> Verb {
    Verb(
      "replay", "Run a pipeline over files, without a broker, by the code of the worker.",
      discussion:
        "Of play files, as produce takes them, the model learns as it goes; a table of progressive metrics ends the run. Of raw taps of a live run (inputs, journal and learning) every prediction is computed again and must be the one that was served, bit for bit; a difference is told with topic, partition and offset and ends with 1.",
      flags: [
        Flag("input", .path("FILE"), repeats: true, required: true, "NDJSON as produce takes it, or records as tap --raw writes them; - is stdin."),
        Flag("emit", .choice(["predictions", "features", "examples"]), "What to print as NDJSON; without it only the table of progressive metrics."),
        Flag("partitions", .integer("N", 1...256), "Partitions of the inputs; 1 by default."),
        Flag("unit", .integer("N", 1...100_000), "Records a unit; the model learns between units. 256 by default."),
        Flag("from", .text("TIME"), "Begin with records at this time (RFC 3339)."),
        Flag("to", .text("TIME"), "End before records at this time."),
        Flag("against", .path("FILE"), "Raw tap of the predictions that a live run published: compare byte for byte."),
      ],
      examples: [
        "replay --input january.ndjson", "replay --input - --emit predictions",
        "replay --input inputs.tap --input journal.tap --input learning.tap --against predictions.tap",
      ], body: body)
  }

  static func verify(body: @escaping VerbBody) -> Verb {
    Verb(
      "verify", "Compute published predictions again from the topics, and compare.",
      discussion:
        "Reads inputs, journal, learning and predictions of the pipeline's own cluster; folds the model version by version, follows every partition along its journal, and compares each published prediction with what comes out: value, key, headers and timestamp, and every contender's score with the one served. Also tells what is missing, published twice, or explained by nothing. Where retention has cut the logs it begins at the earliest place that a checkpoint or the logs still lead to, and says so. Ends with 1 if anything differs, with 65 if the logs reach back to nothing that could be compared.",
      flags: [
        Flag("scored-by", .text("LINEAGE.SEQ"), "Only predictions that this version scored."),
        Flag("id", .text("EVENT"), "Only the prediction of this event."),
        Flag("partition", .integer("N", 0...Int(Int32.max)), "Only this partition."),
        Flag("limit", .integer("N", 1...Int.max), "Stop once N predictions were compared."),
        directory,
      ],
      examples: ["verify", "verify --scored-by 2.18002 --json", "verify --id F1234-20130115"], body: body)
  }

  static func account(body: @escaping VerbBody) -> Verb {
    Verb(
      "account", "Say what became of every record, from the topics alone.",
      discussion:
        "Follows every partition along its journal and counts, by partition and input: events scored, duplicate, dead-lettered or shed; labels joined, correction, duplicate, late, orphan, rejected or waiting for their event. The states must add up to the records that were consumed, and to the predictions, dead letters and examples that stand in the topics. With a running worker, what it exports is compared too. Ends with 1 if anything does not add up, with 65 if the logs no longer reach back.",
      flags: [
        Flag("worker", .text("http://HOST:PORT"), repeats: true, "Console of a running worker whose counts are compared; several workers hold different partitions."),
        Flag("partition", .integer("N", 0...Int(Int32.max)), "Only this partition."),
        directory,
      ],
      examples: ["account", "account --worker http://127.0.0.1:8080 --json"], body: body)
  }

  static func test(body: @escaping VerbBody) -> Verb {
    Verb(
      "test", "Run the unit tests beside a configuration.",
      discussion:
        "Each test of a *.test.yaml gives records, then an event, and says what features, score and decision come out; engines and model are fresh every time. Ends with 1 if a test fails.",
      arguments: [
        Argument(value: .path("PATH"), required: false, repeats: true, doc: "Configuration, its directory, or a test file.")
      ],
      flags: [Flag("filter", .text("TEXT"), "Run only tests with this in their name.")],
      examples: ["test deploy/pipelines/card-fraud", "test pipeline.test.yaml --filter storm"], body: body)
  }

  static func tap(body: @escaping VerbBody) -> Verb {
    Verb(
      "tap", "Print records of a topic.",
      arguments: [Argument(value: .text("TOPIC"), doc: "Topic, or the name of an input.")],
      flags: [
        Flag("raw", "One JSON object a record with partition, offset, timestamp, key, headers and payload, as replay reads it."),
        Flag("from", .either(["beginning", "end"], .integer("OFFSET", 0...Int.max)), "Where to begin in every partition; end by default."),
        Flag("limit", .integer("N", 1...Int.max), "Stop after N records."),
        Flag("until-end", "Stop at the end of every partition."),
      ],
      examples: ["tap flights.delay-predictions.v1 --from beginning --limit 10"], body: body)
  }

  static func demo(body: @escaping VerbBody) -> Verb {
    Verb(
      "demo", "Show the flagship pipeline on a broker started for it.",
      flags: [
        Flag("seconds", .number("N", above: 0), "How long the flights are played, all phases together; 110 by default."),
        Flag("keep", "Keep the folder with logs, play files and state."),
      ], body: body)
  }

  // MARK: control

  private static let commanding: [Flag] = [
    Flag("key", .path("FILE"), required: true, "PEM file with the operator's private key."),
    Flag("reason", .text("TEXT"), required: true, "Why; stands in the audit log."),
    Flag("expect-lineage", .integer("N", 0...Int(UInt32.max)), "Refuse the command unless the model is of this lineage."),
    Flag("dry-run", "Let every worker say what it would do, and do nothing."),
    Flag("timeout", .duration("TIME"), "How long to wait for all acknowledgements; 30s by default."),
  ]

  static func controlRollback(body: @escaping VerbBody) -> Verb {
    Verb(
      "control rollback", "Return every worker to a kept version of the model.",
      discussion: "All contenders return to the version under a new lineage. Prints old and new version, the acknowledgements, and how to undo it. Ends with 75 if acknowledgements are missing.",
      flags: [
        Flag("to", .either(["previous"], .text("VERSION|TAG|TIME")), required: true, "Kept version (7.184201), tag, the one before, or the last before a time (RFC 3339)."),
        Flag("then", .choice(["freeze", "continue"]), "Whether learning stops afterwards; freeze by default."),
      ] + commanding,
      examples: ["control rollback --to previous --then freeze --reason 'labels poisoned' --key keys/operator"], body: body)
  }
  static func controlFreeze(body: @escaping VerbBody) -> Verb {
    Verb("control freeze", "Stop learning; scoring goes on.", flags: commanding, body: body)
  }
  static func controlUnfreeze(body: @escaping VerbBody) -> Verb {
    Verb("control unfreeze", "Learn again.", flags: commanding, body: body)
  }
  static func controlTag(body: @escaping VerbBody) -> Verb {
    Verb(
      "control tag", "Keep the present version under a name.",
      arguments: [Argument(value: .text("NAME"), doc: "The tag.")], flags: commanding, body: body)
  }
  static func controlCharter(body: @escaping VerbBody) -> Verb {
    Verb(
      "control charter", "Put the declared learning settings in force.",
      discussion: "Prints how they differ from the charter in the learning log. Contenders whose encoder and rate stay the same keep what they learnt, the others begin anew; a new lineage opens, and versions kept before cannot be returned to. Columns and the number of contenders cannot change. With --dry-run the workers say what would become of each contender.",
      flags: commanding,
      examples: ["control charter --reason 'a higher rate' --key keys/operator --dry-run"], body: body)
  }
  static func controlStatus(body: @escaping VerbBody) -> Verb {
    Verb(
      "control status", "Show version, lineage and state hash of every worker.",
      flags: [Flag("timeout", .duration("TIME"), "How long to wait; 10s by default.")], body: body)
  }
  static func controlKeygen(body: @escaping VerbBody) -> Verb {
    Verb(
      "control keygen", "Make a key pair for an operator.",
      discussion: "Writes an Ed25519 private key to FILE, readable by its owner only, and the public key to FILE.pub; neither may exist. Workers trust the public key once control.trusted_keys names it.",
      flags: [Flag("out", .path("FILE"), required: true, "Where the private key goes.")],
      examples: ["control keygen --out keys/operator"], body: body)
  }

  // MARK: state, model and topics

  private static let directory = Flag("directory", .path("DIR"), "State directory; that of the configuration by default.")

  static func checkpointList(body: @escaping VerbBody) -> Verb {
    Verb("checkpoint ls", "List checkpoints.", flags: [directory], body: body)
  }
  static func checkpointInspect(body: @escaping VerbBody) -> Verb {
    Verb(
      "checkpoint inspect", "Show what a checkpoint holds.",
      arguments: [Argument(value: .path("FILE"), doc: "Checkpoint file.")], body: body)
  }
  static func checkpointVerify(body: @escaping VerbBody) -> Verb {
    Verb(
      "checkpoint verify", "Check every byte of checkpoints.",
      arguments: [Argument(value: .path("FILE"), required: false, repeats: true, doc: "Checkpoint files; all without it.")],
      flags: [directory], body: body)
  }
  static func modelList(body: @escaping VerbBody) -> Verb {
    Verb("model ls", "List kept versions of the model.", flags: [directory], body: body)
  }
  static func modelInspect(body: @escaping VerbBody) -> Verb {
    Verb(
      "model inspect", "Show a version: contenders, digests, metrics.",
      arguments: [Argument(value: .text("VERSION|TAG"), doc: "Kept version or tag.")], flags: [directory], body: body)
  }

  private static let catalogue = Argument(value: .path("DIR"), required: false, doc: "Directory of topic declarations; topics by default.")

  static func topicsPlan(body: @escaping VerbBody) -> Verb {
    Verb("topics plan", "Show what would have to change on the cluster; ends with 2 if anything.", arguments: [catalogue], body: body)
  }
  static func topicsApply(body: @escaping VerbBody) -> Verb {
    Verb("topics apply", "Create topics and widen them; never deletes.", arguments: [catalogue], body: body)
  }
  static func topicsCheck(body: @escaping VerbBody) -> Verb {
    Verb("topics check", "Check the declarations of topics, offline.", arguments: [catalogue], body: body)
  }
  static func topicsRender(body: @escaping VerbBody) -> Verb {
    Verb(
      "topics render", "Print the declarations as commands of Kafka's own tool.", arguments: [catalogue],
      body: body)
  }

  // MARK: the program itself

  static func configShow(body: @escaping VerbBody) -> Verb {
    Verb(
      "config show", "Print the effective configuration.",
      flags: [Flag("origin", "Say where each value comes from.")],
      examples: ["config show --origin --set worker.lanes=2"], body: body)
  }
  static func configSchema(body: @escaping VerbBody) -> Verb {
    Verb(
      "config schema", "Print the JSON Schema of configurations, for editors.",
      examples: ["config schema > deploy/schema/pipeline.schema.json"], body: body)
  }
  static func configFields(body: @escaping VerbBody) -> Verb {
    Verb("config fields", "Print every key with type, default and meaning.", body: body)
  }
  static func completions(body: @escaping VerbBody) -> Verb {
    Verb(
      "completions", "Print a completion script.",
      arguments: [Argument(value: .choice(Shell.allCases.map(\.rawValue)), doc: "The shell.")],
      examples: ["completions bash > /etc/bash_completion.d/millrace"], body: body)
  }
  static func man(body: @escaping VerbBody) -> Verb {
    Verb("man", "Print the manual page.", examples: ["man > /usr/share/man/man1/millrace.1"], body: body)
  }
  static func help(body: @escaping VerbBody) -> Verb {
    Verb(
      "help", "Explain the program or a verb.",
      arguments: [Argument(value: .text("VERB"), required: false, repeats: true, doc: "The verb.")], body: body)
  }
  static func version(body: @escaping VerbBody) -> Verb {
    Verb("version", "Print the version and how it was built.", body: body)
  }
}
