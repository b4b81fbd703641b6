//! Where dead letters go. A sink answers only when the letter is safe; its receipt is what allows a commit.

use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use super::Envelope;

/// Proof that a dead letter is stored where it outlives a crash of every process involved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    partition: i32,
    offset: i64,
    payload_left_out: bool,
}

impl Receipt {
    /// States that the letter is stored at this place. Only a sink that has seen the acknowledgement makes one.
    pub fn acknowledged(partition: i32, offset: i64) -> Self {
        Self { partition, offset, payload_left_out: false }
    }

    /// States as well that the letter went without its payload, which was too large for it.
    #[must_use]
    pub fn without_payload(mut self) -> Self {
        self.payload_left_out = true;
        self
    }

    /// The partition of the dead letter topic.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset in it.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Whether the letter went without its payload.
    pub fn payload_left_out(&self) -> bool {
        self.payload_left_out
    }
}

/// Why a dead letter could not be stored. It can be tried again; until then nothing may be committed.
#[derive(Debug, thiserror::Error)]
#[error("store the dead letter in {target}")]
pub struct SinkError {
    /// Where it was to go.
    pub target: String,
    /// What went wrong.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Stores dead letters.
pub trait Sink: Send + Sync {
    /// Stores one letter and answers when it is safe. Calls that are polled in order are stored in order.
    ///
    /// # Errors
    /// [`SinkError`] when the letter is not known to be safe.
    fn publish(&self, letter: &Envelope) -> impl Future<Output = Result<Receipt, SinkError>> + Send;
}

impl<S: Sink> Sink for std::sync::Arc<S> {
    fn publish(&self, letter: &Envelope) -> impl Future<Output = Result<Receipt, SinkError>> + Send {
        S::publish(self, letter)
    }
}

/// Keeps dead letters in memory, for tests. Can be told to fail.
#[derive(Debug, Default)]
pub struct MemorySink {
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    letters: Vec<Envelope>,
    failures: u32,
}

impl MemorySink {
    /// The letters so far, in order.
    pub fn letters(&self) -> Vec<Envelope> {
        self.state().letters.clone()
    }

    /// Makes the next `count` calls fail.
    pub fn fail_next(&self, count: u32) {
        self.state().failures = count;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    async fn publish(&self, letter: &Envelope) -> Result<Receipt, SinkError> {
        let mut state = self.state();
        if state.failures > 0 {
            state.failures -= 1;
            return Err(SinkError { target: "memory".to_owned(), source: "told to fail".into() });
        }
        state.letters.push(letter.clone());
        let offset = i64::try_from(state.letters.len() - 1).unwrap_or(i64::MAX);
        Ok(Receipt::acknowledged(letter.partition(), offset))
    }
}
