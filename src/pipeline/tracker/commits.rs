//! Commits: nowhere else. And, with `--exit-at-end`, whether everything is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::closing::LAST_COMMIT;
use super::{COORDINATOR_TIMEOUT, Tracker};
use crate::failpoint;
use crate::failure::chain_of;
use crate::kafka::{Commit, CommitReport};
use crate::pipeline::intake::Part;
use crate::pipeline::{PipelineError, letters};
use crate::record::TopicPartition;

/// A commit that was not answered for this long is given up, and a new one is made.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// How often the group is asked for offsets of partitions that others own, with `--exit-at-end`.
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);

/// When the last commit was, and whether it is answered.
pub(super) struct Commits {
    pub(super) last: Instant,
    pub(super) unanswered: bool,
    /// What others have committed in partitions that are not ours.
    pub(super) others: BTreeMap<i32, i64>,
    pub(super) others_asked: Option<Instant>,
}

/// What may be committed of a partition now, and where its dead letters are to be looked for after a crash.
fn commit_of(part: &Part) -> Option<Commit> {
    let metadata = letters::to_metadata(part.ledger.letters_from());
    Some(Commit { at: part.at.clone(), offset: part.ledger.to_commit()?, metadata })
}

impl Tracker<'_> {
    pub(super) fn commit_if_due(&mut self) {
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
        failpoint::reached("before-commit");
        match self.consumer.commit_async(&offsets) {
            Ok(()) => self.commits.unanswered = true,
            Err(error) => tracing::warn!(error = chain_of(&error), "offsets not committed, trying again"),
        }
    }

    /// The first commit of a group: nothing is done yet, and dead letters can only come from here on. The next commit
    /// waits for its answer, and says the same again where there is none.
    pub(super) fn note_start(&mut self, commits: &[Commit]) {
        if commits.is_empty() {
            return;
        }
        self.commits.last = Instant::now();
        match self.consumer.commit_async(commits) {
            Ok(()) => self.commits.unanswered = true,
            Err(error) => tracing::warn!(error = chain_of(&error), "the group's start was not noted"),
        }
    }

    pub(super) fn note_commit(&mut self, report: &CommitReport) {
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
    pub(super) fn commit_for_good(&mut self, numbers: BTreeSet<i32>) {
        let offsets: Vec<_> = self
            .parts
            .iter()
            .filter(|(number, _)| numbers.contains(number))
            .filter_map(|(_, part)| commit_of(part))
            .collect();
        if offsets.is_empty() {
            return;
        }
        failpoint::reached("before-commit");
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

    /// With `--exit-at-end`: whether every end that was seen at the start is committed, by us or by others.
    pub(super) fn ends_reached(&mut self) -> Result<bool, PipelineError> {
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
                    tracing::debug!(error = chain_of(&error), "cannot see what others have committed");
                }
            }
        }
        let done = |at: &TopicPartition| {
            let (end, seen) = (ends.get(&at.partition), self.commits.others.get(&at.partition));
            matches!((end, seen), (Some(end), Some(seen)) if seen >= end)
        };
        Ok(others.iter().all(done))
    }
}
