/// Client properties that the worker sets itself, with every alias: passing one on would break a promise.
enum OwnedProperties {
  private static let names: [String: String] = {
    var reasons: [String: String] = [:]
    func own(_ reason: String, _ names: String...) {
      for name in names { reasons[name] = reason }
    }
    own("set kafka.bootstrap", "bootstrap.servers", "metadata.broker.list")
    own("it follows from pipeline and worker.instance", "group.id", "group.instance.id", "client.id", "transactional.id")
    own("exactly-once delivery rests on it",
      "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store",
      "auto.offset.reset", "isolation.level", "enable.idempotence", "acks", "request.required.acks",
      "max.in.flight", "max.in.flight.requests.per.connection", "message.send.max.retries", "retries",
      "enable.partition.eof", "check.crcs", "offset.store.method", "enable.gapless.guarantee")
    own("co-partitioning rests on it", "partitioner", "partition.assignment.strategy", "group.protocol",
      "group.remote.assignor", "allow.auto.create.topics")
    own("set worker.session_timeout", "session.timeout.ms")
    own("set worker.heartbeat", "heartbeat.interval.ms")
    own("set delivery.transaction.timeout", "transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms")
    own("the worker's own watchdog rests on it", "max.poll.interval.ms")
    own("set kafka.security", "security.protocol", "enable.ssl.certificate.verification",
      "ssl.endpoint.identification.algorithm", "enable.sasl.oauthbearer.unsecure.jwt")
    own("it would load foreign code", "plugin.library.paths", "interceptors", "ssl.engine.location",
      "ssl.providers")
    own("callbacks belong to the worker", "opaque", "error_cb", "throttle_cb", "stats_cb", "log_cb",
      "socket_cb", "connect_cb", "closesocket_cb", "open_cb", "rebalance_cb", "offset_commit_cb",
      "consume_cb", "dr_cb", "dr_msg_cb", "background_event_cb", "default_topic_conf",
      "enabled_events", "log.queue")
    return reasons
  }()

  /// Why a property cannot be passed on; nil if it can.
  static func reason(_ name: String) -> String? {
    if let reason = names[name] { return reason }
    for prefix in ["sasl.", "ssl.key", "ssl.certificate", "ssl.ca", "ssl_", "ssl.keystore"]
    where name.hasPrefix(prefix) {
      return "set kafka.security"
    }
    return nil
  }
}
