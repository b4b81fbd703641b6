//! The journal's heads in Kafka: each checkpoint's hash goes to a compacted topic, so that a journal that was cut or
//! rolled back is noticed by the next start. A publish that fails is said and never waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use uuid::Uuid;

use super::PipelineError;
use crate::audit::{HEADS_TOPIC, Head, Identity, Journal, Place, hex};
use crate::config::KafkaSettings;
use crate::kafka::{Admin, Delivery, KafkaError, Outgoing, Producer, ProducerOptions, Reader, TopicSpec};
use crate::models::to_safe_vec;

/// How long it may take until every broker has heard of the topic, when it is new.
const NEWS: Duration = Duration::from_secs(10);
/// How long to wait before it is asked for again.
const NEWS_PAUSE: Duration = Duration::from_millis(50);

/// Publishes the heads of one journal.
pub(super) struct Heads {
    /// Another one, when it fails for good.
    producer: Mutex<Producer>,
    settings: KafkaSettings,
    group: String,
    runtime: Handle,
}

impl Heads {
    pub(super) fn new(settings: &KafkaSettings, group: &str, runtime: &Handle) -> Result<Self, KafkaError> {
        let producer = Mutex::new(producer(settings)?);
        Ok(Self { producer, settings: settings.clone(), group: group.to_owned(), runtime: runtime.clone() })
    }

    fn send(&self, record: &Outgoing) -> Result<Delivery, String> {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if current.fatal_error().is_some() {
            *current = producer(&self.settings).map_err(|e| e.to_string())?;
        }
        current.send(record).map_err(|e| e.to_string())
    }

    /// Sends a head on its way.
    pub(super) fn publish(&self, file_id: Uuid, place: Place) {
        let head = Head::new(&self.group, file_id, place);
        let sent = to_safe_vec(&head).map_err(|e| e.to_string()).and_then(|value| {
            let record = Outgoing {
                topic: Arc::from(HEADS_TOPIC),
                key: Some(Head::key(&self.group, file_id).into()),
                value: Some(value.into()),
                ..Outgoing::default()
            };
            self.send(&record)
        });
        let delivery = match sent {
            Ok(delivery) => delivery,
            Err(error) => return complain(&error),
        };
        drop(self.runtime.spawn(async move {
            if let Err(error) = delivery.await {
                complain(&crate::failure::chain_of(&error));
            }
        }));
    }

    /// Lets the last ones arrive.
    pub(super) fn flush(&self, timeout: Duration) {
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = producer.flush(timeout) {
            complain(&crate::failure::chain_of(&error));
        }
    }
}

fn producer(settings: &KafkaSettings) -> Result<Producer, KafkaError> {
    Producer::new(settings, &ProducerOptions { linger_ms: 0, ..ProducerOptions::default() })
}

fn complain(error: &str) {
    tracing::warn!(
        error,
        "the audit log's head was not published: a cut of it may go unnoticed until the next one"
    );
}

/// Makes sure that the topic is there. Without it the tracker works all the same.
pub(super) async fn ensure_topic(admin: &Admin, replication: i32, allowed: bool) -> bool {
    let config = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
    let spec = TopicSpec { name: HEADS_TOPIC.to_owned(), partitions: 1, replication, config };
    match admin.ensure(&spec, allowed).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(
                error = crate::failure::chain_of(&error),
                "the audit log's heads cannot be published: a cut of it will go unnoticed"
            );
            false
        }
    }
}

/// The topic is there; a broker that has not heard of it yet is asked again.
fn open(settings: &KafkaSettings) -> Result<Reader, KafkaError> {
    let begun = Instant::now();
    loop {
        match Reader::open(settings, HEADS_TOPIC) {
            Err(KafkaError::UnknownTopic { .. }) if begun.elapsed() < NEWS => std::thread::sleep(NEWS_PAUSE),
            opened => return opened,
        }
    }
}

/// The last head that was published of a journal.
///
/// # Errors
/// [`PipelineError::Kafka`] when the topic cannot be read.
pub(super) fn last_published(
    settings: &KafkaSettings,
    identity: &Identity,
) -> Result<Option<Head>, PipelineError> {
    let wanted = Head::key(&identity.consumer_group, identity.file_id);
    let mut last: Option<Head> = None;
    let mut reader = open(settings)?;
    while let Some(record) = reader.read()? {
        if record.key.as_deref() == Some(wanted.as_bytes()) {
            last = serde_json::from_slice(record.payload()).ok().or(last);
        }
    }
    Ok(last)
}

/// Holds the journal against its last published head.
///
/// # Errors
/// [`PipelineError::RolledBack`] when it ends before that head, or says something else there.
pub(super) fn check(journal: &Journal, published: &Head) -> Result<(), PipelineError> {
    let sound = match published.lines.cmp(&journal.place.lines) {
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => hex(&journal.place.head) == published.head,
        std::cmp::Ordering::Less => match journal.head_at(published.lines)? {
            Some(head) => hex(&head) == published.head,
            // In an older segment: `audit verify` looks at those.
            None => true,
        },
    };
    if sound {
        return Ok(());
    }
    Err(PipelineError::RolledBack {
        path: journal.file.path().to_owned(),
        lines: journal.place.lines,
        published: published.lines,
    })
}
