//! The poll thread: it alone owns the consumer, takes over and gives back partitions, and commits. It never waits longer
//! than a moment, so the group never waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::intake::{Part, Shared};
use super::probe::Pulse;
use super::stats::StatsSnapshot;
use super::{Ledger, PipelineError, letters};
use crate::audit::{AuditError, Completion, Lines, OffsetSet, PartitionState, Reason, Scope};
use crate::config::TrackerSettings;
use crate::failure::{Category, chain_of};
use crate::kafka::{Commit, CommitReport, Consumer, Event, GroupOffset, KafkaError, Position};
use crate::record::TopicPartition;

/// What each partition may hold at least, however many there are: with less, a record or two would pause it.
const LEAST_SHARE_BYTES: usize = 256 << 10;
/// How many events are taken before the other duties have their turn.
const BURST: usize = 2048;
/// How long a poll waits when nothing else is due soon.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// How long a poll waits when something else may happen any time.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// How long the events of one turn may take, waits for full partitions included.
const TURN: Duration = Duration::from_millis(200);
/// How long a full partition is waited for before it is paused: pausing throws the client's fetched records away.
const FULL_WAIT: Duration = Duration::from_millis(50);
/// How long the group's coordinator may take for an answer while the poll waits for it.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait before asking it again.
const COORDINATOR_PAUSE: Duration = Duration::from_secs(1);
/// How long a position that a broker refuses is left alone: most often its new leader learns of it meanwhile.
const STRAY_PAUSE: Duration = Duration::from_millis(500);
/// A commit that was not answered for this long is given up, and a new one is made.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// How long everything after the drain may take together: the last commit, the last head, leaving the group, and the end
/// of the journal's thread. What the drain left of its own time comes on top.
const CLOSING: Duration = Duration::from_secs(5);
/// How long the last commit of a partition may take, and what it leaves of the end's time to what comes after it.
const LAST_COMMIT: Share = Share { most: Duration::from_secs(5), leaves: Duration::from_millis(2500) };
/// The same for the journal's last checkpoint and its head.
const LAST_HEAD: Share = Share { most: Duration::from_secs(2), leaves: Duration::from_millis(1500) };
/// The same for leaving the group.
const LEAVING: Share = Share { most: Duration::from_secs(5), leaves: Duration::from_millis(500) };
/// What each of them has when nothing is left.
const LEAST: Duration = Duration::from_millis(100);
/// How many missing lines are handed over together.
const LINES_AT_ONCE: usize = 256;
/// How often the journal gets a checkpoint, if it has grown.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// How often the group is asked for offsets of partitions that others own, with `--exit-at-end`.
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);

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
    commits: Commits,
    checkpointed: Instant,
    draining: Option<Instant>,
    /// When this turn of the loop began: a stop that it finds came after the turn before it began.
    turn: Instant,
    /// When everything is to be over, once the end has begun.
    over_at: Option<Instant>,
    /// The journal waits for room on its disk.
    no_room: bool,
    reported: Reported,
}

/// Partitions that wait for their start positions.
struct Assigning {
    partitions: Vec<TopicPartition>,
    next_try: Instant,
}

/// Where a partition is taken over.
struct Takeover {
    at: TopicPartition,
    committed: Option<i64>,
    /// The first record to read.
    start: i64,
    /// Where its dead letters go.
    dlq_at: TopicPartition,
    /// Where to look for dead letters without a line, if the group has noted it.
    letters_from: Option<i64>,
    letters_end: Option<i64>,
}

/// Partitions that are being given back.
struct Revoking {
    partitions: Vec<TopicPartition>,
    deadline: Instant,
}

/// When the last commit was, and whether it is answered.
struct Commits {
    last: Instant,
    unanswered: bool,
    /// What others have committed in partitions that are not ours.
    others: BTreeMap<i32, i64>,
    others_asked: Option<Instant>,
}

/// What the last line of metrics said.
struct Reported {
    at: Instant,
    stats: StatsSnapshot,
}

/// What may be committed of a partition now, and where its dead letters are to be looked for after a crash.
fn commit_of(part: &Part) -> Option<Commit> {
    let metadata = letters::to_metadata(part.ledger.letters_from());
    Some(Commit { at: part.at.clone(), offset: part.ledger.to_commit()?, metadata })
}

/// What one step of the end has of the time that is left.
struct Share {
    most: Duration,
    leaves: Duration,
}

impl Share {
    fn of(&self, over_at: Instant) -> Duration {
        over_at.saturating_duration_since(Instant::now()).saturating_sub(self.leaves).clamp(LEAST, self.most)
    }
}

impl<'s> Tracker<'s> {
    /// A tracker that has not joined its group yet.
    pub(super) fn new(
        settings: &'s TrackerSettings,
        consumer: Consumer,
        shared: Shared,
        completions: Receiver<Completion>,
        pulse: Arc<Pulse>,
        ends: Option<BTreeMap<i32, i64>>,
        settled: BTreeMap<i32, OffsetSet>,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            settings,
            consumer,
            shared,
            completions,
            stop,
            pulse,
            ends,
            parts: BTreeMap::new(),
            settled,
            leaving: BTreeSet::new(),
            had_commits: BTreeSet::new(),
            epoch: 0,
            assigning: None,
            revoking: None,
            strays: BTreeMap::new(),
            checkpointed: now,
            commits: Commits { last: now, unanswered: false, others: BTreeMap::new(), others_asked: None },
            draining: None,
            turn: now,
            over_at: None,
            no_room: false,
            reported: Reported { at: now, stats: StatsSnapshot::default() },
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
            self.resume_where_there_is_room()?;
            self.report_metrics();
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
        for _ in 0..BURST {
            let Some(event) = self.consumer.poll(patience) else { break };
            patience = Duration::ZERO;
            self.handle(event)?;
            if begun.elapsed() >= TURN {
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
                    part.take(record, &self.shared.stats);
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
                self.assigning = Some(Assigning { partitions, next_try: Instant::now() });
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

    // Back-pressure

    fn limits(&self) -> (usize, usize) {
        (self.settings.max_in_flight_records, share_of(self.settings.max_in_flight_bytes, self.parts.len()))
    }

    fn is_full(&self, number: i32) -> bool {
        let (records, bytes) = self.limits();
        self.parts
            .get(&number)
            .is_some_and(|part| part.ledger.in_flight() >= records || part.ledger.in_flight_bytes() >= bytes)
    }

    /// Whether there is room for more than the next record: with less, the poll would wait for every single one.
    fn has_room(&self, number: i32) -> bool {
        let (records, bytes) = self.limits();
        let part = self.parts.get(&number);
        part.is_none_or(|part| {
            part.ledger.in_flight() < records - records / 16
                && part.ledger.in_flight_bytes() < bytes - bytes / 16
        })
    }

    /// Waits a moment for room, then pauses the partition.
    fn hold_back(&mut self, number: i32) -> Result<(), PipelineError> {
        for part in self.parts.values_mut() {
            part.flush();
        }
        let deadline = Instant::now() + FULL_WAIT;
        while !self.has_room(number) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_completion(left)? {
                Some(completion) => self.take(completion)?,
                None => break,
            }
        }
        if !self.has_room(number)
            && let Some(part) = self.parts.get_mut(&number)
            && !part.paused
        {
            tracing::debug!(partition = number, "pausing: too much is in flight");
            self.consumer.pause(&part.at)?;
            part.paused = true;
        }
        Ok(())
    }

    fn resume_where_there_is_room(&mut self) -> Result<(), PipelineError> {
        let (records, bytes) = self.limits();
        if self.draining.is_some() {
            return Ok(());
        }
        for part in self.parts.values_mut().filter(|part| part.paused) {
            if part.ledger.in_flight() <= records / 2 && part.ledger.in_flight_bytes() <= bytes / 2 {
                tracing::debug!(partition = part.at.partition, "resuming");
                self.consumer.resume(&part.at)?;
                part.paused = false;
            }
        }
        Ok(())
    }

    // What the journal says

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
            Completion::Durable(durable) => {
                let number = durable.scope().partition;
                let ours = self.parts.get_mut(&number).is_some_and(|part| part.finished(&durable));
                if !ours {
                    self.settled.entry(number).or_default().insert_all(durable.offsets());
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
                self.pulse.disk_full(stalled);
            }
            Completion::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    // Taking over and giving back partitions

    fn try_assign(&mut self) -> Result<(), PipelineError> {
        if self.draining.is_some() {
            return Ok(());
        }
        let leaving = |at: &TopicPartition| self.leaving.iter().any(|(number, _)| *number == at.partition);
        let due = |a: &mut Assigning| a.next_try <= Instant::now() && !a.partitions.iter().any(leaving);
        let Some(assigning) = self.assigning.take_if(due) else { return Ok(()) };
        let positions = match self.positions(&assigning.partitions) {
            Ok(positions) => positions,
            Err(PipelineError::Kafka(KafkaError::Request { what, source })) => {
                tracing::warn!(error = %source, "{what}: asking again");
                let next_try = Instant::now() + COORDINATOR_PAUSE;
                self.assigning = Some(Assigning { next_try, ..assigning });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if self.stop.is_cancelled() {
            return Ok(());
        }
        if self.write_missing(&positions)? {
            // Their lines have to be on disk before these partitions are taken over.
            self.assigning = Some(assigning);
            return Ok(());
        }
        let starts: Vec<_> = positions
            .iter()
            .map(|new| (new.at.clone(), new.committed.map_or(Position::Beginning, Position::At)))
            .collect();
        self.consumer.assign(&starts)?;
        let fresh: Vec<_> = positions
            .iter()
            .filter(|new| new.committed.is_none() && new.letters_end.is_some())
            .map(|new| Commit {
                at: new.at.clone(),
                offset: new.start,
                metadata: letters::to_metadata(new.letters_end),
            })
            .collect();
        for Takeover { at, committed, start, letters_end, .. } in positions {
            self.epoch += 1;
            tracing::info!(partition = at.partition, committed_offset = committed, "took over {at}");
            let mut known = self.settled.remove(&at.partition).unwrap_or_default();
            match committed {
                Some(_) => drop(self.had_commits.insert(at.partition)),
                // Kafka forgets a group's offsets with the topic: these are other records, whatever their offsets.
                None if self.had_commits.remove(&at.partition) => known = OffsetSet::default(),
                None => {}
            }
            let mut ledger = Ledger::new(committed, known);
            if let Some(end) = letters_end {
                ledger.letters_reach(end);
            }
            if ledger.known_outcomes() > 0 {
                tracing::info!(
                    partition = at.partition,
                    outcomes = ledger.known_outcomes(),
                    "the audit log has outcomes that were not committed: they are not repeated",
                );
            }
            self.parts.insert(at.partition, Part::start(at, self.epoch, start, ledger, &self.shared));
        }
        // Before the first outcome the journal says which topic it is about, and a new group notes from where on its
        // dead letters are.
        self.checkpoint(Reason::Assigned);
        self.note_start(&fresh);
        Ok(())
    }

    /// Gives their lines to records whose dead letters were published just before a crash; says whether there were any.
    fn write_missing(&mut self, positions: &[Takeover]) -> Result<bool, PipelineError> {
        let mut wrote = false;
        for new in positions {
            let Some(from) = new.letters_from.filter(|from| Some(*from) < new.letters_end) else { continue };
            let known = self.settled.entry(new.at.partition).or_default();
            let tail = letters::Tail {
                at: &new.at,
                group: &self.settings.group,
                start: new.start,
                known,
                dlq_topic: &self.settings.dlq_topic,
                dlq_partition: new.dlq_at.partition,
                from,
            };
            let missing = tail.without_outcome(&self.settings.kafka, &self.shared.judge.limits)?;
            if missing.is_empty() {
                continue;
            }
            tracing::warn!(
                partition = new.at.partition,
                records = missing.len() as u64,
                "dead letters were published just before a crash: writing their lines, not processing them again",
            );
            self.epoch += 1;
            let scope = Scope::new(new.at.partition, self.epoch);
            for chunk in missing.chunks(LINES_AT_ONCE) {
                let mut lines = Lines::default();
                for judged in chunk {
                    lines.push(&self.settings.group, jiff::Timestamp::now(), judged);
                    self.shared.stats.count(judged);
                }
                self.shared.writer.append(&scope, lines);
            }
            self.leaving.insert((scope.partition, scope.epoch));
            self.shared.writer.end(&scope);
            wrote = true;
        }
        Ok(wrote)
    }

    // Where the journal stands

    /// The journal ends with a checkpoint; its head is what the next start is held against.
    fn publish_last_head(&mut self, deadline: Instant) {
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

    fn checkpoint(&mut self, reason: Reason) {
        let standing = |part: &Part| PartitionState {
            topic: part.at.topic.to_string(),
            topic_id: self.shared.topic_id.clone(),
            partition: part.at.partition,
            next_offset: part.ledger.position().unwrap_or(part.start),
            done: Vec::new(),
        };
        self.shared.writer.checkpoint(reason, self.parts.values().map(standing).collect());
        self.checkpointed = Instant::now();
    }

    fn checkpoint_if_due(&mut self) {
        if self.checkpointed.elapsed() >= CHECKPOINT_INTERVAL {
            self.checkpoint(Reason::Interval);
        }
    }

    /// Where the group stands in these partitions, and where that lets them start. A position that the topic no longer
    /// holds is an alarm.
    fn positions(&self, partitions: &[TopicPartition]) -> Result<Vec<Takeover>, PipelineError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut positions = Vec::with_capacity(partitions.len());
        for group in self.consumer.committed(partitions, COORDINATOR_TIMEOUT)? {
            let GroupOffset { at, offset: committed, metadata } = group;
            // Each may take a while, and a stop must not wait for all of them.
            if self.stop.is_cancelled() {
                break;
            }
            let (log_start, end) = self.consumer.watermarks(&at, COORDINATOR_TIMEOUT)?;
            within(&at, committed, log_start, end)?;
            let start = committed.unwrap_or(log_start);
            let dlq_at = TopicPartition::new(
                self.settings.dlq_topic.as_str(),
                at.partition.rem_euclid(self.shared.dlq_partitions),
            );
            let letters_from = letters::from_metadata(&metadata);
            let letters_end = match self.consumer.watermarks(&dlq_at, COORDINATOR_TIMEOUT) {
                Ok((_, end)) => Some(end),
                // Whether a record was dead-lettered already is not known, so it must not be processed yet.
                Err(error) if letters_from.is_some() => return Err(error.into()),
                // Good records do not wait for a topic that only bad ones need.
                Err(error) => {
                    tracing::warn!(error = chain_of(&error), "cannot see where dead letters go");
                    None
                }
            };
            positions.push(Takeover { at, committed, start, dlq_at, letters_from, letters_end });
        }
        Ok(positions)
    }

    /// Looks at the partitions whose position a broker refused. Where the position is gone for good that is an alarm; else
    /// they are read on from it.
    fn bring_back_strays(&mut self) -> Result<(), PipelineError> {
        if self.draining.is_some() || self.assigning.is_some() || self.revoking.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        let due = self.strays.iter().find(|(_, at)| **at <= now).map(|(number, _)| *number);
        let Some(number) = due else { return Ok(()) };
        self.strays.remove(&number);
        let Some(part) = self.parts.get_mut(&number) else { return Ok(()) };
        let (log_start, end) = match self.consumer.watermarks(&part.at, COORDINATOR_TIMEOUT) {
            Ok(bounds) => bounds,
            Err(error) => {
                tracing::warn!(error = chain_of(&error), "a position was refused: asking again");
                self.strays.insert(number, Instant::now() + COORDINATOR_PAUSE);
                return Ok(());
            }
        };
        let at = part.ledger.reading_at();
        let position = within(&part.at, at, log_start, end)?;
        tracing::warn!(
            partition = number,
            position = at,
            log_start,
            end,
            "a broker refused the position in {}, which the partition has: reading on from there",
            part.at,
        );
        self.consumer.start_again(&part.at, position)?;
        part.paused = false;
        Ok(())
    }

    fn begin_revocation(&mut self, partitions: Vec<TopicPartition>, lost: bool) -> Result<(), PipelineError> {
        if lost {
            tracing::warn!(
                partitions = partitions.len(),
                "lost partitions: what was under way is thrown away"
            );
            self.give_up(&partitions);
            self.consumer.unassign(&partitions)?;
            return Ok(());
        }
        for at in &partitions {
            if let Some(part) = self.parts.get_mut(&at.partition) {
                part.begin_drain();
            }
        }
        let deadline = Instant::now() + self.settings.shutdown_timeout;
        self.revoking = Some(Revoking { partitions, deadline });
        Ok(())
    }

    /// Gives partitions back once they are drained, or at the deadline; what is durable by then is committed first.
    fn settle_revocation(&mut self) -> Result<(), PipelineError> {
        let Some(revoking) = &self.revoking else { return Ok(()) };
        let mut ours = revoking.partitions.iter().filter_map(|at| self.parts.get(&at.partition));
        if Instant::now() < revoking.deadline && !ours.all(Part::is_drained) {
            return Ok(());
        }
        let Some(Revoking { partitions, .. }) = self.revoking.take() else { return Ok(()) };
        self.commit_for_good(partitions.iter().map(|at| at.partition).collect());
        self.give_up(&partitions);
        self.consumer.unassign(&partitions)?;
        for at in &partitions {
            tracing::info!(partition = at.partition, "gave back {at}");
        }
        Ok(())
    }

    fn give_up(&mut self, partitions: &[TopicPartition]) {
        for part in partitions.iter().filter_map(|at| self.parts.remove(&at.partition)) {
            self.strays.remove(&part.at.partition);
            let drained = part.is_drained();
            let (at, scope, known) = part.abandon();
            if !drained {
                // A line of it may be on its way to the disk: whether it got there is known when this comes back.
                self.leaving.insert((scope.partition, scope.epoch));
                self.shared.writer.end(&scope);
            }
            self.settled.entry(at.partition).or_default().extend(&known);
        }
    }

    // Commits: nowhere else

    fn commit_if_due(&mut self) {
        let now = Instant::now();
        let since = now.duration_since(self.commits.last);
        let interval = if self.ends.is_some() {
            self.settings.commit_interval.min(Duration::from_millis(100))
        } else {
            self.settings.commit_interval
        };
        if since < interval || (self.commits.unanswered && since < COMMIT_PATIENCE) {
            return;
        }
        let offsets: Vec<_> = self.parts.values().filter_map(commit_of).collect();
        if offsets.is_empty() {
            return;
        }
        self.commits.last = now;
        match self.consumer.commit_async(&offsets) {
            Ok(()) => self.commits.unanswered = true,
            Err(error) => tracing::warn!(error = chain_of(&error), "offsets not committed, trying again"),
        }
    }

    /// The first commit of a group: nothing is done yet, and dead letters can only come from here on.
    fn note_start(&self, commits: &[Commit]) {
        if commits.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit_async(commits) {
            tracing::warn!(error = chain_of(&error), "the group's start was not noted");
        }
    }

    fn note_commit(&mut self, report: &CommitReport) {
        self.commits.unanswered = false;
        if let Some(error) = &report.error {
            tracing::warn!(error, "offsets not committed, trying again");
        }
        self.note_stored(report);
    }

    fn note_stored(&mut self, report: &CommitReport) {
        for (at, offset) in &report.offsets {
            self.had_commits.insert(at.partition);
            if let Some(part) = self.parts.get_mut(&at.partition) {
                part.ledger.committed(*offset);
            }
        }
    }

    /// The last commit of these partitions, waited for.
    fn commit_for_good(&mut self, numbers: BTreeSet<i32>) {
        let offsets: Vec<_> = self
            .parts
            .iter()
            .filter(|(number, _)| numbers.contains(number))
            .filter_map(|(_, part)| commit_of(part))
            .collect();
        if offsets.is_empty() {
            return;
        }
        let timeout = self.over_at.map_or(LAST_COMMIT.most, |over_at| LAST_COMMIT.of(over_at));
        let error = match self.consumer.commit_sync(&offsets, timeout) {
            Ok(report) => {
                self.note_stored(&report);
                report.error
            }
            Err(error) => Some(chain_of(&error)),
        };
        if let Some(error) = error {
            tracing::warn!(
                error,
                "the last offsets were not committed: their records will be read again, nothing is lost",
            );
        }
    }

    // The end

    /// Lets what runs finish. `asked` is the earliest time at which that may have been asked for; no wait of a turn is
    /// longer than one for the coordinator.
    fn begin_drain(&mut self, asked: Instant) {
        let now = Instant::now();
        let asked = now.checked_sub(COORDINATOR_TIMEOUT).map_or(asked, |earliest| asked.max(earliest));
        self.draining = Some(now + self.settings.shutdown_timeout);
        self.over_at = Some(asked + self.settings.shutdown_timeout + CLOSING);
        for part in self.parts.values_mut() {
            part.begin_drain();
        }
    }

    fn close(mut self, over_at: Instant) {
        self.commit_for_good(self.parts.keys().copied().collect());
        self.checkpoint(Reason::End);
        // While the partitions are there to be told of.
        self.report_metrics_now();
        for (_, part) in std::mem::take(&mut self.parts) {
            drop(part.abandon());
        }
        self.publish_last_head(Instant::now() + LAST_HEAD.of(over_at));
        if !self.consumer.close(LEAVING.of(over_at)) {
            tracing::warn!("the group was not left in time; it notices after the session timeout");
        }
    }

    /// With `--exit-at-end`: whether every end that was seen at the start is committed, by us or by others.
    fn ends_reached(&mut self) -> Result<bool, PipelineError> {
        let Some(ends) = &self.ends else { return Ok(false) };
        let mut others = Vec::new();
        for (number, end) in ends {
            let committed = match self.parts.get(number) {
                Some(part) => part.ledger.committed_offset(),
                None => {
                    others.push(TopicPartition::new(self.settings.topic.as_str(), *number));
                    self.commits.others.get(number).copied()
                }
            };
            if committed.is_none_or(|committed| committed < *end) && self.parts.contains_key(number) {
                return Ok(false);
            }
        }
        let stale = self.commits.others_asked.is_none_or(|at| at.elapsed() >= OTHERS_INTERVAL);
        if !others.is_empty() && stale {
            self.commits.others_asked = Some(Instant::now());
            match self.consumer.committed(&others, COORDINATOR_TIMEOUT) {
                Ok(found) => {
                    let found =
                        found.into_iter().filter_map(|found| Some((found.at.partition, found.offset?)));
                    self.commits.others.extend(found);
                }
                Err(error) => {
                    tracing::debug!(error = chain_of(&error), "cannot see what others have committed")
                }
            }
        }
        let done = |at: &TopicPartition| {
            let (end, seen) = (ends.get(&at.partition), self.commits.others.get(&at.partition));
            matches!((end, seen), (Some(end), Some(seen)) if seen >= end)
        };
        Ok(others.iter().all(done))
    }

    // Metrics

    fn report_metrics(&mut self) {
        if self.reported.at.elapsed() >= self.settings.metrics_interval {
            self.report_metrics_now();
        }
    }

    fn report_metrics_now(&mut self) {
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
}

/// What one partition may hold of what all may hold together.
fn share_of(all_bytes: usize, partitions: usize) -> usize {
    (all_bytes / partitions.max(1)).max(LEAST_SHARE_BYTES.min(all_bytes))
}

/// Where to read a partition on from a position, if it is there. A group that has no position yet starts at what there is.
fn within(
    at: &TopicPartition,
    position: Option<i64>,
    log_start: i64,
    end: i64,
) -> Result<Position, PipelineError> {
    let partition = || at.to_string();
    match position {
        None => Ok(Position::Beginning),
        Some(committed) if committed < log_start => {
            Err(KafkaError::Gap { partition: partition(), committed, log_start }.into())
        }
        Some(committed) if committed > end => {
            Err(PipelineError::BeyondEnd { partition: partition(), committed, end })
        }
        Some(position) => Ok(Position::At(position)),
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
    fn only_a_position_outside_of_its_partition_is_an_alarm() {
        let at = TopicPartition::new("orders", 0);
        for (position, expected) in [
            (None, Position::Beginning),
            (Some(5), Position::At(5)),
            (Some(7), Position::At(7)),
            (Some(9), Position::At(9)),
        ] {
            assert_eq!(within(&at, position, 5, 9).expect("within"), expected);
        }
        let below = within(&at, Some(4), 5, 9);
        let gap = KafkaError::Gap { partition: "orders/0".to_owned(), committed: 4, log_start: 5 };
        assert!(
            matches!(&below, Err(PipelineError::Kafka(error)) if error.to_string() == gap.to_string()),
            "{below:?}"
        );
        let beyond = within(&at, Some(10), 5, 9);
        assert!(matches!(beyond, Err(PipelineError::BeyondEnd { committed: 10, end: 9, .. })), "{beyond:?}");
    }

    #[test]
    fn the_steps_of_the_end_share_what_is_left() {
        let now = Instant::now();
        let all = [LAST_COMMIT, LAST_HEAD, LEAVING];
        // Each takes as long as it may: the end is kept, with something left for the journal's thread.
        let mut begun = now;
        for share in &all {
            begun +=
                (now + CLOSING).duration_since(begun).saturating_sub(share.leaves).clamp(LEAST, share.most);
        }
        assert!(begun <= now + CLOSING - Duration::from_millis(500));
        for share in &all {
            assert_eq!(share.of(now), LEAST);
            assert_eq!(share.of(now + Duration::from_secs(60)), share.most);
        }
    }

    #[test]
    fn many_partitions_leave_each_of_them_something() {
        const KIB: usize = 1 << 10;
        for (all, partitions, share) in [
            (32 << 20, 0, 32 << 20),
            (32 << 20, 3, (32 << 20) / 3),
            (32 << 20, 1000, 256 * KIB),
            (64 * KIB, 1, 64 * KIB),
            (64 * KIB, 10, 64 * KIB),
        ] {
            assert_eq!(share_of(all, partitions), share, "{all} among {partitions}");
        }
    }

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
