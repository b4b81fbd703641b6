//! Positions that a broker refuses: lost for good, which is an alarm, or only for a while.

use std::time::{Duration, Instant};

use super::gaps::Way;
use super::{COORDINATOR_PAUSE, COORDINATOR_TIMEOUT, Tracker};
use crate::audit::OffsetSet;
use crate::failure::chain_of;
use crate::kafka::{KafkaError, Position};
use crate::pipeline::PipelineError;
use crate::record::TopicPartition;

/// How long a position that a broker refuses is left alone: most often its new leader learns of it meanwhile.
pub(super) const STRAY_PAUSE: Duration = Duration::from_millis(500);

impl Tracker<'_> {
    /// Looks at the partitions whose position a broker refused. Where the position is gone for good that is an alarm; else
    /// they are read on from it.
    pub(super) fn bring_back_strays(&mut self) -> Result<(), PipelineError> {
        if self.draining.is_some() || self.assigning.is_some() || self.revoking.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        let due = self.strays.iter().find(|(_, at)| **at <= now).map(|(number, _)| *number);
        let Some(number) = due else { return Ok(()) };
        self.strays.remove(&number);
        let Some(part) = self.parts.get(&number) else { return Ok(()) };
        if self.leaving.iter().any(|(leaving, _)| *leaving == number) {
            // A line about its gap is on its way to the disk.
            self.strays.insert(number, Instant::now() + STRAY_PAUSE);
            return Ok(());
        }
        let (at, reading_at) = (part.at.clone(), part.ledger.reading_at());
        let (log_start, end) = match self.consumer.watermarks(&at, COORDINATOR_TIMEOUT) {
            Ok(bounds) => bounds,
            Err(error) => {
                tracing::warn!(error = chain_of(&error), "a position was refused: asking again");
                self.strays.insert(number, Instant::now() + COORDINATOR_PAUSE);
                return Ok(());
            }
        };
        let position = match self.way_on(&at, reading_at, (log_start, end), &OffsetSet::default())? {
            Way::On(position) => position,
            Way::Wait => {
                self.strays.insert(number, Instant::now() + STRAY_PAUSE);
                return Ok(());
            }
        };
        let gap_end = self.gaps.remove(&number);
        let Some(part) = self.parts.get_mut(&number) else { return Ok(()) };
        if let Some(end) = gap_end {
            part.ledger.end_of_partition(end);
        }
        tracing::warn!(
            partition = number,
            refused = reading_at,
            log_start,
            end,
            "a broker refused the position in {at}: reading on from {position:?}",
        );
        self.consumer.start_again(&at, position)?;
        part.paused = false;
        Ok(())
    }
}

/// Where to read a partition on from a position, if it is there. A group that has no position yet starts at what there is.
pub(super) fn within(
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
}
