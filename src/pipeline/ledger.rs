//! Which offset of a partition may be committed. Knows the records that were delivered, in order, and which of them have
//! a durable outcome; nothing is committed past the first one that has none. It never counts offsets: a topic may have
//! gaps (compaction, transaction markers), so contiguity follows what was delivered.

use std::collections::VecDeque;

use crate::audit::OffsetSet;

/// One partition's delivered and finished records, for one assignment of it.
#[derive(Debug, Default)]
pub struct Ledger {
    open: VecDeque<Entry>,
    bytes: usize,
    /// The first record that was delivered.
    first: Option<i64>,
    /// Everything below this was delivered, or is known to hold no record.
    delivered_to: Option<i64>,
    committed: Option<i64>,
    /// How far the dead letter partition is known to reach.
    letters_end: Option<i64>,
    /// Outcomes of an earlier assignment that were made durable but not committed: not to be repeated.
    settled: OffsetSet,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    bytes: usize,
    done: bool,
    /// A dead letter of this record can only be at or above this offset of the dead letter partition.
    letters_from: Option<i64>,
}

/// What to do with a record that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is new: process it.
    Process,
    /// Its outcome is durable already, from an earlier assignment.
    AlreadySettled,
    /// It was delivered before in this assignment (the client fetched it again).
    Repeated,
}

impl Ledger {
    /// A ledger for an assignment that starts at `committed`, with the outcomes above it that are known already.
    pub fn new(committed: Option<i64>, mut settled: OffsetSet) -> Self {
        if let Some(committed) = committed {
            settled.drop_below(committed);
        }
        Self { committed, settled, ..Self::default() }
    }

    /// Notes a delivered record; offsets must rise.
    pub fn delivered(&mut self, offset: i64, bytes: usize) -> Admission {
        let letters_from = self.letters_end;
        if self.delivered_to.is_some_and(|to| offset < to) {
            return Admission::Repeated;
        }
        self.delivered_to = Some(offset + 1);
        self.first.get_or_insert(offset);
        if self.settled.contains(offset) {
            if !self.open.is_empty() {
                self.open.push_back(Entry { offset, bytes: 0, done: true, letters_from });
            }
            return Admission::AlreadySettled;
        }
        self.open.push_back(Entry { offset, bytes, done: false, letters_from });
        self.bytes += bytes;
        Admission::Process
    }

    /// Notes that nothing below `offset` is still to come.
    pub fn end_of_partition(&mut self, offset: i64) {
        self.delivered_to = Some(self.delivered_to.map_or(offset, |to| to.max(offset)));
    }

    /// Notes how far the dead letter partition is known to reach.
    pub fn letters_reach(&mut self, end: i64) {
        self.letters_end = self.letters_end.max(Some(end));
    }

    /// Every dead letter of a record at or above the position is at or above this offset of the dead letter partition:
    /// where to look for those that were published but not written down.
    pub fn letters_from(&self) -> Option<i64> {
        self.open.front().map_or(self.letters_end, |first| first.letters_from)
    }

    /// Notes durable outcomes. Offsets that are not open are ignored: an outcome counts once.
    pub fn finished(&mut self, offsets: &[i64]) {
        for offset in offsets {
            // In partition order the first open entry is the one; otherwise it is found by binary search.
            let at = match self.open.front() {
                Some(first) if first.offset == *offset => Some(0),
                _ => self.open.binary_search_by_key(offset, |entry| entry.offset).ok(),
            };
            let Some(entry) = at.and_then(|at| self.open.get_mut(at)) else { continue };
            if !entry.done {
                entry.done = true;
                self.bytes -= entry.bytes;
            }
            while self.open.front().is_some_and(|first| first.done) {
                self.open.pop_front();
            }
        }
    }

    /// The offset that may be committed now: the first record without a durable outcome, or what comes after all of
    /// them. `None` while nothing was delivered.
    pub fn position(&self) -> Option<i64> {
        self.open.front().map(|first| first.offset).or(self.delivered_to)
    }

    /// The position, where it is beyond what is committed.
    pub fn to_commit(&self) -> Option<i64> {
        self.position().filter(|position| self.committed.is_none_or(|committed| *position > committed))
    }

    /// Notes that the broker has stored this offset.
    pub fn committed(&mut self, offset: i64) {
        self.committed = Some(self.committed.map_or(offset, |committed| committed.max(offset)));
    }

    /// The offset that the broker has stored, as far as this ledger knows.
    pub fn committed_offset(&self) -> Option<i64> {
        self.committed
    }

    /// Where the next record is read: behind what was delivered, or at the committed offset. `None` while there is neither.
    pub fn reading_at(&self) -> Option<i64> {
        self.delivered_to.or(self.committed)
    }

    /// How many outcomes above the commit were known before the assignment began.
    pub fn known_outcomes(&self) -> u64 {
        self.settled.len()
    }

    /// How many delivered records wait for their durable outcome (finished ones behind an unfinished one included).
    pub fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// How many bytes those without an outcome hold.
    pub fn in_flight_bytes(&self) -> usize {
        self.bytes
    }

    /// The durable outcomes that are not known to be committed, for the next assignment of this partition: those before
    /// the position too, because the commit of a position can fail.
    pub fn into_settled(self) -> OffsetSet {
        let position = self.position();
        let mut settled = self.settled;
        if let (Some(first), Some(position)) = (self.first, position) {
            settled.insert_range(first, position - 1);
        }
        if let Some(committed) = self.committed {
            settled.drop_below(committed);
        }
        let done: Vec<i64> = self.open.iter().filter(|entry| entry.done).map(|entry| entry.offset).collect();
        settled.insert_all(&done);
        settled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ledger(offsets: &[i64]) -> Ledger {
        let mut ledger = Ledger::default();
        for offset in offsets {
            assert_eq!(ledger.delivered(*offset, 10), Admission::Process);
        }
        ledger
    }

    #[test]
    fn nothing_delivered_commits_nothing() {
        assert_eq!(Ledger::default().to_commit(), None);
    }

    #[test]
    fn reading_goes_on_behind_what_was_delivered() {
        assert_eq!(Ledger::default().reading_at(), None);
        let mut ledger = Ledger::new(Some(5), OffsetSet::default());
        assert_eq!(ledger.reading_at(), Some(5));
        ledger.delivered(7, 10);
        assert_eq!(ledger.reading_at(), Some(8));
    }

    #[test]
    fn the_position_stops_at_the_first_unfinished_record() {
        let mut ledger = ledger(&[5, 6, 9]);
        ledger.finished(&[6, 9]);
        assert_eq!(ledger.position(), Some(5));
        ledger.finished(&[5]);
        assert_eq!(ledger.position(), Some(10));
        assert_eq!((ledger.in_flight(), ledger.in_flight_bytes()), (0, 0));
    }

    #[test]
    fn the_end_of_a_partition_closes_the_gap_behind_the_last_record() {
        let mut ledger = ledger(&[0]);
        ledger.end_of_partition(4);
        assert_eq!(ledger.position(), Some(0));
        ledger.finished(&[0]);
        assert_eq!(ledger.position(), Some(4));
    }

    #[test]
    fn an_end_that_was_reported_late_does_not_move_back() {
        let mut ledger = ledger(&[0, 1, 2]);
        ledger.end_of_partition(1);
        ledger.finished(&[0, 1, 2]);
        assert_eq!(ledger.position(), Some(3));
    }

    #[test]
    fn a_record_that_is_fetched_again_is_not_processed_again() {
        let mut ledger = ledger(&[0, 1]);
        ledger.finished(&[0]);
        assert_eq!(ledger.delivered(0, 10), Admission::Repeated);
        assert_eq!(ledger.delivered(1, 10), Admission::Repeated);
        assert_eq!(ledger.delivered(2, 10), Admission::Process);
        assert_eq!(ledger.in_flight(), 2);
    }

    #[test]
    fn only_what_is_beyond_the_commit_is_committed() {
        let mut ledger = Ledger::new(Some(7), OffsetSet::default());
        ledger.end_of_partition(7);
        assert_eq!(ledger.to_commit(), None);
        assert_eq!(ledger.delivered(7, 1), Admission::Process);
        ledger.finished(&[7]);
        assert_eq!(ledger.to_commit(), Some(8));
        ledger.committed(8);
        assert_eq!(ledger.to_commit(), None);
    }

    #[test]
    fn durable_outcomes_above_the_commit_survive_into_the_next_assignment() {
        let mut first = ledger(&[0, 1, 2, 3]);
        first.finished(&[1, 3]);
        let mut second = Ledger::new(Some(0), first.into_settled());
        let admitted: Vec<_> = (0..5).map(|offset| second.delivered(offset, 10)).collect();
        use Admission::{AlreadySettled, Process};
        assert_eq!(admitted, [Process, AlreadySettled, Process, AlreadySettled, Process]);
        second.finished(&[0]);
        assert_eq!(second.position(), Some(2));
        second.finished(&[2, 4]);
        assert_eq!(second.position(), Some(5));
    }

    #[test]
    fn outcomes_before_the_position_survive_a_commit_that_failed() {
        let mut first = ledger(&[10, 11, 14, 15]);
        first.finished(&[10, 11, 14]);
        assert_eq!(first.to_commit(), Some(15));
        let mut second = Ledger::new(None, first.into_settled());
        use Admission::{AlreadySettled, Process};
        let admitted: Vec<_> = [10, 11, 14, 15].map(|offset| second.delivered(offset, 10)).into();
        assert_eq!(admitted, [AlreadySettled, AlreadySettled, AlreadySettled, Process]);
        assert_eq!(second.to_commit(), Some(15));
        // Not committed this time either.
        second.finished(&[15]);
        let mut third = Ledger::new(None, second.into_settled());
        assert!([10, 11, 14, 15].iter().all(|offset| third.delivered(*offset, 10) == AlreadySettled));
        assert_eq!(third.to_commit(), Some(16));
    }

    #[test]
    fn dead_letters_are_looked_for_from_where_the_first_open_record_was_delivered() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.letters_from(), None);
        ledger.letters_reach(10);
        assert_eq!(ledger.letters_from(), Some(10));
        ledger.delivered(0, 1);
        ledger.letters_reach(14);
        ledger.delivered(1, 1);
        ledger.letters_reach(12);
        assert_eq!(ledger.letters_from(), Some(10));
        ledger.finished(&[0]);
        assert_eq!(ledger.letters_from(), Some(14));
        ledger.letters_reach(20);
        ledger.finished(&[1]);
        assert_eq!(ledger.letters_from(), Some(20));
    }

    /// Delivered offsets with gaps, and an order in which they finish.
    fn deliveries() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
        prop::collection::btree_set(0i64..500, 1..60)
            .prop_map(|offsets| offsets.into_iter().collect::<Vec<_>>())
            .prop_flat_map(|offsets| (Just(offsets.clone()), Just(offsets).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn no_completion_order_ever_commits_past_a_gap(
            (offsets, order) in deliveries(), cut in 0usize..60, is_committed: bool,
        ) {
            let mut ledger = ledger(&offsets);
            let mut unfinished: BTreeSet<i64> = offsets.iter().copied().collect();
            for offset in order.iter().take(cut) {
                ledger.finished(&[*offset]);
                unfinished.remove(offset);
                let expected = unfinished.first().copied().unwrap_or(offsets[offsets.len() - 1] + 1);
                prop_assert_eq!(ledger.position(), Some(expected));
                prop_assert_eq!(ledger.in_flight_bytes(), unfinished.len() * 10);
            }
            // The commit at the handover may fail.
            let committed = ledger.position().filter(|_| is_committed);
            let settled = ledger.into_settled();
            // A crash-free handover repeats exactly what has no outcome.
            let mut next = Ledger::new(committed, settled);
            for offset in offsets.iter().filter(|o| committed.is_none_or(|committed| **o >= committed)) {
                let expected =
                    if unfinished.contains(offset) { Admission::Process } else { Admission::AlreadySettled };
                prop_assert_eq!(next.delivered(*offset, 10), expected);
            }
        }
    }
}
