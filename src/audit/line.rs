//! One outcome as one line, written straight into a buffer: this runs once for each record, so nothing is built first
//! and copied later. The fields and their order are the contract's; readers use `models::AuditEntry`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;

use super::chain::{ChainHash, HASH_FIELD, HASH_HEX, Hashing, LINE_END, write_hex};
use crate::config::AuditPayload;
use crate::dlq::{Buried, headers};
use crate::models::{escape_into, escape_utf8_into, put, utf8, write_number};
use crate::record::Record;

/// What a line holds besides key and payload, about.
const LINE_REST: usize = 640;
/// What every line begins with.
pub(super) const LINE_START: &[u8] = b"{\"timestamp\":\"";

/// How a record ended.
#[derive(Debug)]
pub enum Verdict {
    /// It was processed.
    Processed {
        /// The attempts it took, the first one included.
        attempts: u32,
    },
    /// It failed, and its dead letter is safe: a [`Buried`] cannot be had otherwise.
    DeadLettered(Buried),
}

/// A record with its final outcome.
#[derive(Debug)]
pub struct Judged {
    /// The record.
    pub record: Record,
    /// Whether its payload is an order (valid or not).
    pub deserialized: bool,
    /// Its outcome.
    pub verdict: Verdict,
}

/// Finished lines on their way to the writer, which fills in their hashes.
#[derive(Debug, Default)]
pub struct Lines {
    hashing: Hashing,
    payload: AuditPayload,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    /// The digests of the first of them.
    digests: Vec<ChainHash>,
    pub(super) offsets: Vec<i64>,
    /// The end of the dead letter partition, as far as the letters of these lines tell.
    pub(super) letters_end: Option<i64>,
    /// Records that are wanted back once their lines are on disk.
    pub(super) kept: Vec<Judged>,
    /// The time of the last line and its text: most lines have that of the one before.
    pub(super) now: (Timestamp, String),
}

/// About how long the line of a record is that carries so much of its payload: by default the payload twice, once
/// escaped.
pub fn line_bytes(record: &Record, payload: AuditPayload) -> usize {
    let key = record.key.as_ref().map_or(0, Bytes::len);
    let len = record.payload().len();
    let carried = match payload {
        AuditPayload::Full => len * 5 / 2,
        AuditPayload::Raw => len * 3 / 2,
        AuditPayload::Hash => 128,
    };
    carried + key * 3 / 2 + LINE_REST
}

/// Where a line begins, and where its hash belongs.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) start: usize,
    pub(super) hash_at: usize,
}

impl Lines {
    /// None yet, to be hashed so.
    pub fn new(hashing: Hashing) -> Self {
        Self { hashing, ..Self::default() }
    }

    /// With so much of the payloads in them.
    #[must_use]
    pub fn carrying(self, payload: AuditPayload) -> Self {
        Self { payload, ..self }
    }

    /// Adds the line of one outcome.
    pub fn push(&mut self, group: &str, now: Timestamp, judged: &Judged) {
        let payload = carried(self.payload, &judged.verdict);
        self.bytes.reserve(line_bytes(&judged.record, payload));
        if self.now.0 != now || self.now.1.is_empty() {
            self.now = (now, format!("{now:.3}"));
        }
        let now = std::mem::take(&mut self.now.1);
        self.push_with(|out| write_fields(out, group, &now, judged, payload));
        self.now.1 = now;
        self.offsets.push(judged.record.offset);
        if let Verdict::DeadLettered(buried) = &judged.verdict {
            self.letters_end = self.letters_end.max(Some(buried.receipt.offset() + 1));
        }
    }

    /// Keeps the record of a line, for who wants it once the line is on disk.
    pub fn keep(&mut self, judged: Judged) {
        self.kept.push(judged);
    }

    /// Adds a line whose own bytes `write` appends.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.bytes.extend_from_slice(HASH_FIELD);
        let hash_at = self.bytes.len();
        self.bytes.extend_from_slice(&[b'0'; HASH_HEX]);
        self.bytes.extend_from_slice(LINE_END);
        self.entries.push(Entry { start, hash_at });
    }

    /// Whether this record's line fits, as far as is known, without more memory.
    pub fn has_room_for(&self, record: &Record) -> bool {
        self.bytes.capacity() - self.bytes.len() >= line_bytes(record, self.payload)
    }

    /// The lines themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties them; what they allocated stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.digests.clear();
        self.offsets.clear();
        self.letters_end = None;
        self.kept.clear();
    }

    /// How many bytes they hold.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Digests the lines, each by itself. That can be done anywhere; what is left undone is done when they are chained.
    pub fn digest(&mut self) {
        let own = |entry: &Entry| &self.bytes[entry.start..entry.hash_at - HASH_FIELD.len()];
        let texts: Vec<&[u8]> = self.entries[self.digests.len()..].iter().map(own).collect();
        let digests = self.hashing.hash_all(&texts);
        self.digests.extend(digests);
    }

    /// Chains the lines onto a head: each gets its hash.
    pub fn seal(&mut self, chain: &mut super::Chain) {
        self.digest();
        for (Entry { hash_at, .. }, digest) in self.entries.iter().zip(&self.digests) {
            let hash = chain.push(digest);
            write_hex(&hash, &mut self.bytes[*hash_at..*hash_at + HASH_HEX]);
        }
    }
}

/// What a line has to carry. A payload that its dead letter left out is nowhere else, once the topic has forgotten it.
fn carried(payload: AuditPayload, verdict: &Verdict) -> AuditPayload {
    match verdict {
        Verdict::DeadLettered(buried)
            if payload == AuditPayload::Hash && buried.receipt.payload_left_out() =>
        {
            AuditPayload::Raw
        }
        _ => payload,
    }
}

fn write_fields(out: &mut Vec<u8>, group: &str, now: &str, judged: &Judged, payload: AuditPayload) {
    let Judged { record, deserialized, verdict } = judged;
    out.extend_from_slice(LINE_START);
    out.extend_from_slice(now.as_bytes());
    out.extend_from_slice(b"\",\"event_type\":\"message.received\",\"kafka_topic\":");
    escape_into(out, &record.topic);
    number(out, b",\"kafka_partition\":", i64::from(record.partition));
    number(out, b",\"kafka_offset\":", record.offset);
    if let Some(timestamp) = record.timestamp {
        number(out, b",\"kafka_timestamp\":", timestamp.millis);
    }
    out.extend_from_slice(b",\"consumer_group\":");
    escape_into(out, group);
    text_or_base64(out, "kafka_key", record.key.as_deref());
    match &record.value {
        Some(value) if payload == AuditPayload::Hash => payload_hash(out, value),
        // What was an order is text.
        Some(value) if *deserialized => {
            out.extend_from_slice(b",\"raw_message\":");
            escape_utf8_into(out, value);
        }
        value => text_or_base64(out, "raw_message", value.as_deref()),
    }
    let with_order = *deserialized && payload == AuditPayload::Full;
    // A payload has less than 2 GiB.
    number(out, b",\"message_size\":", i64::try_from(record.payload().len()).unwrap_or(i64::MAX));
    out.extend_from_slice(if *deserialized {
        &b",\"deserialized\":true"[..]
    } else {
        b",\"deserialized\":false"
    });
    match verdict {
        Verdict::Processed { attempts } => {
            order_full(out, with_order, record.payload());
            number(out, b",\"outcome\":\"processed\",\"attempts\":", i64::from(*attempts));
        }
        Verdict::DeadLettered(buried) => {
            out.extend_from_slice(b",\"error\":");
            escape_into(out, &buried.error);
            order_full(out, with_order, record.payload());
            put(
                out,
                format_args!(
                    ",\"outcome\":\"dead_lettered\",\"failure_reason\":\"{}\",\"attempts\":{},\"dlq_id\":\"{}\",\
                     \"dlq_partition\":{},\"dlq_offset\":{}",
                    buried.category,
                    buried.attempts,
                    buried.id,
                    buried.receipt.partition(),
                    buried.receipt.offset(),
                ),
            );
        }
    }
    if let Some(replay_id) =
        record.last_header(headers::REPLAY_ID).and_then(|id| std::str::from_utf8(id).ok())
    {
        out.extend_from_slice(b",\"replay_id\":");
        escape_into(out, replay_id);
    }
}

/// The order's own bytes. A line break can only stand between tokens there, so leaving it out changes nothing but bytes.
fn order_full(out: &mut Vec<u8>, wanted: bool, payload: &[u8]) {
    if !wanted {
        return;
    }
    out.extend_from_slice(b",\"order_full\":");
    if memchr::memchr2(b'\n', b'\r', payload).is_none() {
        out.extend_from_slice(payload);
    } else {
        out.extend(payload.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    }
}

/// The payload's BLAKE3, without the key of the chain: it is held against the topic, and against dead letters.
fn payload_hash(out: &mut Vec<u8>, payload: &[u8]) {
    put(out, format_args!(",\"raw_message_hash\":\"{}\"", blake3::hash(payload).to_hex()));
}

fn number(out: &mut Vec<u8>, field: &[u8], value: i64) {
    out.extend_from_slice(field);
    write_number(out, value);
}

/// `"name":"text"`, or `"name_base64"` where the bytes are not UTF-8, or null.
fn text_or_base64(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| utf8(bytes).map_err(|_| bytes)) {
        None => put(out, format_args!(",\"{name}\":null")),
        Some(Ok(text)) => {
            put(out, format_args!(",\"{name}\":"));
            escape_into(out, text);
        }
        Some(Err(bytes)) => put(out, format_args!(",\"{name}_base64\":\"{}\"", BASE64.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dlq::Receipt;
    use crate::failure::Category;
    use crate::models::{AuditEntry, to_safe_string};
    use crate::record::{Header, RecordTimestamp, TimestampKind};

    #[test]
    fn the_read_model_writes_lines_as_the_journal_does() {
        let order = br#"{ "order_id": "o-1", "note": "\u001b" }"#;
        let buried = |attempts| {
            let receipt = Receipt::acknowledged(2, 9);
            let (id, error) = (uuid::Uuid::from_u128(7), "too\nbad".to_owned());
            Verdict::DeadLettered(Buried { category: Category::Timeout, error, attempts, id, receipt })
        };
        let timestamp = RecordTimestamp { millis: 1_772_368_496_000, kind: TimestampKind::CreateTime };
        for (key, value, timestamp, deserialized, verdict) in [
            (Some(&b"o-1"[..]), Some(&order[..]), Some(timestamp), true, Verdict::Processed { attempts: 2 }),
            (Some(b"\xff"), Some(order), None, true, buried(4)),
            (None, Some(b"\xff\x00"), Some(timestamp), false, buried(1)),
            (None, None, None, false, buried(1)),
        ] {
            let record = Record {
                topic: Arc::from("orders"),
                partition: 1,
                offset: 5,
                timestamp,
                key: key.map(|key| key.to_vec().into()),
                value: value.map(|value| value.to_vec().into()),
                headers: vec![Header::new(headers::REPLAY_ID, "r-1")],
            };
            let judged = Judged { record, deserialized, verdict };
            for payload in [AuditPayload::Full, AuditPayload::Raw, AuditPayload::Hash] {
                let (line, entry) = written(&judged, payload);
                assert_eq!(to_safe_string(&entry).expect("JSON"), line);
                let hash = judged.record.value.as_ref().map(|value| blake3::hash(value).to_hex().to_string());
                let (raw, hash) = match payload {
                    AuditPayload::Hash => (None, hash),
                    AuditPayload::Full | AuditPayload::Raw => (judged.record.value.as_deref(), None),
                };
                assert_eq!((entry.raw_message.as_deref(), entry.raw_message_hash), (raw, hash));
                assert_eq!(entry.order_full.is_some(), deserialized && payload == AuditPayload::Full);
                assert_eq!(entry.message_size, judged.record.payload().len() as u64);
            }
        }
    }

    fn written(judged: &Judged, payload: AuditPayload) -> (String, AuditEntry) {
        let mut lines = Lines::default().carrying(payload);
        lines.push("g", Timestamp::now(), judged);
        let line = String::from_utf8(lines.bytes).expect("UTF-8").trim_end().to_owned();
        let entry = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        (line, entry)
    }

    #[test]
    fn a_payload_that_its_dead_letter_left_out_is_in_its_line_whatever_the_setting_says() {
        let record = Record::new("orders", 0, 1).with_value("too large");
        let receipt = Receipt::acknowledged(0, 0).without_payload();
        let buried = Buried {
            category: Category::Validation,
            error: "e".to_owned(),
            attempts: 1,
            id: uuid::Uuid::nil(),
            receipt,
        };
        let judged = Judged { record, deserialized: false, verdict: Verdict::DeadLettered(buried) };
        for payload in [AuditPayload::Full, AuditPayload::Raw, AuditPayload::Hash] {
            assert_eq!(
                written(&judged, payload).1.raw_message.as_deref(),
                Some(&b"too large"[..]),
                "{payload:?}"
            );
        }
    }
}
