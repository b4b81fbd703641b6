//! Writes what was done about dead letters into the topic of the statuses, and answers when all in-sync replicas have it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::replay::ReplayError;
use super::status::{Status, status_topic};
use crate::config::{KafkaSettings, TopicCreation};
use crate::kafka::{Admin, Outgoing, Producer, ProducerOptions, SendError, TopicSpec};
use crate::models::to_safe_vec;

/// How long to wait for room in the producer's queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// The topic of the statuses, for writing.
#[derive(Debug)]
pub struct StatusWriter {
    topic: Arc<str>,
    producer: Producer,
    runtime: Runtime,
}

impl StatusWriter {
    /// Makes sure that the topic is there, and builds the producer.
    ///
    /// # Errors
    /// [`ReplayError::Kafka`] when the topic is missing and cannot or must not be created.
    pub fn open(
        kafka: &KafkaSettings,
        dlq_topic: &str,
        creation: &TopicCreation,
    ) -> Result<Self, ReplayError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ReplayError::file("start a runtime for", "statuses"))?;
        let topic = status_topic(dlq_topic);
        let admin = Admin::new(kafka)?;
        // As safe as the dead letters are.
        let letters = admin.topic(dlq_topic)?;
        let replication = letters.map_or(creation.replication, |info| info.replication);
        let config = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
        let spec = TopicSpec { name: topic.clone(), partitions: 1, replication, config };
        runtime.block_on(admin.ensure(&spec, creation.allowed))?;
        let producer = Producer::new(kafka, &ProducerOptions::default())?;
        Ok(Self { topic: topic.into(), producer, runtime })
    }

    /// Writes statuses, in this order.
    ///
    /// # Errors
    /// [`ReplayError::Status`] for the first that was not acknowledged.
    pub fn write(&self, statuses: impl IntoIterator<Item = Status>) -> Result<(), ReplayError> {
        let failed = |source| ReplayError::Status { topic: self.topic.to_string(), source };
        let mut deliveries = Vec::new();
        for status in statuses {
            let record = record_of(&self.topic, &status)?;
            deliveries.push(loop {
                match self.producer.send(&record) {
                    Ok(delivery) => break delivery,
                    Err(SendError::QueueFull) => std::thread::sleep(QUEUE_PAUSE),
                    Err(error) => return Err(failed(error)),
                }
            });
        }
        self.runtime.block_on(async {
            for delivery in deliveries {
                delivery.await.map_err(failed)?;
            }
            Ok::<(), ReplayError>(())
        })
    }
}

/// A status as a record of its topic.
fn record_of(topic: &Arc<str>, status: &Status) -> Result<Outgoing, ReplayError> {
    Ok(Outgoing {
        topic: Arc::clone(topic),
        key: Some(status.id.to_string().into()),
        value: Some(to_safe_vec(status)?.into()),
        ..Outgoing::default()
    })
}

/// Who does something: user and host.
pub fn who() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let host = hostname::get().map_or_else(|_| "?".to_owned(), |host| host.to_string_lossy().into_owned());
    format!("{}@{host}", user.filter(|user| !user.is_empty()).unwrap_or_else(|| "?".to_owned()))
}
