//! The comparison itself: lines, records and dead letters in, counts and violations out. Asks nobody anything.
//!
//! Memory: 32 bytes for each line about the topic ([`Line`]) and 56 for each dead letter that a line names
//! ([`Expected`]), none for records and dead letters: those pass by in the order of their offsets, beside the sorted
//! lines. A growing list may have twice the room that it needs.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::proof::{Counts, PartitionProof, ViolationKind, Violations};
use crate::audit::chain::read_hex;
use crate::audit::{ChainHash, OffsetSet};
use crate::models::{DeadLetter, OriginalPayload};

/// What a key and a payload are, in 16 bytes: BLAKE3 over BLAKE3 of each, cut.
pub(super) type Content = [u8; 16];

/// The line is about a dead letter.
pub(super) const DEAD: u8 = 1;
/// The line's payload was left out.
pub(super) const UNCHECKED: u8 = 2;
/// The dead letter of the line has passed by.
const LETTERED: u8 = 4;

/// One line about the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) offset: i64,
    pub(super) content: Content,
    pub(super) journal: u32,
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<Line>() == 32);

impl Line {
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn differs_from(&self, content: &Content) -> bool {
        !self.is(UNCHECKED) && self.content != *content
    }
}

/// A dead letter that a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    /// Partition and offset in the dead letter topic.
    pub(super) at: (i32, i64),
    /// Partition and offset of the record.
    pub(super) origin: (i32, i64),
    pub(super) id: Uuid,
    pub(super) found: bool,
}

const _: () = assert!(size_of::<Expected>() == 56);

/// What the files say, by partition of the source topic.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) lines: BTreeMap<i32, Vec<Line>>,
    pub(super) letters: Vec<Expected>,
    /// Offsets of which the journals say that retention deleted them before they were read.
    pub(super) unread: BTreeMap<i32, OffsetSet>,
}

/// A dead letter as it lies in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: Uuid,
    pub(super) origin: (i32, i64),
    /// `None` where it cannot be told.
    pub(super) content: Option<Content>,
}

/// Where a partition of the source topic stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    pub(super) log_start: i64,
    /// What the group has committed: every record below has its outcome.
    pub(super) committed: Option<i64>,
    pub(super) end: i64,
}

impl Range {
    fn is_committed(&self, offset: i64) -> bool {
        self.committed.is_some_and(|committed| offset < committed)
    }
}

/// What a key and a payload are; null differs from empty.
pub(super) fn content_of(key: Option<&[u8]>, payload: Option<&[u8]>) -> Content {
    let digest = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    content(key.map(digest), payload.map(digest))
}

/// The same, from their hashes. Null is zeros: no bytes have that hash.
pub(super) fn content(key: Option<ChainHash>, payload: Option<ChainHash>) -> Content {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&key.unwrap_or_default());
    both[32..].copy_from_slice(&payload.unwrap_or_default());
    let mut cut = [0; 16];
    cut.copy_from_slice(&blake3::hash(&both).as_bytes()[..16]);
    cut
}

/// What a dead letter's original was, also where it was too large to be kept and only its hash was.
pub(super) fn content_of_letter(letter: &DeadLetter) -> Option<Content> {
    let digest = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    let key = match (&letter.original_key, letter.metadata.get("original_key_hash")) {
        (Some(key), _) => Some(digest(key)),
        (None, Some(hash)) => Some(read_hex(hash.as_bytes())?),
        (None, None) => None,
    };
    let payload = match &letter.original_payload {
        OriginalPayload::Null => None,
        OriginalPayload::Inline(bytes) => Some(digest(bytes)),
        OriginalPayload::Omitted { hash, .. } => Some(read_hex(hash.as_bytes())?),
    };
    Some(content(key, payload))
}

/// One partition of the source topic.
#[derive(Debug, Default)]
struct Partition {
    range: Range,
    /// Sorted by offset, then journal.
    lines: Vec<Line>,
    /// The first line that no record has passed yet.
    next: usize,
    counts: Counts,
    /// Offsets that have lines and no record.
    without_record: OffsetSet,
}

/// The comparison. Its steps have to come in this order: every record (by partition in the order of offsets),
/// `finish_records`, every dead letter, `finish_letters`, `finish`.
#[derive(Debug)]
pub(super) struct Comparison {
    topic: String,
    dlq_topic: String,
    /// Whether records may be gone one by one.
    is_compacted: bool,
    partitions: BTreeMap<i32, Partition>,
    /// Sorted by their places.
    expected: Vec<Expected>,
    violations: Violations,
}

impl Comparison {
    pub(super) fn new(
        topic: &str,
        dlq_topic: &str,
        is_compacted: bool,
        ranges: BTreeMap<i32, Range>,
        written: Written,
    ) -> Self {
        let mut violations = Violations::default();
        let mut partitions = BTreeMap::<i32, Partition>::new();
        for (number, range) in ranges {
            if let Some(committed) = range.committed.filter(|committed| *committed > range.end) {
                violations.add(ViolationKind::BeyondEnd, || {
                    let what = format!(
                        "the group has committed this offset, but the topic ends at {}: records were taken away",
                        range.end
                    );
                    (format!("{topic}/{number}@{committed}"), what)
                });
            }
            partitions.entry(number).or_default().range = range;
        }
        for (number, mut lines) in written.lines {
            // One tracker's lines are nearly sorted, and a sorted list costs one look.
            lines.sort_unstable_by_key(|line| (line.offset, line.journal));
            partitions.entry(number).or_default().lines = lines;
        }
        for (number, unread) in written.unread {
            partitions.entry(number).or_default().counts.deleted_unread = unread.len();
        }
        let mut expected = written.letters;
        expected.sort_unstable_by_key(|letter| letter.at);
        let (topic, dlq_topic) = (topic.to_owned(), dlq_topic.to_owned());
        Self { topic, dlq_topic, is_compacted, partitions, expected, violations }
    }

    /// The lines have to be about the topic with this id.
    pub(super) fn topic_is(&mut self, id: &str, named: &BTreeSet<String>) {
        for other in named.iter().filter(|named| *named != id) {
            self.violations.add(ViolationKind::TopicReplaced, || {
                let what = format!(
                    "the files are about a topic of this name with the id {other}, which was deleted; this one has \
                     the id {id}"
                );
                (self.topic.clone(), what)
            });
        }
    }

    /// Which records have to pass by: partition, first offset, end. Beyond what is committed those that have lines.
    pub(super) fn ranges_to_read(&self) -> Vec<(i32, i64, i64)> {
        let to_read = |(number, partition): (&i32, &Partition)| {
            let Range { log_start, committed, end } = partition.range;
            let behind_last = partition.lines.last().map_or(0, |line| line.offset.saturating_add(1));
            let to = committed.unwrap_or(0).max(behind_last).min(end);
            (*number, log_start, to)
        };
        self.partitions.iter().map(to_read).filter(|(_, from, to)| from < to).collect()
    }

    /// A record of the source topic.
    pub(super) fn record(&mut self, number: i32, offset: i64, content: Content) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let (topic, violations) = (&self.topic, &mut self.violations);
        let place = || format!("{topic}/{number}@{offset}");
        while partition.next_offset().is_some_and(|next| next < offset) {
            partition.pass(topic, number, violations);
        }
        let is_committed = partition.range.is_committed(offset);
        partition.counts.records += u64::from(is_committed);
        if partition.next_offset() != Some(offset) {
            if is_committed {
                partition.counts.missing += 1;
                let what = || (place(), "this record is committed, but has no line".to_owned());
                violations.add(ViolationKind::Missing, what);
            }
            return;
        }
        let lines = partition.take_lines(topic, number, violations);
        let lines = &partition.lines[lines];
        let differing = lines.iter().filter(|line| line.differs_from(&content)).count() as u64;
        for _ in 0..differing {
            let what = || (place(), "key or payload of its line are not those of the record".to_owned());
            violations.add(ViolationKind::Differing, what);
        }
        let counts = &mut partition.counts;
        counts.differing += differing;
        counts.unchecked += lines.iter().filter(|line| line.is(UNCHECKED)).count() as u64;
        let outcome = match (is_committed, lines.iter().any(|line| line.is(DEAD))) {
            (false, _) => &mut counts.pending,
            (true, true) => &mut counts.dead_lettered,
            (true, false) => &mut counts.processed,
        };
        *outcome += 1;
    }

    /// Every record has passed by. `log_starts` are those of now: what retention has deleted meanwhile was never
    /// delivered.
    pub(super) fn finish_records(&mut self, log_starts: &BTreeMap<i32, i64>) {
        let (topic, violations) = (&self.topic, &mut self.violations);
        for (number, partition) in &mut self.partitions {
            while partition.next_offset().is_some() {
                partition.pass(topic, *number, violations);
            }
            let Range { log_start, committed, end } = partition.range;
            let counts = &mut partition.counts;
            let committed = committed.unwrap_or(log_start).min(end);
            counts.gaps = u64::try_from(committed - log_start).unwrap_or(0).saturating_sub(counts.records);
            let mut without = std::mem::take(&mut partition.without_record);
            let all = without.len();
            without.drop_below(log_starts.get(number).copied().unwrap_or(log_start));
            counts.expired += all - without.len();
            for (first, last) in without.ranges() {
                for offset in first..=last {
                    if self.is_compacted && offset < end {
                        counts.compacted += 1;
                        continue;
                    }
                    counts.orphans += 1;
                    violations.add(ViolationKind::Orphan, || {
                        let what = if offset < end {
                            "there is a line, but the topic holds no record at this offset".to_owned()
                        } else {
                            format!("there is a line, but the partition ends at {end}")
                        };
                        (format!("{topic}/{number}@{offset}"), what)
                    });
                }
            }
        }
    }

    /// A dead letter of this group and topic.
    pub(super) fn letter(&mut self, at: (i32, i64), letter: &Letter) {
        let from = self.expected.partition_point(|expected| expected.at < at);
        for expected in self.expected[from..].iter_mut().take_while(|expected| expected.at == at) {
            expected.found |= expected.id == letter.id && expected.origin == letter.origin;
        }
        let (number, offset) = letter.origin;
        let (topic, dlq_topic) = (&self.topic, &self.dlq_topic);
        let place = || format!("{dlq_topic}/{}@{}", at.0, at.1);
        let partition = self.partitions.entry(number).or_default();
        let first = partition.lines.partition_point(|line| line.offset < offset);
        let mut lines = partition.lines[first..]
            .iter_mut()
            .take_while(|line| line.offset == offset)
            .filter(|l| l.is(DEAD));
        let counts = &mut partition.counts;
        if let Some(line) = lines.next() {
            if line.is(LETTERED) {
                counts.letters_repeated += 1;
            } else {
                counts.letters += 1;
                line.flags |= LETTERED;
            }
            if letter.content.is_some_and(|content| line.differs_from(&content)) {
                counts.letters_differing += 1;
                self.violations.add(ViolationKind::LetterDiffering, || {
                    let what = format!(
                        "key or payload of this dead letter are not those of {topic}/{number}@{offset}"
                    );
                    (place(), what)
                });
            }
        } else if !partition.range.is_committed(offset) {
            counts.letters_pending += 1;
        } else if offset < partition.range.log_start {
            counts.letters_expired += 1;
        } else {
            counts.letters_unlisted += 1;
            self.violations.add(ViolationKind::LetterUnlisted, || {
                let what = format!(
                    "this is the dead letter of {topic}/{number}@{offset}, of which no line says that it was \
                     dead-lettered"
                );
                (place(), what)
            });
        }
    }

    /// Every dead letter has passed by. `log_starts` are those of the dead letter topic, of now; `None` where it does
    /// not exist.
    pub(super) fn finish_letters(&mut self, log_starts: Option<&BTreeMap<i32, i64>>) {
        for expected in self.expected.iter().filter(|expected| !expected.found) {
            let Expected { at: (dlq_partition, dlq_offset), origin: (number, offset), id, .. } = *expected;
            let counts = &mut self.partitions.entry(number).or_default().counts;
            let log_start = log_starts.and_then(|starts| starts.get(&dlq_partition));
            if dlq_offset >= 0 && log_start.is_some_and(|log_start| dlq_offset < *log_start) {
                counts.letters_purged += 1;
                continue;
            }
            counts.letters_lost += 1;
            self.violations.add(ViolationKind::LetterLost, || {
                let what = if dlq_offset < 0 || dlq_partition < 0 {
                    "its line says dead-lettered, and does not say where".to_owned()
                } else {
                    format!("its dead letter {id} is not at {}/{dlq_partition}@{dlq_offset}", self.dlq_topic)
                };
                (format!("{}/{number}@{offset}", self.topic), what)
            });
        }
    }

    pub(super) fn finish(self) -> (Vec<PartitionProof>, Violations) {
        let partitions = self.partitions.into_iter().map(|(partition, found)| {
            let Range { log_start, committed, end } = found.range;
            PartitionProof { partition, log_start, committed, end, counts: found.counts }
        });
        (partitions.collect(), self.violations)
    }
}

impl Partition {
    fn next_offset(&self) -> Option<i64> {
        self.lines.get(self.next).map(|line| line.offset)
    }

    /// Goes past the lines of the next offset, which no record has.
    fn pass(&mut self, topic: &str, number: i32, violations: &mut Violations) {
        let lines = self.take_lines(topic, number, violations);
        let Some(offset) = self.lines.get(lines.start).map(|line| line.offset) else { return };
        if offset < self.range.log_start {
            self.counts.expired += 1;
        } else {
            self.without_record.insert(offset);
        }
    }

    /// Goes past the lines of the next offset: gives where they are, and counts which of them are too many.
    fn take_lines(
        &mut self,
        topic: &str,
        number: i32,
        violations: &mut Violations,
    ) -> std::ops::Range<usize> {
        let start = self.next;
        let Some(offset) = self.next_offset() else { return start..start };
        let lines = &self.lines[start..];
        let len = lines.iter().take_while(|line| line.offset == offset).count();
        for pair in lines[..len].windows(2) {
            if pair[0].journal != pair[1].journal {
                self.counts.repeats += 1;
                continue;
            }
            self.counts.duplicates += 1;
            violations.add(ViolationKind::Duplicate, || {
                let what = "this record has more than one line in one journal".to_owned();
                (format!("{topic}/{number}@{offset}"), what)
            });
        }
        self.next = start + len;
        start..self.next
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
