//! The idempotent producer: every send gives back a future that resolves when all in-sync replicas have the record, or
//! when it has failed for good. A dropped producer flushes nothing, so whoever owns one flushes it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::oneshot;

use super::KafkaError;
use super::client::{client_config, log_client_error, log_client_line};
use super::reports::Reporting;
use crate::config::KafkaSettings;
use crate::record::Header;

/// One record on its way out.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// Where to.
    pub topic: Arc<str>,
    /// A fixed partition, or `None` for the partitioner (murmur2 of the key, as Java clients do).
    pub partition: Option<i32>,
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// Milliseconds since the epoch, or `None` for now.
    pub timestamp_ms: Option<i64>,
}

/// Where an acknowledged record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition that it went to.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

impl Delivered {
    /// What a delivery report says.
    pub(super) fn of(report: &DeliveryResult<'_>) -> Result<Self, SendError> {
        match report {
            Ok(message) => Self::stored(message.partition(), message.offset()),
            Err((error, _)) => Err(SendError::from_client(error.clone())),
        }
    }

    /// A broker's acknowledgement says where the record is. One without a place is the client's own guess.
    fn stored(partition: i32, offset: i64) -> Result<Self, SendError> {
        if offset < 0 { Err(SendError::Guessed) } else { Ok(Self { partition, offset }) }
    }
}

/// One request to a broker at a time. While a second one is under way, the client takes its success for that of the first one
/// if a broker refused the first one for the moment. A partition that knows nothing of the producer, as a new one does, takes
/// the second one all the same: then the records of the first one are said to be stored, and are not.
pub(super) const ONE_AT_A_TIME: (&str, &str) = ("max.in.flight.requests.per.connection", "1");

/// Why a record was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The client's queue is full: wait and send again.
    #[error("the producer's queue is full")]
    QueueFull,
    /// The broker, or the client before it, refuses the record's size; sending it again cannot help.
    #[error("the record is larger than Kafka takes")]
    TooLarge,
    /// The producer itself can no longer be used: a new one must be built.
    #[error("the producer stopped with a fatal error")]
    Fatal(#[source] ClientError),
    /// Not acknowledged in time, forbidden, no such topic, and the rest: another attempt may help.
    #[error("the record was not acknowledged")]
    Failed(#[source] ClientError),
    /// The client holds it to be stored because a later record was, and no broker said so: it may be stored, or not.
    #[error("no broker acknowledged the record, though a later one was stored")]
    Guessed,
    /// The producer went away before it knew.
    #[error("the producer was closed before the record was acknowledged")]
    Closed,
}

impl SendError {
    pub(super) fn from_client(error: ClientError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Self::QueueFull,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                Self::TooLarge
            }
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced) => Self::Fatal(error),
            _ => Self::Failed(error),
        }
    }
}

/// The outcome of one send, when it is known.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Delivered, SendError>>);

impl Future for Delivery {
    type Output = Result<Delivered, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(SendError::Closed)))
    }
}

/// What differs between the producers of the roles.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// How long the client collects a batch, in milliseconds; 0 sends at once.
    pub linger_ms: u32,
    /// How long the client itself tries before a send has failed.
    pub message_timeout: Duration,
    /// The largest record that the client lets pass, in bytes; the broker has its own limit.
    pub max_message_bytes: usize,
    /// How much may wait in the client's queue, in bytes; at least one record of the largest size.
    pub queue_bytes: usize,
    /// How many records go in a batch at most. So many of one partition set out at once.
    pub batch_records: usize,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            linger_ms: 5,
            message_timeout: Duration::from_secs(30),
            max_message_bytes: 1_000_000,
            queue_bytes: 64 << 20,
            batch_records: 10_000,
        }
    }
}

/// For so many headers there is room at once.
const HEADERS: usize = 16;

type Answer = oneshot::Sender<Result<Delivered, SendError>>;

#[derive(Debug, Clone, Default)]
struct DeliveryContext;

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Answer>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Self::DeliveryOpaque) {
        // Nobody waits for it any more: the record is where it is all the same.
        drop(answer.send(Delivered::of(result)));
    }
}

/// Headers as the client takes them; `None` for none.
pub(super) fn client_headers<'h>(headers: impl IntoIterator<Item = &'h Header>) -> Option<OwnedHeaders> {
    headers.into_iter().fold(None, |out, Header { name, value }| {
        let header = ClientHeader { key: name, value: value.as_deref() };
        Some(out.unwrap_or_else(|| OwnedHeaders::new_with_capacity(HEADERS)).insert(header))
    })
}

/// An idempotent producer that waits for all in-sync replicas.
pub struct Producer {
    inner: Reporting<DeliveryContext>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("in_flight", &self.inner.in_flight_count()).finish()
    }
}

impl Producer {
    /// Builds the producer; no broker is asked yet.
    ///
    /// # Errors
    /// [`KafkaError::Config`] when the client refuses a property.
    pub fn new(settings: &KafkaSettings, options: &ProducerOptions) -> Result<Self, KafkaError> {
        let batch_records = options.batch_records.to_string();
        let linger = options.linger_ms.to_string();
        let timeout = options.message_timeout.as_millis().to_string();
        let max_bytes = options.max_message_bytes.to_string();
        // A record larger than the whole queue would be told to wait for room for ever.
        let queue_bytes = options.queue_bytes.max(options.max_message_bytes.saturating_add(1024));
        let queue_kb = queue_bytes.div_ceil(1024).max(1024).to_string();
        let config = client_config(
            settings,
            &[
                ("enable.idempotence", "true"),
                ONE_AT_A_TIME,
                ("acks", "all"),
                ("partitioner", "murmur2_random"),
                ("linger.ms", &linger),
                ("message.timeout.ms", &timeout),
                ("message.max.bytes", &max_bytes),
                ("batch.num.messages", &batch_records),
                ("queue.buffering.max.kbytes", &queue_kb),
            ],
        );
        Ok(Self { inner: Reporting::new(&config, DeliveryContext)? })
    }

    /// Puts a record into the client's queue, in the order of the calls. The record is copied by the client.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] and the other errors that the client knows without asking a broker.
    pub fn send(&self, record: &Outgoing) -> Result<Delivery, SendError> {
        self.send_with(record, &record.headers)
    }

    /// The same with these headers in place of the record's.
    ///
    /// # Errors
    /// The same.
    pub fn send_with<'h>(
        &self,
        record: &Outgoing,
        headers: impl IntoIterator<Item = &'h Header>,
    ) -> Result<Delivery, SendError> {
        let (answer, delivery) = oneshot::channel();
        let mut out = BaseRecord::<[u8], [u8], Box<Answer>>::with_opaque_to(&record.topic, Box::new(answer));
        out.partition = record.partition;
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        out.timestamp = record.timestamp_ms;
        out.headers = client_headers(headers);
        match self.inner.send(out) {
            Ok(()) => Ok(Delivery(delivery)),
            Err((error, _)) => Err(SendError::from_client(error)),
        }
    }

    /// How many records are neither acknowledged nor failed.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// Waits until everything queued is acknowledged or failed.
    ///
    /// # Errors
    /// [`KafkaError::Request`] when that takes longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.inner.flush(timeout).map_err(|e| KafkaError::request("flush the producer", e))
    }

    /// Takes back what waits to be sent, or to be sent again: it fails at once. What a broker is being asked to take goes
    /// its way.
    pub fn take_back(&self) {
        self.inner.purge(PurgeConfig::default().queue());
    }

    /// The fatal error that ended this producer, if one did.
    pub fn fatal_error(&self) -> Option<String> {
        self.inner.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;
    use rdkafka_sys::rd_kafka_resp_err_t;

    use super::*;

    /// A cluster with a topic, and a record for it.
    fn letters() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaSettings, Outgoing)
    {
        let mock = MockCluster::new(1).expect("a mock cluster");
        mock.create_topic("letters", 1, 1).expect("a topic");
        let settings =
            KafkaSettings { bootstrap_servers: mock.bootstrap_servers(), ..KafkaSettings::default() };
        let record = Outgoing { topic: "letters".into(), partition: Some(0), ..Outgoing::default() };
        (mock, settings, record)
    }

    #[test]
    fn an_acknowledgement_without_a_place_is_none() {
        assert!(matches!(Delivered::stored(0, -1001), Err(SendError::Guessed)));
        assert!(matches!(Delivered::stored(0, -1), Err(SendError::Guessed)));
        assert!(matches!(Delivered::stored(2, 0), Ok(Delivered { partition: 2, offset: 0 })));
    }

    /// A partition whose first request is refused for the moment, while a second one is on its way: the client takes the
    /// second one's success for the first one's. A new partition takes any sequence number for its first.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_acknowledged_has_a_place() {
        let (mock, settings, record) = letters();
        let options = ProducerOptions { linger_ms: 0, ..ProducerOptions::default() };
        let producer = Producer::new(&settings, &options).expect("a producer");
        // It is known now who leads.
        producer.send(&record).expect("queued").await.expect("a broker takes it");
        mock.broker_round_trip_time(1, Duration::from_millis(300)).expect("a slow broker");
        mock.request_errors(
            RDKafkaApiKey::Produce,
            &[rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION],
        );
        let first = producer.send(&record).expect("queued");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let second = producer.send(&record).expect("queued");
        let (first, second) = (first.await.expect("stored"), second.await.expect("stored"));
        assert_eq!((first.offset, second.offset), (1, 2));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_waits_to_be_sent_again_can_be_taken_back() {
        let (mock, settings, record) = letters();
        let producer = Producer::new(&settings, &ProducerOptions::default()).expect("a producer");
        let send = || producer.send(&record).expect("queued");
        send().await.expect("a broker takes it");
        let refusal = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
        mock.request_errors(RDKafkaApiKey::Produce, &[refusal; 500]);
        let mut waits = send();
        tokio::time::timeout(Duration::from_millis(500), &mut waits).await.expect_err("it is tried again");
        producer.take_back();
        let ended = tokio::time::timeout(Duration::from_secs(10), waits).await.expect("at once");
        assert!(matches!(ended, Err(SendError::Failed(_))), "{ended:?}");
        mock.clear_request_errors(RDKafkaApiKey::Produce);
        send().await.expect("it works as before");
    }
}
