//! What the tracker says of itself: metrics, the journal's checkpoints, and their heads.

use std::time::{Duration, Instant};

use super::Tracker;
use crate::audit::{Completion, PartitionState, Reason, take_rotate_request};
use crate::failure::Category;
use crate::pipeline::intake::Part;
use crate::pipeline::standing::Held;
use crate::pipeline::stats::StatsSnapshot;

/// How often the journal gets a checkpoint, if it has grown.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody asks for the end of the segment.
const ROTATION_INTERVAL: Duration = Duration::from_millis(500);

/// How often it is told where the partitions stand.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What the last line of metrics said.
pub(super) struct Reported {
    pub(super) at: Instant,
    pub(super) stats: StatsSnapshot,
}

impl Tracker<'_> {
    pub(super) fn report_metrics(&mut self) {
        if self.reported.at.elapsed() >= self.settings.metrics_interval {
            self.report_metrics_now();
        }
    }

    pub(super) fn report_metrics_now(&mut self) {
        let now = self.shared.stats.snapshot();
        let seconds = self.reported.at.elapsed().as_secs_f64().max(1e-3);
        let before = std::mem::replace(&mut self.reported, Reported { at: Instant::now(), stats: now }).stats;
        let rate = |now: u64, before: u64| ((now - before) as f64 / seconds * 10.0).round() / 10.0;
        let outcomes = |stats: &StatsSnapshot| stats.processed + stats.dead_lettered_total();
        let of = |category: Category| now.dead_lettered[category as usize];
        tracing::info!(
            received = now.received,
            received_bytes = now.received_bytes,
            processed = now.processed,
            dead_lettered = now.dead_lettered_total(),
            deserialization_errors = of(Category::Deserialization),
            validation_errors = of(Category::Validation),
            processing_errors = of(Category::Processing),
            timeout_errors = of(Category::Timeout),
            unknown_errors = of(Category::Unknown),
            retries = now.retries,
            in_flight = self.parts.values().map(|part| part.ledger.in_flight() as u64).sum::<u64>(),
            partitions = self.parts.len() as u64,
            paused = self.parts.values().filter(|part| part.paused).count() as u64,
            received_per_s = rate(now.received, before.received),
            outcomes_per_s = rate(outcomes(&now), outcomes(&before)),
            dead_lettered_per_s = rate(now.dead_lettered_total(), before.dead_lettered_total()),
            "metrics"
        );
    }

    /// Tells those who ask from outside where the partitions stand.
    pub(super) fn tell_standing(&mut self) {
        if self.settings.metrics_addr.is_none() || self.told.elapsed() < TELL_INTERVAL {
            return;
        }
        self.told = Instant::now();
        let committed =
            |(number, part): (&i32, &Part)| (*number, part.ledger.committed_offset().unwrap_or(part.start));
        self.shared.standing.tell(Held {
            committed: self.parts.iter().map(committed).collect(),
            records: self.parts.values().map(|part| part.ledger.in_flight() as u64).sum(),
            bytes: self.held_bytes as u64,
            paused: self.parts.values().filter(|part| part.paused).count() as u64,
        });
    }

    pub(super) fn checkpoint(&mut self, reason: Reason) {
        let standing = |part: &Part| PartitionState {
            topic: part.at.topic.to_string(),
            topic_id: self.shared.topic_id.clone(),
            partition: part.at.partition,
            // Not the first one without an outcome: what is done and not committed is read again by the next start,
            // which has to know of it, and may find it in no other segment.
            next_offset: part.ledger.committed_offset().unwrap_or(part.start),
            done: Vec::new(),
        };
        self.shared.writer.checkpoint(reason, self.parts.values().map(standing).collect());
        self.checkpointed = Instant::now();
    }

    pub(super) fn checkpoint_if_due(&mut self) {
        // They would only queue up behind what the disk has no room for.
        if !self.no_room && self.checkpointed.elapsed() >= CHECKPOINT_INTERVAL {
            self.checkpoint(Reason::Interval);
        }
    }

    /// `audit rotate` leaves a request beside the journal.
    pub(super) fn rotate_if_asked(&mut self) {
        if self.rotation_looked_for.elapsed() < ROTATION_INTERVAL {
            return;
        }
        self.rotation_looked_for = Instant::now();
        if take_rotate_request(&self.settings.events_file) {
            tracing::info!("asked to seal the audit log's segment");
            self.checkpoint(Reason::Interval);
            self.shared.writer.rotate();
        }
    }

    /// The journal ends with a checkpoint; its head is what the next start is held against.
    pub(super) fn publish_last_head(&mut self, deadline: Instant) {
        let Some(heads) = &self.shared.heads else { return };
        while let Ok(completion) =
            self.completions.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            match completion {
                Completion::Checkpoint { file_id, place, reason } => {
                    heads.publish(file_id, place);
                    if reason == Reason::End {
                        break;
                    }
                }
                Completion::Failed(_) => break,
                _ => {}
            }
        }
        heads.flush(deadline.saturating_duration_since(Instant::now()));
    }
}
