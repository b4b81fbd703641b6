//! Back-pressure: a partition that holds its share of what may be in flight is paused until there is room. So is each that
//! holds anything while all of them together hold as much as they may: one that holds nothing always takes one record,
//! so that records in retry elsewhere do not stop it.

use std::time::{Duration, Instant};

use super::Tracker;
use crate::pipeline::PipelineError;

/// What each partition may hold at least, however many there are: with less, a record or two would pause it.
const LEAST_SHARE_BYTES: usize = 256 << 10;
/// How long a full partition is waited for before it is paused: pausing throws the client's fetched records away.
const FULL_WAIT: Duration = Duration::from_millis(50);

impl Tracker<'_> {
    fn limits(&self) -> (usize, usize) {
        (self.settings.max_in_flight_records, share_of(self.settings.max_in_flight_bytes, self.parts.len()))
    }

    pub(super) fn is_full(&self, number: i32) -> bool {
        let (records, bytes) = self.limits();
        self.parts.get(&number).is_some_and(|part| {
            part.ledger.in_flight() >= records
                || part.ledger.in_flight_bytes() >= bytes
                || self.held_bytes >= self.settings.max_in_flight_bytes
        })
    }

    /// Whether there is room for more than the next record: with less, the poll would wait for every single one.
    fn has_room(&self, number: i32) -> bool {
        let (records, bytes) = self.limits();
        let all = self.settings.max_in_flight_bytes;
        self.parts.get(&number).is_none_or(|part| {
            part.ledger.in_flight() < records - records / 16
                && part.ledger.in_flight_bytes() < bytes - bytes / 16
                && (self.held_bytes < all - all / 16 || part.ledger.in_flight_bytes() == 0)
        })
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
        let (records, bytes) = self.limits();
        if self.draining.is_some() {
            return Ok(());
        }
        let is_crowded = self.held_bytes > self.settings.max_in_flight_bytes / 4 * 3;
        for part in self.parts.values_mut().filter(|part| part.paused) {
            let held = part.ledger.in_flight_bytes();
            if part.ledger.in_flight() <= records / 2 && held <= bytes / 2 && (!is_crowded || held == 0) {
                tracing::debug!(partition = part.at.partition, "resuming");
                self.consumer.resume(&part.at)?;
                part.paused = false;
            }
        }
        Ok(())
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
