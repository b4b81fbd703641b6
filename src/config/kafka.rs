//! How Kafka is reached: checked values only. Which librdkafka properties may be passed through is decided where raw
//! settings are checked; this is the result.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A value that must not reach a log, a screen or an error message.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that hands it to the client.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Whether the value of a librdkafka property must not be shown.
#[cfg(any(feature = "cli", feature = "kafka"))]
pub(crate) fn is_secret(key: &str) -> bool {
    ["password", "secret", "passphrase", "key.pem", "oauthbearer.config", "jaas"]
        .iter()
        .any(|part| key.contains(part))
}

/// How Kafka is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// The name that brokers log for this client.
    pub client_id: String,
    /// librdkafka properties to pass through, already checked against those that the guarantees rest on.
    pub properties: BTreeMap<String, String>,
    /// Properties whose values are secret (`sasl.password`, `ssl.key.password` …).
    pub secrets: BTreeMap<String, Secret>,
    /// How long a start may wait for the first answer.
    pub connect_timeout: Duration,
}

/// Of properties the names alone: a misspelt one, or an address with credentials, may hold a secret that nobody takes
/// for one.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("properties", &self.properties.keys())
            .field("secrets", &self.secrets.keys())
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            client_id: "pubsub-kafka".to_owned(),
            properties: BTreeMap::new(),
            secrets: BTreeMap::new(),
            connect_timeout: Duration::from_secs(30),
        }
    }
}
