//! The dead letter topic as a sink. A letter is safe when all in-sync replicas have it. One that Kafka refuses as too
//! large goes without its payload, and without key and headers if that is still too large: it is never dropped.
//!
//! Brokers measure whole batches. So what was refused goes once more, in a batch of its own, before it is believed to be
//! too large itself: the topic's limit may be lower than it was at the start, or kept secret.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::{Envelope, Receipt, Sink, SinkError};
use crate::config::KafkaSettings;
use crate::kafka::{Delivered, KafkaError, Outgoing, Producer, ProducerOptions, SendError};

/// How long to wait for room in the producer's queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// How long the client itself tries before a send has failed; whoever publishes tries again after that.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much may wait in the producer's queue.
const QUEUE_BYTES: usize = 16 << 20;
/// What the client allows as the size of a record, in bytes.
const CLIENT_LIMITS: (usize, usize) = (1000, 1_000_000_000);

/// Which topic, and what it takes.
#[derive(Debug, Clone)]
pub struct KafkaSinkConfig {
    /// The dead letter topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// The largest batch that it takes, in bytes (its `max.message.bytes`).
    pub max_message_bytes: usize,
}

/// Publishes dead letters to a topic, to the partition with the origin's number.
#[derive(Debug)]
pub struct KafkaSink {
    topic: Arc<str>,
    partitions: i32,
    producer: Line,
    /// Sends each letter in a batch of its own.
    alone: Line,
}

/// One way to the topic: a producer that is replaced when it stops with a fatal error.
#[derive(Debug)]
struct Line {
    settings: KafkaSettings,
    options: ProducerOptions,
    producer: RwLock<Arc<Producer>>,
}

impl KafkaSink {
    /// How many letters make a request that sets out at once; fewer wait a little for more. Who has many letters does well to
    /// publish so many together, and the next ones when all of these are acknowledged: the client has one request of a
    /// partition under way, and while more letters wait behind it for longer than its linger time, its thread asks without a
    /// pause whether it may send, on the processor that everybody else needs.
    pub const AT_ONCE: usize = 256;

    /// Builds the sink and its producer; no broker is asked yet.
    ///
    /// # Errors
    /// [`KafkaError::Config`] when the client refuses a property.
    pub fn new(settings: &KafkaSettings, config: KafkaSinkConfig) -> Result<Self, KafkaError> {
        let max_message_bytes = config.max_message_bytes.clamp(CLIENT_LIMITS.0, CLIENT_LIMITS.1);
        let options = ProducerOptions {
            linger_ms: 5,
            message_timeout: MESSAGE_TIMEOUT,
            max_message_bytes,
            queue_bytes: QUEUE_BYTES,
            batch_records: Self::AT_ONCE,
        };
        let alone = ProducerOptions { batch_records: 1, ..options.clone() };
        Ok(Self {
            topic: Arc::from(config.topic),
            partitions: config.partitions.max(1),
            producer: Line::new(settings, options)?,
            alone: Line::new(settings, alone)?,
        })
    }

    fn error(&self, source: impl std::error::Error + Send + Sync + 'static) -> SinkError {
        SinkError { target: format!("the topic {}", self.topic), source: Box::new(source) }
    }

    /// What is sent but for its headers, which the client copies from the letter.
    fn outgoing(&self, letter: &Envelope) -> Outgoing {
        Outgoing {
            topic: Arc::clone(&self.topic),
            partition: Some(letter.partition().rem_euclid(self.partitions)),
            key: letter.key().cloned(),
            value: Some(letter.value().into()),
            ..Outgoing::default()
        }
    }

    /// Takes back the letters that are not on their way to a broker yet. Whoever still waits for one publishes it again.
    #[cfg(feature = "tracker")]
    pub(crate) fn take_back(&self) {
        self.producer.producer().take_back();
        self.alone.producer().take_back();
    }

    async fn send(&self, record: &Outgoing, letter: &Envelope) -> Result<Delivered, SendError> {
        match self.producer.send(record, letter).await {
            Err(SendError::TooLarge) => self.alone.send(record, letter).await,
            ended => ended,
        }
    }
}

impl Line {
    fn new(settings: &KafkaSettings, options: ProducerOptions) -> Result<Self, KafkaError> {
        let producer = RwLock::new(Arc::new(Producer::new(settings, &options)?));
        Ok(Self { settings: settings.clone(), options, producer })
    }

    fn producer(&self) -> Arc<Producer> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Builds a new producer in place of one that failed for good; only the first to notice does.
    fn replace(&self, failed: &Arc<Producer>) -> Result<(), KafkaError> {
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, failed) {
            tracing::warn!(
                reason = failed.fatal_error(),
                "the dead letter producer failed for good: building a new one"
            );
            *current = Arc::new(Producer::new(&self.settings, &self.options)?);
        }
        Ok(())
    }

    async fn send(&self, record: &Outgoing, letter: &Envelope) -> Result<Delivered, SendError> {
        loop {
            let producer = self.producer();
            let sent = match producer.send_with(record, letter.headers()) {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            match sent {
                Err(SendError::QueueFull) => tokio::time::sleep(QUEUE_PAUSE).await,
                // Not acknowledged, so it is sent again: its id is the same, so readers can tell a repeat.
                Err(SendError::Fatal(error)) if self.replace(&producer).is_err() => {
                    return Err(SendError::Fatal(error));
                }
                Err(SendError::Fatal(_)) => {}
                ended => return ended,
            }
        }
    }
}

impl Sink for KafkaSink {
    async fn publish(&self, letter: &Envelope) -> Result<Receipt, SinkError> {
        let receipt = |at: Delivered| Receipt::acknowledged(at.partition, at.offset);
        match self.send(&self.outgoing(letter), letter).await {
            Ok(at) => return Ok(receipt(at)),
            Err(SendError::TooLarge) => {}
            Err(error) => return Err(self.error(error)),
        }
        let payload = letter.letter().original_payload.bytes();
        for shrink in [Envelope::without_payload, Envelope::bare] {
            // One copy at a time: these are the large ones.
            let smaller = shrink(letter.clone());
            match self.send(&self.outgoing(&smaller), &smaller).await {
                Ok(at) => {
                    tracing::warn!(
                        id = %letter.letter().id,
                        payload_bytes = payload.map(<[u8]>::len),
                        "a dead letter was too large for its topic: stored without its payload, or without key and headers",
                    );
                    let receipt = receipt(at);
                    return Ok(if payload.is_some() { receipt.without_payload() } else { receipt });
                }
                Err(SendError::TooLarge) => {}
                Err(error) => return Err(self.error(error)),
            }
        }
        Err(self.error(SendError::TooLarge))
    }
}
