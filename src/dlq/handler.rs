//! The handler: attempts first, then, if they failed, the dead letter, acknowledged. It commits nothing: it returns an
//! outcome, and only an outcome allows its caller to commit.

use std::future::Future;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::attempts::attempt;
use super::{Attempted, Envelope, Exhausted, Receipt, RetryPolicy, Sink, SinkError};
use crate::failure::{Category, Failure};
use crate::models::DeadLetter;
use crate::record::Record;

/// What a handler needs to know.
#[derive(Debug, Clone)]
pub struct HandlerConfig {
    /// The consumer group that it works for.
    pub group: String,
    /// How failed attempts are repeated.
    pub retry: RetryPolicy,
    /// The host's name, as it is written into dead letters.
    pub host: String,
}

impl HandlerConfig {
    /// The default retries, for a group on this host.
    pub fn new(group: impl Into<String>) -> Self {
        let host =
            hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
        Self { group: group.into(), retry: RetryPolicy::default(), host }
    }

    /// With other retries.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }
}

/// The final outcome of one record.
#[derive(Debug)]
pub enum Outcome<T = ()> {
    /// It was processed: its offset may be committed.
    Processed {
        /// What the processing gave back.
        value: T,
        /// How many attempts it took, the first one included.
        attempts: u32,
    },
    /// It failed, and its dead letter is safe: its offset may be committed.
    DeadLettered(Buried),
    /// A stop came first. Nothing is known of the record: its offset must not be committed.
    Interrupted,
}

/// A failed record whose dead letter is safe.
#[derive(Debug)]
pub struct Buried {
    /// Why it failed.
    pub category: Category,
    /// The failure and its causes in one line.
    pub error: String,
    /// How many attempts there were, the first one included.
    pub attempts: u32,
    /// The dead letter's id.
    pub id: uuid::Uuid,
    /// Where it is.
    pub receipt: Receipt,
}

/// The dead letter could not be stored. The record is neither processed nor safe: do not commit, read it again.
#[derive(Debug, thiserror::Error)]
#[error("no dead letter for {topic}/{partition} offset {offset}, which failed with {category}: {failure}", category = failure.category())]
pub struct HandlerError {
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Why the record failed.
    pub failure: Failure,
    /// Why the dead letter could not be stored.
    #[source]
    pub source: SinkError,
}

/// Processes records with retries and dead-letters what cannot be processed.
#[derive(Debug)]
pub struct Handler<S> {
    config: HandlerConfig,
    sink: S,
    stop: CancellationToken,
    gate: Option<Semaphore>,
}

impl<S: Sink> Handler<S> {
    /// A handler that stores dead letters in `sink`.
    pub fn new(config: HandlerConfig, sink: S) -> Self {
        Self { config, sink, stop: CancellationToken::new(), gate: None }
    }

    /// Ends retries when `stop` is cancelled: a record that waits for its next attempt is then interrupted, neither
    /// processed nor dead-lettered.
    #[must_use]
    pub fn with_stop(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// At most `attempts` attempts run at the same time, over all records that share this handler.
    #[must_use]
    pub fn with_concurrency(mut self, attempts: usize) -> Self {
        self.gate = Some(Semaphore::new(attempts));
        self
    }

    /// How failed attempts are repeated.
    pub fn retry(&self) -> &RetryPolicy {
        &self.config.retry
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Attempts, retries and, if they failed, the dead letter.
    ///
    /// # Errors
    /// [`HandlerError`] when the dead letter could not be stored: then the offset must not be committed.
    pub async fn process_with_retry<'r, T, F, Fut>(
        &self,
        record: &'r Record,
        process: F,
    ) -> Result<Outcome<T>, HandlerError>
    where
        F: FnMut(&'r Record) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        match self.attempt(&self.stop, record, process).await {
            Attempted::Done { value, attempts } => Ok(Outcome::Processed { value, attempts }),
            Attempted::Interrupted => Ok(Outcome::Interrupted),
            Attempted::Failed(exhausted) => match self.bury(record, &exhausted).await {
                Ok(buried) => Ok(Outcome::DeadLettered(buried)),
                Err(source) => Err(HandlerError {
                    topic: record.topic.to_string(),
                    partition: record.partition,
                    offset: record.offset,
                    failure: exhausted.failure,
                    source,
                }),
            },
        }
    }

    /// The first half alone: attempts and retries, until `stop`.
    pub async fn attempt<'r, T, F, Fut>(
        &self,
        stop: &CancellationToken,
        record: &'r Record,
        process: F,
    ) -> Attempted<T>
    where
        F: FnMut(&'r Record) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        attempt(&self.config.retry, self.gate.as_ref(), stop, record, process).await
    }

    /// One attempt without retries, until `stop`: for probing what was seen to fail.
    pub async fn attempt_once<'r, T, F, Fut>(
        &self,
        stop: &CancellationToken,
        record: &'r Record,
        process: F,
    ) -> Attempted<T>
    where
        F: FnMut(&'r Record) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let once = RetryPolicy { max_retries: 0, ..self.config.retry.clone() };
        attempt(&once, self.gate.as_ref(), stop, record, process).await
    }

    /// The second half alone: stores the dead letter of a record that was given up.
    ///
    /// # Errors
    /// [`SinkError`] when it is not known to be safe.
    pub async fn bury(&self, record: &Record, exhausted: &Exhausted) -> Result<Buried, SinkError> {
        let envelope = Envelope::seal(record, exhausted, &self.config.group, &self.config.host);
        let receipt = self.sink.publish(&envelope).await?;
        let DeadLetter { id, error_message, .. } = envelope.into_letter();
        Ok(Buried {
            category: exhausted.failure.category(),
            error: error_message,
            attempts: exhausted.attempts,
            id,
            receipt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::MemorySink;
    use crate::failure::chain_of;

    fn handler() -> Handler<MemorySink> {
        Handler::new(HandlerConfig::new("group"), MemorySink::default())
    }

    fn record() -> Record {
        Record::new("orders", 2, 7).with_key("o-1").with_value("not json")
    }

    fn broken() -> Failure {
        Failure::new(Category::Validation, "quantity must be greater than 0")
    }

    #[tokio::test]
    async fn a_processed_record_leaves_no_dead_letter() {
        let handler = handler();
        let record = record();
        let outcome =
            handler.process_with_retry(&record, |r| async { Ok(r.offset) }).await.expect("no sink needed");
        assert!(matches!(outcome, Outcome::Processed { value: 7, attempts: 1 }));
        assert!(handler.sink().letters().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_keeps_failing_is_dead_lettered_with_its_count() {
        let handler = handler();
        let record = record();
        let refuse = |_| async { Err::<(), _>(Failure::new(Category::Processing, "503")) };
        let outcome = handler.process_with_retry(&record, refuse).await.expect("the sink works");
        let Outcome::DeadLettered(buried) = outcome else { panic!("{outcome:?}") };
        assert_eq!((buried.category, buried.attempts), (Category::Processing, 4));
        let letters = handler.sink().letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].letter().retry_count, 3);
        assert_eq!(letters[0].letter().id, buried.id);
    }

    #[tokio::test]
    async fn a_sink_that_fails_gives_an_error_with_both_causes() {
        let handler = handler();
        handler.sink().fail_next(1);
        let record = record();
        let error = handler
            .process_with_retry(&record, |_| async { Err::<(), _>(broken()) })
            .await
            .expect_err("the sink was told to fail");
        let text = chain_of(&error);
        assert!(text.contains("quantity must be greater than 0") && text.contains("told to fail"), "{text}");
        assert!(handler.sink().letters().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_in_retry_interrupts_without_a_dead_letter() {
        let stop = CancellationToken::new();
        let handler = handler().with_stop(stop.clone());
        let record = record();
        let (outcome, ()) = tokio::join!(
            handler.process_with_retry(&record, |_| async {
                Err::<(), _>(Failure::new(Category::Processing, "503"))
            }),
            async {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                stop.cancel();
            }
        );
        assert!(matches!(outcome, Ok(Outcome::Interrupted)));
        assert!(handler.sink().letters().is_empty());
    }
}
