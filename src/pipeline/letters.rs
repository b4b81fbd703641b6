//! Dead letters that were published just before a crash, without a line in the journal: they are found in the tail of the
//! dead letter partition, and get their line instead of being processed again.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::audit::{Judged, OffsetSet, Verdict};
use crate::config::KafkaSettings;
use crate::dlq::{Buried, Receipt, headers};
use crate::kafka::{KafkaError, Reader};
use crate::models::{DeadLetter, DecodeLimits, OriginalPayload, decode};
use crate::record::{Header, Record, RecordTimestamp, TimestampKind, TopicPartition};

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
    /// Outcomes that the journal has.
    pub(super) known: &'a OffsetSet,
    /// The dead letter topic.
    pub(super) dlq_topic: &'a str,
    /// Its partition.
    pub(super) dlq_partition: i32,
    /// The offset to look from.
    pub(super) from: i64,
}

impl Tail<'_> {
    /// The records that have a dead letter and no outcome, in the order of their offsets.
    ///
    /// # Errors
    /// [`KafkaError`] when the dead letter partition cannot be read.
    pub(super) fn without_outcome(
        &self,
        settings: &KafkaSettings,
        limits: &DecodeLimits,
        stop: &CancellationToken,
    ) -> Result<Vec<Judged>, KafkaError> {
        let mut reader = Reader::open_partition(settings, self.dlq_topic, self.dlq_partition, self.from)?;
        let mut found: Vec<Judged> = Vec::new();
        while let Some(stored) = reader.read()? {
            // Nobody writes these lines any more: the next start does.
            if stop.is_cancelled() {
                break;
            }
            if let Some(judged) = self.judge(&stored, limits)
                && found.iter().all(|other| other.record.offset != judged.record.offset)
            {
                found.push(judged);
            }
        }
        found.sort_by_key(|judged| judged.record.offset);
        Ok(found)
    }

    fn judge(&self, stored: &Record, limits: &DecodeLimits) -> Option<Judged> {
        stored.last_header(headers::ID)?;
        let letter: DeadLetter = serde_json::from_slice(stored.payload()).ok()?;
        let ours = letter.original_topic == *self.at.topic
            && letter.original_partition == self.at.partition
            && letter.consumer_group == self.group
            && letter.original_offset >= self.start
            && !self.known.contains(letter.original_offset);
        let value = match letter.original_payload {
            // The journal has to keep a payload that its letter left out: the record is processed again for it.
            OriginalPayload::Omitted { .. } => return None,
            OriginalPayload::Null => None,
            OriginalPayload::Inline(bytes) => Some(Bytes::from(bytes)),
        };
        if !ours {
            return None;
        }
        let mut record =
            Record::new(std::sync::Arc::clone(&self.at.topic), self.at.partition, letter.original_offset);
        record.timestamp = letter
            .original_timestamp
            .map(|at| RecordTimestamp { millis: at.as_millisecond(), kind: TimestampKind::CreateTime });
        record.key = letter.original_key.map(Bytes::from);
        record.value = value;
        if let Some(replay_id) = stored.last_header(headers::REPLAY_ID) {
            record.headers.push(Header::new(headers::REPLAY_ID, Bytes::copy_from_slice(replay_id)));
        }
        let deserialized = decode(record.value.as_deref(), limits).is_ok();
        let verdict = Verdict::DeadLettered(Buried {
            category: letter.failure_reason,
            error: letter.error_message,
            attempts: letter.retry_count.saturating_add(1),
            id: letter.id,
            receipt: Receipt::acknowledged(stored.partition, stored.offset),
        });
        Some(Judged { record, deserialized, verdict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::{Envelope, Exhausted};
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
        let mut stored = Record::new("orders-dlq", 1, 70).with_value(envelope.value().expect("JSON"));
        stored.headers = envelope.headers().cloned().collect();
        stored
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
            known: &known,
            dlq_topic: "orders-dlq",
            dlq_partition: 1,
            from: 0,
        };
        let limits = DecodeLimits::default();
        let record = |partition, offset| {
            Record::new("orders", partition, offset).with_key("k").with_value(&b"\xff not json"[..])
        };
        let judged = tail.judge(&stored(&record(1, 11), "group"), &limits).expect("it has no outcome");
        assert_eq!((judged.record.offset, judged.deserialized), (11, false));
        assert_eq!(
            (judged.record.key.as_deref(), judged.record.payload()),
            (Some(&b"k"[..]), &b"\xff not json"[..])
        );
        let Verdict::DeadLettered(buried) = judged.verdict else { panic!("dead-lettered") };
        assert_eq!((buried.category, buried.receipt), (Category::Processing, Receipt::acknowledged(1, 70)));
        for (letter, why) in [
            (stored(&record(1, 9), "group"), "it is committed"),
            (stored(&record(1, 12), "group"), "it has its outcome"),
            (stored(&record(2, 11), "group"), "it is of another partition"),
            (stored(&record(1, 11), "other"), "it is another group's"),
            (Record::new("orders-dlq", 1, 71).with_value("{}"), "it is no letter of ours"),
        ] {
            assert!(tail.judge(&letter, &limits).is_none(), "{why}");
        }
    }
}
