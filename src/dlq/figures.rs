//! What the `dlq` tool shows to Prometheus while it works: how much it has read and written, and how far a replay is. Holds
//! no text of any record.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::replay::{LeftOut, ProblemKind, Progress};
use crate::metrics::{Figures, Health, Labels, Page};

/// The tool's counts, shared with those who serve them.
#[derive(Debug)]
pub struct ToolFigures {
    topic: String,
    command: String,
    read: AtomicU64,
    written: AtomicU64,
    replay: Mutex<(Progress, Option<f64>)>,
    is_working: AtomicBool,
}

impl ToolFigures {
    /// Nothing of this dead letter topic was read yet. The command is what the tool was asked to do.
    pub fn new(topic: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            command: command.into(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            replay: Mutex::default(),
            is_working: AtomicBool::new(false),
        }
    }

    /// Kafka was reached.
    pub fn working(&self) {
        self.is_working.store(true, Ordering::Relaxed);
    }

    /// So many dead letters were read. A command that reads them twice is counted by its longest reading.
    pub fn read(&self, count: u64) {
        self.read.fetch_max(count, Ordering::Relaxed);
    }

    /// So many were listed, exported or imported.
    pub fn written(&self, count: u64) {
        self.written.store(count, Ordering::Relaxed);
    }

    /// A replay is so far, and may send so many records in a second.
    pub fn replay(&self, progress: &Progress, rate: Option<f64>) {
        self.read(progress.done);
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        replay.0.clone_from(progress);
        replay.1 = rate;
    }
}

impl Figures for ToolFigures {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (replay, rate) = self.replay.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fn of(topic: &str) -> Labels<'_> {
            vec![("messaging_system", "kafka"), ("messaging_destination_name", topic)]
        }
        page.counter(
            "messaging_client_consumed_messages",
            "Dead letters read from their topic",
            [(of(&self.topic), read(&self.read))],
        )?;
        page.counter(
            "messaging_client_sent_messages",
            "Replays that are committed, by their target",
            replay.sent.iter().map(|(topic, count)| (of(topic), *count)),
        )?;
        page.counter(
            "dlq_written_records",
            "Dead letters that were listed, exported or imported",
            [(vec![], read(&self.written))],
        )?;
        page.counter(
            "dlq_replay_left_out_records",
            "Entries of the plan that are not sent though nothing is wrong with them",
            LeftOut::ALL
                .map(|why| (vec![("reason", why.as_str())], replay.left_out.get(&why).copied().unwrap_or(0))),
        )?;
        page.counter(
            "dlq_replay_failed_records",
            "Entries of the plan that could not be sent",
            ProblemKind::ALL.map(|kind| {
                let count = replay.problems.get(kind.as_str()).copied().unwrap_or(0);
                (vec![("error_type", kind.as_str())], count)
            }),
        )?;
        page.counter(
            "dlq_replay_canary_outcomes",
            "What became of the canary's replays",
            [
                (vec![("outcome", "processed")], replay.canary_processed),
                (vec![("outcome", "failed_again")], replay.canary_failed),
            ],
        )?;
        for (name, help, value) in [
            (
                "dlq_replay_planned_records",
                "Entries of the plan that are to be sent by this run",
                replay.total,
            ),
            ("dlq_replay_done_records", "Those of them that are dealt with", replay.done),
            ("dlq_replay_already_there_records", "Replays that an earlier run had sent", replay.found),
        ] {
            page.gauge(name, help, [(vec![], value as f64)])?;
        }
        let seconds = replay.took.as_secs_f64();
        let sent: u64 = replay.sent.values().sum();
        let average = if seconds > 0.0 { sent as f64 / seconds } else { 0.0 };
        page.gauge(
            "dlq_replay_records_per_second",
            "Committed replays since the first one was sent, on average",
            [(vec![], average)],
        )?;
        page.gauge(
            "dlq_replay_rate_limit",
            "The most replays per second; absent where there is no limit",
            rate.map(|rate| (vec![], rate)),
        )?;
        page.gauge(
            "dlq_build_info",
            "What runs",
            [(vec![("version", env!("CARGO_PKG_VERSION")), ("command", &*self.command)], 1.0)],
        )
    }
}

impl Health for ToolFigures {
    fn alive(&self) -> Result<&'static str, &'static str> {
        Ok("ok")
    }

    fn ready(&self) -> Result<&'static str, &'static str> {
        if self.is_working.load(Ordering::Relaxed) { Ok("ok") } else { Err("waiting for Kafka") }
    }
}
