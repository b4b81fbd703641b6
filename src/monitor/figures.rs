//! The figures: what the screen draws, what `--once` prints and what a page would show. Text in them is as it was in the
//! files, so whoever shows it makes it safe.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::score::Level;
use super::told::{Breaker, Life};
use crate::failure::Category;
use crate::models::{HealthEntry, Outcome};

/// All figures at one moment. Times are RFC 3339, in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The moment.
    pub at: Timestamp,
    /// Whether that is now, and not a moment of the past.
    pub live: bool,
    /// The time that is counted.
    pub window: WindowFigures,
    /// Whether every line of the window was counted; otherwise the counts are estimated from a sample.
    pub exact: bool,
    /// The tracker.
    pub tracker: TrackerFigures,
    /// The partitions, the furthest behind first.
    pub partitions: Vec<PartitionFigures>,
    /// What became of the records.
    pub outcomes: OutcomeFigures,
    /// From a record's own timestamp to its outcome; none without outcomes.
    pub latency_ms: Option<LatencyFigures>,
    /// Dead letters by failure category; all categories are there.
    pub categories: BTreeMap<&'static str, u64>,
    /// Dead letters by cause, the most frequent first.
    pub causes: Vec<CauseFigures>,
    /// The window in slots of equal width, the oldest first.
    pub series: Vec<SlotFigures>,
    /// The newest outcomes, the newest first.
    pub newest_outcomes: Vec<NewestOutcome>,
    /// The newest lines of the health log, the newest first.
    pub newest_health: Vec<HealthEntry>,
    /// What limits these figures, in words.
    pub notes: Vec<String>,
}

/// The time that is counted: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WindowFigures {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Its length.
    pub seconds: f64,
}

/// How the tracker fares.
#[derive(Debug, Clone, Serialize)]
pub struct TrackerFigures {
    /// Whether it runs.
    pub state: Life,
    /// The last sign of life in the files.
    pub last_seen: Option<Timestamp>,
    /// How long ago that was.
    pub age_ms: Option<i64>,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// The error that it ended by.
    pub error: Option<String>,
    /// Its consumer group.
    pub group: Option<String>,
    /// The partitions assigned to it.
    pub assigned: Option<u64>,
    /// Those of them that are paused.
    pub paused: Option<u64>,
    /// Records between Kafka and the audit log.
    pub in_flight: Option<u64>,
    /// Whether deliveries are held back; none where it delivers nothing.
    pub breaker: Option<Breaker>,
    /// Whether the audit log's disk is full.
    pub disk_full: bool,
    /// Records that are not done, all partitions; from the metrics only.
    pub lag: Option<i64>,
    /// Records in the dead letter topic; from the metrics only.
    pub dlq_depth: Option<f64>,
    /// When the oldest of them was written; from the metrics only.
    pub dlq_oldest: Option<Timestamp>,
    /// How long its work on a record took, attempts and waits included, since its start; from the metrics only.
    pub processing_ms: Option<ProcessingFigures>,
    /// Whether its metrics can be read: `none` (not asked for), `waiting`, `read`, or why not.
    pub metrics: String,
}

/// Milliseconds, from the buckets of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProcessingFigures {
    /// Half of the records took no longer.
    pub p50: f64,
    /// 95 % took no longer.
    pub p95: f64,
    /// 99 % took no longer.
    pub p99: f64,
}

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionFigures {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of its newest outcome.
    pub last_offset: Option<i64>,
    /// When that was written.
    pub last_seen: Option<Timestamp>,
    /// How long its record had waited by then, from its own timestamp on.
    pub behind_ms: Option<i64>,
    /// Records that are not done; from the metrics only.
    pub lag: Option<i64>,
}

/// What became of the records of the window.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeFigures {
    /// All of them.
    pub total: u64,
    /// Those that were processed.
    pub processed: u64,
    /// Those that were dead-lettered.
    pub dead_lettered: u64,
    /// Those that took more than one attempt.
    pub retried: u64,
    /// Outcomes per second, over the part of the window that is past.
    pub per_second: f64,
    /// The share that was processed, in percent.
    pub success_percent: Option<f64>,
    /// What that means: from 95 on good, from 80 on a warning, below critical.
    pub success_level: Option<Level>,
    /// The quality score, 0 to 100.
    pub quality: Option<f64>,
    /// What that means: from 90 on excellent, from 70 on good, from 50 on a warning, below critical.
    pub quality_level: Option<Level>,
}

/// Latencies in milliseconds, to two digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LatencyFigures {
    /// Half of the outcomes took no longer.
    pub p50: u64,
    /// 95 % took no longer.
    pub p95: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// None took longer.
    pub max: u64,
}

/// How many dead letters have one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CauseFigures {
    /// The error, with `#` for numbers and ids.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// One slot of the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SlotFigures {
    /// Its beginning.
    pub at: Timestamp,
    /// Outcomes.
    pub outcomes: u64,
    /// Dead letters among them.
    pub dead_lettered: u64,
    /// Outcomes per second.
    pub per_second: f64,
    /// Dead letters among the outcomes, in percent; none without outcomes.
    pub error_percent: Option<f64>,
    /// 95 % took no longer, milliseconds.
    pub p95_ms: Option<u64>,
}

/// One of the newest outcomes.
#[derive(Debug, Clone, Serialize)]
pub struct NewestOutcome {
    /// When it was written.
    pub timestamp: Timestamp,
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key, as text.
    pub key: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was dead-lettered.
    pub reason: Option<Category>,
    /// What went wrong.
    pub error: Option<String>,
    /// The attempts, the first one included.
    pub attempts: u32,
    /// From the record's own timestamp on.
    pub latency_ms: Option<i64>,
    /// The line itself, for its detail.
    #[serde(skip)]
    pub line: Vec<u8>,
}
