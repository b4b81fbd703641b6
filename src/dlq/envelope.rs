//! A dead letter as it is stored: the JSON value, the key, and the headers (the record's own, ours, and Spring's origin
//! set). What an earlier failure of the same record left in the headers is replaced, never piled up.

use std::io::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::Exhausted;
use crate::models::{
    DeadLetter, DeadLetterHeader, OriginalPayload, dead_letter_id, format_timestamp, safe_short,
};
use crate::record::{Header, Record};

/// The names of the headers that dead letters and replays carry.
pub mod headers {
    /// The dead letter's id.
    pub const ID: &str = "dlq.id";
    /// The failure category.
    pub const REASON: &str = "dlq.reason";
    /// The error message.
    pub const ERROR: &str = "dlq.error";
    /// Attempts after the first one, as decimal text.
    pub const RETRY_COUNT: &str = "dlq.retry-count";
    /// When the first attempt failed, RFC 3339.
    pub const FIRST_FAILURE: &str = "dlq.first-failure";
    /// When the last attempt failed, RFC 3339.
    pub const LAST_FAILURE: &str = "dlq.last-failure";
    /// The id of the first dead letter of this record, however often it was replayed since.
    pub const ROOT_ID: &str = "dlq.root-id";
    /// The replay that brought the record back.
    pub const REPLAY_ID: &str = "dlq.replay-id";
    /// How often the record was replayed, as decimal text.
    pub const REPLAY_COUNT: &str = "dlq.replay-count";
    /// The record's timestamp before its replay.
    pub const ORIGINAL_TIMESTAMP: &str = "dlq.original-timestamp";
    /// The hash of the payload that failed, where a replay carries another one.
    pub const EDITED_FROM: &str = "dlq.edited-from";
    /// What all of ours begin with.
    pub const PREFIX: &str = "dlq.";
    /// What all of Spring Kafka's begin with.
    pub const SPRING_PREFIX: &str = "kafka_dlt-";
}

/// Names in the metadata of a letter that was too large otherwise.
pub(super) mod metadata {
    /// BLAKE3 of the key that was left out.
    pub(in crate::dlq) const KEY_HASH: &str = "original_key_hash";
    /// How many of the record's own headers were left out.
    pub(in crate::dlq) const HEADERS_LEFT_OUT: &str = "original_headers_left_out";
}

/// The longest error text in a header, in characters; the value of the dead letter has all of it.
const HEADER_ERROR_CHARS: usize = 1000;
/// The longest replay id that is carried on; ours are shorter.
const REPLAY_ID_BYTES: usize = 256;
/// For so many headers, and so many bytes of values, there is room at once.
const HEADERS: usize = 16;
const HEADERS_BYTES: usize = 512;
/// The longest error text in a letter that was too large otherwise.
const SHORT_ERROR_CHARS: usize = 200;

/// A dead letter with everything that is stored beside its value.
#[derive(Debug, Clone)]
pub struct Envelope {
    letter: DeadLetter,
    partition: i32,
    key: Option<Bytes>,
    own_headers: Vec<Header>,
    dlq_headers: Vec<Header>,
}

impl Envelope {
    /// Makes the dead letter of a record that was given up.
    pub fn seal(record: &Record, exhausted: &Exhausted, group: &str, host: &str) -> Self {
        let Exhausted { failure, attempts, first_failure, last_failure } = exhausted;
        let id = dead_letter_id(group, &record.topic, record.partition, record.offset);
        let text_of = |name| record.last_header(name).and_then(|value| std::str::from_utf8(value).ok());
        let root_id = text_of(headers::ROOT_ID).and_then(|id| id.parse::<Uuid>().ok());
        let replay_count =
            text_of(headers::REPLAY_COUNT).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let own_headers: Vec<Header> =
            record.headers.iter().filter(|h| !is_from_a_failure(&h.name)).cloned().collect();
        let retry_count = attempts.saturating_sub(1);
        // One level for each line of the stack, all of them in the message.
        let levels = failure.stack();
        let letter = DeadLetter {
            id,
            timestamp: Timestamp::now(),
            original_topic: record.topic.to_string(),
            original_partition: record.partition,
            original_offset: record.offset,
            original_key: record.key.as_ref().map(|key| key.to_vec()),
            original_payload: OriginalPayload::from_record(record.value.as_deref()),
            original_timestamp: record.timestamp.and_then(|t| Timestamp::from_millisecond(t.millis).ok()),
            failure_reason: failure.category(),
            error_message: levels.join(": "),
            error_stack: Some(levels.join("\n")),
            consumer_group: group.to_owned(),
            processing_host: host.to_owned(),
            retry_count,
            first_failure: *first_failure,
            last_failure: *last_failure,
            next_retry_at: None,
            is_reprocessed: replay_count > 0,
            metadata: std::collections::BTreeMap::new(),
            original_headers: own_headers.iter().map(plain).collect(),
            root_id,
        };
        let mut ours = Values::default();
        ours.text(headers::ID, id);
        ours.bytes(headers::REASON, failure.category().as_str());
        let error = safe_short(&letter.error_message, HEADER_ERROR_CHARS);
        ours.bytes(headers::ERROR, &*error);
        ours.text(headers::RETRY_COUNT, retry_count);
        let first = format_timestamp(*first_failure);
        ours.bytes(headers::FIRST_FAILURE, &*first);
        // Most fail once.
        let last = if last_failure == first_failure { first } else { format_timestamp(*last_failure) };
        ours.bytes(headers::LAST_FAILURE, &*last);
        ours.text(headers::REPLAY_COUNT, replay_count);
        if let Some(root_id) = root_id {
            ours.text(headers::ROOT_ID, root_id);
        }
        // Whoever writes to the topic can write this header: without a limit a letter of it could fit nowhere.
        if let Some(replay_id) =
            record.last_header(headers::REPLAY_ID).filter(|id| id.len() <= REPLAY_ID_BYTES)
        {
            ours.bytes(headers::REPLAY_ID, replay_id);
        }
        spring_headers(&mut ours, record, group, &error);
        Self {
            letter,
            partition: record.partition,
            key: record.key.clone(),
            own_headers,
            dlq_headers: ours.into_headers(),
        }
    }

    /// The dead letter alone.
    pub fn into_letter(self) -> DeadLetter {
        self.letter
    }

    /// The value.
    pub fn letter(&self) -> &DeadLetter {
        &self.letter
    }

    /// The value as it is stored: JSON in which no control character stands as itself.
    pub fn value(&self) -> Vec<u8> {
        self.letter.to_json()
    }

    /// The origin's partition: the dead letter goes to the same number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The record's own key.
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// All headers, the record's own first.
    pub fn headers(&self) -> impl Iterator<Item = &Header> {
        self.own_headers.iter().chain(&self.dlq_headers)
    }

    /// The same letter without its payload, which is then to be had from the source or the audit log: its hash and size
    /// say which it was. A null payload is nothing to leave out.
    #[must_use]
    pub fn without_payload(mut self) -> Self {
        if let OriginalPayload::Inline(payload) = &self.letter.original_payload {
            let hash = blake3::hash(payload).to_hex().to_string();
            self.letter.original_payload = OriginalPayload::Omitted { hash, size: payload.len() as u64 };
        }
        self
    }

    /// The same letter with nothing of unbounded size: no payload, no key, no headers of the record's own, a short error.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self = self.without_payload();
        if let Some(key) = self.key.take() {
            self.letter.original_key = None;
            self.letter
                .metadata
                .insert(metadata::KEY_HASH.to_owned(), blake3::hash(&key).to_hex().to_string());
        }
        if !self.own_headers.is_empty() {
            let left_out = self.own_headers.len().to_string();
            self.letter.metadata.insert(metadata::HEADERS_LEFT_OUT.to_owned(), left_out);
        }
        self.own_headers.clear();
        self.letter.original_headers.clear();
        self.letter.error_message = safe_short(&self.letter.error_message, SHORT_ERROR_CHARS);
        self.letter.error_stack = None;
        self
    }

    /// Whether a letter is of this record: its payload and its key are the record's own, or have their hashes.
    #[cfg(feature = "tracker")]
    pub(crate) fn holds(letter: &DeadLetter, record: &Record) -> bool {
        let hash_of = |bytes: &[u8]| blake3::hash(bytes).to_hex();
        let value = record.value.as_deref();
        let payload = match &letter.original_payload {
            OriginalPayload::Null => value.is_none(),
            OriginalPayload::Inline(bytes) => value == Some(bytes),
            OriginalPayload::Omitted { hash, .. } => {
                value.is_some_and(|value| hash_of(value).as_str() == hash)
            }
        };
        // A letter that was too large even without its payload has its key's hash only.
        let key = match (letter.metadata.get(metadata::KEY_HASH), record.key.as_deref()) {
            (Some(hash), Some(key)) => hash_of(key).as_str() == hash,
            (_, key) => letter.original_key.as_deref() == key,
        };
        payload && key
    }
}

fn plain(header: &Header) -> DeadLetterHeader {
    DeadLetterHeader {
        name: header.name.clone().into_owned(),
        value: header.value.as_ref().map(|value| value.to_vec()),
    }
}

/// Whether a header was left by a dead letter or a replay of this record.
fn is_from_a_failure(name: &str) -> bool {
    name.starts_with(headers::PREFIX) || name.starts_with(headers::SPRING_PREFIX)
}

/// Headers whose values stand one behind the other in one piece of memory: there are a dozen small ones for each letter.
struct Values {
    text: Vec<u8>,
    /// Their names, and where their values end.
    ends: Vec<(&'static str, usize)>,
}

impl Default for Values {
    fn default() -> Self {
        Self { text: Vec::with_capacity(HEADERS_BYTES), ends: Vec::with_capacity(HEADERS) }
    }
}

impl Values {
    fn bytes(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        self.text.extend_from_slice(value.as_ref());
        self.ends.push((name, self.text.len()));
    }

    fn text(&mut self, name: &'static str, value: impl std::fmt::Display) {
        // Writing into a Vec cannot fail.
        drop(write!(self.text, "{value}"));
        self.ends.push((name, self.text.len()));
    }

    fn into_headers(self) -> Vec<Header> {
        let text = Bytes::from(self.text);
        let mut start = 0;
        let header = |(name, end)| Header::new(name, text.slice(std::mem::replace(&mut start, end)..end));
        self.ends.into_iter().map(header).collect()
    }
}

/// Spring Kafka's origin set, in its own binary encoding: big-endian integers, text as UTF-8.
fn spring_headers(out: &mut Values, record: &Record, group: &str, error: &str) {
    out.bytes("kafka_dlt-original-topic", &*record.topic);
    out.bytes("kafka_dlt-original-partition", record.partition.to_be_bytes());
    out.bytes("kafka_dlt-original-offset", record.offset.to_be_bytes());
    if let Some(timestamp) = record.timestamp {
        out.bytes("kafka_dlt-original-timestamp", timestamp.millis.to_be_bytes());
        out.bytes("kafka_dlt-original-timestamp-type", timestamp.kind.as_str());
    }
    out.bytes("kafka_dlt-original-consumer-group", group);
    out.bytes("kafka_dlt-exception-message", error);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Category, Failure};
    use crate::record::{RecordTimestamp, TimestampKind};

    fn exhausted() -> Exhausted {
        Exhausted::at_once(Failure::new(Category::Validation, "sequence must be greater than 0"))
    }

    fn record() -> Record {
        let mut record = Record::new("orders", 2, 1234).with_key("o-1").with_value("{\"a\":1}");
        record.timestamp =
            Some(RecordTimestamp { millis: 1_700_000_000_000, kind: TimestampKind::CreateTime });
        record.headers = vec![
            Header::new("trace", "1"),
            Header { name: "trace".into(), value: None },
            Header::new("trace", ""),
        ];
        record
    }

    fn value(envelope: &Envelope, name: &str) -> Vec<Option<Bytes>> {
        envelope.headers().filter(|h| h.name == name).map(|h| h.value.clone()).collect()
    }

    #[test]
    fn the_origin_is_in_springs_binary_encoding() {
        let envelope = Envelope::seal(&record(), &exhausted(), "group", "host");
        let one = |name| value(&envelope, name)[0].clone().expect("a value");
        assert_eq!(one("kafka_dlt-original-topic"), "orders");
        assert_eq!(one("kafka_dlt-original-partition"), vec![0, 0, 0, 2]);
        assert_eq!(one("kafka_dlt-original-offset"), vec![0, 0, 0, 0, 0, 0, 4, 0xd2]);
        assert_eq!(one("kafka_dlt-original-timestamp"), 1_700_000_000_000i64.to_be_bytes().to_vec());
        assert_eq!(one("kafka_dlt-original-timestamp-type"), "CreateTime");
        assert_eq!(one("kafka_dlt-original-consumer-group"), "group");
    }

    #[test]
    fn the_records_own_headers_stay_with_duplicates_and_nulls() {
        let envelope = Envelope::seal(&record(), &exhausted(), "group", "host");
        let found = value(&envelope, "trace");
        assert_eq!(found, [Some(Bytes::from("1")), None, Some(Bytes::new())]);
        assert_eq!(envelope.letter().original_headers.len(), 3);
    }

    #[test]
    fn a_second_failure_replaces_the_headers_of_the_first() {
        let first = Envelope::seal(&record(), &exhausted(), "group", "host");
        let mut replayed = record();
        replayed.offset = 2000;
        replayed.headers = first.headers().cloned().collect();
        replayed.headers.retain(|h| h.name != headers::REPLAY_COUNT);
        replayed.headers.push(Header::new(headers::ROOT_ID, first.letter().id.to_string()));
        replayed.headers.push(Header::new(headers::REPLAY_ID, "r-1"));
        replayed.headers.push(Header::new(headers::REPLAY_COUNT, "1"));
        let second = Envelope::seal(&replayed, &exhausted(), "group", "host");
        let mut names: Vec<_> = second.headers().map(|h| &*h.name).filter(|n| *n != "trace").collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a header stands twice");
        assert_ne!(second.letter().id, first.letter().id);
        assert_eq!(second.letter().root_id, Some(first.letter().id));
        assert!(second.letter().is_reprocessed);
        assert_eq!(value(&second, headers::REPLAY_COUNT), [Some(Bytes::from("1"))]);
        assert_eq!(value(&second, headers::REPLAY_ID), [Some(Bytes::from("r-1"))]);
        assert_eq!(second.letter().original_headers.len(), 3);
    }

    #[test]
    fn the_same_record_has_the_same_id() {
        let one = Envelope::seal(&record(), &exhausted(), "group", "host");
        let two = Envelope::seal(&record(), &exhausted(), "group", "other");
        assert_eq!(one.letter().id, two.letter().id);
        assert_ne!(one.letter().id, Envelope::seal(&record(), &exhausted(), "group2", "host").letter().id);
    }

    #[test]
    fn what_is_too_large_keeps_its_hash_and_size() {
        let envelope = Envelope::seal(&record(), &exhausted(), "group", "host").bare();
        let letter = envelope.letter();
        let hash = blake3::hash(b"{\"a\":1}").to_hex().to_string();
        assert_eq!(letter.original_payload, OriginalPayload::Omitted { hash, size: 7 });
        assert!(envelope.key().is_none() && value(&envelope, "trace").is_empty());
        assert!(envelope.value().len() < 2000);
    }

    #[test]
    fn no_header_of_a_record_can_keep_its_bare_letter_large() {
        let mut record = record();
        for name in
            [headers::REPLAY_ID, headers::ROOT_ID, headers::REPLAY_COUNT, headers::ORIGINAL_TIMESTAMP, "x"]
        {
            record.headers.push(Header::new(name, vec![b'x'; 1 << 20]));
        }
        let bare = Envelope::seal(&record, &exhausted(), "group", "host").bare();
        let headers: usize =
            bare.headers().map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len)).sum();
        assert!(headers < 3000 && bare.value().len() < 2000, "{headers}");
    }

    #[cfg(feature = "tracker")]
    #[test]
    fn a_letter_is_of_its_record_alone_however_little_of_it_is_left() {
        let seal = |record: &Record| Envelope::seal(record, &exhausted(), "group", "host");
        let whole = Record::new("orders", 1, 11).with_key("k").with_value("{");
        let (null, keyless) =
            (Record { value: None, ..whole.clone() }, Record { key: None, ..whole.clone() });
        for of in [whole, null, keyless] {
            for letter in [seal(&of), seal(&of).without_payload(), seal(&of).bare()] {
                let letter = letter.letter();
                assert!(Envelope::holds(letter, &of), "{letter:?}");
                for changed in [
                    of.clone().with_value("another"),
                    of.clone().with_key("another"),
                    Record::new("orders", 1, 11).with_value("v"),
                    Record::new("orders", 1, 11).with_key("k"),
                ] {
                    let same = (&changed.key, &changed.value) == (&of.key, &of.value);
                    assert_eq!(Envelope::holds(letter, &changed), same, "{letter:?}");
                }
            }
        }
    }
}
