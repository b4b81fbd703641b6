//! The record of a replay: key, value and headers as they were when the record failed, without what any dialect added,
//! and ours, by which the replay is known everywhere after. Sends nothing.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::PlanEntry;
use super::payload::Whole;
use crate::dlq::{Letter, headers};
use crate::kafka::Outgoing;
use crate::models::format_timestamp;
use crate::record::Header;

/// BLAKE3 of a payload, lower-case hex.
pub fn payload_hash(payload: &[u8]) -> String {
    blake3::hash(payload).to_hex().to_string()
}

/// Where a replay goes, and how.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The topic.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether it is the topic where the record failed.
    pub is_origin: bool,
    /// Whether the record's own timestamp is kept.
    pub keep_timestamp: bool,
}

impl Address {
    /// The origin's partition in the origin's topic, so that a record stays with the others of its key whoever chose the
    /// partition. In another topic the key decides; without one, the origin's number.
    fn partition(&self, letter: &Letter, key: Option<&Bytes>) -> Option<i32> {
        let origin = letter.origin.as_ref()?.partition;
        if self.is_origin {
            return (0..self.partitions).contains(&origin).then_some(origin);
        }
        key.is_none().then(|| origin.rem_euclid(self.partitions.max(1)))
    }
}

/// Makes the record of a replay. `edited` stands in for the payload that failed.
pub(super) fn replay_record(
    entry: &PlanEntry,
    letter: &Letter,
    whole: Whole,
    edited: Option<Vec<u8>>,
    address: &Address,
) -> Outgoing {
    let Whole { key, value, mut headers } = whole;
    headers.reserve(5);
    headers.push(Header::new(headers::REPLAY_ID, entry.replay_id.to_string()));
    headers.push(Header::new(headers::REPLAY_COUNT, entry.replay_count.saturating_add(1).to_string()));
    headers.push(Header::new(headers::ROOT_ID, letter.root_id.to_string()));
    let original = letter.origin.as_ref().and_then(|origin| origin.timestamp);
    if let Some(at) = original.and_then(|at| Timestamp::from_millisecond(at.millis).ok()) {
        headers.push(Header::new(headers::ORIGINAL_TIMESTAMP, format_timestamp(at)));
    }
    if edited.is_some()
        && let Some(hash) = &entry.payload_hash
    {
        headers.push(Header::new(headers::EDITED_FROM, hash.clone()));
    }
    Outgoing {
        topic: Arc::clone(&address.topic),
        partition: address.partition(letter, key.as_ref()),
        key,
        value: edited.map(Bytes::from).or(value),
        headers,
        timestamp_ms: original.filter(|_| address.keep_timestamp).map(|at| at.millis),
    }
}

#[cfg(test)]
pub(in crate::dlq) mod tests {
    use uuid::Uuid;

    use super::super::plan::tests::entry;
    use super::*;
    use crate::dlq::{Dialect, Origin, Payload};
    use crate::failure::Category;
    use crate::record::{RecordTimestamp, TimestampKind};

    /// A letter of our own with everything in it.
    pub(in crate::dlq) fn letter() -> Letter {
        Letter {
            id: Uuid::from_u128(1),
            dialect: Dialect::PubsubKafka,
            dlq_partition: 2,
            dlq_offset: 7,
            origin: Some(Origin {
                topic: "orders".into(),
                partition: 2,
                offset: 42,
                timestamp: Some(RecordTimestamp { millis: 1_000, kind: TimestampKind::CreateTime }),
            }),
            key: Some(Bytes::from("k")),
            key_omitted: false,
            payload: Payload::Inline(Bytes::from("{}")),
            headers: vec![Header::new("trace", "1"), Header { name: "trace".into(), value: None }],
            headers_omitted: false,
            reason: Category::Validation,
            error: "bad".to_owned(),
            error_stack: None,
            exception: None,
            group: Some("g".to_owned()),
            host: None,
            retry_count: 0,
            first_failure: None,
            failed_at: Timestamp::UNIX_EPOCH,
            replay_count: 1,
            replay_id: None,
            root_id: Uuid::from_u128(9),
        }
    }

    fn address(is_origin: bool, partitions: i32) -> Address {
        Address { topic: "t".into(), partitions, is_origin, keep_timestamp: false }
    }

    fn made(letter: &Letter, address: &Address, edited: Option<&[u8]>) -> Outgoing {
        let entry = PlanEntry { payload_hash: Some("aa".to_owned()), replay_count: 1, ..entry(2, 7, 42) };
        let whole = Whole {
            key: letter.key.clone(),
            value: Some(Bytes::from("{}")),
            headers: letter.headers.clone(),
        };
        replay_record(&entry, letter, whole, edited.map(<[u8]>::to_vec), address)
    }

    #[test]
    fn a_replay_has_the_records_own_headers_first_and_says_what_it_is() {
        let out = made(&letter(), &address(true, 3), None);
        let text = |value: &Option<Bytes>| {
            value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let found: Vec<_> = out.headers.iter().map(|h| (&*h.name, text(&h.value))).collect();
        let replay_id = entry(2, 7, 42).replay_id.to_string();
        let expected = [
            ("trace", "1"),
            ("trace", ""),
            ("dlq.replay-id", &replay_id),
            ("dlq.replay-count", "2"),
            ("dlq.root-id", "00000000-0000-0000-0000-000000000009"),
            ("dlq.original-timestamp", "1970-01-01T00:00:01.000Z"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!((out.key.as_deref(), out.value.as_deref()), (Some(&b"k"[..]), Some(&b"{}"[..])));
        assert_eq!(out.timestamp_ms, None);

        let edited = made(&letter(), &address(true, 3), Some(b"[]"));
        assert_eq!(edited.value.as_deref(), Some(&b"[]"[..]));
        assert_eq!(edited.headers.last(), Some(&Header::new("dlq.edited-from", "aa")));
        let kept = made(&letter(), &Address { keep_timestamp: true, ..address(true, 3) }, None);
        assert_eq!(kept.timestamp_ms, Some(1_000));
    }

    #[test]
    fn a_record_goes_back_to_its_partition_and_elsewhere_its_key_decides() {
        let keyless = Letter { key: None, ..letter() };
        let nowhere = Letter { origin: None, ..letter() };
        for (letter, is_origin, partitions, expected) in [
            (letter(), true, 3, Some(2)),
            (letter(), true, 2, None),
            (letter(), false, 3, None),
            (keyless.clone(), true, 3, Some(2)),
            (keyless.clone(), false, 3, Some(2)),
            (keyless, false, 2, Some(0)),
            (nowhere, false, 3, None),
        ] {
            assert_eq!(made(&letter, &address(is_origin, partitions), None).partition, expected);
        }
    }
}
