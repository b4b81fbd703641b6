//! The poll thread: it alone owns the consumer, takes over and gives back partitions, and commits. It never waits longer
//! than a moment, so the group never waits for it.

mod closing;
mod commits;
mod gaps;
mod lookup;
mod partitions;
mod pressure;
mod report;
mod strays;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use self::closing::CLOSING;
use self::commits::Commits;
use self::partitions::{Assigning, Revoking};
use self::report::Reported;
use self::strays::STRAY_PAUSE;
use super::PipelineError;
use super::intake::{Part, Shared};
use super::probe::Pulse;
use super::stats::StatsSnapshot;
use crate::audit::{AuditError, Completion, OffsetSet};
use crate::config::TrackerSettings;
use crate::kafka::{Consumer, Event};

/// How many events are taken before the other duties have their turn.
const BURST: usize = 2048;
/// After so many events in a row the clock is looked at.
const CLOCK_EVENTS: usize = 64;
/// How long a poll waits when nothing else is due soon.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// How long a poll waits when something else may happen any time.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// How long the events of one turn may take, waits for full partitions included.
const TURN: Duration = Duration::from_millis(200);
/// How long the group's coordinator may take for an answer while the poll waits for it.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait before asking it again.
const COORDINATOR_PAUSE: Duration = Duration::from_secs(1);

/// The state of the poll thread.
pub(super) struct Tracker<'s> {
    settings: &'s TrackerSettings,
    consumer: Consumer,
    shared: Shared,
    completions: Receiver<Completion>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    /// With `--exit-at-end`: the ends that were seen at the start, of partitions that hold records.
    ends: Option<BTreeMap<i32, i64>>,
    parts: BTreeMap<i32, Part>,
    /// What all partitions together hold between Kafka and the disk, in bytes.
    held_bytes: usize,
    /// A full partition was waited for since this was last looked at.
    has_waited: bool,
    /// Durable outcomes of earlier assignments that were not committed, by partition: not to be repeated.
    settled: BTreeMap<i32, OffsetSet>,
    /// Assignments that were given up while work of theirs was under way: the journal may still hold lines of them.
    leaving: BTreeSet<(i32, u64)>,
    /// Partitions in which the group had a committed offset.
    had_commits: BTreeSet<i32>,
    epoch: u64,
    assigning: Option<Assigning>,
    revoking: Option<Revoking>,
    /// Partitions whose position a broker refused, and when to look at them.
    strays: BTreeMap<i32, Instant>,
    /// Gaps whose lines are written, by partition: where each ends.
    gaps: BTreeMap<i32, i64>,
    commits: Commits,
    checkpointed: Instant,
    /// When it was last looked whether the segment is to end.
    rotation_looked_for: Instant,
    draining: Option<Instant>,
    /// When this turn of the loop began: a stop that it finds came after the turn before it began.
    turn: Instant,
    /// When everything is to be over, once the end has begun.
    over_at: Option<Instant>,
    /// The journal waits for room on its disk.
    no_room: bool,
    reported: Reported,
    /// When it was last told where the partitions stand.
    told: Instant,
}

/// What is known before the first partition is taken over.
pub(super) struct Known {
    /// With `--exit-at-end`: the end of every partition that holds records.
    pub(super) ends: Option<BTreeMap<i32, i64>>,
    /// The outcomes that the journal has already.
    pub(super) settled: BTreeMap<i32, OffsetSet>,
}

impl<'s> Tracker<'s> {
    /// A tracker that has not joined its group yet.
    pub(super) fn new(
        settings: &'s TrackerSettings,
        consumer: Consumer,
        shared: Shared,
        completions: Receiver<Completion>,
        pulse: Arc<Pulse>,
        known: Known,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let Known { ends, settled } = known;
        Self {
            settings,
            consumer,
            shared,
            completions,
            stop,
            pulse,
            ends,
            parts: BTreeMap::new(),
            held_bytes: 0,
            has_waited: false,
            settled,
            leaving: BTreeSet::new(),
            had_commits: BTreeSet::new(),
            epoch: 0,
            assigning: None,
            revoking: None,
            strays: BTreeMap::new(),
            gaps: BTreeMap::new(),
            checkpointed: now,
            rotation_looked_for: now,
            commits: Commits { last: now, unanswered: false, others: BTreeMap::new(), others_asked: None },
            draining: None,
            turn: now,
            over_at: None,
            no_room: false,
            reported: Reported { at: now, stats: StatsSnapshot::default() },
            told: now,
        }
    }

    /// Works until the stop token, the end (with `--exit-at-end`) or an error. Whatever ends it, what is known to be
    /// durable is committed and the consumer is closed. Says how it ended, and when what is left to do is to be over.
    pub(super) fn run(mut self) -> (Result<(), PipelineError>, Instant) {
        let ended = self.work();
        let over_at = *self.over_at.get_or_insert_with(|| Instant::now() + CLOSING);
        self.close(over_at);
        (ended, over_at)
    }

    fn work(&mut self) -> Result<(), PipelineError> {
        self.consumer.subscribe(&self.settings.topic)?;
        self.pulse.polling();
        loop {
            let turn_before = std::mem::replace(&mut self.turn, Instant::now());
            self.pulse.beat();
            self.take_completions()?;
            if self.draining.is_none() {
                if self.stop.is_cancelled() {
                    tracing::info!("stopping: letting records in flight finish");
                    self.begin_drain(turn_before);
                } else if self.ends_reached()? {
                    tracing::info!("every partition's end is done and committed");
                    self.begin_drain(self.turn);
                }
            }
            if let Some(deadline) = self.draining {
                let late = Instant::now() >= deadline;
                if late {
                    tracing::warn!(
                        "the shutdown timeout has passed: unfinished records are left for the next start"
                    );
                }
                if late && self.no_room {
                    return Err(AuditError::NoRoom { path: self.settings.events_file.clone() }.into());
                }
                if late || self.parts.values().all(Part::is_drained) {
                    return Ok(());
                }
            }
            if let Some(part) = self.parts.values().find(|part| part.has_crashed()) {
                return Err(PipelineError::Crashed { partition: part.at.to_string() });
            }
            self.settle_revocation()?;
            self.try_assign()?;
            self.bring_back_strays()?;
            self.commit_if_due();
            self.checkpoint_if_due();
            self.rotate_if_asked();
            self.resume_where_there_is_room()?;
            self.report_metrics();
            self.tell_standing();
            self.poll()?;
        }
    }

    fn poll(&mut self) -> Result<(), PipelineError> {
        let soon = self.draining.is_some()
            || self.revoking.is_some()
            || self.assigning.is_some()
            || self.ends.is_some()
            || self.parts.values().any(|part| part.paused);
        let mut patience = if soon { BUSY_POLL } else { IDLE_POLL };
        let begun = Instant::now();
        for number in 1..=BURST {
            let Some(event) = self.consumer.poll(patience) else { break };
            patience = Duration::ZERO;
            self.handle(event)?;
            // The clock is looked at where time may have passed: one look costs as much as a small event.
            let may_be_late = std::mem::take(&mut self.has_waited) || number % CLOCK_EVENTS == 0;
            if may_be_late && begun.elapsed() >= TURN {
                break;
            }
        }
        for part in self.parts.values_mut() {
            part.flush();
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), PipelineError> {
        match event {
            Event::Record(record) => {
                let number = record.partition;
                if let Some(part) = self.parts.get_mut(&number) {
                    let Shared { writer, stats, .. } = &self.shared;
                    self.held_bytes += part.take(record, writer, stats);
                    // One that drains takes nothing in, so that nothing is to be held back.
                    if !part.is_draining() && self.is_full(number) {
                        self.hold_back(number)?;
                    }
                }
            }
            Event::EndOfPartition { partition, offset } => {
                if let Some(part) = self.parts.get_mut(&partition.partition) {
                    part.end_of_partition(offset);
                }
            }
            Event::Assigned(partitions) => {
                self.assigning = Some(Assigning::new(partitions));
            }
            Event::Revoked { partitions, lost } => self.begin_revocation(partitions, lost)?,
            Event::Committed(report) => self.note_commit(&report),
            // The client does not take this one back when it was given up meanwhile.
            Event::OutOfRange(partition) => {
                self.strays.insert(partition.partition, Instant::now() + STRAY_PAUSE);
            }
            Event::Fatal(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take_completions(&mut self) -> Result<(), PipelineError> {
        while let Some(completion) = self.next_completion(Duration::ZERO)? {
            self.take(completion)?;
        }
        Ok(())
    }

    fn next_completion(&self, patience: Duration) -> Result<Option<Completion>, PipelineError> {
        let path = &self.settings.events_file;
        next_of(&self.completions, patience)
            .map_err(|Gone| AuditError::WriterGone { path: path.clone() }.into())
    }

    fn take(&mut self, completion: Completion) -> Result<(), PipelineError> {
        match completion {
            Completion::Durable(mut durable) => {
                self.shared.stats.durable.observe(durable.waited());
                let number = durable.scope().partition;
                let part = self.parts.get_mut(&number);
                if let Some(freed) = part.and_then(|part| part.finished(&durable)) {
                    self.held_bytes -= freed;
                } else {
                    self.settled.entry(number).or_default().insert_all(durable.offsets());
                }
                if let Some(outlet) = &self.shared.outlet {
                    outlet.offer(durable.take_kept());
                }
            }
            Completion::Drained(scope) => {
                self.leaving.remove(&(scope.partition, scope.epoch));
                if let Some(part) = self.parts.get_mut(&scope.partition) {
                    part.note_drained(&scope);
                }
            }
            Completion::Checkpoint { file_id, place, .. } => {
                if let Some(heads) = &self.shared.heads {
                    heads.publish(file_id, place);
                }
            }
            Completion::Stalled { stalled } => {
                self.no_room = stalled;
                self.shared.standing.stall(stalled);
            }
            Completion::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// The other end of a channel is gone, and has not said why.
#[derive(Debug, PartialEq, Eq)]
struct Gone;

/// What comes in time, if anything. A sender that is gone is not one that has nothing to say.
fn next_of<T>(receiver: &Receiver<T>, patience: Duration) -> Result<Option<T>, Gone> {
    match receiver.recv_timeout(patience) {
        Ok(next) => Ok(Some(next)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_is_gone_is_told_from_one_that_is_silent() {
        let (sender, receiver) = std::sync::mpsc::channel();
        assert_eq!(next_of(&receiver, Duration::ZERO), Ok(None));
        sender.send(1).expect("sent");
        drop(sender);
        // What it said before comes first.
        assert_eq!(next_of(&receiver, Duration::ZERO), Ok(Some(1)));
        assert_eq!(next_of(&receiver, Duration::ZERO), Err(Gone));
    }
}
