//! What can go wrong at the Kafka client, sorted by what the caller can do about it.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

use super::refusal::{Reason, Refusal};
use crate::config::is_secret;

/// An error of the Kafka client or of a broker.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No broker answered.
    #[error("Kafka is not reachable at {bootstrap_servers} (waited {waited_s} s)")]
    Unreachable {
        /// The servers that were tried.
        bootstrap_servers: String,
        /// How long, in seconds.
        waited_s: u64,
        /// The client's last word on it.
        #[source]
        source: ClientError,
    },
    /// A broker is there, and the client is not let in.
    #[error("no connection to Kafka at {bootstrap_servers}: {refusal}")]
    Refused {
        /// The servers that were tried.
        bootstrap_servers: String,
        /// Why, and what to do about it.
        refusal: Refusal,
        /// The client's own words.
        #[source]
        reason: Reason,
    },
    /// A property is unknown to the client, or its value is out of range. To be made by `KafkaError::config`, which
    /// leaves secrets out.
    #[error("the Kafka client refuses its configuration")]
    Config(#[source] ClientError),
    /// The topic does not exist; whoever asked for it never creates it.
    #[error("the topic {topic} does not exist on {bootstrap_servers}")]
    UnknownTopic {
        /// The topic's name.
        topic: String,
        /// Where it was looked for.
        bootstrap_servers: String,
    },
    /// The topic does not exist, and the settings forbid creating it.
    #[error(
        "the topic {topic} does not exist on {bootstrap_servers}; create it, or allow it with --create-topics true"
    )]
    MayNotCreate {
        /// The topic's name.
        topic: String,
        /// Where it was looked for.
        bootstrap_servers: String,
    },
    /// The broker says nothing of a topic but an error: it does not allow us to see it, or cannot.
    #[error("look at the topic {topic}: {code}")]
    Topic {
        /// The topic's name.
        topic: String,
        /// The broker's answer.
        code: RDKafkaErrorCode,
    },
    /// A topic could not be created.
    #[error("create the topic {topic}: {code}")]
    CreateTopic {
        /// The topic's name.
        topic: String,
        /// The broker's answer.
        code: RDKafkaErrorCode,
    },
    /// A request failed.
    #[error("{what}")]
    Request {
        /// What was being done.
        what: String,
        /// The client's error.
        #[source]
        source: ClientError,
    },
    /// The committed position is below what the topic still holds.
    #[error(
        "the records {partition} from offset {committed} up to {log_start} were deleted by retention before this group \
         read them"
    )]
    Gap {
        /// The partition, as `topic/number`.
        partition: String,
        /// Where the group had committed.
        committed: i64,
        /// Where the partition starts now.
        log_start: i64,
    },
    /// The thread that reads a producer's delivery reports could not be started.
    #[error("start the thread that reads delivery reports")]
    Thread(#[source] std::io::Error),
    /// The client cannot go on (fenced, or an idempotence violation).
    #[error("the Kafka client stopped with a fatal error: {0}")]
    Fatal(String),
}

impl KafkaError {
    /// Whether a request failed because no broker answered it, rather than by what one answered.
    #[cfg(feature = "tracker")]
    pub(crate) fn is_silence(source: &ClientError) -> bool {
        let code = match source {
            ClientError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        matches!(
            code,
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::Resolve
            )
        )
    }

    /// A configuration that the client refuses. It repeats the value in its words, which is left out where it is a secret.
    pub(crate) fn config(error: ClientError) -> Self {
        Self::Config(match error {
            ClientError::ClientConfig(code, description, key, _) => {
                let description =
                    if is_secret(&key) { "its value is refused:".to_owned() } else { description };
                ClientError::ClientConfig(code, description, key, String::new())
            }
            other => other,
        })
    }

    /// Shorthand for a failed request.
    pub(crate) fn request(what: impl Into<String>, source: ClientError) -> Self {
        Self::Request { what: what.into(), source }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka_sys::types::RDKafkaConfRes;

    use super::*;
    use crate::failure::chain_of;

    #[test]
    fn a_refused_secret_is_not_repeated() {
        let refused = |key: &str| {
            let description = format!("Invalid value \"hunter2\" for configuration property \"{key}\"");
            let code = RDKafkaConfRes::RD_KAFKA_CONF_INVALID;
            KafkaError::config(ClientError::ClientConfig(
                code,
                description,
                key.to_owned(),
                "hunter2".to_owned(),
            ))
        };
        for key in ["sasl.password", "ssl.key.pem", "sasl.jaas.config"] {
            let error = refused(key);
            let text = format!("{error} {error:?} {}", chain_of(&error));
            assert!(text.contains(key) && !text.contains("hunter2"), "{text}");
        }
        assert!(chain_of(&refused("socket.timeout.ms")).contains("Invalid value \"hunter2\""));
    }
}
