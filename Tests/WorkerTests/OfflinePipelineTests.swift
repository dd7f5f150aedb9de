// Unit tests of pipelines: those that ship pass, and one that should fail does, at its line.
import Pipeline
import Records
import Testing

@testable import Worker

@Suite struct OfflinePipelineTests {
  @Test(arguments: ["card-fraud", "flight-delay"])
  func `the tests of a pipeline that ships pass`(_ name: String) throws {
    let (settings, features) = try Deployed.load(name)
    let file = try PipelineTestFile(
      Deployed.path(name) + "/pipeline.test.yaml", settings.features,
      surroundings: Surroundings(read: { Surroundings.readFile($0) }))
    #expect(file.cases.count >= 2)
    for test in file.cases {
      let failures = try PipelineTestRun(settings: settings, features: features).run(test)
      #expect(failures.isEmpty, "\(test.name): \(failures)")
    }
  }

  private func failures(_ text: String) throws -> [PipelineTestRun.Failure] {
    let (settings, features) = try Deployed.load("card-fraud")
    let file = try PipelineTestFile(
      "t.yaml", settings.features, surroundings: Surroundings(read: { _ in .success(Array(text.utf8)) }))
    return try file.cases.flatMap { try PipelineTestRun(settings: settings, features: features).run($0) }
  }

  @Test func `what differs is told at its line`() throws {
    let failures = try failures(
      """
      tests:
        - name: wrong in every way
          given: [{payments: {payment_id: A, card: c1, merchant: m, category: fuel, amount: 40, country: DE, channel: online, paid_at: "2025-03-03T12:00:00Z"}, repeat: 3}]
          when: {payments: {payment_id: B, card: c1, merchant: m, category: fuel, amount: 10, country: DE, channel: online, paid_at: "2025-03-03T12:10:00Z"}}
          then:
            features:
              paid_count_1h: 4
              category: grocery
              channel: online
              amount: {about: 12, within: 1}
              refused_logins_2h: missing
              paid_sum_1h: 120
            score: {above: 0.5, below: 0.5}
            decision: false
      """)
    #expect(failures.map(\.place.line) == [7, 8, 10, 11, 13, 13, 14])
    #expect(failures[0].message == "paid_count_1h is 3.0, not 4.0")
  }

  @Test func `labels that are given teach before the event is scored`() throws {
    func text(_ score: String) -> String {
      func record(_ id: String, _ amount: Int, _ value: Int) -> String {
        """
              - payments: {payment_id: \(id), card: c1, merchant: m, category: fuel, amount: \(amount), country: DE, channel: online, paid_at: "2025-03-03T12:00:00Z"}
                repeat: 60
              - outcomes: {payment_id: \(id), card: c1, charged_back: \(value), known_at: "2025-03-03T13:00:00Z"}
                repeat: 60

        """
      }
      return """
        tests:
          - name: learnt
            given:
        \(record("A", 500, 1))\(record("B", 500, 1))
            when: {payments: {payment_id: C, card: c1, merchant: m, category: fuel, amount: 500, country: DE, channel: online, paid_at: "2025-03-03T14:00:00Z"}}
            then: {score: {\(score)}}
        """
    }
    #expect(try failures(text("above: 0.8")).isEmpty)
    #expect(try failures(text("below: 0.5")).count == 1)
  }

  @Test func `a record that is a dead letter is told, and so is an event that is not scored`() throws {
    let failures = try failures(
      """
      tests:
        - name: bad records
          given:
            - payments: {card: c1, paid_at: "2025-03-03T12:00:00Z", amount: 1}
          when: {payments: {payment_id: B, card: c1, amount: much, paid_at: "2025-03-03T12:10:00Z"}}
          then: {features: {amount: 1}}
      """)
    #expect(failures.map(\.place.line) == [4, 5])
    #expect(failures[0].message.contains("missing-id") && failures[1].message.contains("wrong-type"))
  }

  @Test func `faults of a test file are listed all at once, with their places`() throws {
    #expect {
      try failures(
        """
        tests:
          - name: faulty
            given: [{paymants: {payment_id: A}}, {logins: {login_id: A}, repeat: 0}]
            when: {logins: {login_id: A}}
            then: {features: {paid_count: 1, amount: lots}, scores: {}, decision: maybe}
        """)
    } throws: { error in
      guard let faults = (error as? ConfigurationFaults)?.faults else { return false }
      return faults.map(\.code) == [
        .unknownKey, .outOfRange, .invalidValue, .unknownFeature, .wrongType, .unknownKey, .wrongType,
      ] && faults.allSatisfy { $0.place.line >= 3 }
    }
  }
}
