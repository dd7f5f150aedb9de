import CRdKafka

/// A client's configuration while it is being built. Owns the C object until a client takes it.
@safe struct Configuration: ~Copyable {
  private let conf: OpaquePointer

  init() {
    // SAFETY: the library returns a new object, ours until `rd_kafka_new` takes it.
    unsafe conf = rd_kafka_conf_new()
  }
  deinit { unsafe rd_kafka_conf_destroy(conf) }

  /// Sets one value. Unknown keys and bad values name the key; secret values are not repeated.
  func set(_ key: String, _ value: String) throws(KafkaError) {
    var failure: KafkaError?
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
      // SAFETY: the buffer is as long as the size we pass, and is terminated by the library.
      unsafe text.initialize(repeating: 0)
      let result = unsafe rd_kafka_conf_set(conf, key, value, text.baseAddress, text.count)
      if result != RD_KAFKA_CONF_OK {
        let words =
          OwnedKeys.isSecret(key)
          ? "the value is not accepted" : unsafe String(cString: text.baseAddress!)
        let code =
          result == RD_KAFKA_CONF_UNKNOWN
          ? RD_KAFKA_RESP_ERR__NOT_CONFIGURED : RD_KAFKA_RESP_ERR__INVALID_ARG
        failure = KafkaError(
          code: code.rawValue, call: .create, message: "setting \"\(key)\": \(words)")
      }
    }
    if let failure { throw failure }
  }

  /// Sets a key that older libraries do not have; there its absence changes nothing we rest on.
  func setIfKnown(_ key: String, _ value: String) {
    // An unknown key is the expected answer of an old library; nothing is lost.
    do { try set(key, value) } catch {}
  }

  /// What a key is set to, by us or by default; nil for one that the library does not know.
  private func value(of key: String) -> String? {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
      var size = text.count
      // SAFETY: the buffer is as long as the size we pass, and is terminated by the library.
      unsafe text.initialize(repeating: 0)
      guard unsafe rd_kafka_conf_get(conf, key, text.baseAddress, &size) == RD_KAFKA_CONF_OK else { return nil }
      return unsafe String(cString: text.baseAddress!)
    }
  }

  func set(_ values: [(key: String, value: String)]) throws(KafkaError) {
    for (key, value) in values { try set(key, value) }
  }

  /// Identity, transport and the settings that all clients share.
  func apply(_ settings: ClientSettings) throws(KafkaError) {
    let faults = settings.faults
    if !faults.isEmpty { throw Self.refusal(faults) }
    try set([
      ("bootstrap.servers", settings.bootstrap), ("client.id", settings.clientID),
      ("security.protocol", settings.transport.rawValue), ("socket.nagle.disable", "true"),
      ("reconnect.backoff.max.ms", "1000"), ("log.connection.close", "false"),
    ])
    setIfKnown("enable.metrics.push", "false")
    if settings.transport.isEncrypted {
      try set("enable.ssl.certificate.verification", "true")
      try set("ssl.endpoint.identification.algorithm", "https")
    }
    let optional: [(key: String, value: String?)] = [
      ("sasl.mechanisms", settings.mechanism?.rawValue), ("sasl.username", settings.username),
      ("sasl.password", settings.password?.text), ("ssl.ca.location", settings.authorityFile),
      ("ssl.certificate.location", settings.certificateFile),
      ("ssl.key.location", settings.keyFile), ("ssl.key.password", settings.keyPassword?.text),
    ]
    for (key, value) in optional {
      if let value { try set(key, value) }
    }
  }

  func apply(_ fetch: FetchSettings) throws(KafkaError) {
    try set([
      ("isolation.level", fetch.isolation.rawValue), ("enable.auto.commit", "false"),
      ("enable.auto.offset.store", "false"), ("auto.offset.reset", "error"), ("check.crcs", "true"),
      ("fetch.wait.max.ms", "\(fetch.fetchWaitMilliseconds)"), ("queued.min.messages", "1000000"),
      ("queued.max.messages.kbytes", "\(fetch.prefetchKilobytes)"),
      ("fetch.message.max.bytes", "\(fetch.partitionFetchBytes)"), ("enable.partition.eof", "true"),
      ("allow.auto.create.topics", "false"),
    ])
  }

  func apply(_ group: GroupSettings) throws(KafkaError) {
    if !group.faults.isEmpty { throw Self.refusal(group.faults) }
    try apply(group.fetch)
    try set([
      ("group.id", group.groupID), ("session.timeout.ms", "\(group.sessionMilliseconds)"),
      ("heartbeat.interval.ms", "\(group.heartbeatMilliseconds)"),
      ("max.poll.interval.ms", "\(group.pollIntervalMillisecondsMax)"),
      // Why eager: cooperative assignors of old libraries loop, lose assignments and crash on close.
      ("partition.assignment.strategy", "range"),
    ])
    if let instance = group.instanceID { try set("group.instance.id", instance) }
  }

  func apply(_ producer: ProducerSettings) throws(KafkaError) {
    try set([
      ("acks", "all"), ("linger.ms", "\(producer.lingerMilliseconds)"),
      ("compression.type", producer.compression), ("partitioner", "murmur2_random"),
      ("queue.buffering.max.kbytes", "\(producer.queueKilobytes)"),
      ("queue.buffering.max.messages", "1000000"),
      ("message.max.bytes", "\(producer.messageBytesMax)"),
      // Only failures are reported: a report a record would cost what the commit answers anyway.
      ("delivery.report.only.error", "true"),
    ])
  }

  /// Makes the client; on success it owns the configuration, on failure `deinit` frees it.
  consuming func makeClient(
    _ type: rd_kafka_type_t, _ settings: ClientSettings
  ) throws(KafkaError) -> ClientHandle {
    let box: CallbackBox
    do throws(KafkaError) {
      box = try finish(type, settings)
    } catch {
      _ = consume self
      throw error
    }
    var words = ""
    let made: OpaquePointer? = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
      // SAFETY: the buffer is as long as the size we pass, and is terminated by the library.
      unsafe text.initialize(repeating: 0)
      let made = unsafe rd_kafka_new(type, conf, text.baseAddress, text.count)
      unsafe words = String(cString: text.baseAddress!)
      return unsafe made
    }
    guard let made = unsafe made else {
      // Why leaked: a failed `rd_kafka_new` has freed the interceptors of the object it gives back, and destroying it
      // frees them again (seen on 2.0.2 as a crash). Some kilobytes once, before the process gives up.
      discard self
      // Another reason than the settings: the client could not start a thread.
      let code = rd_kafka_last_error().rawValue
      throw KafkaError(
        code: code == KafkaCode.systemResource ? code : KafkaCode.invalidArgument, call: .create, message: words)
    }
    discard self
    return unsafe ClientHandle(made, box: box)
  }

  /// The settings passed through, last, and the callbacks.
  private func finish(_ type: rd_kafka_type_t, _ settings: ClientSettings) throws(KafkaError) -> CallbackBox {
    for (key, value) in settings.passthrough { try set(key, value) }
    let secrets = [settings.password?.text, settings.keyPassword?.text].compactMap(\.self)
    let pacer =
      type == RD_KAFKA_CONSUMER
      ? FetchPacer(waitMilliseconds: value(of: "fetch.wait.max.ms").flatMap { Int($0) } ?? 0) : nil
    let box = CallbackBox(log: settings.log, secrets: secrets, pacer: pacer)
    // SAFETY: the functions are C functions without captures; the box outlives the client.
    unsafe rd_kafka_conf_set_opaque(conf, box.opaque)
    unsafe rd_kafka_conf_set_log_cb(conf, millrace_kafka_log)
    unsafe rd_kafka_conf_set_error_cb(conf, millrace_kafka_error)
    if settings.transport.isEncrypted { unsafe rd_kafka_conf_set_ssl_cert_verify_cb(conf, millrace_kafka_certificate) }
    if type == RD_KAFKA_CONSUMER {
      unsafe rd_kafka_conf_set_rebalance_cb(conf, millrace_kafka_rebalance)
      if let pacer {
        try check(
          unsafe rd_kafka_conf_interceptor_add_on_new(conf, "fetch-pacing", millrace_kafka_new, pacer.opaque),
          .create)
      }
    } else {
      unsafe rd_kafka_conf_set_dr_msg_cb(conf, millrace_kafka_delivery)
      try check(
        unsafe rd_kafka_conf_interceptor_add_on_new(
          conf, "lost-answers", millrace_kafka_new_producer, box.lostAnswers.opaque), .create)
    }
    return box
  }

  private static func refusal(_ faults: [String]) -> KafkaError {
    KafkaError(
      code: KafkaCode.invalidArgument, call: .create, message: faults.joined(separator: "; "))
  }
}
