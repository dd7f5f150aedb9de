import CRdKafka

/// A Kafka cluster inside this process, for tests of plumbing and of injected errors.
///
/// It keeps no transactions: open and aborted records are visible, offsets of transactions are not stored, nobody
/// is fenced. Exactly-once can only be shown on a real broker.
///
/// Threads:  any; the C object locks for itself.
/// Invariant: the pointers never change.
@safe public final class MockCluster: @unchecked Sendable {
  /// Request types by their number in the protocol.
  public enum Request: Int16, Sendable {
    case produce = 0, fetch = 1, listOffsets = 2, metadata = 3, offsetCommit = 8, offsetFetch = 9
    case findCoordinator = 10, joinGroup = 11, heartbeat = 12
    case initProducerID = 22, addPartitions = 24, addOffsets = 25, endTransaction = 26
    case offsetCommitOfTransaction = 28
  }
  private let handle: ClientHandle
  private let cluster: OpaquePointer
  public let bootstrap: String

  public init(brokerCount: Int32 = 1) throws(KafkaError) {
    let configuration = Configuration()
    let client = ClientSettings(bootstrap: "localhost:1", clientID: "mock")
    // The handle only carries the cluster; what it would log about its own address is of no use.
    try configuration.set("client.id", "mock")
    handle = try configuration.makeClient(RD_KAFKA_PRODUCER, client)
    // SAFETY: the cluster is ours, and destroyed before the handle it lives on.
    guard let made = unsafe rd_kafka_mock_cluster_new(handle.pointer, brokerCount) else {
      throw KafkaError(code: KafkaCode.invalidArgument, call: .create, message: "no mock cluster")
    }
    unsafe cluster = unsafe made
    unsafe bootstrap = String(cString: rd_kafka_mock_cluster_bootstraps(made))
  }

  deinit { unsafe rd_kafka_mock_cluster_destroy(cluster) }

  public func createTopic(_ name: String, partitions: Int32, replication: Int32 = 1) throws(KafkaError) {
    try check(unsafe rd_kafka_mock_topic_create(cluster, name, partitions, replication), .admin)
  }

  /// The next requests of this kind fail with these codes, one each; a lost connection is `KafkaCode.transport`.
  public func push(_ request: Request, errors: [Int32]) {
    let codes = errors.map { rd_kafka_resp_err_t(rawValue: $0) }
    // SAFETY: the library copies as many codes as the count says.
    unsafe rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, codes.count, codes)
  }
  public func clearErrors(_ request: Request) {
    unsafe rd_kafka_mock_clear_request_errors(cluster, request.rawValue)
  }

  /// Stops a broker (nil: all) from answering; its data stays.
  public func setDown(broker: Int32? = nil) throws(KafkaError) {
    try check(unsafe rd_kafka_mock_broker_set_down(cluster, broker ?? -1), .admin)
  }
  public func setUp(broker: Int32? = nil) throws(KafkaError) {
    try check(unsafe rd_kafka_mock_broker_set_up(cluster, broker ?? -1), .admin)
  }
  public func setRoundTrip(broker: Int32 = 1, milliseconds: Int32) throws(KafkaError) {
    try check(unsafe rd_kafka_mock_broker_set_rtt(cluster, broker, milliseconds), .admin)
  }
  public func setTransactionCoordinator(_ transactionalID: String, broker: Int32) throws(KafkaError) {
    try check(
      unsafe rd_kafka_mock_coordinator_set(cluster, "transaction", transactionalID, broker), .admin)
  }
}
