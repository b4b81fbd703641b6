//! Back-pressure: a partition that holds its share of what may be in flight is paused until there is room. So is each that
//! holds anything while all of them together hold as much as they may: one that holds nothing always takes one record,
//! so that records in retry elsewhere do not stop it.

use std::time::{Duration, Instant};

use super::Tracker;
use crate::pipeline::PipelineError;
use crate::pipeline::intake::Part;

/// What each partition may hold at least, however many there are: with less, a record or two would pause it.
const LEAST_SHARE_BYTES: usize = 256 << 10;
/// How long a full partition is waited for before it is paused: pausing throws the client's fetched records away.
const FULL_WAIT: Duration = Duration::from_millis(50);

impl Tracker<'_> {
    fn room(&self) -> Room {
        let all = self.settings.max_in_flight_bytes;
        let records = self.settings.max_in_flight_records;
        Room { records, all, share: share_of(all, self.parts.len()), held: self.held_bytes }
    }

    pub(super) fn is_full(&self, number: i32) -> bool {
        self.parts.get(&number).is_some_and(|part| self.room().is_none(Held::by(part)))
    }

    /// Whether there is room for more than the next record: with less, the poll would wait for every single one.
    fn has_room(&self, number: i32) -> bool {
        self.parts.get(&number).is_none_or(|part| self.room().is_some(Held::by(part)))
    }

    /// Waits a moment for room, then pauses the partition.
    pub(super) fn hold_back(&mut self, number: i32) -> Result<(), PipelineError> {
        for part in self.parts.values_mut() {
            part.flush();
        }
        self.has_waited = true;
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

    pub(super) fn resume_where_there_is_room(&mut self) -> Result<(), PipelineError> {
        if self.draining.is_some() {
            return Ok(());
        }
        let room = self.room();
        for part in self.parts.values_mut().filter(|part| part.paused) {
            if room.is_ample(Held::by(part)) {
                tracing::debug!(partition = part.at.partition, "resuming");
                self.consumer.resume(&part.at)?;
                part.paused = false;
            }
        }
        Ok(())
    }
}

/// What one partition holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    records: usize,
    bytes: usize,
}

impl Held {
    fn by(part: &Part) -> Self {
        Self { records: part.ledger.in_flight(), bytes: part.ledger.in_flight_bytes() }
    }
}

/// What may be held, and what is. A partition's share counts only while more than half of all is taken: else one large
/// record would fill the small share of one among many partitions, and the poll would wait for it each time.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// The most records of one partition.
    records: usize,
    /// The most bytes of all partitions.
    all: usize,
    /// The most bytes of one partition while it matters.
    share: usize,
    /// The bytes of all partitions now.
    held: usize,
}

impl Room {
    fn is_none(self, part: Held) -> bool {
        part.records >= self.records
            || self.held >= self.all
            || (part.bytes >= self.share && self.held >= self.all / 2)
    }

    fn is_some(self, part: Held) -> bool {
        let below = |limit: usize| limit - limit / 16;
        part.records < below(self.records)
            && (self.held < below(self.all) || part.bytes == 0)
            && (part.bytes < below(self.share) || self.held < below(self.all / 2))
    }

    fn is_ample(self, part: Held) -> bool {
        part.records <= self.records / 2
            && (self.held <= self.all / 4 * 3 || part.bytes == 0)
            && (part.bytes <= self.share / 2 || self.held <= self.all / 4)
    }
}

/// What one partition may hold of what all may hold together.
fn share_of(all_bytes: usize, partitions: usize) -> usize {
    (all_bytes / partitions.max(1)).max(LEAST_SHARE_BYTES.min(all_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_while_much_is_held_and_an_empty_partition_always_takes_a_record() {
        const MIB: usize = 1 << 20;
        let none = Held { records: 0, bytes: 0 };
        let large = Held { records: 1, bytes: 3 * MIB };
        for (held, part, full, some, ample) in [
            // One large record, and nothing else: the poll goes on.
            (3 * MIB, large, false, true, true),
            (15 * MIB, large, false, false, false),
            (16 * MIB, large, true, false, false),
            (31 * MIB, none, false, true, true),
            (31 * MIB, Held { records: 1, bytes: 1 }, false, false, false),
            // Others hold everything: it may take one record, and is full with it.
            (32 * MIB, none, true, true, true),
            (33 * MIB, Held { records: 1, bytes: MIB }, true, false, false),
            (MIB, Held { records: 1000, bytes: MIB }, true, false, false),
            (MIB, Held { records: 940, bytes: MIB }, false, false, false),
            (MIB, Held { records: 500, bytes: MIB }, false, true, true),
        ] {
            let room = Room { records: 1000, all: 32 * MIB, share: MIB, held };
            let found = (room.is_none(part), room.is_some(part), room.is_ample(part));
            assert_eq!(found, (full, some, ample), "{held} held, {part:?}");
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
}
