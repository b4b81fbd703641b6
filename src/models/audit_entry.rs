//! One line of the audit log, as its readers see it: one outcome of one record. The journal writes its lines itself,
//! byte by byte; this is the same form for whoever reads, traces or tests them. Checking the hash chain needs the
//! line's bytes and is not done here.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bytes_field::{BytesField, BytesFieldError};
use super::time::millis;
use crate::failure::Category;

/// What became of a record, finally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was handled.
    Processed,
    /// It could not be handled and is in the dead letter topic.
    DeadLettered,
}

impl Outcome {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One audit line with `event_type` [`AuditEntry::MESSAGE_RECEIVED`].
///
/// Written as one JSON object, in this order; what is marked `?` is left out where there is none: `timestamp`
/// (RFC 3339), `event_type`, `kafka_topic`, `kafka_partition`, `kafka_offset`, `kafka_timestamp`? (milliseconds),
/// `consumer_group`?, `kafka_key` or `kafka_key_base64`, `raw_message`, `raw_message_base64` or `raw_message_hash`, `message_size`
/// (bytes), `deserialized`, `error`?, `order_full`?, `outcome`, `failure_reason`?, `attempts`, `dlq_id`?,
/// `dlq_partition`?, `dlq_offset`?, `replay_id`?, `hash`. A Base64 field stands in place of the plain one for bytes
/// that are not UTF-8; the plain one is null for Kafka's null. The journal always writes the `consumer_group`.
#[derive(Clone)]
pub struct AuditEntry {
    /// When the line was made.
    pub timestamp: Timestamp,
    /// The kind of line; other kinds have other fields.
    pub event_type: String,
    /// The record's topic.
    pub kafka_topic: String,
    /// Its partition.
    pub kafka_partition: i32,
    /// Its offset.
    pub kafka_offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch.
    pub kafka_timestamp: Option<i64>,
    /// The consumer group that handled it.
    pub consumer_group: Option<String>,
    /// Its key; `None` is Kafka's null.
    pub kafka_key: Option<Vec<u8>>,
    /// Its payload. `None` is Kafka's null, or, with a hash in its place, a payload that was left out.
    pub raw_message: Option<Vec<u8>>,
    /// BLAKE3 of a payload that was left out, lower-case hex.
    pub raw_message_hash: Option<String>,
    /// The size of its payload in bytes.
    pub message_size: u64,
    /// Whether an order was decoded from it.
    pub deserialized: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// The order's own JSON.
    pub order_full: Option<Box<RawValue>>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was dead-lettered.
    pub failure_reason: Option<Category>,
    /// The attempts made, the first one included.
    pub attempts: u32,
    /// Its dead letter.
    pub dlq_id: Option<Uuid>,
    /// The dead letter's partition in the dead letter topic.
    pub dlq_partition: Option<i32>,
    /// The dead letter's offset there.
    pub dlq_offset: Option<i64>,
    /// The replay that brought the record here again.
    pub replay_id: Option<String>,
    /// The head of the hash chain with this line, lower-case hex.
    pub hash: String,
}

impl AuditEntry {
    /// The `event_type` of these lines.
    pub const MESSAGE_RECEIVED: &'static str = "message.received";
}

/// Without the record's content: a log must not hold it.
impl fmt::Debug for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditEntry")
            .field("event_type", &self.event_type)
            .field("kafka_topic", &self.kafka_topic)
            .field("kafka_partition", &self.kafka_partition)
            .field("kafka_offset", &self.kafka_offset)
            .field("message_size", &self.message_size)
            .field("outcome", &self.outcome)
            .field("failure_reason", &self.failure_reason)
            .field("attempts", &self.attempts)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// The JSON form, in the order of its fields. Unknown fields are ignored on reading.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(with = "millis")]
    timestamp: Timestamp,
    event_type: Cow<'a, str>,
    kafka_topic: Cow<'a, str>,
    kafka_partition: i32,
    kafka_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_group: Option<Cow<'a, str>>,
    /// `None` where the Base64 field stands for it, `Some(None)` for null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kafka_key: Option<Option<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_key_base64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_message: Option<Option<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_message_base64: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_message_hash: Option<Cow<'a, str>>,
    message_size: u64,
    deserialized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_full: Option<Cow<'a, RawValue>>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<Category>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    dlq_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dlq_partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dlq_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_id: Option<Cow<'a, str>>,
    hash: Cow<'a, str>,
}

impl Serialize for AuditEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = BytesField::encode(self.kafka_key.as_deref());
        let raw = BytesField::encode(self.raw_message.as_deref());
        Wire {
            timestamp: self.timestamp,
            event_type: Cow::Borrowed(&self.event_type),
            kafka_topic: Cow::Borrowed(&self.kafka_topic),
            kafka_partition: self.kafka_partition,
            kafka_offset: self.kafka_offset,
            kafka_timestamp: self.kafka_timestamp,
            consumer_group: self.consumer_group.as_deref().map(Cow::Borrowed),
            kafka_key: key.base64.is_none().then_some(key.text),
            kafka_key_base64: key.base64,
            raw_message: (raw.base64.is_none() && self.raw_message_hash.is_none()).then_some(raw.text),
            raw_message_base64: raw.base64,
            raw_message_hash: self.raw_message_hash.as_deref().map(Cow::Borrowed),
            message_size: self.message_size,
            deserialized: self.deserialized,
            error: self.error.as_deref().map(Cow::Borrowed),
            order_full: self.order_full.as_deref().map(Cow::Borrowed),
            outcome: self.outcome,
            failure_reason: self.failure_reason,
            attempts: self.attempts,
            dlq_id: self.dlq_id,
            dlq_partition: self.dlq_partition,
            dlq_offset: self.dlq_offset,
            replay_id: self.replay_id.as_deref().map(Cow::Borrowed),
            hash: Cow::Borrowed(&self.hash),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AuditEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Wire::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

impl TryFrom<Wire<'_>> for AuditEntry {
    type Error = BytesFieldError;

    fn try_from(wire: Wire<'_>) -> Result<Self, BytesFieldError> {
        let key = BytesField { text: wire.kafka_key.flatten(), base64: wire.kafka_key_base64 };
        let raw = BytesField { text: wire.raw_message.flatten(), base64: wire.raw_message_base64 };
        Ok(Self {
            timestamp: wire.timestamp,
            event_type: wire.event_type.into_owned(),
            kafka_topic: wire.kafka_topic.into_owned(),
            kafka_partition: wire.kafka_partition,
            kafka_offset: wire.kafka_offset,
            kafka_timestamp: wire.kafka_timestamp,
            consumer_group: wire.consumer_group.map(Cow::into_owned),
            kafka_key: key.decode()?,
            raw_message: raw.decode()?,
            raw_message_hash: wire.raw_message_hash.map(Cow::into_owned),
            message_size: wire.message_size,
            deserialized: wire.deserialized,
            error: wire.error.map(Cow::into_owned),
            order_full: wire.order_full.map(Cow::into_owned),
            outcome: wire.outcome,
            failure_reason: wire.failure_reason,
            attempts: wire.attempts,
            dlq_id: wire.dlq_id,
            dlq_partition: wire.dlq_partition,
            dlq_offset: wire.dlq_offset,
            replay_id: wire.replay_id.map(Cow::into_owned),
            hash: wire.hash.into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::to_safe_string;

    const PROCESSED: &str = r#"{"timestamp":"2026-03-01T12:34:56.789Z","event_type":"message.received","kafka_topic":"orders","kafka_partition":2,"kafka_offset":17,"kafka_timestamp":1772368496000,"consumer_group":"g","kafka_key":"o-1","raw_message":"{ \"order_id\": \"o-1\" }","message_size":21,"deserialized":true,"order_full":{ "order_id": "o-1" },"outcome":"processed","attempts":1,"hash":"00ff"}"#;
    const TOMBSTONE: &str = r#"{"timestamp":"2026-03-01T12:34:56.000Z","event_type":"message.received","kafka_topic":"orders","kafka_partition":0,"kafka_offset":0,"consumer_group":"g","kafka_key":null,"raw_message":null,"message_size":0,"deserialized":false,"error":"the payload is null","outcome":"dead_lettered","failure_reason":"DESERIALIZATION_ERROR","attempts":1,"dlq_id":"67e55044-10b1-426f-9247-bb680e5fe0c8","dlq_partition":0,"dlq_offset":5,"hash":"00ff"}"#;
    const DEAD: &str = r#"{"timestamp":"2026-03-01T12:34:56.000Z","event_type":"message.received","kafka_topic":"orders","kafka_partition":0,"kafka_offset":0,"kafka_key_base64":"/w==","raw_message_base64":"/wA=","message_size":2,"deserialized":false,"error":"the payload is not UTF-8","outcome":"dead_lettered","failure_reason":"DESERIALIZATION_ERROR","attempts":1,"dlq_id":"67e55044-10b1-426f-9247-bb680e5fe0c8","dlq_partition":0,"dlq_offset":5,"replay_id":"r","hash":"00ff"}"#;

    #[test]
    fn lines_come_back_byte_for_byte() {
        for line in [PROCESSED, DEAD, TOMBSTONE] {
            let entry: AuditEntry = serde_json::from_str(line).unwrap();
            assert_eq!(to_safe_string(&entry).unwrap(), line);
            assert_eq!(entry.event_type, AuditEntry::MESSAGE_RECEIVED);
        }
    }

    #[test]
    fn bytes_null_and_raw_order_are_told_apart() {
        let entry: AuditEntry = serde_json::from_str(PROCESSED).unwrap();
        assert_eq!(entry.raw_message.as_deref(), Some(&br#"{ "order_id": "o-1" }"#[..]));
        assert_eq!(entry.order_full.unwrap().get(), r#"{ "order_id": "o-1" }"#);

        let entry: AuditEntry = serde_json::from_str(DEAD).unwrap();
        assert_eq!((entry.kafka_key, entry.raw_message), (Some(vec![0xff]), Some(vec![0xff, 0])));

        let entry: AuditEntry = serde_json::from_str(TOMBSTONE).unwrap();
        assert_eq!(entry.kafka_key, None);
        assert_eq!((entry.raw_message, entry.message_size), (None, 0));
    }

    #[test]
    fn unknown_fields_are_ignored_and_bad_ones_refused() {
        let newer = DEAD.replace(r#""attempts""#, r#""later":[{}],"attempts""#);
        assert!(serde_json::from_str::<AuditEntry>(&newer).is_ok());
        for (from, to) in
            [("dead_lettered", "lost"), ("/wA=", "?"), ("2026-03", "2026-13"), ("\"hash\"", "\"hush\"")]
        {
            assert!(serde_json::from_str::<AuditEntry>(&DEAD.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let entry: AuditEntry = serde_json::from_str(PROCESSED).unwrap();
        assert!(!format!("{entry:?}").contains("order_id"));
    }

    #[test]
    fn the_outcome_is_written_by_its_name() {
        for outcome in [Outcome::Processed, Outcome::DeadLettered] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }
}
