import Kafka
import Pipeline

/// The declared way to the brokers with its secrets read: what clients are made from.
public struct ResolvedSecurity: Sendable {
  private let brokers: PipelineSettings.Brokers
  private let password: Secret?
  private let keyPassword: Secret?

  public init(_ brokers: PipelineSettings.Brokers, _ surroundings: Surroundings) throws {
    self.brokers = brokers
    do throws(SecretReference.Failure) {
      password = try brokers.security.password?.resolve(surroundings).secret
      keyPassword = try brokers.security.keyPassword?.resolve(surroundings).secret
    } catch {
      throw WorkerFailure.misconfigured("\(error)")
    }
  }

  public func clientSettings(bootstrap: String? = nil, clientID: String) -> ClientSettings {
    var client = ClientSettings(bootstrap: bootstrap ?? brokers.bootstrap, clientID: clientID)
    let security = brokers.security
    // The declaration is the explicit word; `check` and `run` warn of an open transport to another machine.
    client.allowsInsecure = true
    client.transport = ClientSettings.Transport(rawValue: security.transport.rawValue) ?? .plaintext
    client.mechanism = security.mechanism.flatMap { ClientSettings.Mechanism(rawValue: $0) }
    client.username = security.username
    client.password = password
    client.authorityFile = security.authoritiesPath
    client.certificateFile = security.certificatePath
    client.keyFile = security.keyPath
    client.keyPassword = keyPassword
    client.passthrough = brokers.passthrough.map { ($0.name, $0.value) }
    return client
  }
}

extension String {
  fileprivate var secret: Secret { Secret(self) }
}
