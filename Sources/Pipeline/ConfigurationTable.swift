/// The one table of the configuration: every key with its type, default and meaning.
///
/// Parsing, the JSON Schema, the reference table and the names of override variables all come from here.
public enum ConfigurationTable {
  public static let root = ConfigurationType.record([
    key("version", .integer(1...1), .required, "Version of this form."),
    key("pipeline", .text(.pipelineName), .required, "Name: label of metrics, consumer group, target of commands."),
    key("kafka", .record(kafka), .standard("{}"), "How the brokers are reached."),
    key("inputs", .map(.record(input), names: .identifier), .required,
      "Topics that are read, with the fields used; all have the same key, partition count and partitioner, and are merged by event time."),
    key("windows", .list(.record(window), atLeast: 0), .standard("[]"), "Aggregates over event time, per key."),
    key("features", .list(.record(feature), atLeast: 1), .required, "Columns of the row that the model sees."),
    key("model", .record(contender(named: .standard("champion"))), .required, "The champion: its scores are published."),
    key("challengers", .list(.record(contender(named: .required)), atLeast: 0), .standard("[]"),
      "Contenders that learn and are evaluated beside the champion; what they do not state is as in 'model'."),
    key("predict", .record(predict), .required, "What is scored and where predictions go."),
    key("labels", .record(labels), .optional, "Where the truth comes from; without it nothing is learnt."),
    key("learning", .record(learning), .standard("{}"), "The log that the model is folded from."),
    key("delivery", .record(delivery), .standard("{}"), "Guarantee and size of commit units."),
    key("checkpoints", .record(checkpoints), .standard("{}"), "Where state is kept between runs."),
    key("worker", .record(worker), .standard("{}"), "This process in the consumer group."),
    key("window_keys_max", .integer(1...(1 << 30)), .standard("1048576"),
      "Keys that one window declaration keeps, per partition; beyond, those longest silent go."),
    key("max_future", .duration(0...DurationText.milliseconds("3650d")!), .standard("10m"),
      "An event time further ahead of the record's Kafka timestamp makes a dead letter."),
    key("align", .record([
      key("wait", .duration(0...3_600_000), .standard("0s"), "How long the merge still waits for an input that is at its end."),
    ]), .standard("{}"), "How the inputs are merged."),
    key("control", .record(control), .standard("{}"), "Signed commands of operators."),
    key("errors", .record(errors), .standard("{}"), "What happens to records that cannot be used."),
    key("alerts", .record([
      key("topic", .text(.topic), .standard("<pipeline>.alerts"), "What the worker wants people to know."),
    ]), .standard("{}"), "Alerts."),
    key("admin", .record([
      key("listen", .text(.listenAddress), .optional, "Address of metrics, probes and status; none without it."),
    ]), .standard("{}"), "The console."),
  ])

  private static func key(
    _ name: String, _ type: ConfigurationType, _ presence: ConfigurationKey.Presence, _ doc: String
  ) -> ConfigurationKey { ConfigurationKey(name, type, presence, doc) }

  private static let kafka = [
    key("bootstrap", .text(.bootstrap), .standard("localhost:9092"), "Brokers to begin with."),
    key("security", .record([
      key("protocol", .choice(PipelineSettings.Transport.allCases.map(\.rawValue), refused: [:]),
        .standard("plaintext"), "Transport to the brokers."),
      key("mechanism", .choice(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], refused: [
        "GSSAPI": "Kerberos is not offered", "OAUTHBEARER": "token refresh is not offered",
      ]), .optional, "SASL mechanism."),
      key("username", .text(.any), .optional, "SASL user."),
      key("password", .secret, .optional, "SASL password, by reference."),
      key("ca", .text(.path), .optional, "PEM file with the authorities to trust; the system's without it."),
      key("certificate", .text(.path), .optional, "PEM file with the client certificate."),
      key("key", .text(.path), .optional, "PEM file with the client certificate's private key."),
      key("key_password", .secret, .optional, "Password of that key, by reference."),
    ]), .standard("{}"), "Encryption and authentication."),
    key("librdkafka", .properties, .standard("{}"),
      "Client properties passed on as they are; those the worker owns are refused."),
  ]

  private static let input = [
    key("topic", .text(.topic), .required, "Topic that is read."),
    key("key", .text(.identifier), .optional, "Field that equals the message key."),
    key("id", .text(.identifier), .optional, "Field that names the event; needed where events are scored or labelled."),
    key("event_time", .text(.identifier), .optional, "Field with the event time; without it the Kafka timestamp is taken."),
    key("late_after", .duration(0...DurationText.milliseconds("365d")!), .standard("0s"),
      "Allowed lateness: the watermark is the largest event time less this."),
    key("record_bytes", .integer(64...16_777_216), .standard("1048576"), "Larger payloads are dead letters."),
    key("fields", .map(.field, names: .identifier), .required,
      "Fields that are read: string, number, integer, boolean, time or time(rfc3339 | seconds | milliseconds | microseconds); with ! a record without the field is a dead letter, as for id, key and event_time always. Other fields are ignored."),
  ]

  private static let window = [
    key("name", .text(.identifier), .required, "Features read it as name.aggregate_size, such as origin_dep.mean_2h."),
    key("from", .text(.identifier), .required, "Input whose records are counted."),
    key("by", .list(.text(.identifier), atLeast: 1), .required,
      "Fields that form the key, in this input and by the same names in the scored one."),
    key("value", .expression, .standard(""), "Number that is aggregated; not needed for count and since_last."),
    key("filter", .expression, .standard(""), "Only records for which this is true are counted."),
    key("sizes", .list(.duration(1...DurationText.milliseconds("3650d")!), atLeast: 1), .required, "Lengths of the windows."),
    key("pane", .duration(1...DurationText.milliseconds("365d")!), .optional, "Width of a pane, the step in which windows move; derived without it."),
    key("aggregates", .list(.choice(
      ["count", "sum", "mean", "std", "min", "max", "last", "since_last"],
      refused: [
        "p50": "quantiles are not offered", "p90": "quantiles are not offered", "p99": "quantiles are not offered",
        "distinct": "distinct counts are not offered", "rate": "divide a count by its window instead",
      ]), atLeast: 1), .required, "What is kept."),
    key("resolution", .number(1e-12...1e12, open: false), .optional, "Smallest step of the value that is kept; derived without it."),
    key("range", .range, .optional, "Values outside are clamped and counted; derived without it."),
    key("scope", .choice(["partition"], refused: ["global": "aggregates across partitions are not offered"]), .optional,
      "A window not by the message key sees its own partition only, and must say so: partition."),
  ]

  private static let feature = [
    key("name", .text(.identifier), .required, "Name of the column."),
    key("expr", .expression, .standard(""), "Its value; without it the scored input's field of the same name."),
    key("type", .choice(["number", "category"], refused: [:]), .required, "Numbers are compared, categories only told apart."),
    key("missing", .choice(["indicator", "zero"], refused: [:]), .standard("indicator"),
      "Whether the model sees that a value is missing (indicator) or takes it as saying nothing (zero)."),
  ]

  private static func contender(named presence: ConfigurationKey.Presence) -> [ConfigurationKey] {
    [
      key("name", .text(.identifier), presence, "Name in metrics and acknowledgements."),
      key("kind", .choice(["ftrl", "base_rate"], refused: [
        "trees": "tree ensembles are not offered", "mlp": "neural networks are not offered",
      ]), .required, "ftrl: linear over hashed features; base_rate: the decayed share of positives."),
      key("without", .list(.text(.identifier), atLeast: 0), .standard("[]"), "Features that this contender does not see."),
      key("hash_bits", .integer(8...22), .optional, "The weight table has two to the power of this many slots; 18 without it."),
      key("rate", .number(0...10, open: true), .optional, "Learning rate; that of 'learning' without it."),
      key("beta", .number(0...1_000, open: false), .optional, "Smoothing of the per-coordinate rate; 1 without it."),
      key("l1", .number(0...1_000, open: false), .optional, "L1 regulariser; 0 without it."),
      key("l2", .number(0...1_000, open: false), .optional, "L2 regulariser; 1e-6 without it."),
      key("crosses", .boolean, .optional, "Whether every pair of columns is crossed; true without it."),
      key("compress", .choice(["int8"], refused: ["none": "lanes always score with a compressed copy"]), .optional,
        "What lanes score with; the learner keeps full precision."),
      key("calibrate", .choice(["none", "platt"], refused: ["isotonic": "isotonic calibration is not offered"]), .optional,
        "Online calibration of probabilities; none without it."),
      key("calibrate_rate", .number(0...1, open: true), .optional, "Gradient step of the calibration; 0.01 without it."),
    ]
  }

  private static let predict = [
    key("on", .text(.identifier), .required, "Input whose events are scored."),
    key("decision", .record([
      key("threshold", .number(0...1, open: true), .standard("0.5"), "A probability at or above it is a positive decision."),
    ]), .standard("{}"), "How a score becomes a decision."),
    key("output", .record([
      key("topic", .text(.topic), .standard("<pipeline>.predictions"), "Where predictions go."),
      key("key", .text(.identifier), .optional, "Key of predictions: the key of the scored input."),
    ]), .standard("{}"), "Predictions."),
  ]

  private static let labels = [
    key("from", .text(.identifier), .required, "Input that carries the labels; its id names the event."),
    key("target", .expression, .required, "True is the positive class."),
    key("wait", .duration(1_000...DurationText.milliseconds("3650d")!), .required,
      "Horizon: a label known later than this after its event does not count."),
    key("at_horizon", .choice(["drop", "negative"], refused: [:]), .standard("drop"), "What becomes of events without a label."),
    key("early_max", .integer(0...16_777_216), .standard("65536"), "Labels that may wait for their event, per partition."),
  ]

  private static let learning = [
    key("topic", .text(.topic), .standard("<pipeline>.learning"), "One partition: the log the model is folded from."),
    key("journal", .text(.topic), .standard("<pipeline>.journal"), "What each commit unit did."),
    key("rate", .number(0...10, open: true), .standard("0.05"), "Learning rate of contenders that state none."),
    key("keep_every", .integer(1...1_000_000_000), .standard("5000"), "Examples between kept versions."),
    key("keep", .integer(1...1_000), .standard("10"), "Kept versions that stay, tagged ones apart."),
  ]

  private static let delivery = [
    key("mode", .choice(["exactly-once", "at-least-once"], refused: [:]), .standard("exactly-once"),
      "at-least-once publishes predictions as they are scored: sooner, and once more after a failure. Learning stays exactly-once."),
    key("transaction", .record([
      key("records", .integer(1...1_000_000), .standard("5000"), "A commit unit ends at this many events, or"),
      key("interval", .duration(1...60_000), .standard("100ms"), "this long after its first."),
      key("timeout", .duration(1_000...900_000), .standard("10s"), "The broker aborts a transaction that is open longer."),
    ]), .standard("{}"), "Size of commit units."),
  ]

  private static let checkpoints = [
    key("directory", .text(.path), .standard("${STATE_DIRECTORY:state}"), "Where checkpoint files are."),
    key("every", .duration(1_000...86_400_000), .standard("30s"), "Time between checkpoints of partition state."),
    key("keep", .integer(1...1_000), .standard("3"), "Checkpoints of one partition that stay."),
    key("topic", .text(.topic), .standard("<pipeline>.checkpoints"), "Compacted topic for kept versions of the model."),
  ]

  private static let worker = [
    key("instance", .text(.instance), .standard("${HOSTNAME}"), "Name of this process: static member of the group, part of the transactional id."),
    key("lanes", .integer(1...256), .standard("1"), "Threads that fold and score."),
    key("session_timeout", .duration(1_000...1_800_000), .standard("12s"), "A silent member loses its partitions after this."),
    key("heartbeat", .duration(100...600_000), .standard("3s"), "Time between signs of life."),
  ]

  private static let control = [
    key("topic", .text(.topic), .standard("<pipeline>.control"), "One partition: commands of operators."),
    key("acks", .text(.topic), .standard("<pipeline>.control-acks"), "What each worker says to a command."),
    key("trusted_keys", .list(.text(.path), atLeast: 0), .standard("[]"), "PEM files with the Ed25519 public keys whose commands count."),
  ]

  private static let errors = [
    key("topic", .text(.topic), .standard("<pipeline>.dead-letters"), "Records that cannot be used, as they came, with the reason."),
    key("tolerate", .record([
      key("records", .integer(0...1_000_000_000), .standard("100"), "At most this many dead letters"),
      key("per", .duration(1_000...86_400_000), .standard("5m"), "within this time."),
    ]), .standard("{}"), "How many are borne."),
    key("then", .choice(["stop", "continue"], refused: [:]), .standard("stop"), "What happens beyond."),
  ]
}
