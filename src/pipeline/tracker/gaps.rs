//! Records that retention has deleted before they were read: an alarm, and the end, or, with `--on-gap continue`, a line in
//! the journal before anything goes on behind them.

use jiff::Timestamp;

use super::{Tracker, strays};
use crate::audit::{Gap, OffsetSet, Scope};
use crate::config::OnGap;
use crate::kafka::{KafkaError, Position};
use crate::pipeline::PipelineError;
use crate::record::TopicPartition;

/// How a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From here.
    On(Position),
    /// When the line about its gap is on disk.
    Wait,
}

impl Tracker<'_> {
    /// Where a partition is read on from a position, which the topic may no longer hold. `known` are its outcomes that
    /// are on disk already: what retention has deleted of them was read before.
    pub(super) fn way_on(
        &mut self,
        at: &TopicPartition,
        position: Option<i64>,
        (log_start, end): (i64, i64),
        known: &OffsetSet,
    ) -> Result<Way, PipelineError> {
        let position = self.behind_gap(at.partition, position);
        let gap = match strays::within(at, position, log_start, end) {
            Ok(position) => return Ok(Way::On(position)),
            Err(gap @ PipelineError::Kafka(KafkaError::Gap { .. })) => gap,
            Err(error) => return Err(error),
        };
        let unread = known.missing_in(position.unwrap_or(log_start), log_start);
        if unread.is_empty() {
            tracing::info!(
                partition = at.partition,
                log_start,
                "every deleted record of {at} has its outcome"
            );
            self.gaps.insert(at.partition, log_start);
            return Ok(Way::On(Position::At(log_start)));
        }
        for (from, last) in &unread {
            tracing::error!(
                partition = at.partition,
                from,
                to = last + 1,
                offsets = last + 1 - from,
                on_gap = ?self.settings.on_gap,
                "records are lost: retention has deleted what this group has not read of {at}",
            );
        }
        if self.settings.on_gap == OnGap::Stop {
            return Err(gap);
        }
        let mut lines = self.shared.writer.lines();
        for (from, last) in unread {
            lines.push_gap(&Gap::new(
                Timestamp::now(),
                &self.shared.group,
                at,
                self.shared.topic_id.as_deref(),
                from..last + 1,
            ));
        }
        self.epoch += 1;
        let scope = Scope::new(at.partition, self.epoch);
        self.shared.writer.append(&scope, lines);
        self.leaving.insert((scope.partition, scope.epoch));
        self.shared.writer.end(&scope);
        self.gaps.insert(at.partition, log_start);
        Ok(Way::Wait)
    }

    /// A position, or the end of the gap that it is in.
    pub(super) fn behind_gap(&self, partition: i32, position: Option<i64>) -> Option<i64> {
        position.map(|position| self.gaps.get(&partition).map_or(position, |end| position.max(*end)))
    }
}
