//! Dead letters that were published just before a crash, without a line in the journal: they are found in the tail of the
//! dead letter partition, and get their line instead of being processed again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::audit::{Judged, OffsetSet, Verdict};
use crate::config::KafkaSettings;
use crate::dlq::{Buried, Envelope, Receipt, headers};
use crate::kafka::{KafkaError, Reader};
use crate::models::{DeadLetter, DecodeLimits, OriginalPayload, dead_letter_id, decode};
use crate::record::{Record, RecordTimestamp, TimestampKind, TopicPartition};

/// What a commit's metadata begins with.
const METADATA_KEY: &str = "dlq-from=";

/// The metadata of a commit: dead letters of records at or above its offset are at or above this offset.
pub(super) fn to_metadata(letters_from: Option<i64>) -> String {
    letters_from.map_or_else(String::new, |from| format!("{METADATA_KEY}{from}"))
}

/// Where to look for dead letters, as a commit's metadata says; `None` where it was not written by a tracker.
pub(super) fn from_metadata(metadata: &str) -> Option<i64> {
    metadata.strip_prefix(METADATA_KEY)?.parse().ok().filter(|from| *from >= 0)
}

/// Where the dead letters of one partition are to be looked for.
#[derive(Debug)]
pub(super) struct Tail<'a> {
    /// The origin.
    pub(super) at: &'a TopicPartition,
    /// The group whose dead letters count.
    pub(super) group: &'a str,
    /// The origin's first offset that is not committed.
    pub(super) start: i64,
    /// The origin's end.
    pub(super) end: i64,
    /// The origin's first record that is still there.
    pub(super) log_start: i64,
    /// Outcomes that the journal has.
    pub(super) known: &'a OffsetSet,
    /// The dead letter topic.
    pub(super) dlq_topic: &'a str,
    /// Its partition.
    pub(super) dlq_partition: i32,
    /// The offset to look from.
    pub(super) from: i64,
}

/// How many dead letters of one record are kept to be compared with it. Only forged ones can be so many: of what comes
/// after them nobody knows, and the record is processed, which a genuine one among them makes a repeat and never a loss.
const CANDIDATES: usize = 16;

/// How many bytes of them are kept in all, which is twice what may be in flight by default. For what goes beyond it the same
/// is true.
const CANDIDATE_BYTES: usize = 64 << 20;

/// Dead letters that may be of open records, by the record's offset, in the order in which they were written.
#[derive(Default)]
struct Candidates {
    by_offset: BTreeMap<i64, Vec<(DeadLetter, Receipt)>>,
    bytes: usize,
}

impl Candidates {
    fn note(&mut self, offset: i64, letter: DeadLetter, receipt: Receipt) {
        let bytes = size_of::<DeadLetter>() + letter.original_payload.bytes().map_or(0, <[u8]>::len);
        let letters = self.by_offset.entry(offset).or_default();
        if letters.len() < CANDIDATES && self.bytes + bytes <= CANDIDATE_BYTES {
            self.bytes += bytes;
            letters.push((letter, receipt));
        }
    }

    /// The offsets from the first to behind the last; `None` when there are none.
    fn range(&self) -> Option<(i64, i64)> {
        Some((*self.by_offset.first_key_value()?.0, *self.by_offset.last_key_value()?.0 + 1))
    }

    /// Takes those of a record: the first that holds it, and the places of those that do not.
    fn of(&mut self, record: &Record) -> (Option<(DeadLetter, Receipt)>, Vec<Receipt>) {
        let letters = self.by_offset.remove(&record.offset).unwrap_or_default();
        let (genuine, forged): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|(letter, _)| Envelope::holds(letter, record));
        (genuine.into_iter().next(), forged.into_iter().map(|(_, receipt)| receipt).collect())
    }

    /// The rest, whose records nobody has any more: the first of each.
    fn of_the_gone(self) -> impl Iterator<Item = (DeadLetter, Receipt)> {
        self.by_offset.into_values().filter_map(|letters| letters.into_iter().next())
    }
}

impl Tail<'_> {
    /// The records that have a dead letter and no outcome, in the order of their offsets. A letter is believed only where
    /// it holds the record that its origin has: whoever may write to the dead letter topic cannot keep a record from
    /// being processed.
    ///
    /// # Errors
    /// [`KafkaError`] when the dead letter partition or its origin cannot be read.
    pub(super) fn without_outcome(
        &self,
        settings: &KafkaSettings,
        limits: &DecodeLimits,
        stop: &CancellationToken,
    ) -> Result<Vec<Judged>, KafkaError> {
        let mut reader = Reader::open_partition(settings, self.dlq_topic, self.dlq_partition, self.from)?;
        let mut candidates = Candidates::default();
        while let Some(stored) = reader.read()? {
            // Nobody writes these lines any more: the next start does.
            if stop.is_cancelled() {
                return Ok(Vec::new());
            }
            if let Some((offset, letter, receipt)) = self.candidate(&stored) {
                candidates.note(offset, letter, receipt);
            }
        }
        let Some((first, end)) = candidates.range() else { return Ok(Vec::new()) };
        let range = (self.at.partition, first.max(self.log_start), end);
        let mut found = Vec::new();
        if range.1 < range.2 {
            let mut origin = Reader::over(settings, &self.at.topic, &[range])?;
            while let Some(record) = origin.read()? {
                if stop.is_cancelled() {
                    return Ok(Vec::new());
                }
                let (genuine, forged) = candidates.of(&record);
                for receipt in forged {
                    self.warn_of(&record, &receipt, genuine.is_some());
                }
                found
                    .extend(genuine.map(|(letter, receipt)| judged(record.apart(), letter, receipt, limits)));
            }
        }
        // Their records are gone, so that nobody processes them.
        let gone = candidates
            .of_the_gone()
            .filter_map(|(letter, receipt)| Some(judged(self.record_of(&letter)?, letter, receipt, limits)));
        found.extend(gone);
        found.sort_by_key(|judged| judged.record.offset);
        Ok(found)
    }

    /// Tells of a dead letter that is none of the record that it names.
    fn warn_of(&self, record: &Record, receipt: &Receipt, has_genuine: bool) {
        let outcome = if has_genuine { "another one does" } else { "the record is processed" };
        tracing::warn!(
            record = %format_args!("{}@{}", self.at, record.offset),
            dead_letter = %format_args!("{}/{}@{}", self.dlq_topic, receipt.partition(), receipt.offset()),
            "a dead letter does not hold the record that it names: {outcome}",
        );
    }

    fn candidate(&self, stored: &Record) -> Option<(i64, DeadLetter, Receipt)> {
        stored.last_header(headers::ID)?;
        let letter: DeadLetter = serde_json::from_slice(stored.payload()).ok()?;
        let offset = letter.original_offset;
        let ours = letter.original_topic == *self.at.topic
            && letter.original_partition == self.at.partition
            && letter.consumer_group == self.group
            && (self.start..self.end).contains(&offset)
            && letter.id == dead_letter_id(self.group, &self.at.topic, self.at.partition, offset)
            && !self.known.contains(offset);
        let mut receipt = Receipt::acknowledged(stored.partition, stored.offset);
        if matches!(letter.original_payload, OriginalPayload::Omitted { .. }) {
            receipt = receipt.without_payload();
        }
        ours.then_some((offset, letter, receipt))
    }

    /// The record of a letter that holds all of it.
    fn record_of(&self, letter: &DeadLetter) -> Option<Record> {
        let topic = Arc::clone(&self.at.topic);
        let mut record = Record::new(topic, self.at.partition, letter.original_offset);
        record.value = match &letter.original_payload {
            OriginalPayload::Omitted { .. } => return None,
            OriginalPayload::Null => None,
            OriginalPayload::Inline(bytes) => Some(Bytes::copy_from_slice(bytes)),
        };
        record.timestamp = letter
            .original_timestamp
            .map(|at| RecordTimestamp { millis: at.as_millisecond(), kind: TimestampKind::CreateTime });
        record.key = letter.original_key.as_deref().map(Bytes::copy_from_slice);
        Some(record)
    }
}

fn judged(record: Record, letter: DeadLetter, receipt: Receipt, limits: &DecodeLimits) -> Judged {
    let deserialized = decode(record.value.as_deref(), limits).is_ok();
    let verdict = Verdict::DeadLettered(Buried {
        category: letter.failure_reason,
        error: letter.error_message,
        attempts: letter.retry_count.saturating_add(1),
        id: letter.id,
        receipt,
    });
    Judged { record, deserialized, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::Exhausted;
    use crate::failure::{Category, Failure};

    #[test]
    fn metadata_is_read_back_and_that_of_others_is_ignored() {
        assert_eq!(from_metadata(&to_metadata(Some(42))), Some(42));
        assert_eq!(to_metadata(None), "");
        for foreign in ["", "42", "dlq-from=", "dlq-from=x", "dlq-from=-1", "NO_METADATA"] {
            assert_eq!(from_metadata(foreign), None, "{foreign}");
        }
    }

    fn stored(record: &Record, group: &str) -> Record {
        let exhausted = Exhausted::at_once(Failure::new(Category::Processing, "503"));
        let envelope = Envelope::seal(record, &exhausted, group, "host");
        let mut stored = Record::new("orders-dlq", 1, 70).with_value(envelope.value());
        stored.headers = envelope.headers().cloned().collect();
        stored
    }

    fn record(partition: i32, offset: i64) -> Record {
        Record::new("orders", partition, offset).with_key("k").with_value(&b"\xff not json"[..])
    }

    #[test]
    fn a_forged_letter_does_not_hide_the_genuine_one_behind_it() {
        let letter = |of: &Record| {
            let exhausted = Exhausted::at_once(Failure::new(Category::Processing, "503"));
            Envelope::seal(of, &exhausted, "group", "host").letter().clone()
        };
        let (genuine, forged) = (letter(&record(1, 11)), letter(&record(1, 11).with_value("another")));
        let places = |letters: &[&DeadLetter]| {
            let mut candidates = Candidates::default();
            for (at, letter) in (0..).zip(letters) {
                candidates.note(11, (*letter).clone(), Receipt::acknowledged(1, at));
            }
            assert_eq!(candidates.range(), Some((11, 12)));
            let (found, forged) = candidates.of(&record(1, 11));
            let forged: Vec<i64> = forged.iter().map(Receipt::offset).collect();
            (found.map(|(_, receipt)| receipt.offset()), forged)
        };
        assert_eq!(places(&[&genuine]), (Some(0), vec![]));
        // A repeat after a crash is no forgery.
        assert_eq!(places(&[&forged, &genuine, &forged, &genuine]), (Some(1), vec![0, 2]));
        assert_eq!(places(&[&forged]), (None, vec![0]));
        let many = vec![&forged; 2 * CANDIDATES];
        assert_eq!(places(&many).1.len(), CANDIDATES);
        let mut candidates = Candidates::default();
        candidates.note(11, forged.clone(), Receipt::acknowledged(1, 5));
        candidates.note(11, genuine, Receipt::acknowledged(1, 6));
        let first: Vec<_> = candidates.of_the_gone().collect();
        assert!(
            matches!(&first[..], [(letter, _)] if *letter == forged),
            "of a record that is gone the first"
        );
    }

    #[test]
    fn only_the_groups_own_letters_of_open_records_count() {
        let at = TopicPartition::new("orders", 1);
        let known: OffsetSet = {
            let mut known = OffsetSet::default();
            known.insert(12);
            known
        };
        let tail = Tail {
            at: &at,
            group: "group",
            start: 10,
            end: 20,
            log_start: 0,
            known: &known,
            dlq_topic: "orders-dlq",
            dlq_partition: 1,
            from: 0,
        };
        let limits = DecodeLimits::default();
        let (offset, letter, receipt) =
            tail.candidate(&stored(&record(1, 11), "group")).expect("it has no outcome");
        assert_eq!((offset, receipt.clone()), (11, Receipt::acknowledged(1, 70)));
        let again = tail.record_of(&letter).expect("all of it");
        assert_eq!((again.key.as_deref(), again.payload()), (Some(&b"k"[..]), &b"\xff not json"[..]));
        let judged = judged(again, letter, receipt, &limits);
        assert_eq!((judged.record.offset, judged.deserialized), (11, false));
        let Verdict::DeadLettered(buried) = judged.verdict else { panic!("dead-lettered") };
        assert_eq!((buried.category, buried.attempts), (Category::Processing, 1));
        for (letter, why) in [
            (stored(&record(1, 9), "group"), "it is committed"),
            (stored(&record(1, 12), "group"), "it has its outcome"),
            (stored(&record(2, 11), "group"), "it is of another partition"),
            (stored(&record(1, 11), "other"), "it is another group's"),
            (stored(&record(1, 20), "group"), "its record is still to come"),
            (stored(&record(1, i64::MAX), "group"), "no record ever gets there"),
            (Record::new("orders-dlq", 1, 71).with_value("{}"), "it is no letter of ours"),
        ] {
            assert!(tail.candidate(&letter).is_none(), "{why}");
        }
    }
}
