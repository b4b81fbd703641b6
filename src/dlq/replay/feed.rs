//! Reads the dead letters of a plan back, each at its own offset, in the order of the plan within each partition. They are
//! understood on all processors. Holds little: what was read ahead is bounded in bytes.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use super::PlanEntry;
use crate::config::KafkaSettings;
use crate::dlq::scan::scan;
use crate::dlq::{Dialect, Letter};
use crate::kafka::{Admin, KafkaError, Reader};
use crate::record::Record;

/// A gap between two entries that is cheaper to jump over than to read.
const JUMP: i64 = 20_000;

/// What was found of an entry.
pub(super) struct Fed {
    /// Its number in the plan.
    pub at: usize,
    /// The dead letter; `None` where there is none any more.
    pub letter: Option<Box<Understood>>,
}

/// A dead letter, and what of it can be worked out before its turn.
#[derive(Debug, Clone)]
pub(super) struct Understood {
    /// The dead letter.
    pub letter: Letter,
    /// The hash of its payload, where that is within it.
    pub hash: Option<blake3::Hash>,
}

impl Understood {
    fn of(letter: Letter) -> Self {
        let hash = letter.payload.bytes().map(|payload| blake3::hash(payload));
        Self { letter, hash }
    }
}

/// The entries of one partition that were not given yet.
struct Lane {
    /// In the order of sending.
    order: VecDeque<usize>,
    /// By offset, those that were not passed yet: of several at one place at most one is what it says, which others judge.
    wanted: BTreeMap<i64, Vec<usize>>,
    /// Read, but not their turn yet.
    early: HashMap<usize, Option<Box<Understood>>>,
}

impl Lane {
    /// Notes that everything below `offset` has been read.
    fn passed(&mut self, offset: i64) {
        if self.wanted.first_key_value().is_none_or(|(first, _)| *first >= offset) {
            return;
        }
        let rest = self.wanted.split_off(&offset);
        let gone = std::mem::replace(&mut self.wanted, rest);
        self.early.extend(gone.into_values().flatten().map(|at| (at, None)));
    }

    /// Takes what was read at an offset.
    fn read(&mut self, offset: i64, letter: Box<Understood>) {
        let Some(mut entries) = self.wanted.remove(&offset) else { return };
        let last = entries.pop();
        self.early.extend(entries.into_iter().map(|at| (at, Some(letter.clone()))));
        self.early.extend(last.map(|at| (at, Some(letter))));
    }

    /// Those whose turn it is.
    fn due(&mut self, give: &mut dyn FnMut(Fed) -> bool) -> bool {
        while let Some(at) = self.order.front().copied() {
            let Some(letter) = self.early.remove(&at) else { return true };
            self.order.pop_front();
            if !give(Fed { at, letter }) {
                return false;
            }
        }
        true
    }
}

/// Gives every chosen entry once, with its letter or without. Ends early when `give` says false.
pub(super) fn feed(
    kafka: &KafkaSettings,
    topic: &str,
    chosen: &[(usize, &PlanEntry)],
    give: &mut dyn FnMut(Fed) -> bool,
) -> Result<(), KafkaError> {
    let mut lanes: BTreeMap<i32, Lane> = BTreeMap::new();
    for (at, entry) in chosen {
        let lane = lanes.entry(entry.dlq_partition).or_insert_with(|| Lane {
            order: VecDeque::new(),
            wanted: BTreeMap::new(),
            early: HashMap::new(),
        });
        lane.order.push_back(*at);
        lane.wanted.entry(entry.dlq_offset).or_default().push(*at);
    }
    let admin = Admin::new(kafka)?;
    let partitions = admin.topic(topic)?.map_or(0, |info| info.partitions);
    // The n-th stretch of every partition is read at the same time.
    let mut rounds: Vec<Vec<(i32, i64, i64)>> = Vec::new();
    for (number, lane) in lanes.iter_mut().filter(|(number, _)| **number < partitions) {
        let (log_start, end) = admin.watermarks(topic, *number)?;
        lane.passed(log_start);
        let below_end: Vec<i64> = lane.wanted.range(..end).map(|(offset, _)| *offset).collect();
        for (round, (first, last)) in stretches(&below_end).into_iter().enumerate() {
            if rounds.len() <= round {
                rounds.push(Vec::new());
            }
            rounds[round].push((*number, first, last + 1));
        }
    }
    let wanted: HashSet<(i32, i64)> =
        chosen.iter().map(|(_, entry)| (entry.dlq_partition, entry.dlq_offset)).collect();
    // Of our own the value says all that is needed.
    let all_are_ours = chosen.iter().all(|(_, entry)| entry.dialect == Some(Dialect::PubsubKafka));
    for ranges in rounds {
        let make = |record: Record| {
            let place = (record.partition, record.offset);
            let read = if all_are_ours { Letter::read_to_replay } else { Letter::read };
            (place, wanted.contains(&place).then(|| Box::new(Understood::of(read(&record)))))
        };
        let reader = Reader::over(kafka, topic, &ranges)?;
        let reader = if all_are_ours { reader.without_headers() } else { reader };
        let mut is_wanted = true;
        scan(reader, make, |((partition, offset), letter)| {
            let Some(lane) = lanes.get_mut(&partition) else { return ControlFlow::Continue(()) };
            lane.passed(offset);
            if let Some(letter) = letter {
                lane.read(offset, letter);
            }
            is_wanted = lane.due(give);
            if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if !is_wanted {
            return Ok(());
        }
    }
    // What was not found up to here is not there.
    for lane in lanes.values_mut() {
        lane.passed(i64::MAX);
        if !lane.due(give) {
            return Ok(());
        }
    }
    Ok(())
}

/// The stretches, first and last offset, between gaps that are worth a jump. The offsets ascend.
fn stretches(offsets: &[i64]) -> Vec<(i64, i64)> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for offset in offsets.iter().copied() {
        match found.last_mut() {
            Some((_, last)) if offset - *last <= JUMP => *last = offset,
            _ => found.push((offset, offset)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gaps_are_jumped_over() {
        assert_eq!(stretches(&[]), []);
        assert_eq!(stretches(&[5]), [(5, 5)]);
        assert_eq!(stretches(&[1, 2, 20_002, 40_003, 40_004]), [(1, 20_002), (40_003, 40_004)]);
    }

    #[test]
    fn entries_come_in_their_order_and_what_was_passed_is_gone() {
        let mut lane = Lane {
            order: [0, 1, 2, 3].into(),
            wanted: [(30, 0), (10, 1), (20, 2), (40, 3)].map(|(offset, at)| (offset, vec![at])).into(),
            early: HashMap::new(),
        };
        let mut given = Vec::new();
        let mut give = |fed: Fed| {
            given.push((fed.at, fed.letter.is_some()));
            true
        };
        for offset in [10, 30] {
            lane.passed(offset);
            let letter = super::super::record::tests::letter();
            lane.read(offset, Box::new(Understood { letter, hash: None }));
            lane.due(&mut give);
        }
        lane.passed(i64::MAX);
        lane.due(&mut give);
        assert_eq!(given, [(0, true), (1, true), (2, false), (3, false)]);
    }
}
