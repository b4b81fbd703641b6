//! Taking over and giving back partitions.

use std::time::Instant;

use super::{COORDINATOR_PAUSE, COORDINATOR_TIMEOUT, Tracker, strays};
use crate::audit::{OffsetSet, Reason, Scope};
use crate::failure::chain_of;
use crate::kafka::{Commit, GroupOffset, KafkaError, Position};
use crate::pipeline::intake::Part;
use crate::pipeline::{Ledger, PipelineError, letters};
use crate::record::TopicPartition;

/// How many missing lines are handed over together.
const LINES_AT_ONCE: usize = 256;

/// Partitions that wait for their start positions.
pub(super) struct Assigning {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) next_try: Instant,
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
pub(super) struct Revoking {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) deadline: Instant,
}

impl Tracker<'_> {
    pub(super) fn try_assign(&mut self) -> Result<(), PipelineError> {
        if self.draining.is_some() {
            return Ok(());
        }
        let leaving = |at: &TopicPartition| self.leaving.iter().any(|(number, _)| *number == at.partition);
        let due = |a: &mut Assigning| a.next_try <= Instant::now() && !a.partitions.iter().any(leaving);
        let Some(assigning) = self.assigning.take_if(due) else { return Ok(()) };
        let ready = self.positions(&assigning.partitions).and_then(|positions| {
            let wrote = !self.stop.is_cancelled() && self.write_missing(&positions)?;
            Ok((positions, wrote))
        });
        let (positions, wrote) = match ready {
            Ok(ready) => ready,
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
        if wrote {
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
                let mut lines = self.shared.writer.lines();
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
            strays::within(&at, committed, log_start, end)?;
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

    pub(super) fn begin_revocation(
        &mut self,
        partitions: Vec<TopicPartition>,
        lost: bool,
    ) -> Result<(), PipelineError> {
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
    pub(super) fn settle_revocation(&mut self) -> Result<(), PipelineError> {
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

    pub(super) fn give_up(&mut self, partitions: &[TopicPartition]) {
        for part in partitions.iter().filter_map(|at| self.parts.remove(&at.partition)) {
            self.strays.remove(&part.at.partition);
            let drained = part.is_drained();
            self.held_bytes -= part.ledger.in_flight_bytes();
            let (at, scope, known) = part.abandon();
            if !drained {
                // A line of it may be on its way to the disk: whether it got there is known when this comes back.
                self.leaving.insert((scope.partition, scope.epoch));
                self.shared.writer.end(&scope);
            }
            self.settled.entry(at.partition).or_default().extend(&known);
        }
    }
}
