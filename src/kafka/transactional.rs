//! The transactional producer: what one transaction sends is seen by read_committed readers together or not at all, and
//! a producer that starts under the same id ends for good the one that was there before. It decides nothing: whoever
//! uses it says when a transaction begins, and what to do about one that fails.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::client::{client_config, log_client_error, log_client_line};
use super::producer::ONE_AT_A_TIME;
use super::producer::client_headers;
use super::reports::Reporting;
use super::{Delivered, KafkaError, Outgoing, SendError};
use crate::config::KafkaSettings;

/// How long the broker leaves a transaction open whose producer is gone. Until then nobody reads past it.
const OPEN_AT_MOST: Duration = Duration::from_secs(30);
/// How long one call to the coordinator may take before it is made again.
const CALL: Duration = Duration::from_secs(10);
/// How long a request fills at most. Long enough for full ones: each costs the broker the same. What waits for the last
/// ones is little beside a whole transaction, and the next one is prepared meanwhile.
const LINGER: Duration = Duration::from_millis(20);
/// How many bytes may be on their way without an answer, and how old the oldest of them may be when more is sent. One request
/// is on its way at a time ([`ONE_AT_A_TIME`]); while records wait behind it for longer than [`LINGER`], the client asks again
/// and again without a pause whether it may send: that is the processor which the broker needs. So little seldom waits.
const UNANSWERED: usize = 4 << 20;
const UNANSWERED_FOR: Duration = Duration::from_millis(50);
/// About what a record takes besides key and value, its headers among it.
const RECORD_BYTES: usize = 200;
/// How long to wait for answers before more is sent all the same.
const ANSWERS: Duration = Duration::from_secs(1);
/// The pause while the client puts away what it has reported.
const TIDY_PAUSE: Duration = Duration::from_micros(50);

/// Why a transaction, or the producer with it, came to its end.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Another producer took the same id: this one must not write any more.
    #[error("another program took over the transactional id of this one")]
    Fenced,
    /// The transaction can only be aborted; another one may succeed.
    #[error("the transaction must be aborted")]
    Abort(#[source] ClientError),
    /// The producer can no longer be used, or Kafka did not answer in time.
    #[error("the transaction did not end")]
    Failed(#[source] ClientError),
}

impl TransactionError {
    fn from_client(error: ClientError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => Self::Fenced,
            _ => match &error {
                ClientError::Transaction(inner) if inner.txn_requires_abort() => Self::Abort(error),
                _ => Self::Failed(error),
            },
        }
    }
}

/// How one record of a transaction was answered.
#[derive(Debug)]
pub struct Report {
    /// What the caller called it.
    pub tag: usize,
    /// Where it is, or why it is not.
    pub result: Result<Delivered, SendError>,
}

/// Whose fault it is that a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The record's: it is refused wherever it is tried.
    Record,
    /// The topic's: we may not write to it, or it is gone.
    Topic,
    /// Nobody's that is known: another attempt may help.
    Passing,
}

impl Report {
    /// Whose fault it is, where the record was not taken.
    pub fn fault(&self) -> Option<Fault> {
        use RDKafkaErrorCode as Code;
        let code = match self.result.as_ref().err()? {
            SendError::TooLarge => return Some(Fault::Record),
            SendError::Failed(source) => source.rdkafka_error_code(),
            SendError::QueueFull | SendError::Fatal(_) | SendError::Guessed | SendError::Closed => None,
        };
        Some(match code {
            Some(Code::InvalidRecord | Code::PolicyViolation | Code::InvalidTimestamp) => Fault::Record,
            Some(
                Code::TopicAuthorizationFailed
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::InvalidTopic,
            ) => Fault::Topic,
            _ => Fault::Passing,
        })
    }
}

/// What the client has reported of the transaction that is open.
#[derive(Debug, Default)]
struct State {
    reports: Vec<Report>,
    /// How many somebody waits for; nobody is woken before.
    awaited: Option<usize>,
    /// The transaction has failed: what is not answered yet will not be.
    has_failed: bool,
}

#[derive(Debug, Clone, Default)]
struct Reports(Arc<(Mutex<State>, Condvar)>);

impl Reports {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, report: Report) {
        let mut state = self.lock();
        state.reports.push(report);
        if state.awaited.is_some_and(|awaited| state.reports.len() >= awaited) {
            self.0.1.notify_all();
        }
    }

    fn fail(&self) {
        self.lock().has_failed = true;
        self.0.1.notify_all();
    }

    fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.lock()).reports
    }

    /// Whether there are so many.
    fn has(&self, count: usize) -> bool {
        self.lock().reports.len() >= count
    }

    /// Waits for so many, or until there will be no more of them; false when neither was there in time.
    fn wait(&self, count: usize, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.awaited = Some(count);
        let is_open = |state: &mut State| state.reports.len() < count && !state.has_failed;
        let waited = self.0.1.wait_timeout_while(state, timeout, is_open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // The client says in no other way that a transaction has failed before it is asked to end it; without this a
        // failed one is noticed as well, half a minute later.
        if facility == "TXNERR" {
            self.fail();
        }
        log_client_line(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_client_error(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        self.add(Report { tag, result: Delivered::of(result) });
    }
}

/// A producer with a transactional id.
pub struct TransactionalProducer {
    inner: Reporting<Reports>,
    reports: Reports,
    /// How many records were sent since the last settling, and how many bytes.
    sent: usize,
    bytes: usize,
    /// How many of them were sent at that time.
    mark: (usize, Instant),
    timeout: Duration,
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionalProducer").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl TransactionalProducer {
    /// Builds the producer. Records up to `max_message_bytes` pass it, and `timeout` is how long each step may take.
    ///
    /// # Errors
    /// [`KafkaError::Config`] when the client refuses a property.
    pub fn new(
        settings: &KafkaSettings,
        transactional_id: &str,
        max_message_bytes: usize,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let open_ms = OPEN_AT_MOST.as_millis().to_string();
        let linger_ms = LINGER.as_millis().to_string();
        let max_bytes = max_message_bytes.clamp(1000, 1_000_000_000).to_string();
        // One record larger than the whole queue would be told to wait for room for ever.
        let queue_kb = (64 << 10).max(max_message_bytes / 1024 + 2).to_string();
        let config = client_config(
            settings,
            &[
                ("transactional.id", transactional_id),
                ("transaction.timeout.ms", &open_ms),
                ("enable.idempotence", "true"),
                ONE_AT_A_TIME,
                ("acks", "all"),
                ("partitioner", "murmur2_random"),
                ("linger.ms", &linger_ms),
                // A send must end before its transaction does.
                ("message.timeout.ms", &open_ms),
                ("message.max.bytes", &max_bytes),
                ("queue.buffering.max.kbytes", &queue_kb),
            ],
        );
        let reports = Reports::default();
        let inner = Reporting::new(&config, reports.clone())?;
        Ok(Self { inner, reports, sent: 0, bytes: 0, mark: (0, Instant::now()), timeout })
    }

    /// Takes the transactional id: whoever had it can write no more, and its open transaction is ended.
    ///
    /// # Errors
    /// [`TransactionError`] when the coordinator refuses, or does not answer in time.
    pub fn init(&self) -> Result<(), TransactionError> {
        self.insist(|left| self.inner.init_transactions(left))
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`TransactionError`] when this producer has none to give.
    pub fn begin(&mut self) -> Result<(), TransactionError> {
        self.reports.take();
        self.count_anew();
        self.inner.begin_transaction().map_err(TransactionError::from_client)
    }

    /// Puts a record into the transaction.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] and what else the client knows without asking a broker; the transaction stays open.
    pub fn send(&mut self, tag: usize, record: &Outgoing) -> Result<(), SendError> {
        let mut out = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, tag);
        out.partition = record.partition;
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        out.timestamp = record.timestamp_ms;
        out.headers = client_headers(&record.headers);
        self.queue(out)
    }

    /// The same of a record that is a key and a value, and has its partition from its key.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_pair(&mut self, tag: usize, topic: &str, key: &[u8], value: &[u8]) -> Result<(), SendError> {
        self.queue(BaseRecord::with_opaque_to(topic, tag).key(key).payload(value))
    }

    fn count_anew(&mut self) {
        (self.sent, self.bytes, self.mark) = (0, 0, (0, Instant::now()));
    }

    /// Lets the broker come after, where much is on its way or something for long.
    fn wait_for_answers(&mut self) {
        // By their mean, as answers do not tell the size of what they answer.
        let room = self.sent * UNANSWERED / self.bytes.max(1);
        if self.bytes > UNANSWERED && !self.reports.has(self.sent.saturating_sub(room)) {
            // Half of them at once, so that this thread is not woken for each answer.
            self.reports.wait(self.sent.saturating_sub(room / 2), ANSWERS);
        }
        let (count, since) = self.mark;
        if since.elapsed() > UNANSWERED_FOR {
            if !self.reports.has(count) {
                self.reports.wait(count, ANSWERS);
            }
            self.mark = (self.sent, Instant::now());
        }
    }

    fn queue(&mut self, record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), SendError> {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let bytes = len(record.key) + len(record.payload) + RECORD_BYTES;
        self.wait_for_answers();
        self.inner.send(record).map_err(|(error, _)| SendError::from_client(error))?;
        self.sent += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Waits until every record that was sent since the last time is answered; fewer answers than records mean that the
    /// transaction failed. What is answered is in its topic, but committed it is not.
    pub fn settle(&mut self) -> Vec<Report> {
        // The client gives up on each by itself, within the time that a transaction may stay open.
        let sent = self.sent;
        self.count_anew();
        self.reports.wait(sent, OPEN_AT_MOST + CALL);
        let reports = self.reports.take();
        // What is reported is put away a moment later; until then the client would wait for a tenth of a second.
        let begun = Instant::now();
        while reports.len() == sent && self.inner.in_flight_count() > 0 && begun.elapsed() < CALL {
            std::thread::sleep(TIDY_PAUSE);
        }
        reports
    }

    /// Commits. After an error other than [`TransactionError::Abort`] it is unknown whether it was.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub fn commit(&self) -> Result<(), TransactionError> {
        self.insist(|left| self.inner.commit_transaction(left))
    }

    /// Gives the transaction up.
    ///
    /// # Errors
    /// [`TransactionError`] when even that fails.
    pub fn abort(&self) -> Result<(), TransactionError> {
        self.insist(|left| self.inner.abort_transaction(left))
    }

    /// Calls again what may be called again, until the time is over.
    fn insist(&self, call: impl Fn(Duration) -> Result<(), ClientError>) -> Result<(), TransactionError> {
        let begun = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(begun.elapsed());
            match call(left.clamp(Duration::from_millis(100), CALL)) {
                Ok(()) => return Ok(()),
                Err(ClientError::Transaction(inner))
                    if inner.is_retriable() && begun.elapsed() < self.timeout => {}
                Err(error) => return Err(TransactionError::from_client(error)),
            }
        }
    }
}
