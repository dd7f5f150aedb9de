import Foundation
import Kafka
@testable import RunChecker
import TestSupport
import Testing

extension LiveTests.Faults {
  /// Transports, credentials and rights: what is not to be trusted is refused and named, and costs no record.
  @Suite(.serialized, .enabled(if: LocalBroker.script != nil, "noida-db has neither TLS nor SASL nor rights"))
  struct Security {
    /// What a test asks of the script.
    private static let secured = ["--tls", "--sasl", "--acl"]
    private static let users = ["User:CN=client", "User:worker"]
    /// A refusal is no outage: it must be known well before brokers that are away are given up.
    private static let refusalSeconds = 40.0

    @Test(.long) func `row 48: workers that sign in by certificate and by password share a run`() throws {
      let broker = try LocalBroker(options: Self.secured)
      defer { broker.stop() }
      let scene = try Self.scene("signed-in", broker)
      let feed = Feed(scene, requests: 700)
      try scene.worker.start()
      try feed.advance(150)
      // The mechanism that old clients can only offer to old brokers, where they can.
      let mechanisms = LocalBroker.version == "3.6" ? ["PLAIN", "SCRAM-SHA-256"] : ["PLAIN"]
      for mechanism in mechanisms {
        let member = try scene.addMember(
          mechanism.lowercased(), settings: try Self.password("worker-secret", mechanism, scene),
          variables: ["KAFKA_BOOTSTRAP": try broker.bootstrap("sasl")])
        try member.worker.start()
      }
      try feed.flow("partitions of each") {
        try scene.checkRunning()
        return scene.members.allSatisfy { $0.partitions ?? 0 > 0 }
      }
      try feed.advance(300)
      try feed.finish(comparesPartitionStates: false)
    }

    @Test(.long) func `row 48: who is not to be trusted is refused at the start, with 77 and the reason`() throws {
      let broker = try LocalBroker(options: Self.secured)
      defer { broker.stop() }
      let scene = try Self.scene("refused", broker)
      let (tls, sasl) = (try broker.bootstrap("tls"), try broker.bootstrap("sasl"))
      let key = broker.certificates.appendingPathComponent("client.key").path
      let (other, expired) = (scene.directory.appendingPathComponent("other.pem").path, scene.directory.appendingPathComponent("expired.pem").path)
      try Self.openssl(
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=another authority", "-keyout", other + ".key", "-out", other])
      try Self.expire("client", broker, into: expired)
      let port = tls.split(separator: ":").last!
      let cases: [(name: String, bootstrap: String, settings: [String], told: [String])] = [
        ("authority", tls, ["kafka.security.ca=\(other)"], ["cannot be trusted", "an authority that is not trusted here"]),
        // The same address by a name that its certificate does not bear.
        ("host", "127.1:\(port)", [], ["cannot be trusted", "for another host", "broker=127.1:\(port)"]),
        ("expired", tls, ["kafka.security.certificate=\(expired)", "kafka.security.key=\(key)"], ["credentials", "certificate is refused", "expired"]),
        ("password", sasl, try Self.password("wrong", "PLAIN", scene), ["credentials", "Invalid username or password"]),
        ("mechanism", sasl, try Self.password("worker-secret", "SCRAM-SHA-512", scene), ["credentials", "SCRAM-SHA-512", "supported mechanisms"]),
      ]
      for refused in cases {
        try scene.addMember(refused.name, settings: refused.settings, variables: ["KAFKA_BOOTSTRAP": refused.bootstrap])
          .worker.start()
      }
      for (refused, member) in zip(cases, scene.members.dropFirst()) {
        #expect(try member.worker.waitForExit(seconds: Self.refusalSeconds) == 77, "\(refused.name): \(member.worker.log)")
        for told in refused.told { #expect(member.worker.log.contains(told), "\(told) in \(member.worker.log)") }
        #expect(!member.worker.log.contains("worker-secret"))
      }
      #expect(try !scene.admin.groups().contains(scene.pipeline.settings.name))
    }

    @Test(.long) func `row 48: a broker whose certificate has run out is told and not trusted, and with a new one all goes on`() throws {
      let broker = try LocalBroker(options: Self.secured)
      defer { broker.stop() }
      let scene = try Self.scene("run-out", broker)
      let feed = Feed(scene, requests: 500)
      try scene.worker.start()
      try feed.advance(150)
      let store = broker.certificates.appendingPathComponent("broker.keystore.pem")
      let valid = try Data(contentsOf: store)
      let expired = scene.directory.appendingPathComponent("expired-broker.pem")
      try Self.expire("broker", broker, into: expired.path)
      broker.halt()
      try (Data(contentsOf: broker.certificates.appendingPathComponent("broker.pk8")) + Data(contentsOf: expired)).write(to: store)
      let size = scene.worker.logSize
      try broker.start()
      try feed.flow("the refusal to be told") {
        try scene.checkRunning()
        return scene.worker.log(since: size).contains("the broker's certificate is refused: it has expired")
      }
      #expect(scene.worker.log(since: size).contains("right-missing"))
      let late = try scene.addMember("late")
      try late.worker.start()
      #expect(try late.worker.waitForExit(seconds: Self.refusalSeconds) == 77)
      #expect(late.worker.log.contains("it has expired"), "\(late.worker.log)")
      broker.halt()
      try valid.write(to: store)
      try broker.start()
      try feed.advance(100, seconds: 120)
      try feed.finish(seconds: 120)
    }

    @Test(.long) func `row 48: a right that is taken away stops the worker by name, and with it back nothing is lost`() throws {
      let broker = try LocalBroker(options: Self.secured)
      defer { broker.stop() }
      let scene = try Self.scene("rights", broker)
      let feed = Feed(scene, requests: 1_200)
      let (name, topics) = (scene.pipeline.settings.name, scene.pipeline.settings.topics)
      let signals = scene.pipeline.settings.features.inputs[Stream.signals].topic
      let rights: [(right: [String], told: [String])] = [
        (["--operation", "Write", "--topic", topics.predictions], ["the right to Write", "topic=\(topics.predictions)"]),
        (["--operation", "Read", "--topic", signals], ["Read", signals]),
        (
          ["--operation", "Write", "--transactional-id", "\(name)-", "--resource-pattern-type", "prefixed"],
          ["transactional ids", "prefix=\(name)-"]
        ),
        (["--operation", "Read", "--group", name], ["the right to Read the group", "group=\(name)"]),
      ]
      for (right, told) in rights {
        let before = try scene.alerts("right-missing").count
        let size = scene.worker.logSize
        try scene.worker.start()
        try feed.advance(100)
        try Self.change(broker, "--remove", right)
        var code: Int32?
        try feed.flow("the end without \(right)") {
          code = scene.worker.pollExit()
          return code != nil
        }
        let log = scene.worker.log(since: size)
        #expect(code == 77, "\(right): \(log.suffix(2_000))")
        for words in told { #expect(log.contains(words), "\(words) in \(log.suffix(2_000))") }
        #expect(try scene.alerts("right-missing").count > before, "\(right)")
        // Nothing helps but the right itself.
        try scene.worker.start()
        #expect(try scene.worker.waitForExit(seconds: Self.refusalSeconds) == 77, "\(right): \(scene.worker.log.suffix(2_000))")
        try Self.change(broker, "--add", right)
      }
      try scene.worker.start()
      try feed.finish()
    }

    // MARK: Parts

    /// A scene whose workers sign in by certificate and have the rights that a worker needs, no more.
    private static func scene(_ name: String, _ broker: LocalBroker) throws -> Scene {
      let files = broker.certificates
      func path(_ name: String) -> String { files.appendingPathComponent(name).path }
      let scene = try Scene(
        name, broker: broker,
        settings: [
          "kafka.security.protocol=ssl", "kafka.security.ca=\(path("ca.pem"))",
          "kafka.security.certificate=\(path("client.pem"))", "kafka.security.key=\(path("client.key"))",
        ], variables: ["KAFKA_BOOTSTRAP": try broker.bootstrap("tls")])
      let (inputs, topics) = (scene.pipeline.settings.features.inputs.map(\.topic), scene.pipeline.settings.topics)
      func named(_ names: [String]) -> [String] { names.flatMap { ["--topic", $0] } }
      let read = inputs + [topics.learning, topics.journal, topics.control, topics.checkpoints]
      let written = [
        topics.predictions, topics.learning, topics.journal, topics.checkpoints, topics.deadLetters, topics.acks, topics.alerts,
      ]
      try change(broker, "--add", ["--operation", "Read", "--operation", "Describe"] + named(read))
      try change(broker, "--add", ["--operation", "Write", "--operation", "Describe"] + named(written))
      try change(broker, "--add", ["--operation", "Read", "--group", scene.pipeline.settings.name])
      try change(
        broker, "--add",
        [
          "--operation", "Write", "--operation", "Describe", "--transactional-id", "\(scene.pipeline.settings.name)-",
          "--resource-pattern-type", "prefixed",
        ])
      return scene
    }

    private static func change(_ broker: LocalBroker, _ verb: String, _ right: [String]) throws {
      try broker.tool(
        "acls", [verb] + (verb == "--remove" ? ["--force"] : []) + users.flatMap { ["--allow-principal", $0] } + right)
    }

    /// Settings of one who signs in by name and password over TLS.
    private static func password(_ secret: String, _ mechanism: String, _ scene: Scene) throws -> [String] {
      let file = scene.directory.appendingPathComponent("secret-\(secret)")
      try secret.write(to: file, atomically: true, encoding: .utf8)
      return [
        "kafka.security.protocol=sasl_ssl", "kafka.security.mechanism=\(mechanism)", "kafka.security.username=worker",
        "kafka.security.password={file: \(file.path)}",
      ]
    }

    /// A certificate for the same key by the same authority whose time is over.
    private static func expire(_ name: String, _ broker: LocalBroker, into path: String) throws {
      func file(_ name: String) -> String { broker.certificates.appendingPathComponent(name).path }
      try openssl([
        "x509", "-req", "-in", file("\(name).csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-set_serial", "7",
        "-days", "-1", "-extfile", file("ext"), "-out", path,
      ])
    }

    private static func openssl(_ arguments: [String]) throws { try LocalBroker.run("/usr/bin/openssl", arguments) }
  }
}
