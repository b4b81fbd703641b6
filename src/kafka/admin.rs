//! Topics: what there is, and creating what is missing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{LoggingContext, client_config};
use super::native::Described;
use super::{KafkaError, native};
use crate::config::KafkaSettings;

/// How long one request may take, unless it is said otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait before a topic without a leader is asked for again.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

/// How long it may take until every broker has heard of a new topic.
const NEWS: Duration = Duration::from_secs(10);

/// What is known of an existing topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The topic's name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication: i32,
}

/// A topic as it is to be created.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; -1 leaves it to the broker.
    pub replication: i32,
    /// Topic settings, by Kafka's names.
    pub config: Vec<(String, String)>,
}

/// Looks at topics and creates them.
pub struct Admin {
    bootstrap_servers: String,
    admin: AdminClient<LoggingContext>,
    metadata: BaseConsumer<LoggingContext>,
    timeout: Duration,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

impl Admin {
    /// Builds the client; no broker is asked yet.
    ///
    /// # Errors
    /// [`KafkaError::Config`] when the client refuses a property.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let config = client_config(settings, &[]);
        Ok(Self {
            bootstrap_servers: settings.bootstrap_servers.clone(),
            admin: config.create_with_context(LoggingContext).map_err(KafkaError::config)?,
            metadata: config.create_with_context(LoggingContext).map_err(KafkaError::config)?,
            timeout: REQUEST_TIMEOUT,
        })
    }

    /// Gives each request so long.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[cfg(feature = "dlq")]
    pub(super) fn client(&self) -> &AdminClient<LoggingContext> {
        &self.admin
    }

    #[cfg(feature = "dlq")]
    pub(super) fn consumer(&self) -> &BaseConsumer<LoggingContext> {
        &self.metadata
    }

    #[cfg(feature = "dlq")]
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is known of a topic; `None` when it does not exist.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the metadata cannot be had, [`KafkaError::Topic`] when the broker does not let us see it.
    pub fn topic(&self, name: &str) -> Result<Option<TopicInfo>, KafkaError> {
        let begun = Instant::now();
        let metadata = loop {
            let left = self.timeout.saturating_sub(begun.elapsed());
            let metadata = self
                .metadata
                .client()
                .fetch_metadata(Some(name), left)
                .map_err(|e| KafkaError::request(format!("read the metadata of topic {name}"), e))?;
            let found = metadata.topics().iter().find(|topic| topic.name() == name);
            let code = found.and_then(rdkafka::metadata::MetadataTopic::error).map(RDKafkaErrorCode::from);
            match said_of(found.is_some(), code) {
                Said::Exists => break metadata,
                Said::Missing => return Ok(None),
                // Just created, or between two leaders.
                Said::NotYet(_) if begun.elapsed() + LEADER_PAUSE < self.timeout => {
                    std::thread::sleep(LEADER_PAUSE);
                }
                Said::NotYet(code) | Said::Refused(code) => {
                    return Err(KafkaError::Topic { topic: name.to_owned(), code });
                }
            }
        };
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        if topic.partitions().is_empty() {
            return Ok(None);
        }
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Ok(Some(TopicInfo {
            name: name.to_owned(),
            partitions: count(topic.partitions().len()),
            replication: topic.partitions().iter().map(|p| count(p.replicas().len())).max().unwrap_or(1),
        }))
    }

    /// A broker to ask what any broker can tell. Left to itself the client asks the controller, and waits the whole time
    /// for a cluster that names none (the embedded broker); asked directly, a broker that cannot tell is known at once.
    fn any_broker(&self, topic: &str) -> Result<Option<i32>, rdkafka::error::KafkaError> {
        let metadata = self.metadata.client().fetch_metadata(Some(topic), self.timeout)?;
        Ok(metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id))
    }

    /// The id that the topic got when it was created; `None` where the broker does not tell.
    pub fn topic_id(&self, name: &str) -> Option<String> {
        let begun = Instant::now();
        loop {
            let broker = self.any_broker(name).ok()??;
            match native::topic_id(self.metadata.client().native_ptr(), broker, name, self.timeout) {
                Described::Told(id) => return Some(id),
                Described::NotYet if begun.elapsed() < NEWS => std::thread::sleep(LEADER_PAUSE),
                Described::Untold | Described::NotYet => return None,
            }
        }
    }

    /// Whether we may write to a topic; `None` where the broker does not tell.
    #[cfg(feature = "dlq")]
    pub fn may_write(&self, name: &str) -> Option<bool> {
        let broker = self.any_broker(name).ok()??;
        native::may_write(self.metadata.client().native_ptr(), broker, name, self.timeout)
    }

    /// A topic's settings, by Kafka's names.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the broker does not tell.
    pub async fn topic_config(&self, name: &str) -> Result<HashMap<String, String>, KafkaError> {
        let what = || format!("read the settings of topic {name}");
        let any_broker = self.any_broker(name).map_err(|e| KafkaError::request(what(), e))?;
        let options = AdminOptions::new().request_timeout(Some(self.timeout)).broker_id(any_broker);
        let answers = self
            .admin
            .describe_configs(&[ResourceSpecifier::Topic(name)], &options)
            .await
            .map_err(|e| KafkaError::request(what(), e))?;
        let mut settings = HashMap::new();
        for answer in answers {
            let resource = answer
                .map_err(|code| KafkaError::request(what(), rdkafka::error::KafkaError::AdminOp(code)))?;
            settings.extend(resource.entries.into_iter().filter_map(|e| Some((e.name, e.value?))));
        }
        Ok(settings)
    }

    /// Creates a topic and waits until its metadata shows it; one that exists by now is fine.
    ///
    /// # Errors
    /// [`KafkaError::CreateTopic`] with the broker's answer.
    pub async fn create(&self, spec: &TopicSpec) -> Result<(), KafkaError> {
        let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
        for (key, value) in &spec.config {
            topic = topic.set(key, value);
        }
        let options =
            AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout));
        let answers = self
            .admin
            .create_topics([&topic], &options)
            .await
            .map_err(|e| KafkaError::request(format!("create the topic {}", spec.name), e))?;
        for answer in answers {
            match answer {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(KafkaError::CreateTopic { topic, code }),
            }
        }
        self.existing(&spec.name).map(drop)
    }

    /// A topic that is known to exist: a broker that has not heard of it yet is asked again.
    ///
    /// # Errors
    /// [`KafkaError::UnknownTopic`] when it is not there after a while, and those of [`Admin::topic`].
    pub fn existing(&self, name: &str) -> Result<TopicInfo, KafkaError> {
        let begun = Instant::now();
        loop {
            match self.topic(name)? {
                Some(found) => return Ok(found),
                None if begun.elapsed() < NEWS => std::thread::sleep(LEADER_PAUSE),
                None => return Err(self.missing(name)),
            }
        }
    }

    fn missing(&self, name: &str) -> KafkaError {
        KafkaError::UnknownTopic { topic: name.to_owned(), bootstrap_servers: self.bootstrap_servers.clone() }
    }

    /// The topic as it is; where it is missing it is created from `spec`, if `allowed`.
    ///
    /// # Errors
    /// [`KafkaError::MayNotCreate`] when it is missing and must not be created, and those of [`Admin::create`].
    pub async fn ensure(&self, spec: &TopicSpec, allowed: bool) -> Result<TopicInfo, KafkaError> {
        if let Some(found) = self.topic(&spec.name)? {
            return Ok(found);
        }
        if !allowed {
            let (topic, bootstrap_servers) = (spec.name.clone(), self.bootstrap_servers.clone());
            return Err(KafkaError::MayNotCreate { topic, bootstrap_servers });
        }
        self.create(spec).await?;
        tracing::info!(topic = spec.name, partitions = spec.partitions, "created the topic {}", spec.name);
        // The next broker that is asked may not have heard of it.
        self.existing(&spec.name)
    }

    /// The first and the end offset of a partition (the end is the last stable offset).
    ///
    /// # Errors
    /// [`KafkaError::Request`] when the leader does not answer.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        self.metadata
            .client()
            .fetch_watermarks(topic, partition, self.timeout)
            .map_err(|e| KafkaError::request(format!("read the offsets of {topic}/{partition}"), e))
    }
}

/// What the metadata says of a topic.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Exists,
    Missing,
    NotYet(RDKafkaErrorCode),
    Refused(RDKafkaErrorCode),
}

fn said_of(is_listed: bool, code: Option<RDKafkaErrorCode>) -> Said {
    match code {
        _ if !is_listed => Said::Missing,
        None | Some(RDKafkaErrorCode::NoError) => Said::Exists,
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Said::Missing,
        Some(code @ RDKafkaErrorCode::LeaderNotAvailable) => Said::NotYet(code),
        Some(code) => Said::Refused(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_missing_only_where_the_broker_says_so() {
        use RDKafkaErrorCode as Code;
        for (listed, code, said) in [
            (true, None, Said::Exists),
            (false, None, Said::Missing),
            (true, Some(Code::UnknownTopicOrPartition), Said::Missing),
            (true, Some(Code::UnknownTopic), Said::Missing),
            (true, Some(Code::LeaderNotAvailable), Said::NotYet(Code::LeaderNotAvailable)),
            (true, Some(Code::TopicAuthorizationFailed), Said::Refused(Code::TopicAuthorizationFailed)),
            (true, Some(Code::InvalidTopic), Said::Refused(Code::InvalidTopic)),
        ] {
            assert_eq!(said_of(listed, code), said, "{code:?}");
        }
        let error = KafkaError::Topic { topic: "orders".to_owned(), code: Code::TopicAuthorizationFailed };
        assert!(error.to_string().contains("orders") && error.to_string().contains("uthoriz"), "{error}");
    }
}
