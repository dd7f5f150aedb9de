/// Library settings that this module's guarantees rest on, and under which names the library knows them.
enum OwnedKeys {
  /// Why `key` may not be passed through; nil if it may. Aliases count as the setting they stand for.
  static func owner(of key: String) -> String? {
    let name = key.lowercased()
    let canonical = aliases.first { $0.alias == name }?.key ?? name
    guard let reason = reasons.first(where: { $0.keys.contains(canonical) })?.reason else { return nil }
    return canonical == name ? reason : "\(reason) (it is another name of \(canonical))"
  }

  /// `C/P` aliases of CONFIGURATION.md.
  private static let aliases: [(alias: String, key: String)] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("request.required.acks", "acks"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("auto.commit.enable", "enable.auto.commit"),
  ]

  private static let reasons: [(keys: [String], reason: String)] = [
    (["bootstrap.servers", "client.id"], "the connection's own settings name it"),
    (
      [
        "security.protocol", "sasl.mechanisms", "sasl.username", "sasl.password", "ssl.ca.location",
        "ssl.certificate.location", "ssl.key.location", "ssl.key.password",
      ], "the connection's security settings name it"
    ),
    (
      ["enable.ssl.certificate.verification", "ssl.endpoint.identification.algorithm"],
      "the broker's certificate and host name are always verified"
    ),
    (
      ["group.id", "group.instance.id", "group.protocol", "partition.assignment.strategy"],
      "the worker's membership rests on it"
    ),
    (
      ["session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "transaction.timeout.ms"],
      "these times are ordered among each other and have settings of their own"
    ),
    (
      [
        "isolation.level", "enable.auto.commit", "auto.commit.interval.ms", "enable.auto.offset.store",
        "auto.offset.reset", "offset.store.method", "check.crcs", "enable.partition.eof",
        "consume.callback.max.messages",
      ], "exactly-once reading rests on it"
    ),
    (
      [
        "transactional.id", "acks", "enable.idempotence", "enable.gapless.guarantee",
        "max.in.flight.requests.per.connection", "delivery.timeout.ms", "message.send.max.retries",
        "retries", "partitioner", "queuing.strategy", "produce.offset.report",
        "delivery.report.only.error",
      ], "exactly-once writing rests on it"
    ),
    (["allow.auto.create.topics"], "topics are created by `topics apply` alone"),
    (
      [
        "log_cb", "error_cb", "stats_cb", "throttle_cb", "dr_cb", "dr_msg_cb", "rebalance_cb",
        "offset_commit_cb", "consume_cb", "background_event_cb", "socket_cb", "connect_cb",
        "closesocket_cb", "open_cb", "resolve_cb", "opaque", "default_topic_conf", "interceptors",
        "enabled_events", "log.queue", "plugin.library.paths", "oauthbearer_token_refresh_cb",
      ], "it would take the client out of the worker's hands"
    ),
    (["test.mock.num.brokers", "test.mock.broker.rtt"], "it replaces the cluster by a mock"),
  ]

  /// Values that must not appear in an error.
  static func isSecret(_ key: String) -> Bool {
    let name = key.lowercased()
    return name.hasPrefix("sasl.") || name.hasPrefix("ssl.key") || name.contains("password")
      || name.contains("secret") || name.contains("token")
  }
}
