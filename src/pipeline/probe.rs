//! Whether the tracker is alive and at work, as the poll thread shows it: for those who restart what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::standing::Standing;
use crate::metrics::Health;

/// A poll thread that was silent for this long is not alive.
const SILENCE: Duration = Duration::from_secs(30);

/// What the poll thread says of itself.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    last_poll_ms: AtomicU64,
    is_polling: AtomicBool,
    standing: Arc<Standing>,
}

impl Pulse {
    pub(super) fn new(standing: Arc<Standing>) -> Self {
        let started = Instant::now();
        Self { started, last_poll_ms: AtomicU64::new(0), is_polling: AtomicBool::new(false), standing }
    }

    /// Notes that the poll thread is at work.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_poll_ms.store(now, Ordering::Relaxed);
    }

    /// Notes that the start is over, and the group is being joined.
    pub(super) fn polling(&self) {
        self.is_polling.store(true, Ordering::Relaxed);
    }
}

impl Health for Pulse {
    fn alive(&self) -> Result<&'static str, &'static str> {
        let last = Duration::from_millis(self.last_poll_ms.load(Ordering::Relaxed));
        if self.started.elapsed().saturating_sub(last) > SILENCE {
            Err("the poll thread is silent")
        } else if self.standing.is_stalled() {
            // Alive all the same: a restart would not make room.
            Ok("waiting for room for the audit log")
        } else {
            Ok("ok")
        }
    }

    fn ready(&self) -> Result<&'static str, &'static str> {
        if !self.is_polling.load(Ordering::Relaxed) {
            Err("waiting for Kafka")
        } else if self.standing.is_stalled() {
            Err("waiting for room for the audit log")
        } else {
            self.alive()
        }
    }
}
