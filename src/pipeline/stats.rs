//! What the tracker has done so far, as counters that any thread may add to and read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::{Judged, Verdict};
use crate::failure::Category;
use crate::metrics::Histogram;

/// The counters of one tracker process.
#[derive(Debug, Default)]
pub struct Stats {
    received: AtomicU64,
    received_bytes: AtomicU64,
    processed: AtomicU64,
    dead_lettered: [AtomicU64; Category::ALL.len()],
    retries: AtomicU64,
    /// How long a record's processing took, attempts and their waits included.
    pub(super) process: Histogram,
    /// How long lines took from the hand-over to the disk.
    pub(super) durable: Histogram,
    /// When the last outcome was decided, in milliseconds since the epoch; 0 before the first.
    last_outcome_ms: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatsSnapshot {
    /// Records taken from Kafka.
    pub received: u64,
    /// Their payloads' bytes.
    pub received_bytes: u64,
    /// Outcomes `processed`.
    pub processed: u64,
    /// Outcomes `dead_lettered`, by [`Category::ALL`].
    pub dead_lettered: [u64; Category::ALL.len()],
    /// Attempts after a record's first one, of the records that have an outcome.
    pub retries: u64,
}

impl StatsSnapshot {
    /// Outcomes `dead_lettered`, all categories.
    pub fn dead_lettered_total(&self) -> u64 {
        self.dead_lettered.iter().sum()
    }
}

impl Stats {
    pub(super) fn received(&self, payload_bytes: usize) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.received_bytes.fetch_add(payload_bytes as u64, Ordering::Relaxed);
    }

    /// Notes that outcomes were decided just now.
    pub(super) fn outcomes_at(&self, now: Timestamp) {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        self.last_outcome_ms.fetch_max(millis, Ordering::Relaxed);
    }

    /// When the last outcome was decided, since the epoch; zero before the first.
    pub(super) fn last_outcome(&self) -> Duration {
        Duration::from_millis(self.last_outcome_ms.load(Ordering::Relaxed))
    }

    pub(super) fn count(&self, judged: &Judged) {
        let attempts = match &judged.verdict {
            Verdict::Processed { attempts } => {
                self.processed.fetch_add(1, Ordering::Relaxed);
                *attempts
            }
            Verdict::DeadLettered(buried) => {
                self.dead_lettered[buried.category as usize].fetch_add(1, Ordering::Relaxed);
                buried.attempts
            }
        };
        self.retries.fetch_add(u64::from(attempts.saturating_sub(1)), Ordering::Relaxed);
    }

    /// The counters now.
    pub fn snapshot(&self) -> StatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsSnapshot {
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            processed: read(&self.processed),
            dead_lettered: std::array::from_fn(|at| read(&self.dead_lettered[at])),
            retries: read(&self.retries),
        }
    }
}
