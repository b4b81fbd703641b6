//! Taking over and giving back partitions.

use std::time::Instant;

use super::gaps::Way;
use super::lookup::{Found, Lookup, Question};
use super::{COORDINATOR_PAUSE, COORDINATOR_TIMEOUT, Tracker};
use crate::audit::{Judged, OffsetSet, Reason, Scope};
use crate::kafka::{Commit, KafkaError, Position};
use crate::pipeline::intake::Part;
use crate::pipeline::{Ledger, PipelineError, letters};
use crate::record::TopicPartition;

/// How many missing lines are handed over together.
const LINES_AT_ONCE: usize = 256;

/// Partitions that wait for their start positions.
pub(super) struct Assigning {
    partitions: Vec<TopicPartition>,
    next_try: Instant,
    lookup: Option<Lookup>,
}

impl Assigning {
    pub(super) fn new(partitions: Vec<TopicPartition>) -> Self {
        Self { partitions, next_try: Instant::now(), lookup: None }
    }
}

/// Partitions that are being given back.
pub(super) struct Revoking {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) deadline: Instant,
}

impl Tracker<'_> {
    /// Takes over what was assigned, in steps that never wait: look, write what has to be on disk first, look again, begin.
    pub(super) fn try_assign(&mut self) -> Result<(), PipelineError> {
        if self.draining.is_some() {
            return Ok(());
        }
        let Some(mut assigning) = self.assigning.take() else { return Ok(()) };
        let ready = self.look(&mut assigning).and_then(|found| match found {
            Some(found) => self.write_first(found),
            None => Ok(None),
        });
        match ready {
            Ok(Some(found)) => self.take_over(found),
            Ok(None) => {
                self.assigning = Some(assigning);
                Ok(())
            }
            Err(PipelineError::Kafka(KafkaError::Request { what, source })) => {
                tracing::warn!(error = %source, "{what}: asking again");
                let next_try = Instant::now() + COORDINATOR_PAUSE;
                self.assigning = Some(Assigning { next_try, lookup: None, ..assigning });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// What is to be known of the partitions, once it is.
    fn look(&self, assigning: &mut Assigning) -> Result<Option<Vec<Found>>, PipelineError> {
        if let Some(lookup) = &assigning.lookup {
            let Some(answer) = lookup.answer() else { return Ok(None) };
            assigning.lookup = None;
            return answer.map(Some);
        }
        let partitions = &assigning.partitions;
        let leaving = |at: &TopicPartition| self.leaving.iter().any(|(number, _)| *number == at.partition);
        if assigning.next_try > Instant::now() || partitions.iter().any(leaving) {
            return Ok(None);
        }
        if partitions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let known = |at: &TopicPartition| Some((at.partition, self.settled.get(&at.partition)?.clone()));
        let question = Question {
            kafka: self.settings.kafka.clone(),
            known: partitions.iter().filter_map(known).collect(),
            partitions: self.consumer.committed(partitions, COORDINATOR_TIMEOUT)?,
            group: self.settings.group.clone(),
            topic: self.settings.topic.clone(),
            topic_id: self.shared.topic_id.clone(),
            dlq_topic: self.settings.dlq_topic.clone(),
            dlq_partitions: self.shared.dlq_partitions,
            limits: self.shared.judge.limits,
            stop: self.stop.clone(),
        };
        assigning.lookup = Some(Lookup::start(question)?);
        Ok(None)
    }

    /// Writes what has to be on disk first: lines of dead letters that have none, and of gaps. Gives the partitions back
    /// where there were none; else they are looked at again.
    fn write_first(&mut self, mut found: Vec<Found>) -> Result<Option<Vec<Found>>, PipelineError> {
        let mut wrote = false;
        for new in &mut found {
            let missing = std::mem::take(&mut new.missing);
            if !missing.is_empty() {
                self.write_missing(&new.at, &missing);
                wrote = true;
                continue;
            }
            let known = self.settled.remove(&new.at.partition).unwrap_or_default();
            let way = self.way_on(&new.at, new.committed, (new.log_start, new.end), &known);
            self.settled.insert(new.at.partition, known);
            wrote |= way? == Way::Wait;
        }
        Ok((!wrote).then_some(found))
    }

    /// Gives their lines to records whose dead letters were published just before a crash.
    fn write_missing(&mut self, at: &TopicPartition, missing: &[Judged]) {
        tracing::warn!(
            partition = at.partition,
            records = missing.len() as u64,
            "dead letters were published just before a crash: writing their lines, not processing them again",
        );
        self.epoch += 1;
        let scope = Scope::new(at.partition, self.epoch);
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
    }

    fn take_over(&mut self, found: Vec<Found>) -> Result<(), PipelineError> {
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let position = |new: &Found| self.behind_gap(new.at.partition, new.committed);
        let starts: Vec<_> = found
            .iter()
            .map(|new| (new.at.clone(), position(new).map_or(Position::Beginning, Position::At)))
            .collect();
        self.consumer.assign(&starts)?;
        let fresh: Vec<_> = found
            .iter()
            .filter(|new| new.committed.is_none() && new.letters_end.is_some())
            .map(|new| Commit {
                at: new.at.clone(),
                offset: new.log_start,
                metadata: letters::to_metadata(new.letters_end),
            })
            .collect();
        for Found { at, committed, log_start, letters_end, .. } in found {
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
            let mut start = committed.unwrap_or(log_start);
            if let Some(end) = self.gaps.remove(&at.partition) {
                // There is nothing left to read before it.
                start = start.max(end);
                ledger.end_of_partition(start);
            }
            self.parts.insert(at.partition, Part::start(at, self.epoch, start, ledger, &self.shared));
        }
        // Before the first outcome the journal says which topic it is about, and a new group notes from where on its
        // dead letters are.
        self.checkpoint(Reason::Assigned);
        self.note_start(&fresh);
        Ok(())
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
        let mut unfinished = false;
        for part in partitions.iter().filter_map(|at| self.parts.remove(&at.partition)) {
            self.strays.remove(&part.at.partition);
            let drained = part.is_drained();
            self.held_bytes -= part.ledger.in_flight_bytes();
            let (at, scope, known) = part.abandon();
            if !drained {
                unfinished = true;
                // A line of it may be on its way to the disk: whether it got there is known when this comes back.
                self.leaving.insert((scope.partition, scope.epoch));
                self.shared.writer.end(&scope);
            }
            self.settled.entry(at.partition).or_default().extend(&known);
        }
        if unfinished {
            // A dead letter that were published after the next owner had looked for it would be of a record that is
            // processed as well.
            self.shared.judge.handler.sink().take_back();
        }
    }
}
