import Pipeline
import Records

/// Flight delays, as a stranger would declare them: the configuration that every fault below is made from.
enum Flagship {
  static let yaml = """
    version: 1
    pipeline: flight-delay
    kafka:
      bootstrap: "${KAFKA_BOOTSTRAP:localhost:9092}"
      security: {protocol: sasl_ssl, mechanism: SCRAM-SHA-512, username: millrace, password: {file: kafka-password}}
      librdkafka: {socket.keepalive.enable: true}
    inputs:
      schedules:
        {topic: flights.schedules.v1, key: origin, id: flight_id, event_time: published_at, late_after: 10m,
         fields: {flight_id: string, origin: string, dest: string, carrier: string, distance: number, sched_dep: time, published_at: time}}
      departures:
        {topic: flights.departures.v1, key: origin, id: flight_id, event_time: departed_at, late_after: 15m,
         fields: {flight_id: string, origin: string, carrier: string, dep_delay: number!, departed_at: time}}
      arrivals:
        {topic: flights.arrivals.v1, key: origin, id: flight_id, event_time: arrived_at, late_after: 2h,
         fields: {flight_id: string, origin: string, arr_delay: number, arrived_at: {type: time, unit: rfc3339}}}
    windows:
      - {name: origin_dep, from: departures, by: [origin], value: "clamp(dep_delay, -30, 180)", sizes: [30m, 2h, 6h], pane: 5m, aggregates: [count, mean]}
      - {name: carrier_dep, from: departures, by: [carrier], value: "clamp(dep_delay, -30, 180)", sizes: [6h], pane: 15m, aggregates: [count, mean], scope: partition}
    features:
      - {name: hour, expr: "hour(sched_dep, 'America/New_York')", type: category}
      - {name: carrier, type: category}
      - {name: route, expr: "cross(origin, dest)", type: category}
      - {name: distance, type: number, missing: indicator}
      - {name: origin_delay_mean_2h, expr: origin_dep.mean_2h, type: number, missing: indicator}
      - {name: carrier_delay_mean_6h, expr: carrier_dep.mean_6h, type: number, missing: indicator}
    model:
      kind: ftrl
      hash_bits: 18
      compress: int8
      calibrate: platt
    challengers:
      - {name: no-windows, kind: ftrl, without: [origin_delay_mean_2h, carrier_delay_mean_6h]}
      - {name: base-rate, kind: base_rate}
    predict:
      on: schedules
      decision: {threshold: 0.35}
      output: {topic: flights.delay-predictions.v1, key: origin}
    labels:
      from: arrivals
      target: "arr_delay > 15"
      wait: 36h
    learning:
      topic: flights.learning.v1
      journal: flights.journal.v1
      rate: 0.05
      keep_every: 5000
      keep: 10
    delivery: {mode: exactly-once, transaction: {records: 5000, interval: 100ms}}
    checkpoints: {directory: "${STATE_DIRECTORY:state}", every: 30s, topic: flights.checkpoints.v1}
    worker: {instance: "${HOSTNAME}", lanes: 1}
    max_future: 10m
    align: {wait: 0s}
    control: {topic: ml.control.v1, acks: ml.control-acks.v1, trusted_keys: [keys/operators.pub]}
    errors: {topic: ml.dead-letters.v1, tolerate: {records: 100, per: 5m}, then: stop}
    alerts: {topic: ml.alerts.v1}
    admin: {listen: "127.0.0.1:8080"}

    """

  static let key = try! Ed25519.PrivateKey(seed: Array(0..<32)).publicKey.pem()

  /// TZif version 2 that says everything in its footer.
  static let newYork: [UInt8] = {
    let header = Array("TZif2".utf8) + [UInt8](repeating: 0, count: 15)
      + [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4]
    let type: [UInt8] = [0xff, 0xff, 0xb9, 0xb0, 0, 0]
    let block = header + type + Array("EST\0".utf8)
    return block + block + Array("\nEST5EDT,M3.2.0,M11.1.0\n".utf8)
  }()

  /// A world with these files, the operator's key and one time zone, and nothing else.
  static func world(
    _ files: [String: String], variables: [String: String] = ["HOSTNAME": "worker-1"]
  ) -> Surroundings {
    var bytes = files.mapValues { Array($0.utf8) }
    bytes["keys/operators.pub"] = Array(key.utf8)
    bytes["/usr/share/zoneinfo/America/New_York"] = newYork
    let all = bytes
    return Surroundings(variables: variables) { path in
      all[path].map { .success($0) } ?? .failure(FileError(reason: "No such file or directory"))
    }
  }

  static func load(
    _ text: String = yaml, set overrides: [String] = [],
    variables: [String: String] = ["HOSTNAME": "worker-1"]
  ) -> LoadedPipeline {
    PipelineLoader.load(
      files: ["p.yaml"], overrides: overrides,
      surroundings: world(["p.yaml": text], variables: variables))
  }

  /// The flagship with one piece of text replaced; traps where the piece is not there exactly once.
  static func with(_ old: String, _ new: String) -> String {
    precondition(yaml.ranges(of: old).count == 1, "'\(old)' is not there exactly once")
    return yaml.replacing(old, with: new)
  }
}
